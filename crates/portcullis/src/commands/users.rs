//! `portcullis users`: accounts, from a shell on the machine.

use clap::Subcommand;
use portcullis_identity::{Caller, Identity, IdentityError, NewAccount};
use portcullis_model::user::rfc3339_millis;
use portcullis_model::{Role, SecretString, User};
use portcullis_storage::UserFilter;
use serde_json::json;

use super::identity::with_identity;
use super::output::{Failure, print, print_json};
use super::{Format, password_input, table};
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account; its e-mail address counts as confirmed
    #[command(after_help = "\
The password is read from standard input, because arguments can be seen by everybody on the machine.

Examples:
  echo 'correct horse battery staple' | portcullis users create --email ada@example.com \\
    --username ada --first-name Ada --last-name Lovelace --role ADMIN --password-stdin")]
    Create(Create),
    /// Make a known account an active administrator again, with a new password
    #[command(after_help = "\
For the day when no administrator can sign in. Every session of the account ends.

Examples:
  portcullis users recover-admin --email ada@example.com --password-stdin < new-password.txt")]
    RecoverAdmin(RecoverAdmin),
    /// List accounts, newest first
    #[command(after_help = "\
Examples:
  portcullis users list
  portcullis users list --role ADMIN --json | jq -r '.users[].email'")]
    List(List),
}

#[derive(clap::Args, Debug)]
pub(super) struct Create {
    /// E-mail address
    #[arg(long)]
    email: String,
    /// Username, 3 to 30 letters a-z and digits
    #[arg(long)]
    username: String,
    /// First name
    #[arg(long)]
    first_name: String,
    /// Last name
    #[arg(long)]
    last_name: String,
    /// Role: VIEWER, TESTER, DEVELOPER, MANAGER or ADMIN
    #[arg(long, value_parser = parse_role, default_value = "DEVELOPER")]
    role: Role,
    #[command(flatten)]
    password: PasswordStdin,
    #[command(flatten)]
    format: Format,
}

#[derive(clap::Args, Debug)]
pub(super) struct RecoverAdmin {
    /// E-mail address of the account
    #[arg(long)]
    email: String,
    #[command(flatten)]
    password: PasswordStdin,
    #[command(flatten)]
    format: Format,
}

#[derive(clap::Args, Debug)]
pub(super) struct List {
    /// Only accounts with this role
    #[arg(long, value_parser = parse_role)]
    role: Option<Role>,
    #[command(flatten)]
    format: Format,
}

/// The only way a password comes in.
#[derive(clap::Args, Debug)]
struct PasswordStdin {
    /// Read the password from the first line of standard input
    #[arg(long = "password-stdin", required = true)]
    _given: bool,
}

fn parse_role(text: &str) -> Result<Role, String> {
    text.to_ascii_uppercase().parse::<Role>().map_err(|error| error.to_string())
}

pub(super) fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    // Passwords are read before the database is opened: somebody may be typing.
    match command {
        Command::Create(arguments) => {
            let password = password_input::read(std::io::stdin().lock())?;
            with_identity(settings, async |identity| create(identity, arguments, password).await)
        }
        Command::RecoverAdmin(arguments) => {
            let password = password_input::read(std::io::stdin().lock())?;
            with_identity(settings, async |identity| recover(identity, &arguments, &password).await)
        }
        Command::List(arguments) => with_identity(settings, async |identity| list(identity, &arguments).await),
    }
}

async fn create(identity: &Identity, arguments: Create, password: SecretString) -> Result<(), Failure> {
    let Create { email, username, first_name, last_name, role, format, .. } = arguments;
    let account = NewAccount { email, username, first_name, last_name, role, password };
    let user = identity.create_user(account, &Caller::shell()).await.map_err(|error| describe(&error))?;
    show(&user, format, "Made");
    Ok(())
}

async fn recover(identity: &Identity, arguments: &RecoverAdmin, password: &SecretString) -> Result<(), Failure> {
    let recovered = identity.recover_administrator(&arguments.email, password, &Caller::shell()).await;
    let user = recovered.map_err(|error| match error {
        IdentityError::NotFound => Failure::new(format!("no account has the address {}", arguments.email))
            .hint("`portcullis users list` shows the accounts, `portcullis users create --role ADMIN` makes one"),
        other => describe(&other),
    })?;
    show(&user, arguments.format, "Recovered");
    Ok(())
}

async fn list(identity: &Identity, arguments: &List) -> Result<(), Failure> {
    let filter = UserFilter { role: arguments.role, ..UserFilter::default() };
    let mut users: Vec<User> = Vec::new();
    loop {
        let offset = u64::try_from(users.len()).expect("far fewer accounts than 2^64");
        let page = identity.store().list_users(&filter, PAGE, offset).await;
        let page = page.map_err(|error| Failure::of_error(&error))?.users;
        if page.is_empty() {
            break;
        }
        users.extend(page);
    }
    if arguments.format.json {
        print_json(&json!({ "users": users }));
        return Ok(());
    }
    let row = |user: &User| {
        vec![
            user.email.to_string(),
            user.username.to_string(),
            user.role.to_string(),
            if user.is_active { "yes" } else { "no" }.to_owned(),
            user.last_login_at.map_or_else(|| "never".to_owned(), rfc3339_millis),
            rfc3339_millis(user.created_at),
        ]
    };
    let header = ["EMAIL", "USERNAME", "ROLE", "ACTIVE", "LAST LOGIN", "CREATED"];
    print(&table::render(&header, &users.iter().map(row).collect::<Vec<_>>()));
    Ok(())
}

/// How many accounts are read at once.
const PAGE: u64 = 1000;

fn show(user: &User, format: Format, done: &str) {
    if format.json {
        print_json(&json!({ "user": user }));
    } else {
        print(&format!("{done} {} ({}), {}, id {}.\n", user.email, user.username, user.role, user.id));
    }
}

fn describe(error: &IdentityError) -> Failure {
    match error {
        IdentityError::Validation(problems) => {
            Failure::new(problems.join("\n  ")).hint("nothing was changed; correct it and try again")
        }
        IdentityError::UserExists => Failure::new("an account has this e-mail address or username already")
            .hint("`portcullis users list` shows the accounts; `portcullis users recover-admin` sets a password"),
        other => Failure::of_error(other),
    }
}

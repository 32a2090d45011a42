//! `portcullis users`: accounts, from a shell on the machine.

mod change;
mod export;
mod import;
mod list;

use clap::Subcommand;
use portcullis_identity::{Caller, Identity, IdentityError, NewAccount};
use portcullis_model::{Role, SecretString, User};
use serde_json::json;

use super::identity::with_identity;
use super::output::{Failure, print, print_json};
use super::{Format, password_input};
use portcullis_settings::Settings;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make an account; its e-mail address counts as confirmed
    #[command(after_help = "\
The password is read from standard input, because arguments can be seen by everybody on the
machine.

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
  portcullis users list --search @example.com --inactive
  portcullis users list --role ADMIN --json | jq -r '.users[].email'")]
    List(list::List),
    /// Let an account sign in no more; all its sessions end at once
    #[command(after_help = "\
Examples:
  portcullis users disable ada@example.com")]
    Disable(change::Person),
    /// Let a disabled account sign in again
    #[command(after_help = "\
Examples:
  portcullis users enable ada@example.com")]
    Enable(change::Person),
    /// Give an account another role, in force at once
    #[command(after_help = "\
Examples:
  portcullis users set-role ada@example.com MANAGER")]
    SetRole(change::SetRole),
    /// Mail somebody a link to set a new password
    #[command(after_help = "\
Nobody but its owner picks a password. Without a mail server, --print-link prints the link
instead; it works once, for 30 minutes, for whoever has it.

Examples:
  portcullis users reset ada@example.com
  portcullis users reset ada@example.com --print-link")]
    Reset(change::Reset),
    /// Bring accounts from elsewhere; people keep their ids and passwords
    #[command(after_help = "\
From a CSV file with a line of names, from NDJSON (one JSON object a line), from standard input
(-), or straight from the table of users of a PostgreSQL database. Names of columns: id, email,
username, firstName, lastName, password (an argon2, bcrypt, scrypt or PBKDF2 hash), role,
isActive, isEmailVerified, createdAt, avatar, permissions. Only email, username, firstName and
lastName are needed.

What breaks a rule or is taken is left out and told with its reason; the rest is brought. Run it
again after an interruption: what is there already is passed over. Exit code 1 if anything was
left out.

Arguments can be seen by everybody on the machine: leave a password out of the address and set
PGPASSWORD.

Examples:
  portcullis users import people.csv --report refused.ndjson
  portcullis users import postgres://reader@db.example/old --table users
  zcat people.ndjson.gz | portcullis users import - --format ndjson
  portcullis users import people.csv --dry-run")]
    Import(import::Import),
    /// Write all accounts out, as `import` reads them
    #[command(after_help = "\
Examples:
  portcullis users export > people.ndjson
  portcullis users export --format csv --with-password-hashes > people.csv")]
    Export(export::Export),
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
        Command::List(arguments) => with_identity(settings, async |identity| list::run(identity, &arguments).await),
        Command::Disable(person) => {
            with_identity(settings, async |identity| change::set_active(identity, &person, false).await)
        }
        Command::Enable(person) => {
            with_identity(settings, async |identity| change::set_active(identity, &person, true).await)
        }
        Command::SetRole(arguments) => {
            with_identity(settings, async |identity| change::set_role(identity, &arguments).await)
        }
        Command::Reset(arguments) => {
            with_identity(settings, async |identity| change::reset(identity, &arguments).await)
        }
        Command::Import(arguments) => {
            with_identity(settings, async |identity| import::run(identity, settings, arguments).await)
        }
        Command::Export(arguments) => with_identity(settings, async |identity| export::run(identity, &arguments).await),
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

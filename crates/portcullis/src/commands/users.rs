//! `portcullis users`: administration of users from a shell on the machine.

mod change;
mod export;
mod import;
mod list;

use clap::Subcommand;
use portcullis_identity::{Caller, Identity, IdentityError, NewAccount};
use portcullis_model::{Role, SecretString, User};
use portcullis_settings::Settings;
use serde_json::json;

use super::identity::with_identity;
use super::output::{Failure, print, print_json};
use super::{Format, password_input};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create a user, whose e-mail address counts as confirmed
    #[command(after_help = "\
The password is read from standard input, because every user of the machine can see arguments.

Examples:
  echo 'correct horse battery staple' | portcullis users create --email ada@example.com \\
    --username ada --first-name Ada --last-name Lovelace --role ADMIN --password-stdin")]
    Create(Create),
    /// Make a user an active administrator again, with a new password
    #[command(after_help = "\
Use it when no administrator can sign in. All sessions, API keys and mailed links of the user end, and
the e-mail address counts as confirmed.

Examples:
  portcullis users recover-admin --email ada@example.com --password-stdin < new-password.txt")]
    RecoverAdmin(RecoverAdmin),
    /// List users, newest first
    #[command(after_help = "\
Examples:
  portcullis users list
  portcullis users list --search @example.com --inactive
  portcullis users list --role ADMIN --json | jq -r '.users[].email'")]
    List(list::List),
    /// Disable a user: the user cannot sign in, and all sessions and API keys end at once
    #[command(after_help = "\
Examples:
  portcullis users disable ada@example.com")]
    Disable(change::UserArgument),
    /// Enable a disabled user, who can then sign in again
    #[command(after_help = "\
Examples:
  portcullis users enable ada@example.com")]
    Enable(change::UserArgument),
    /// Change the role of a user, with immediate effect
    #[command(after_help = "\
Examples:
  portcullis users set-role ada@example.com MANAGER")]
    SetRole(change::SetRole),
    /// Send a user a link to set a new password
    #[command(after_help = "\
Users choose their passwords themselves. --print-link prints the link instead of mailing it. It works
once, within 30 minutes, for anyone who has it.

Examples:
  portcullis users reset ada@example.com
  portcullis users reset ada@example.com --print-link")]
    Reset(change::Reset),
    /// Import users from another program, with their ids and passwords
    #[command(after_help = "\
The source is a CSV file with a header line, an NDJSON file (one JSON object a line), standard input
(-), or the table of users of a PostgreSQL database. The columns are: id, email, username,
firstName, lastName, password (an argon2, bcrypt, scrypt or PBKDF2 hash), role, isActive,
isEmailVerified, createdAt, avatar, permissions. Only email, username, firstName and lastName are
required; letter case and underscores do not matter. A source with a column of another name is
refused before anything is written: rename the column, or leave it out with --ignore-column. A user whose isEmailVerified
is absent counts as confirmed.

A user that breaks a rule, or whose e-mail address, username or id is taken, is refused with the
reason; the others are imported. After an interruption run the command again: users that exist
already are skipped. The exit code is 1 if a user was refused.

Every user of the machine can see the arguments: leave the password out of the URL and set PGPASSWORD.

Examples:
  portcullis users import users.csv --report refused.ndjson
  portcullis users import postgres://reader@db.example/old --table auth.users --ignore-column phone
  zcat users.ndjson.gz | portcullis users import - --format ndjson
  portcullis users import users.csv --dry-run")]
    Import(import::Import),
    /// Print all users, in the form that `import` reads
    #[command(after_help = "\
Examples:
  portcullis users export > users.ndjson
  portcullis users export --format csv --with-password-hashes > users.csv")]
    Export(export::Export),
}

#[derive(clap::Args, Debug)]
pub(super) struct Create {
    /// The e-mail address
    #[arg(long)]
    email: String,
    /// The username, 3 to 30 letters a-z and digits
    #[arg(long)]
    username: String,
    /// The first name
    #[arg(long)]
    first_name: String,
    /// The last name
    #[arg(long)]
    last_name: String,
    /// The role: VIEWER, TESTER, DEVELOPER, MANAGER or ADMIN
    #[arg(long, value_parser = parse_role, default_value = "DEVELOPER")]
    role: Role,
    /// Leave the e-mail address unconfirmed: API keys wait until the user has confirmed it
    #[arg(long)]
    unconfirmed: bool,
    #[command(flatten)]
    password: PasswordStdin,
    #[command(flatten)]
    format: Format,
}

#[derive(clap::Args, Debug)]
pub(super) struct RecoverAdmin {
    /// The e-mail address of the user
    #[arg(long)]
    email: String,
    #[command(flatten)]
    password: PasswordStdin,
    #[command(flatten)]
    format: Format,
}

/// The option that reads a password from standard input, which is the only way to pass one.
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
    // The password is read before the database is opened, because the user may still be typing it.
    match command {
        Command::Create(arguments) => {
            let password = password_input::read(std::io::stdin().lock())?;
            with_identity(settings, async |identity, _| create(identity, arguments, password).await)
        }
        Command::RecoverAdmin(arguments) => {
            let password = password_input::read(std::io::stdin().lock())?;
            with_identity(settings, async |identity, _| recover(identity, &arguments, &password).await)
        }
        Command::List(arguments) => with_identity(settings, async |_, store| list::run(store, &arguments).await),
        Command::Disable(user) => {
            with_identity(settings, async |identity, _| change::set_active(identity, &user, false).await)
        }
        Command::Enable(user) => {
            with_identity(settings, async |identity, _| change::set_active(identity, &user, true).await)
        }
        Command::SetRole(arguments) => {
            with_identity(settings, async |identity, _| change::set_role(identity, &arguments).await)
        }
        Command::Reset(arguments) => {
            with_identity(settings, async |identity, _| change::reset(identity, &arguments).await)
        }
        Command::Import(arguments) => {
            with_identity(settings, async |identity, _| import::run(identity, settings, arguments).await)
        }
        Command::Export(arguments) => with_identity(settings, async |_, store| export::run(store, &arguments).await),
    }
}

async fn create(identity: &Identity, arguments: Create, password: SecretString) -> Result<(), Failure> {
    let Create { email, username, first_name, last_name, role, unconfirmed, format, .. } = arguments;
    let account = NewAccount { email, email_verified: !unconfirmed, username, first_name, last_name, role, password };
    let user = identity.administration.create(account, &Caller::shell()).await.map_err(|error| describe(&error))?;
    show(&user, format, "Created");
    Ok(())
}

async fn recover(identity: &Identity, arguments: &RecoverAdmin, password: &SecretString) -> Result<(), Failure> {
    let recovered = identity.administration.recover_administrator(&arguments.email, password, &Caller::shell()).await;
    let user = recovered.map_err(|error| match error {
        IdentityError::NotFound => Failure::new(format!("no user has the e-mail address {}", arguments.email)).hint(
            "list the users with `portcullis users list`, or create one with `portcullis users create --role ADMIN`",
        ),
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
            Failure::new(problems.join("\n  ")).hint("nothing was changed; correct the values and try again")
        }
        IdentityError::UserExists | IdentityError::UsernameTaken => Failure::new(
            "another user has this e-mail address or username",
        )
        .hint(
            "list the users with `portcullis users list`, or set a new password with `portcullis users recover-admin`",
        ),
        other => Failure::of_error(other),
    }
}

//! The command line: its commands and options, and the one place that sets the exit code: 0 done, 1 failed, 2 wrong usage.

mod audit;
mod backup;
mod check;
mod control;
mod doctor;
mod errors;
mod explain;
mod healthcheck;
mod identity;
mod keys;
mod log_level;
mod man;
mod migrate;
mod output;
mod password_input;
mod progress;
mod restore;
mod routes;
mod runtime;
mod support_bundle;
mod table;
mod transfer;
mod upgrade_check;
mod users;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};

pub(crate) use control::ask_gateway;
pub(crate) use healthcheck::{proxy_header, request_status};
use output::Failure;
use portcullis_secrets::StoreError;
use portcullis_settings::{Flags, Settings, Sources};

use crate::assembly::StartError;
use crate::secret_store;
use crate::serve::StopSignals;

/// A gateway that signs users in, checks every request and forwards it to your services.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  portcullis serve                          start with no configuration, on http://127.0.0.1:8000
  portcullis check                          check all settings and report every problem
  portcullis routes                         list the routes, their upstreams and their requirements
  portcullis keys init --output gate.env    make the secrets that production needs

Settings come from flags, the environment, portcullis.toml and defaults, in this order.
Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// The options of every command.
#[derive(Args, Debug)]
struct Common {
    /// The settings file [default: portcullis.toml in the working folder, if it exists]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Settings")]
    config: Option<PathBuf>,
    /// The folder for SQLite's file and the secrets made in development [default: portcullis-data]
    #[arg(long, global = true, value_name = "FOLDER", help_heading = "Settings")]
    data_dir: Option<PathBuf>,
}

/// The address that the gateway listens on.
#[derive(Args, Debug, Default)]
struct Listen {
    /// The address to listen on, an IP address or localhost [default: 127.0.0.1; in production 0.0.0.0]
    #[arg(long, value_name = "ADDRESS", help_heading = "Settings")]
    host: Option<String>,
    /// The port to listen on; 0 takes a free port [default: 8000]
    #[arg(long, value_name = "PORT", help_heading = "Settings")]
    port: Option<u16>,
}

/// The form of the result.
#[derive(Args, Clone, Copy, Debug)]
struct Format {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gateway
    #[command(after_help = "\
Without settings it keeps its data in ./portcullis-data, makes its own secrets, listens on
loopback only, and prints a one-time link for the first administrator.

Examples:
  portcullis serve
  PORT=9000 portcullis serve
  portcullis serve --config /etc/portcullis.toml --host 0.0.0.0

SIGTERM and Ctrl-C stop it gracefully: open requests may finish first.")]
    Serve(Listen),
    /// Check all settings and report every problem
    #[command(after_help = "\
Nothing is started or created. Every problem is reported at once, with its line and a hint;
warnings and advice do not fail the check.

Examples:
  portcullis check
  PORTCULLIS_ENV=production portcullis check --config /etc/portcullis.toml
  portcullis check --json | jq '.problems[] | .place'")]
    Check(Format),
    /// Find out what is wrong with the gateway, its machine and what it depends on
    #[command(after_help = "\
It checks the settings, the database, Redis, the mail server, upstreams, clocks, certificates,
disk, memory and limits, beside a running gateway or without one. It changes nothing, and sends no
mail. Each line that is not ok says how to fix it; docs/doctor.md explains every check.

Examples:
  portcullis doctor
  portcullis doctor --json | jq '.checks[] | select(.status != \"pass\")'

Exit codes: 0 no check failed (there may be warnings), 1 a check failed, 2 wrong usage.")]
    Doctor(Format),
    /// List the routes: the built-in endpoints and yours
    #[command(after_help = "\
Examples:
  portcullis routes
  portcullis routes --json | jq '.routes[] | select(.auth == \"none\") | .path'")]
    Routes(Format),
    /// Show what the gate would decide about a request, phase by phase, and why
    #[command(after_help = "\
It uses the settings on disk, which may differ from those of the running gateway. Nothing is sent,
counted or changed. Credentials in headers are checked and never printed.

Examples:
  portcullis explain GET /api/v1/users --as ada@example.com
  portcullis explain POST /api/v1/projects --as nobody -H 'Origin: https://app.example.com'
  portcullis explain GET '/api/projects?page=2' -H 'Accept-Version: v2' --address 203.0.113.7 --json")]
    Explain(explain::Arguments),
    /// Show and reset rate limits of the running gateway
    #[command(subcommand)]
    Limits(control::Limits),
    /// Make the running gateway read its settings again
    #[command(after_help = "\
The settings are checked as a whole and put in force in one step; if there is a problem, the old ones
stay in force. Open connections and streams are not interrupted. SIGHUP does the same, but this
command prints the result, and names changed keys that wait for a restart.

Examples:
  portcullis reload
  portcullis check && portcullis reload")]
    Reload(Format),
    /// Show and change the log level of the running gateway
    #[command(after_help = "\
Without SPEC it shows what is in force. SPEC is a level (off, error, warn, info, debug, trace), or levels of single
modules; modules that it does not name keep their level. A change is logged, and ends after --for, with --reset, when
a reload finds another log.level, or with the process.

Examples:
  portcullis log-level
  portcullis log-level portcullis_gate=debug --for 10m
  portcullis log-level debug,h2=info --for 1h
  portcullis log-level --reset")]
    LogLevel(log_level::Arguments),
    /// Show, plan and change the schema of the database
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Check whether this version may roll over the database, beside the servers that run on it
    #[command(after_help = "\
Run the new version before an upgrade, or the old one before a downgrade, with the settings of the
servers. It changes nothing. Exit code 0: it may run beside servers of the schema that the database
has, while they are replaced one by one. Exit code 1: it must not, and the reason and the fix are
printed: a contract step, a schema that is too new, a migration that has not finished. 2: wrong usage.

Examples:
  portcullis upgrade-check && kubectl rollout restart deployment/portcullis
  portcullis upgrade-check --json | jq '.problems[].hint'")]
    UpgradeCheck(Format),
    /// Move everything to another database, such as from SQLite to PostgreSQL
    #[command(after_help = "\
Every table is read in one consistent snapshot, copied in batches, and compared at the end by count
and checksum. Writes to the source after the snapshot are not copied: stop its server first. After an
interruption, run the command again: it continues where it stopped.

Every user of the machine can see the arguments: leave the password out of the URL and set PGPASSWORD.

Examples:
  portcullis move --from sqlite:///var/lib/portcullis/portcullis.db \\
    --to postgres://gate@db.example:5432/gate")]
    Move(transfer::Arguments),
    /// Make, list and check backups
    #[command(subcommand)]
    Backup(backup::Command),
    /// Fill an empty database with a backup
    #[command(after_help = "\
Nothing of a backup is believed before it is authenticated under ENCRYPTION_KEY, and the database
is filled in one transaction: whenever the command ends, the database holds everything or nothing.
Sessions, mailed links and waiting mails end; whatever was changed after the backup is lost.

Every user of the machine can see the arguments: leave the password out of the URL and set PGPASSWORD.

Examples:
  portcullis restore 0123456789abcdef
  portcullis restore /mnt/copy/portcullis-20261127T020000Z-0123456789abcdef.backup \\
    --into postgres://gate@db.example:5432/gate")]
    Restore(restore::Arguments),
    /// Create, list, change and recover users
    #[command(subcommand)]
    Users(users::Command),
    /// Export the audit log
    #[command(subcommand)]
    Audit(audit::Command),
    /// List and delete the gateway's own errors
    #[command(subcommand)]
    Errors(errors::Command),
    /// Make secrets; list, rotate and retire the keys that sign access tokens
    #[command(subcommand)]
    Keys(keys::Command),
    /// Check whether a running gateway is ready
    #[command(after_help = "\
It requests /api/health/ready on the configured address. Exit code 0 means ready.

Examples:
  portcullis healthcheck
  HEALTHCHECK CMD [\"portcullis\", \"healthcheck\"]     (in a Dockerfile)")]
    Healthcheck(healthcheck::Arguments),
    /// Gather what helps to find a cause into one file, without secrets
    #[command(after_help = "\
The archive holds the settings in force, the report of `portcullis doctor`, the last errors, the
metrics of the running gateway, the migrations and facts about the machine. Secrets are taken out;
no row of a user is read. manifest.json lists the files, and what could not be had. docs/doctor.md
has the details.

Examples:
  portcullis support-bundle --show | less
  portcullis support-bundle --output /tmp/bundle.tar.gz")]
    SupportBundle(support_bundle::Arguments),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  portcullis completions bash > /etc/bash_completion.d/portcullis
  portcullis completions zsh > \"${fpath[1]}/_portcullis\"
  portcullis completions fish > ~/.config/fish/completions/portcullis.fish")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all commands
    #[command(after_help = "\
Examples:
  portcullis man | man -l -
  portcullis man --output /usr/local/share/man/man1")]
    Man(man::Arguments),
}

/// Runs the command that the arguments name, and returns the exit code of the process.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // clap reports help and version as errors with exit code 0; a closed terminal is ignored.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let Cli { common, command } = cli;
    match command {
        Command::Serve(listen) => serve(common.sources(listen)?),
        Command::Check(format) => check::run(common.sources(Listen::default())?, format),
        Command::Doctor(format) => doctor::run(common.sources(Listen::default())?, format),
        Command::Routes(format) => routes::run(&common.load_without_secrets(Listen::default())?, format),
        Command::Explain(arguments) => explain::run(&common.load(Listen::default())?, arguments),
        Command::Limits(command) => control::limits(&common.load_without_secrets(Listen::default())?, command),
        Command::Reload(format) => control::reload(&common.load_without_secrets(Listen::default())?, format),
        Command::LogLevel(arguments) => log_level::run(&common.load_without_secrets(Listen::default())?, arguments),
        Command::Migrate(command) => migrate::run(&common.load(Listen::default())?, command),
        Command::UpgradeCheck(format) => upgrade_check::run(&common.load(Listen::default())?, format),
        Command::Move(arguments) => transfer::run(&common.load(Listen::default())?, &arguments),
        Command::Backup(command) => backup::run(&common.load(Listen::default())?, command),
        Command::Restore(arguments) => restore::run(&common.load(Listen::default())?, &arguments),
        Command::Users(command) => users::run(&common.load(Listen::default())?, command),
        Command::Audit(command) => audit::run(&common.load(Listen::default())?, command),
        Command::Errors(command) => errors::run(&common.load(Listen::default())?, command),
        Command::Keys(keys::Command::Init(arguments)) => keys::init(arguments),
        Command::Keys(command) => keys::run(&common.load(Listen::default())?, command),
        Command::Healthcheck(arguments) => {
            let healthcheck::Arguments { listen, format } = arguments;
            healthcheck::run(&common.load_without_secrets(listen)?, format)
        }
        Command::SupportBundle(arguments) => support_bundle::run(common.sources(Listen::default())?, arguments),
        Command::Man(arguments) => man::run(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "portcullis", &mut script);
            output::print(&String::from_utf8_lossy(&script));
            Ok(())
        }
    }
}

impl Common {
    fn sources(self, listen: Listen) -> Result<Sources, Failure> {
        let flags = Flags { config: self.config, host: listen.host, port: listen.port, data_dir: self.data_dir };
        Sources::from_process(flags).map_err(|error| {
            Failure::new(format!("the working folder cannot be read: {error}")).hint("change to a folder that exists")
        })
    }

    /// For commands that need no secret, so that they do not depend on the store of secrets.
    fn load_without_secrets(self, listen: Listen) -> Result<Settings, Failure> {
        portcullis_settings::load(&self.sources(listen)?, &portcullis_api::route_specs())
            .map_err(|problems| Failure::of_settings(&problems))
    }

    fn load(self, listen: Listen) -> Result<Settings, Failure> {
        let mut sources = self.sources(listen)?;
        runtime::start()?.block_on(secret_store::load(&mut sources)).map_err(Failure::from)
    }
}

/// How long the end of `serve` waits for work that cannot be interrupted.
const LAST_BLOCKING_WORK: Duration = Duration::from_secs(1);

fn serve(sources: Sources) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        Failure::new(format!("the threads of the server cannot be started: {error}"))
            .hint("raise the limits of open files and processes of this user (ulimit -n, ulimit -u)")
    })?;
    let served = runtime.block_on(load_and_serve(sources));
    // A start that was stopped may leave a look-up of a name behind, which ends only by its own timeout.
    runtime.shutdown_timeout(LAST_BLOCKING_WORK);
    served
}

async fn load_and_serve(mut sources: Sources) -> Result<(), Failure> {
    let failed = |error: StartError| Failure::of_error(&error).optional_hint(error.hint());
    // First of all: the kernel drops signals for process 1 of a container that have no handler.
    let mut signals = StopSignals::listen().map_err(|error| failed(StartError::Signals(error)))?;
    let tell = |error: &StoreError, pause: Duration| {
        output::print_error(&format!("warning: {error}; trying again in {} s\n", pause.as_secs()));
    };
    let settings = tokio::select! {
        settings = Box::pin(secret_store::load_at_start(&mut sources, tell)) => settings?,
        () = signals.received() => return Ok(()),
    };
    Box::pin(crate::serve::run(settings, sources, signals)).await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}

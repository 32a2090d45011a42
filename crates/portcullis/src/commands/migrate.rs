//! `portcullis migrate`: shows, plans and changes the schema of the database.

use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Subcommand;
use portcullis_model::Random;
use portcullis_model::user::rfc3339_millis;
use portcullis_settings::Settings;
use portcullis_storage::{DatabaseUrl, MigrationStatus, Migrator, OpenError, Step};
use serde_json::{Value, json};

use super::output::{Failure, print, print_error, print_json};
use super::{Format, runtime, table};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the schema of the database and the pending steps
    #[command(after_help = "\
It changes nothing. The exit code is 0 even when steps are pending.

Examples:
  portcullis migrate status
  portcullis migrate status --json | jq .serves")]
    Status(Format),
    /// Print the SQL that `up` would run
    #[command(after_help = "\
It changes nothing.

Examples:
  portcullis migrate plan > review.sql")]
    Plan(Format),
    /// Migrate the schema to the newest version
    #[command(after_help = "\
The server does the same at its start, unless database.migrate is off. Each step is one transaction:
a step that fails or is interrupted leaves the schema as it was. SQLite's file is copied first. While
another process migrates, this command waits.

Examples:
  portcullis migrate up
  DATABASE_URL=postgres://owner@db/gate portcullis migrate up")]
    Up(Format),
    /// Undo steps; data that only the newer schema can hold is lost
    #[command(after_help = "\
Stop the servers first, and make a backup of PostgreSQL; SQLite's file is copied.

Examples:
  portcullis migrate down --to 1
  portcullis migrate down --to 1 --yes")]
    Down(Down),
}

#[derive(clap::Args, Debug)]
pub(super) struct Down {
    /// The schema to go back to; 0 empties the database
    #[arg(long, value_name = "SCHEMA", value_parser = clap::value_parser!(i64).range(0..))]
    to: i64,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    let runtime = runtime::start()?;
    match (&settings.database.url, &command) {
        // Opening the database creates the file, which only `up` may do.
        (DatabaseUrl::Sqlite { path }, Command::Status(_) | Command::Plan(_) | Command::Down(_)) if !path.exists() => {
            return Err(Failure::new(format!("there is no database at {}", path.display()))
                .hint("create it with `portcullis migrate up`; the first `portcullis serve` creates it too"));
        }
        (DatabaseUrl::Sqlite { .. }, _) => {
            let kept = settings.load_or_create_secrets(&Random::system());
            kept.map_err(|error| Failure::of_error(&error).optional_hint(error.hint()))?;
        }
        (DatabaseUrl::Postgres { .. }, _) => {}
    }
    runtime.block_on(async {
        let mut migrator =
            Box::pin(crate::assembly::offline::open_migrator(settings)).await.map_err(|error| describe(&error))?;
        let done = Box::pin(perform(&mut migrator, command)).await;
        migrator.close().await;
        done
    })
}

async fn perform(migrator: &mut Migrator, command: Command) -> Result<(), Failure> {
    let status = migrator.status().await.map_err(|error| describe(&error))?;
    match command {
        Command::Status(format) => show_status(&status, format),
        Command::Plan(format) => show_plan(&status, format),
        Command::Up(format) => {
            let mut steps = Vec::new();
            let copy = migrator.up(|step| note(&mut steps, step, format, "applied")).await;
            show_done(&steps, &copy.map_err(|error| describe(&error))?, status.known.max(status.found), format);
        }
        Command::Down(arguments) => {
            let Down { to, yes, format } = arguments;
            if to >= status.found {
                return Err(Failure::new(format!("the database has schema {}, which is not above {to}", status.found))
                    .hint("`portcullis migrate status` shows the schema"));
            }
            confirm(&status, to, yes)?;
            let mut steps = Vec::new();
            let copy = migrator.down(to, |step| note(&mut steps, step, format, "undone")).await;
            show_done(&steps, &copy.map_err(|error| describe(&error))?, to, format);
        }
    }
    Ok(())
}

/// Asks for confirmation on a terminal; elsewhere `--yes` is needed.
fn confirm(status: &MigrationStatus, to: i64, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::new(format!(
            "going back to schema {to} loses data that only schema {} can hold",
            status.found
        ))
        .hint("add --yes to confirm; nothing was changed"));
    }
    print_error(&format!(
        "{} goes back from schema {} to {to}; data that only the newer schema can hold is lost.\nContinue? [y/N] ",
        status.address, status.found
    ));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(Failure::new("nothing was changed")) }
}

fn note(steps: &mut Vec<Step>, step: &Step, format: Format, done: &str) {
    if !format.json {
        print(&format!("{done} {:04} {} in {} ms\n", step.version, step.name, step.took.as_millis()));
    }
    steps.push(step.clone());
}

fn show_status(status: &MigrationStatus, format: Format) {
    if format.json {
        let applied = status.applied.iter().map(|step| {
            json!({
                "version": step.version, "name": step.name, "appliedAt": rfc3339_millis(step.at), "appliedBy": step.by,
                "runsSince": step.runs_since,
            })
        });
        let pending = status.pending.iter().map(|step| json!({ "version": step.version, "name": step.name }));
        print_json(&json!({
            "engine": status.engine,
            "database": status.address,
            "schema": status.found,
            "known": status.known,
            "serves": status.serves,
            "applied": applied.collect::<Vec<Value>>(),
            "pending": pending.collect::<Vec<Value>>(),
        }));
        return;
    }
    let mut text = format!("{} ({})\n", status.address, status.engine);
    text.push_str(&match (status.serves, status.pending.len()) {
        (true, _) if status.found > status.known => {
            format!("schema {}; this version knows schemas up to {} and runs on it\n", status.found, status.known)
        }
        (true, _) => format!("schema {}, up to date\n", status.found),
        (false, 0) => {
            format!("schema {}, which is too new: this version knows schemas up to {}\n", status.found, status.known)
        }
        (false, 1) => format!("schema {}, 1 step pending\n", status.found),
        (false, left) => format!("schema {}, {left} steps pending\n", status.found),
    });
    let mut rows: Vec<Vec<String>> = Vec::new();
    for step in &status.applied {
        let by = step.by.clone().unwrap_or_else(|| "unknown".to_owned());
        rows.push(vec![format!("{:04}", step.version), step.name.clone(), rfc3339_millis(step.at), by]);
    }
    for step in &status.pending {
        rows.push(vec![format!("{:04}", step.version), step.name.to_owned(), "pending".to_owned(), String::new()]);
    }
    text.push_str(&table::render(&["STEP", "NAME", "APPLIED", "BY"], &rows));
    print(&text);
}

fn show_plan(status: &MigrationStatus, format: Format) {
    if format.json {
        let steps = status.pending.iter();
        let steps = steps.map(|step| json!({ "version": step.version, "name": step.name, "sql": step.sql }));
        print_json(&json!({ "steps": steps.collect::<Vec<Value>>() }));
    } else if status.pending.is_empty() {
        print(&format!("-- {}: nothing to do\n", status.address));
    } else {
        for step in &status.pending {
            let (version, name, sql) = (step.version, step.name, step.sql.trim_end());
            print(&match step.concurrent {
                true => format!("-- step {version:04} {name}, outside of a transaction\n{sql}\n"),
                false => format!("-- step {version:04} {name}\nBEGIN;\n{sql}\nCOMMIT;\n"),
            });
        }
    }
}

fn show_done(steps: &[Step], copy: &Option<PathBuf>, schema: i64, format: Format) {
    if format.json {
        let list = steps.iter();
        let list = list
            .map(|step| json!({ "version": step.version, "name": step.name, "milliseconds": step.took.as_millis() }));
        print_json(&json!({ "schema": schema, "steps": list.collect::<Vec<Value>>(), "snapshot": copy }));
        return;
    }
    if steps.is_empty() {
        print(&format!("nothing to do: the database has schema {schema}\n"));
    }
    if let Some(copy) = copy {
        print(&format!(
            "a copy of the database before the change is in {}\nto restore it, stop the server and replace the database file with the copy\n",
            copy.display()
        ));
    }
}

fn describe(error: &OpenError) -> Failure {
    Failure::of_error(error).optional_hint(error.hint())
}

//! `portcullis users import`: imports users from files and from the table of another program.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use portcullis_identity::{Caller, Identity, ImportRow, RowOutcome};
use portcullis_model::SecretString;
use portcullis_settings::Settings;
use portcullis_storage::{DatabaseUrl, ForeignUser, ForeignUsers};
use serde_json::{Map, Value, json};

use super::describe;
use crate::commands::Format;
use crate::commands::output::{Failure, print, print_error, print_json};

/// The names of columns of CSV and members of JSON, as the API spells them.
pub(super) const COLUMNS: [&str; 12] = [
    "id",
    "email",
    "username",
    "firstName",
    "lastName",
    "password",
    "role",
    "isActive",
    "isEmailVerified",
    "createdAt",
    "avatar",
    "permissions",
];
/// The columns that every source must have.
const REQUIRED: [&str; 4] = ["email", "username", "firstName", "lastName"];

/// The most users in one transaction.
const BATCH: usize = 1_000;
/// The most refusals that are printed; the report has all of them.
const MAX_PRINTED: u64 = 20;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FileFormat {
    /// Values separated by commas, names in the first line (RFC 4180)
    Csv,
    /// One JSON object a line
    Ndjson,
}

#[derive(clap::Args, Debug)]
pub(crate) struct Import {
    /// A file, - for standard input, or postgres://user@host/database
    source: String,
    /// The format of the file [default: by its name]
    #[arg(long, value_enum)]
    format: Option<FileFormat>,
    /// The table, or schema.table, in a PostgreSQL database
    #[arg(long, default_value = "users")]
    table: String,
    /// Write the refused users to a file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Read and check all users, but change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: Format,
}

pub(crate) async fn run(identity: &Identity, settings: &Settings, arguments: Import) -> Result<(), Failure> {
    let report = match &arguments.report {
        Some(path) => Some(BufWriter::new(File::create(path).map_err(|error| {
            Failure::new(format!("the report cannot be written to {}: {error}", path.display()))
                .hint("name a file in a folder that you can write to")
        })?)),
        None => None,
    };
    let mut run = ImportRun::new(identity, &arguments, report);
    if arguments.source.starts_with("postgres://") || arguments.source.starts_with("postgresql://") {
        from_postgres(settings, &arguments, &mut run).await?;
    } else {
        from_file(&arguments, &mut run).await?;
    }
    run.finish().await
}

/// An import in progress: the rows that wait for a transaction, and the counts of outcomes.
struct ImportRun<'a> {
    identity: &'a Identity,
    format: Format,
    dry_run: bool,
    report: Option<BufWriter<File>>,
    bar: Option<ProgressBar>,
    pending: Vec<(u64, ImportRow)>,
    begun: Instant,
    made: u64,
    existing: u64,
    refused: u64,
}

impl<'a> ImportRun<'a> {
    fn new(identity: &'a Identity, arguments: &Import, report: Option<BufWriter<File>>) -> Self {
        let shows = std::io::stderr().is_terminal() && !arguments.json.json;
        let bar = shows.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(
                ProgressStyle::with_template("{spinner} {human_pos} users, {per_sec}").expect("the template is valid"),
            );
            bar
        });
        Self {
            identity,
            format: arguments.json,
            dry_run: arguments.dry_run,
            report,
            bar,
            pending: Vec::with_capacity(BATCH),
            begun: Instant::now(),
            made: 0,
            existing: 0,
            refused: 0,
        }
    }

    /// Sets the total number of users for the progress bar.
    fn set_total(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            let form = "[{bar:40}] {human_pos}/{human_len} users, {per_sec}, {eta} left";
            bar.set_style(ProgressStyle::with_template(form).expect("the template is valid"));
        }
    }

    async fn add(&mut self, place: u64, row: ImportRow) -> Result<(), Failure> {
        self.pending.push((place, row));
        if self.pending.len() == BATCH { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        let rows = std::mem::replace(&mut self.pending, Vec::with_capacity(BATCH));
        if rows.is_empty() {
            return Ok(());
        }
        let names: Vec<(u64, String)> = rows.iter().map(|(place, row)| (*place, row.email.clone())).collect();
        let rows = rows.into_iter().map(|(_, row)| row).collect();
        let outcomes = self.identity.import.users(rows, self.dry_run, &Caller::shell()).await;
        let outcomes = outcomes.map_err(|error| {
            describe(&error).hint("remove the cause and run the command again: users that were imported are skipped")
        })?;
        for ((place, email), outcome) in names.into_iter().zip(outcomes) {
            match outcome {
                RowOutcome::Created => self.made += 1,
                RowOutcome::AlreadyThere => self.existing += 1,
                RowOutcome::Refused(reason) => self.refuse(place, &email, &reason)?,
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_position(self.made + self.existing + self.refused);
        }
        Ok(())
    }

    fn refuse(&mut self, place: u64, email: &str, reason: &str) -> Result<(), Failure> {
        self.refused += 1;
        if let Some(report) = &mut self.report {
            let line = json!({ "line": place, "email": email, "reason": reason });
            writeln!(report, "{line}").map_err(|error| report_failure(&error))?;
        }
        if self.refused <= MAX_PRINTED && !self.format.json {
            let line = format!("refused, line {place}, {email}: {reason}\n");
            match &self.bar {
                Some(bar) => bar.println(line.trim_end()),
                None => print_error(&line),
            }
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<(), Failure> {
        self.flush().await?;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some(mut report) = self.report.take() {
            report.flush().map_err(|error| report_failure(&error))?;
        }
        let seconds = self.begun.elapsed().as_secs_f64();
        let Self { made, existing, refused, dry_run, .. } = self;
        if self.format.json {
            let summary = json!({ "imported": made, "alreadyThere": existing, "refused": refused, "seconds": seconds, "dryRun": dry_run });
            print_json(&summary);
        } else {
            let done = if dry_run { "Would import" } else { "Imported" };
            print(&format!(
                "{done} {made} users in {seconds:.1} s; {existing} existed already; {refused} were refused.\n"
            ));
        }
        match refused {
            0 => Ok(()),
            _ => Err(Failure::new(format!("{refused} users were refused")).hint(
                "correct the refused users (--report FILE lists all) and run the command again: the others are skipped",
            )),
        }
    }
}

fn report_failure(error: &std::io::Error) -> Failure {
    Failure::new(format!("the report cannot be written: {error}"))
        .hint("free space on the disk, or name another file with --report")
}

async fn from_postgres(settings: &Settings, arguments: &Import, run: &mut ImportRun<'_>) -> Result<(), Failure> {
    let url = DatabaseUrl::parse(&arguments.source).map_err(|error| Failure::of_error(&error))?;
    let opened = Box::pin(crate::assembly::offline::open_foreign_users(settings, &url, &arguments.table)).await;
    let mut users: ForeignUsers = opened.map_err(|error| {
        Failure::of_error(&error).maybe_hint(error.hint().map(|hint| hint.replace("DATABASE_URL", "the address")))
    })?;
    run.set_total(users.total());
    let mut place = 0;
    loop {
        let rows = users.next(BATCH_ROWS).await.map_err(|error| Failure::of_error(&error))?;
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            place += 1;
            run.add(place, foreign(row)).await?;
        }
    }
}

const BATCH_ROWS: u32 = 1_000;

fn foreign(user: ForeignUser) -> ImportRow {
    ImportRow {
        id: user.id,
        email: user.email.unwrap_or_default(),
        username: user.username.unwrap_or_default(),
        first_name: user.first_name.unwrap_or_default(),
        last_name: user.last_name.unwrap_or_default(),
        avatar: None,
        password: user.password.map(SecretString::new),
        role: user.role,
        is_active: user.is_active,
        is_email_verified: user.is_email_verified,
        created_at: user.created_at,
        permissions: Vec::new(),
    }
}

async fn from_file(arguments: &Import, run: &mut ImportRun<'_>) -> Result<(), Failure> {
    let source = arguments.source.as_str();
    let lower = source.to_ascii_lowercase();
    let by_name = match lower.rsplit('.').next() {
        Some("csv") => Some(FileFormat::Csv),
        Some("ndjson" | "jsonl") => Some(FileFormat::Ndjson),
        _ => None,
    };
    let format = arguments.format.or(by_name).ok_or_else(|| {
        Failure::new(format!("the format of {source} is unknown")).hint("add --format csv or --format ndjson")
    })?;
    let file: Box<dyn Read> = match source {
        "-" => Box::new(std::io::stdin()),
        path => Box::new(File::open(path).map_err(|error| {
            Failure::new(format!("{path} cannot be read: {error}"))
                .hint("name a readable file, or - for standard input")
        })?),
    };
    match format {
        FileFormat::Csv => from_csv(file, run).await,
        FileFormat::Ndjson => from_ndjson(file, run).await,
    }
}

async fn from_csv(file: Box<dyn Read>, run: &mut ImportRun<'_>) -> Result<(), Failure> {
    let unreadable = |error: &csv::Error| {
        Failure::new(format!("the file cannot be read: {error}"))
            .hint("check that it is a CSV file (RFC 4180) in UTF-8")
    };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(BufReader::new(file));
    let names: Vec<Option<&str>> =
        reader.headers().map_err(|error| unreadable(&error))?.iter().map(known_name).collect();
    let missing: Vec<&str> = REQUIRED.into_iter().filter(|required| !names.contains(&Some(required))).collect();
    if !missing.is_empty() {
        let hint = format!("write the names of the columns into the first line: {}", COLUMNS.join(","));
        return Err(Failure::new(format!("the first line does not name {}", missing.join(", "))).hint(hint));
    }
    let mut record = csv::StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let mut members = Map::new();
                for (name, value) in names.iter().zip(&record) {
                    if let Some(name) = name.filter(|_| !value.is_empty()) {
                        members.insert(name.to_owned(), Value::from(value));
                    }
                }
                submit(run, line, members).await?;
            }
            Err(error) if matches!(error.kind(), csv::ErrorKind::Utf8 { .. }) => {
                run.refuse(line, "", "the line is not UTF-8")?;
            }
            Err(error) => return Err(unreadable(&error)),
        }
    }
}

/// Finds the column with this name; letter case and underscores do not matter.
fn known_name(name: &str) -> Option<&'static str> {
    let plain = |name: &str| name.trim().trim_start_matches('\u{feff}').replace('_', "").to_ascii_lowercase();
    COLUMNS.into_iter().find(|known| plain(known) == plain(name))
}

async fn from_ndjson(file: Box<dyn Read>, run: &mut ImportRun<'_>) -> Result<(), Failure> {
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes);
        let failed = |error: std::io::Error| {
            Failure::new(format!("the file cannot be read: {error}"))
                .hint("name a readable file, or - for standard input")
        };
        if read.map_err(failed)? == 0 {
            break;
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice::<Map<String, Value>>(&bytes) {
            Ok(members) => {
                let known =
                    members.into_iter().filter_map(|(name, value)| Some((known_name(&name)?.to_owned(), value)));
                submit(run, line, known.collect()).await?;
            }
            Err(error) => run.refuse(line, "", &format!("the line is not a JSON object: {}", plain_reason(&error)))?,
        }
    }
    Ok(())
}

/// Describes a syntax error without the text, which may contain a password hash.
fn plain_reason(error: &serde_json::Error) -> String {
    format!("{:?} error in column {}", error.classify(), error.column()).to_lowercase()
}

async fn submit(run: &mut ImportRun<'_>, line: u64, members: Map<String, Value>) -> Result<(), Failure> {
    let email = members.get("email").and_then(Value::as_str).unwrap_or_default().to_owned();
    match row(members) {
        Ok(row) => run.add(line, row).await,
        Err(problem) => run.refuse(line, &email, &problem),
    }
}

/// Converts the members to a row. Truth values and lists may be texts, as in CSV.
fn row(mut members: Map<String, Value>) -> Result<ImportRow, String> {
    let mut text = |name: &str| match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} must be a text")),
    };
    let (id, email, username) = (text("id")?, text("email")?, text("username")?);
    let (first_name, last_name, avatar) = (text("firstName")?, text("lastName")?, text("avatar")?);
    let (password, role, created_at) = (text("password")?, text("role")?, text("createdAt")?);
    let mut flag = |name: &str| match members.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "1" | "yes" => Ok(Some(true)),
            "false" | "f" | "0" | "no" => Ok(Some(false)),
            _ => Err(format!("{name} must be true or false")),
        },
        Some(_) => Err(format!("{name} must be true or false")),
    };
    let (is_active, is_email_verified) = (flag("isActive")?, flag("isEmailVerified")?);
    let permissions = match members.remove("permissions") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(names)) => {
            let names = names.into_iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
            names.ok_or_else(|| "permissions must be a list of texts".to_owned())?
        }
        Some(_) => return Err("permissions must be a list of texts".to_owned()),
    };
    Ok(ImportRow {
        id,
        email: email.unwrap_or_default(),
        username: username.unwrap_or_default(),
        first_name: first_name.unwrap_or_default(),
        last_name: last_name.unwrap_or_default(),
        avatar,
        password: password.map(SecretString::new),
        role,
        is_active,
        is_email_verified,
        created_at,
        permissions,
    })
}

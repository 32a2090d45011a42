//! `portcullis users import`: imports users from files and from the table of another program.

mod columns;
mod files;
mod import_run;
mod members;
mod postgres;
mod row;

use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use portcullis_identity::Identity;
use portcullis_settings::Settings;

pub(super) use self::columns::COLUMNS;
use self::columns::Columns;
use self::import_run::ImportRun;
use crate::commands::Format;
use crate::commands::output::Failure;

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
    /// The table, or schema.table, in a PostgreSQL database [default: users]
    #[arg(long)]
    table: Option<String>,
    /// Write the refused users to a file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Leave out the values of a column; may be repeated
    #[arg(long = "ignore-column", value_name = "NAME")]
    ignored: Vec<String>,
    /// Read and check all users, but change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: Format,
}

pub(crate) async fn run(identity: &Identity, settings: &Settings, arguments: Import) -> Result<(), Failure> {
    let columns = Columns::new(&arguments.ignored)?;
    let report = match &arguments.report {
        Some(path) => Some(BufWriter::new(File::create(path).map_err(|error| {
            Failure::new(format!("the report cannot be written to {}: {error}", path.display()))
                .hint("name a file in a folder that you can write to")
        })?)),
        None => None,
    };
    let mut run = ImportRun::new(identity, arguments.json, arguments.dry_run, report);
    let is_database = ["postgres://", "postgresql://"].iter().any(|scheme| arguments.source.starts_with(scheme));
    if is_database && arguments.format.is_some() {
        return Err(Failure::new("--format has no effect on a table").hint("remove it, or name a file"));
    }
    if is_database {
        let table = arguments.table.as_deref().unwrap_or("users");
        postgres::from_table(settings, &arguments.source, table, &columns, &mut run).await?;
    } else if arguments.table.is_some() {
        return Err(Failure::new("--table has no effect on a file").hint("remove it, or name a PostgreSQL database"));
    } else {
        from_file(&arguments, &columns, &mut run).await?;
    }
    run.finish().await
}

async fn from_file(arguments: &Import, columns: &Columns, run: &mut ImportRun<'_>) -> Result<(), Failure> {
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
    let open = |path: &str| {
        File::open(path).map_err(|error| {
            Failure::new(format!("{path} cannot be read: {error}"))
                .hint("name a readable file, or - for standard input")
        })
    };
    match (format, source) {
        (FileFormat::Csv, "-") => files::from_csv(std::io::stdin(), columns, run).await,
        (FileFormat::Csv, path) => files::from_csv(open(path)?, columns, run).await,
        (FileFormat::Ndjson, "-") => files::from_ndjson(files::copy(std::io::stdin())?, columns, run).await,
        (FileFormat::Ndjson, path) => {
            let file = open(path)?;
            // A pipe can be read only once.
            let file = if file.metadata().is_ok_and(|data| data.is_file()) { file } else { files::copy(file)? };
            files::from_ndjson(file, columns, run).await
        }
    }
}

//! `portcullis upgrade-check`: whether this version may roll over the database while the servers on it are replaced.

use portcullis_model::Clock;
use portcullis_settings::Settings;
use portcullis_storage::{DatabaseUrl, MigrationStatus, RollingObstacle};
use serde_json::{Value, json};

use super::output::{Failure, print, print_json};
use super::{Format, runtime};
use crate::assembly::{check_clock, offline};

/// One reason not to roll, as it is printed.
struct Problem {
    text: String,
    hint: Option<String>,
}

pub(super) fn run(settings: &Settings, format: Format) -> Result<(), Failure> {
    let mut problems = Vec::new();
    let status = match &settings.database.url {
        // Opening it would create it.
        DatabaseUrl::Sqlite { path } if !path.exists() => None,
        _ => runtime::start()?.block_on(Box::pin(examine(settings, &mut problems))),
    };
    // With PostgreSQL the time of the database counts.
    if let (DatabaseUrl::Sqlite { .. }, Err(error)) = (&settings.database.url, check_clock(&Clock::system())) {
        problems.push(Problem { text: error.to_string(), hint: Some(error.hint().to_owned()) });
    }
    if format.json {
        print_json(&document(settings, status.as_ref(), &problems));
    } else if problems.is_empty() {
        print(&format!("{}\n", sentence(settings, status.as_ref())));
    }
    if problems.is_empty() {
        return Ok(());
    }
    let details = problems.into_iter().map(|Problem { text, hint }| match hint {
        Some(hint) => format!("{text}\n  hint: {hint}\n"),
        None => format!("{text}\n"),
    });
    let refused = format!("version {} must not roll over {}", env!("CARGO_PKG_VERSION"), settings.database.url);
    Err(Failure::new(refused).details(details.collect()))
}

/// Reads the schema, and adds what prevents a roll to the problems. `None` if the database cannot be read.
async fn examine(settings: &Settings, problems: &mut Vec<Problem>) -> Option<MigrationStatus> {
    let found = async {
        let mut migrator = Box::pin(offline::open_migrator(settings)).await?;
        let status = migrator.status().await?;
        let obstacles = Box::pin(migrator.rolling_obstacles(&status, settings.database.migrate)).await?;
        migrator.close().await;
        Ok::<_, RollingObstacle>((status, obstacles))
    };
    let (status, obstacles) = match found.await {
        Ok((status, obstacles)) => (Some(status), obstacles),
        Err(error) => (None, vec![error]),
    };
    problems.extend(
        obstacles
            .iter()
            .map(|obstacle| Problem { text: Failure::of_error(obstacle).sentence(), hint: obstacle.hint() }),
    );
    status
}

/// What a roll would do.
fn sentence(settings: &Settings, status: Option<&MigrationStatus>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let Some(status) = status.filter(|status| status.found > 0) else {
        return format!("{} is empty: there is nothing to roll over", settings.database.url);
    };
    let MigrationStatus { address, found, known, pending, .. } = status;
    let steps = match pending.len() {
        _ if found > known => format!("schema {found} of a newer version, which may run beside this one"),
        0 => format!("schema {found}, nothing to migrate"),
        1 => format!("schema {found}, 1 step that only adds"),
        count => format!("schema {found}, {count} steps that only add"),
    };
    format!("version {version} may roll over {address}: {steps}")
}

fn document(settings: &Settings, status: Option<&MigrationStatus>, problems: &[Problem]) -> Value {
    let pending = status.into_iter().flat_map(|status| &status.pending);
    let problems_listed = problems.iter().map(|problem| json!({ "problem": problem.text, "hint": problem.hint }));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "mayRoll": problems.is_empty(),
        "engine": settings.database.url.engine(),
        "database": settings.database.url.to_string(),
        "schema": status.map(|status| status.found),
        "known": status.map(|status| status.known),
        "pending": pending.map(|step| json!({ "version": step.version, "name": step.name })).collect::<Vec<_>>(),
        "problems": problems_listed.collect::<Vec<_>>(),
    })
}

//! `portcullis check`: checks all settings without starting anything.

use portcullis_model::Clock;
use portcullis_model::finding::with_causes;
use portcullis_settings::{Notice, Place, Problems, Settings, Sources, default_version_hint};
use serde_json::json;

use super::output::{Failure, print, print_json, print_notice};
use super::{Format, runtime};
use crate::secret_store::{self, LoadError};

pub(super) fn run(mut sources: Sources, format: Format) -> Result<(), Failure> {
    let loaded = runtime::start()?.block_on(secret_store::load(&mut sources));
    let loaded = match loaded {
        Ok(settings) => with_default_version(settings),
        Err(LoadError::Settings(problems)) => Err(problems),
        Err(LoadError::Store(error)) => {
            if format.json {
                let problem = Notice::new(&Place::Nowhere, with_causes(&error)).hint(error.hint());
                print_json(&json!({ "ok": false, "problems": [problem], "warnings": [], "advice": [] }));
            }
            return Err(Failure::of_store(&error));
        }
    };
    match loaded {
        Ok(settings) if format.json => {
            print_json(&json!({
                "ok": true,
                "environment": settings.environment.as_str(),
                "problems": [],
                "warnings": settings.warnings,
                "advice": settings.advice,
            }));
            Ok(())
        }
        Ok(settings) => {
            for warning in &settings.warnings {
                print_notice("warning", warning);
            }
            for advice in &settings.advice {
                print_notice("advice", advice);
            }
            print(&summary(&settings));
            Ok(())
        }
        Err(problems) => {
            if format.json {
                let problems: Vec<_> = problems.iter().collect();
                print_json(&json!({ "ok": false, "problems": problems, "warnings": [], "advice": [] }));
            }
            Err(Failure::of_settings(&problems))
        }
    }
}

/// Refuses settings whose default version has ended: no other command needs to know the time for its settings.
fn with_default_version(settings: Settings) -> Result<Settings, Problems> {
    match settings.versions.versions().check_default(Clock::system().now()) {
        Ok(()) => Ok(settings),
        Err(error) => {
            let hint = default_version_hint(&error.0);
            Err(Notice::new(&Place::Nowhere, error.to_string()).hint(hint).into())
        }
    }
}

fn summary(settings: &Settings) -> String {
    let count = |number: usize, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    };
    let file = settings.config_file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
    format!(
        "The settings are valid: {}, {file}, listening on {}, {}, {}, {}.\n",
        settings.environment.as_str(),
        settings.server.listen,
        settings.database.url.engine(),
        count(settings.upstreams.len(), "upstream", "upstreams"),
        count(settings.routes.len(), "route", "routes"),
    )
}

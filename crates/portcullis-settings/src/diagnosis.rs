//! The settings' part of `portcullis doctor`: problems, warnings, what is unsafe in production, and the ages of secrets.

use std::path::{Path, PathBuf};

use portcullis_model::policy::Environment;
use portcullis_model::{Finding, SecretString, Timestamp};

use crate::data_folder::secret_files;
use crate::{Notice, Problems, Settings, Sources, Stored};

const SETTINGS: &str = "settings";
const SECRETS: &str = "keys.secrets";
/// Parts of the names of variables whose values are secret.
const SECRET_NAMES: [&str; 8] = ["PASSWORD", "SECRET", "TOKEN", "_KEY", "HEADERS", "DSN", "CREDENTIAL", "COOKIE"];
/// A shorter part of a value may be any word.
const LONG_PART: usize = 12;
/// The age, in days, at which a secret should be replaced.
const OLD_SECRET: i64 = 365;

/// Reports the problems because of which settings are refused.
pub fn refused_settings(problems: &Problems) -> Vec<Finding> {
    problems.iter().map(|problem| Finding::fail(SETTINGS, text(problem), hint(problem))).collect()
}

/// Reports probable mistakes in settings that were accepted, and in production also what makes them unsafe.
pub fn accepted_settings(settings: &Settings) -> Vec<Finding> {
    let is_production = settings.environment == Environment::Production;
    let advice = settings.advice.iter().filter(|_| is_production);
    let mut found: Vec<Finding> = settings
        .warnings
        .iter()
        .chain(advice)
        .map(|notice| Finding::warn(SETTINGS, text(notice), hint(notice)))
        .collect();
    if found.is_empty() {
        let file =
            settings.config_file.as_ref().map_or_else(|| "no file".to_owned(), |file| file.display().to_string());
        found.push(Finding::pass(SETTINGS, format!("valid for {}, {file}", settings.environment.as_str())));
    }
    found
}

/// Reports how old the secrets are that are kept in files.
pub fn ages_of_secrets(settings: &Settings, sources: &Sources, now: Timestamp) -> Finding {
    let configured = [
        ("CSRF_SECRET", settings.secrets.csrf.is_some()),
        ("ENCRYPTION_KEY", settings.secrets.encryption.is_some()),
        ("JWT_SECRET", settings.secrets.jwt.is_some()),
    ];
    let mut files: Vec<(&str, PathBuf)> =
        configured.iter().filter_map(|(name, _)| Some((*name, named_file(sources, name)?))).collect();
    files.extend(
        secret_files(&settings.data_dir)
            .into_iter()
            .filter(|(name, _)| configured.iter().any(|(known, is_configured)| known == name && !is_configured)),
    );
    let ages = files.iter().filter_map(|(name, path)| Some((*name, age(path, now)?)));
    judge_ages(&ages.collect::<Vec<_>>())
}

/// Returns the values of the variables whose names tell a secret, and those of the store of secrets, so that they can be taken out of other texts.
pub fn environment_secrets(sources: &Sources) -> Vec<SecretString> {
    let mut secrets = Vec::new();
    for (name, value) in &sources.environment {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        let is_secret = SECRET_NAMES.iter().any(|part| name.to_ascii_uppercase().contains(part));
        if is_secret && !name.ends_with("_FILE") {
            secrets.push(value.to_owned());
            // Headers are a list of `name=value`, and a credential follows its scheme.
            secrets.extend(value.split([',', '=', ' ']).filter(|part| part.len() >= LONG_PART).map(str::to_owned));
        }
    }
    if let Stored::Read(stored) = &sources.stored {
        let long = stored.texts().filter(|text| text.expose().len() >= LONG_PART);
        secrets.extend(long.map(|text| text.expose().to_owned()));
    }
    secrets.into_iter().map(SecretString::new).collect()
}

/// Returns the secrets that are kept in the data folder. It makes none.
pub fn kept_secrets(settings: &Settings) -> Vec<SecretString> {
    let texts = secret_files(&settings.data_dir).into_iter().filter_map(|(_, path)| std::fs::read_to_string(path).ok());
    texts.flat_map(|text| text.lines().map(|line| SecretString::new(line.trim())).collect::<Vec<_>>()).collect()
}

fn judge_ages(ages: &[(&str, i64)]) -> Finding {
    let shown = |ages: &[(&str, i64)]| {
        let shown: Vec<String> = ages.iter().map(|(name, days)| format!("{name} is {days} days old")).collect();
        shown.join(", ")
    };
    let old: Vec<(&str, i64)> = ages.iter().copied().filter(|(_, days)| *days >= OLD_SECRET).collect();
    match (ages.is_empty(), old.is_empty()) {
        (true, _) => Finding::pass(SECRETS, "no secret is kept in a file, so their ages are not known"),
        (false, true) => Finding::pass(SECRETS, shown(ages)),
        (false, false) => Finding::warn(
            SECRETS,
            shown(&old),
            "put a new secret on a line before the old one (`portcullis keys init` makes some), reload, and for \
             ENCRYPTION_KEY run `portcullis keys reseal`; the old line may go a month later",
        ),
    }
}

/// The file that `<NAME>_FILE` names.
fn named_file(sources: &Sources, name: &str) -> Option<PathBuf> {
    let variable = format!("{name}_FILE");
    let (_, path) = sources.environment.iter().find(|(known, _)| known.to_str() == Some(variable.as_str()))?;
    Some(sources.folder.join(path))
}

/// The days since a file was written.
fn age(path: &Path, now: Timestamp) -> Option<i64> {
    let written = Timestamp::from(path.metadata().ok()?.modified().ok()?);
    Some(now.signed_duration_since(written).num_days())
}

fn text(notice: &Notice) -> String {
    format!("{}: {}", notice.place, notice.message)
}

fn hint(notice: &Notice) -> String {
    notice.hint.clone().unwrap_or_else(|| "see docs/settings.md".to_owned())
}

#[cfg(test)]
mod tests {
    use portcullis_model::finding::Status;

    use super::*;
    use crate::testing::{PRODUCTION, settings};

    #[test]
    fn advice_counts_in_production_only() {
        let development = accepted_settings(&settings("", &[]));
        assert!(development.iter().all(|finding| finding.status == Status::Pass), "{development:?}");
        let production = accepted_settings(&settings("", PRODUCTION));
        assert!(production.iter().any(|finding| finding.found.contains("/metrics")), "{production:?}");
    }

    #[test]
    fn a_secret_is_old_after_a_year() {
        assert_eq!(judge_ages(&[]).status, Status::Pass);
        assert_eq!(judge_ages(&[("CSRF_SECRET", 364)]).status, Status::Pass);
        let old = judge_ages(&[("CSRF_SECRET", 3), ("ENCRYPTION_KEY", 365)]);
        assert_eq!((old.status, old.found.as_str()), (Status::Warn, "ENCRYPTION_KEY is 365 days old"));
    }
}

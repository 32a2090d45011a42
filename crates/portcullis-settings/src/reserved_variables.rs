//! Environment variables that a later version will use. They get a warning, so that no operator relies on reports that are
//! never sent.

use crate::engine::notice::Notice;
use crate::engine::variables::Variables;
use crate::otel_variables;

/// The names, and what happens without them.
const LATER: [(&str, &str); 1] = [("SENTRY_TRACES_SAMPLE_RATE", "no transactions are sent to Sentry")];

/// Returns the names.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    LATER.iter().map(|(name, _)| *name)
}

/// Warns of every reserved variable that is set.
pub(crate) fn warn(variables: &Variables, warnings: &mut Vec<Notice>) {
    let mut add = |name: &str, instead: &str| {
        if let Some(place) = variables.place(name) {
            let message = format!("this version does not use {name}: {instead}");
            warnings.push(Notice::new(&place, message).hint("unset it, or keep it for a later version"));
        }
    };
    for (name, instead) in LATER {
        add(name, instead);
    }
    for name in variables.names_under("OTEL_") {
        if !otel_variables::NAMES.contains(&name.as_str()) {
            add(&name, "it has no effect on traces");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::settings;

    #[test]
    fn a_reserved_variable_gets_a_warning() {
        let names = ["SENTRY_TRACES_SAMPLE_RATE", "OTEL_METRICS_EXPORTER"];
        for name in names {
            let warnings = settings("", &[(name, "redis://x")]).warnings;
            let message = warnings[0].to_string();
            assert!(message.starts_with(&format!("environment {name}: this version does not use {name}")), "{message}");
        }
        assert_eq!(settings("", &[("SENTRY_TRACES_SAMPLE_RATE_FILE", "/run/secrets/rate")]).warnings.len(), 1);
    }
}

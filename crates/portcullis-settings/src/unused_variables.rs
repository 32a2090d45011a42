//! Environment variables of OpenTelemetry that have no effect. They get a warning, so that no operator relies on them.

use crate::engine::notice::Notice;
use crate::engine::variables::Variables;
use crate::otel_variables;

/// Warns of every such variable that is set.
pub(crate) fn warn(variables: &Variables, warnings: &mut Vec<Notice>) {
    for name in variables.names_under("OTEL_") {
        if !otel_variables::NAMES.contains(&name.as_str())
            && let Some(place) = variables.place(&name)
        {
            let message = format!("this version does not use {name}: it has no effect on traces");
            warnings.push(Notice::new(&place, message).hint("unset it, or keep it for a later version"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::settings;

    #[test]
    fn a_variable_without_effect_gets_a_warning() {
        let name = "OTEL_METRICS_EXPORTER";
        let message = settings("", &[(name, "redis://x")]).warnings[0].to_string();
        assert!(message.starts_with(&format!("environment {name}: this version does not use {name}")), "{message}");
    }
}

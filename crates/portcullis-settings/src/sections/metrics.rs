//! `[metrics]`: the histograms and their buckets.

use portcullis_model::InvalidInput;
use portcullis_telemetry::MetricsOptions;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

static HTTP_BUCKETS: Key = Key::restart(
    "http_buckets",
    DefaultValue::Described("0.1, 0.5, 1, 2, 5, 10"),
    "list of seconds",
    "The upper bounds of the buckets of `http_request_duration_seconds`.",
);
static DATABASE_BUCKETS: Key = Key::restart(
    "database_buckets",
    DefaultValue::Described("0.01, 0.05, 0.1, 0.5, 1, 2"),
    "list of seconds",
    "The upper bounds of the buckets of `database_query_duration_seconds`.",
);
static FINE: Key = Key::restart(
    "fine",
    DefaultValue::Text("true"),
    "true or false",
    "Whether there is `http_server_request_duration_seconds` as well, with the labels and the 14 buckets (5 ms to 10 s) of OpenTelemetry's conventions.",
);

pub(crate) static SECTION: Section =
    Section { name: "metrics", about: "", keys: &[&HTTP_BUCKETS, &DATABASE_BUCKETS, &FINE] };

pub(crate) fn read(tree: &Table, problems: &mut Problems) -> MetricsOptions {
    let mut section = Reader::open(tree, &SECTION, problems);
    let default = MetricsOptions::default();
    MetricsOptions {
        http_buckets: buckets(&mut section, &HTTP_BUCKETS, default.http_buckets),
        database_buckets: buckets(&mut section, &DATABASE_BUCKETS, default.database_buckets),
        fine: section.flag(&FINE),
    }
}

/// The most buckets: every route has as many series.
const MAX_BUCKETS: usize = 50;

fn buckets(section: &mut Reader<'_, '_>, key: &Key, default: Vec<f64>) -> Vec<f64> {
    if section.node(key).is_none() {
        return default;
    }
    let bounds = section.list(key, |text| {
        let bound = text.parse::<f64>().ok().filter(|bound| bound.is_finite() && *bound > 0.0);
        bound.ok_or_else(|| InvalidInput("write a number of seconds above 0".to_owned()))
    });
    if bounds.is_empty() || bounds.len() > MAX_BUCKETS || bounds.windows(2).any(|pair| pair[0] >= pair[1]) {
        section.reject(
            key,
            "is not a list of rising bounds",
            format!("write 1 to {MAX_BUCKETS} seconds, each above the one before"),
        );
    }
    bounds
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    #[test]
    fn fine_buckets_can_be_turned_off() {
        assert!(settings("", &[]).metrics.fine);
        assert!(!settings("[metrics]\nfine = false\n", &[]).metrics.fine);
    }

    #[test]
    fn buckets_are_rising_numbers_above_zero() {
        assert_eq!(settings("", &[]).metrics.http_buckets, [0.1, 0.5, 1.0, 2.0, 5.0, 10.0]);
        assert_eq!(
            settings("[metrics]\nhttp_buckets = [0.005, 1, 2.5]\n", &[]).metrics.http_buckets,
            [0.005, 1.0, 2.5]
        );
        assert_eq!(
            settings("", &[("PORTCULLIS__METRICS__DATABASE_BUCKETS", "1, 2")]).metrics.database_buckets,
            [1.0, 2.0]
        );
        for bad in ["[]", "[1, 1]", "[2, 1]", "[0]", "[\"x\"]", "5", "[nan]"] {
            let message = refused(&format!("[metrics]\nhttp_buckets = {bad}\n"), &[]);
            assert!(message.contains("portcullis.toml:2: metrics.http_buckets"), "{bad}: {message}");
        }
    }
}

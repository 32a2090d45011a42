//! What the registry's own encoder leaves out: families without samples, gauges
//! read at scrape time, and the older text format.

use std::fmt::Write as _;

/// Every labelled family: OpenMetrics name, type, help.
const FAMILIES: [(&str, &str, &str); 17] = [
    (
        "http_request_duration_seconds",
        "histogram",
        "Time from a request's head to the end of its answer's head, in seconds",
    ),
    ("http_requests", "counter", "Requests answered, refused and malformed ones included"),
    ("http_requests_in_progress", "gauge", "Requests being answered now"),
    ("auth_attempts", "counter", "Attempts to prove an identity, by outcome and kind"),
    ("database_query_duration_seconds", "histogram", "Time a statement took, in seconds"),
    ("database_errors", "counter", "Statements that failed"),
    ("cache_hits", "counter", "Sessions found in a cache"),
    ("cache_misses", "counter", "Sessions not found in a cache"),
    ("csrf_refusals", "counter", "Requests refused by the CSRF check, by reason"),
    ("rate_limited", "counter", "Requests refused by a rate limit"),
    ("upstream_requests", "counter", "Requests carried to an upstream, by outcome"),
    ("redis_errors", "counter", "Commands to Redis that failed"),
    ("csrf_reports", "counter", "Requests that the CSRF check would have refused, by reason (csrf.mode = \"report\")"),
    ("mails", "counter", "Mails that were sent, delayed or given up"),
    ("settings_reloads", "counter", "Times the settings were read anew, by outcome"),
    ("panics", "counter", "Requests whose handling panicked; each got a 500"),
    ("jobs", "counter", "Runs of periodic jobs, by job and result"),
];

pub(crate) fn name(index: usize) -> &'static str {
    FAMILIES[index].0
}

/// The help text without its final full stop, which the registry adds.
pub(crate) fn help(index: usize) -> &'static str {
    FAMILIES[index].2
}

/// Families appear with HELP and TYPE from the start, with or without samples.
pub(crate) fn add_empty_families(page: &mut String) {
    for (name, kind, help) in FAMILIES {
        if !page.contains(&format!("# TYPE {name} ")) {
            let _ = writeln!(page, "# HELP {name} {help}.\n# TYPE {name} {kind}");
        }
    }
}

pub(crate) fn gauge(page: &mut String, name: &str, help: &str, value: f64) {
    let _ = writeln!(page, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}");
}

pub(crate) fn labelled_gauge(page: &mut String, name: &str, help: &str, label: &str, values: &[(String, f64)]) {
    let _ = writeln!(page, "# HELP {name} {help}.\n# TYPE {name} gauge");
    for (word, value) in values {
        let _ = writeln!(page, "{name}{{{label}=\"{word}\"}} {value}");
    }
}

pub(crate) fn counter(page: &mut String, name: &str, help: &str, value: f64) {
    let _ = writeln!(page, "# HELP {name} {help}.\n# TYPE {name} counter\n{name}_total {value}");
}

/// Turns OpenMetrics into text format 0.0.4, where a counter's metadata carries
/// the `_total` of its samples and neither `info` nor units exist.
pub(crate) fn to_prometheus(page: &str) -> String {
    let mut counters: Vec<&str> = Vec::new();
    let mut infos: Vec<&str> = Vec::new();
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            match kind {
                "counter" => counters.push(name),
                "info" => infos.push(name),
                _ => {}
            }
        }
    }
    let mut out = String::with_capacity(page.len() + 256);
    for line in page.lines().filter(|line| !line.starts_with("# UNIT ")) {
        let metadata = line
            .strip_prefix("# HELP ")
            .map(|rest| ("HELP", rest))
            .or_else(|| line.strip_prefix("# TYPE ").map(|rest| ("TYPE", rest)));
        let Some((word, rest)) = metadata else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let (suffix, text) = if counters.contains(&name) {
            ("_total", text)
        } else if infos.contains(&name) {
            ("_info", if word == "TYPE" { "gauge" } else { text })
        } else {
            ("", text)
        };
        let _ = writeln!(out, "# {word} {name}{suffix} {text}");
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::{CacheType, Metrics, MetricsOptions};

    #[test]
    fn every_family_shows_its_metadata_before_its_first_sample() {
        let page = Metrics::new(&MetricsOptions::default(), "1.2.3").render(false);
        for (name, kind) in [
            ("http_request_duration_seconds", "histogram"),
            ("http_requests_total", "counter"),
            ("http_requests_in_progress", "gauge"),
            ("auth_attempts_total", "counter"),
            ("database_query_duration_seconds", "histogram"),
            ("database_errors_total", "counter"),
            ("cache_hits_total", "counter"),
            ("cache_misses_total", "counter"),
            ("process_start_time_seconds", "gauge"),
            ("process_cpu_seconds_total", "counter"),
            ("portcullis_build_info", "gauge"),
        ] {
            assert!(page.contains(&format!("# TYPE {name} {kind}\n")), "{name} in\n{page}");
            assert!(page.contains(&format!("# HELP {name} ")), "{name}");
        }
        assert!(page.contains("portcullis_build_info{version=\"1.2.3\"} 1"), "{page}");
        assert!(!page.contains("# EOF"));
    }

    #[test]
    fn samples_move_by_what_happened() {
        let metrics = Metrics::new(&MetricsOptions::default(), "1");
        metrics.auth_attempt("login", true);
        metrics.database_query("SELECT", "users", Duration::from_millis(20));
        metrics.cache_hit(CacheType::memory);
        let page = metrics.render(false);
        assert!(page.contains("auth_attempts_total{status=\"success\",type=\"login\"} 1\n"), "{page}");
        assert!(
            page.contains(
                "database_query_duration_seconds_bucket{le=\"0.01\",operation=\"SELECT\",table=\"users\"} 0\n"
            ),
            "{page}"
        );
        assert!(
            page.contains(
                "database_query_duration_seconds_bucket{le=\"0.05\",operation=\"SELECT\",table=\"users\"} 1\n"
            ),
            "{page}"
        );
        assert!(page.contains("cache_hits_total{cache_type=\"memory\"} 1\n"), "{page}");
    }

    #[test]
    fn openmetrics_ends_as_it_must() {
        let page = Metrics::new(&MetricsOptions::default(), "1").render(true);
        assert!(page.ends_with("# EOF\n"));
        assert!(page.contains("# TYPE http_requests counter\n"));
    }
}

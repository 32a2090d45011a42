//! Samples that are read at each scrape, and the older text format of Prometheus.

use std::fmt::Write as _;

pub(super) fn gauge(page: &mut String, name: &str, help: &str, value: f64) {
    let help = help.trim_end_matches('.');
    let _ = writeln!(page, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}");
}

pub(super) fn labelled_gauge(page: &mut String, name: &str, help: &str, label: &str, values: &[(String, f64)]) {
    let help = help.trim_end_matches('.');
    let _ = writeln!(page, "# HELP {name} {help}.\n# TYPE {name} gauge");
    for (word, value) in values {
        let _ = writeln!(page, "{name}{{{label}=\"{word}\"}} {value}");
    }
}

pub(super) fn counter(page: &mut String, name: &str, help: &str, value: f64) {
    let help = help.trim_end_matches('.');
    let _ = writeln!(page, "# HELP {name} {help}.\n# TYPE {name} counter\n{name}_total {value}");
}

/// Turns OpenMetrics into text format 0.0.4: there a counter's metadata carries the `_total` of its samples, and there
/// is neither `info` nor `unit`.
pub(super) fn to_prometheus(page: &str) -> String {
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
    fn a_family_shows_its_metadata_before_its_first_sample() {
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
            ("log_lines_dropped_total", "counter"),
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
    fn a_recorded_event_moves_its_sample() {
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
    fn openmetrics_ends_with_eof() {
        let page = Metrics::new(&MetricsOptions::default(), "1").render(true);
        assert!(page.ends_with("# EOF\n"));
        assert!(page.contains("# TYPE http_requests counter\n"));
    }
}

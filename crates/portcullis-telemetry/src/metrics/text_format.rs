//! The two text formats for scrapers: OpenMetrics 1.0 and Prometheus text 0.0.4.

use std::fmt::Write as _;

use super::family::{MetricFamily, MetricKind};

/// The form of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextFormat {
    /// Metadata carries the name of the samples, and there is neither `info` nor `unit`.
    Prometheus,
    OpenMetrics,
}

/// The page that is being written.
pub(super) struct Page {
    pub(super) text: String,
    pub(super) format: TextFormat,
}

impl Page {
    /// Adds the HELP and TYPE lines of a family.
    pub(super) fn head(&mut self, family: &MetricFamily) {
        let (name, kind) = match self.format {
            TextFormat::OpenMetrics => (family.name.into(), family.kind.as_str()),
            TextFormat::Prometheus if family.kind == MetricKind::Info => (family.sample_name(), "gauge"),
            TextFormat::Prometheus => (family.sample_name(), family.kind.as_str()),
        };
        let help = family.help;
        let _ = writeln!(self.text, "# HELP {name} {help}.\n# TYPE {name} {kind}");
    }

    /// Adds a family with a value for each value of its label, or with one value without label.
    pub(super) fn family(&mut self, family: &MetricFamily, samples: &[(String, f64)]) {
        self.head(family);
        let name = family.sample_name();
        for (word, value) in samples {
            let _ = match family.labels {
                [label, ..] => writeln!(self.text, "{name}{{{label}=\"{}\"}} {value}", escaped(word)),
                [] => writeln!(self.text, "{name} {value}"),
            };
        }
    }

    /// Adds a family with one sample without labels.
    pub(super) fn value(&mut self, family: &MetricFamily, value: f64) {
        self.family(family, &[(String::new(), value)]);
    }
}

/// A label's value as it stands between quotes.
pub(super) fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Adds a page of OpenMetrics as Prometheus text.
pub(super) fn append_as_prometheus(samples: &str, page: &mut Page) {
    let mut counters: Vec<&str> = Vec::new();
    let mut infos: Vec<&str> = Vec::new();
    for line in samples.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            match kind {
                "counter" => counters.push(name),
                "info" => infos.push(name),
                _ => {}
            }
        }
    }
    let out = &mut page.text;
    for line in samples.lines().filter(|line| !line.starts_with("# UNIT ")) {
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
}

//! The two forms of a log line: JSON for collectors, and text for operators.

use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;
use super::escape::{WithSources, push_json_string, push_message, push_value};
use super::redaction::redacted;
use super::request_scope::RequestScope;

/// Writes events as lines. The ids come from the [`RequestScope`] of the thread that logs.
pub(super) struct LineFormat {
    pub(super) format: LogFormat,
    /// Whether levels are coloured: only for terminals, and only in the pretty format.
    pub(super) colours: bool,
}

impl LineFormat {
    fn line(&self, scope: RequestScope, event: &Event<'_>) -> String {
        match self.format {
            LogFormat::Json => json_line(scope, event),
            LogFormat::Pretty => self.pretty_line(scope, event),
        }
    }

    fn pretty_line(&self, scope: RequestScope, event: &Event<'_>) -> String {
        let metadata = event.metadata();
        let mut line = timestamp();
        if self.colours {
            let _ = write!(
                line,
                " {}{:>5}\x1b[0m \x1b[2m{}:\x1b[0m",
                colour(metadata.level()),
                metadata.level(),
                metadata.target()
            );
        } else {
            let _ = write!(line, " {:>5} {}:", metadata.level(), metadata.target());
        }
        let mut fields = PrettyFields::default();
        event.record(&mut fields);
        line.push(' ');
        line.push_str(&fields.message);
        line.push_str(&fields.others);
        for (name, id) in ids(&scope) {
            let _ = write!(line, " {name}={id}");
        }
        line.push('\n');
        line
    }
}

/// The keys are those of `tracing-subscriber`'s JSON format, with the ids of the request beside them.
fn json_line(scope: RequestScope, event: &Event<'_>) -> String {
    let metadata = event.metadata();
    let mut line = String::from("{\"timestamp\":");
    push_json_string(&mut line, &timestamp());
    let _ = write!(line, ",\"level\":\"{}\"", metadata.level());
    for (name, id) in ids(&scope) {
        let _ = write!(line, ",\"{name}\":\"{id}\"");
    }
    line.push_str(",\"fields\":{");
    let mut fields = JsonFields { line, is_first: true };
    event.record(&mut fields);
    let mut line = fields.line;
    line.push_str("},\"target\":");
    push_json_string(&mut line, metadata.target());
    line.push_str("}\n");
    line
}

/// Returns whether a field holds what somebody outside said, which may quote a secret.
fn is_from_outside(field: &Field) -> bool {
    matches!(field.name(), "error" | "reason")
}

/// No id needs escaping: ours and a trace's are hexadecimal, and a client's has letters, digits and `._-` only.
fn ids(scope: &RequestScope) -> impl Iterator<Item = (&'static str, &str)> {
    let own = scope.request_id().map(|id| ("requestId", id));
    let trace = scope.trace_id().map(|id| ("traceId", id));
    let client = scope.client_request_id().map(|id| ("clientRequestId", id));
    own.into_iter().chain(trace).chain(client)
}

/// The system's time, RFC 3339 in UTC with microseconds.
fn timestamp() -> String {
    let mut text = String::with_capacity(256);
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

fn colour(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        writer.write_str(&self.line(RequestScope::current(), event))
    }
}

#[derive(Default)]
struct PrettyFields {
    message: String,
    /// ` name=value` for each other field, in the order of the event.
    others: String,
}

impl PrettyFields {
    fn push(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            push_message(&mut self.message, value);
            return;
        }
        let _ = write!(self.others, " {}=", field.name());
        if is_from_outside(field) {
            push_value(&mut self.others, &redacted(value));
        } else {
            push_value(&mut self.others, value);
        }
    }
}

impl Visit for PrettyFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, &WithSources(value).to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push(field, &format!("{value:?}"));
    }
}

struct JsonFields {
    line: String,
    is_first: bool,
}

impl JsonFields {
    fn key(&mut self, field: &Field) {
        if !std::mem::take(&mut self.is_first) {
            self.line.push(',');
        }
        push_json_string(&mut self.line, field.name());
        self.line.push(':');
    }

    fn push_text(&mut self, field: &Field, text: &str) {
        self.key(field);
        if is_from_outside(field) {
            push_json_string(&mut self.line, &redacted(text));
        } else {
            push_json_string(&mut self.line, text);
        }
    }

    fn push_literal(&mut self, field: &Field, value: impl fmt::Display) {
        self.key(field);
        let _ = write!(self.line, "{value}");
    }
}

impl Visit for JsonFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no word for infinity or for what is not a number.
        if value.is_finite() { self.push_literal(field, value) } else { self.push_literal(field, "null") }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push_literal(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push_literal(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push_literal(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push_text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push_text(field, &WithSources(value).to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.push_text(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::Value;

    use super::*;

    /// The lines that `log` writes in this format.
    fn lines(format: LogFormat, log: impl FnOnce()) -> Vec<String> {
        #[derive(Clone, Default)]
        struct Sink(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Sink {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().expect("nobody panicked").extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(move || writer.clone())
            .event_format(LineFormat { format, colours: false })
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().expect("nobody panicked").clone();
        String::from_utf8(bytes).expect("text").lines().map(str::to_owned).collect()
    }

    fn json(line: &str) -> Value {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    fn in_scope(log: impl FnOnce()) {
        let trace = b"0af7651916cd43dd8448eb211c80319c";
        RequestScope::new(b"0123456789abcdef0123456789abcdef", trace, Some(b"order-17")).run(log);
    }

    #[test]
    fn a_json_line_carries_level_target_fields_and_ids() {
        let lines = lines(LogFormat::Json, || {
            in_scope(|| tracing::warn!(attempt = 3, slow = true, share = 0.5, host = "db", "no answer"));
        });
        let line = json(&lines[0]);
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["target"], module_path!());
        assert_eq!(line["requestId"], "0123456789abcdef0123456789abcdef");
        assert_eq!(line["traceId"], "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(line["clientRequestId"], "order-17");
        let fields = serde_json::json!({
            "message": "no answer", "attempt": 3, "slow": true, "share": 0.5, "host": "db"
        });
        assert_eq!(line["fields"], fields);
        assert!(line["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')));
    }

    #[test]
    fn sr_47_reasons_from_outside_are_logged_without_secrets() {
        for format in [LogFormat::Json, LogFormat::Pretty] {
            let lines = lines(format, || {
                let error = std::io::Error::other("no route to redis://gate:only-for-tests@cache:6379");
                tracing::warn!(error = &error as &dyn std::error::Error, "no cache");
                tracing::warn!(reason = %"550 see https://gate.example/reset#a-token", "a mail was refused");
            });
            let all = lines.concat();
            assert!(!all.contains("only-for-tests") && !all.contains("a-token"), "{all}");
            assert!(all.contains("cache:6379") && all.contains("https://gate.example/reset#"), "{all}");
        }
    }

    #[test]
    fn a_line_outside_of_a_request_carries_no_id() {
        let line = json(&lines(LogFormat::Json, || tracing::info!("started"))[0]);
        assert!(["requestId", "traceId", "clientRequestId"].iter().all(|id| line.get(id).is_none()), "{line}");
    }

    #[test]
    fn a_json_value_cannot_begin_another_line() {
        let lines =
            lines(LogFormat::Json, || tracing::warn!(path = "/a\n{\"level\":\"ERROR\"}\u{1b}[2J", "odd\r\npath"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(json(&lines[0])["fields"]["path"], "/a\n{\"level\":\"ERROR\"}\u{1b}[2J");
        assert!(!lines[0].contains('\u{1b}'));
    }

    #[test]
    fn a_pretty_line_ends_with_the_ids() {
        let lines = lines(LogFormat::Pretty, || in_scope(|| tracing::warn!(host = %"db 1", "no answer")));
        let expected = format!(
            " WARN {}: no answer host=\"db 1\" requestId=0123456789abcdef0123456789abcdef \
             traceId=0af7651916cd43dd8448eb211c80319c clientRequestId=order-17",
            module_path!()
        );
        assert!(lines[0].ends_with(&expected), "{}", lines[0]);
    }

    #[test]
    fn a_pretty_value_cannot_begin_another_line() {
        let lines = lines(LogFormat::Pretty, || tracing::warn!(path = %"/a\nERROR x\u{9b}31m", "odd\npath"));
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(!lines[0].contains(char::is_control), "{}", lines[0]);
    }

    #[test]
    fn an_error_field_is_written_with_its_sources() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the upstream gave no response")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = Outer(std::io::Error::other("connection refused"));
        let lines = lines(LogFormat::Json, || tracing::warn!(error = &error as &dyn std::error::Error, "x"));
        assert_eq!(json(&lines[0])["fields"]["error"], "the upstream gave no response: connection refused");
    }
}

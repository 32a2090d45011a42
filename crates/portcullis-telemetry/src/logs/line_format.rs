//! The two forms of a log line: JSON for collectors, and text for operators.

use std::fmt::{self, Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;
use super::escape::{WithSources, push_json_string, push_message, push_value};
use super::redaction::redacted;
use super::request_scope::RequestScope;
use super::timestamp;

/// Writes events as lines. The ids come from the [`RequestScope`] of the thread that logs.
pub(super) struct LineFormat {
    pub(super) format: LogFormat,
    /// Whether levels are coloured: only for terminals, and only in the pretty format.
    pub(super) colours: bool,
}

impl LineFormat {
    fn line(&self, scope: &RequestScope, event: &Event<'_>) -> String {
        match self.format {
            LogFormat::Json => json_line(scope, event),
            LogFormat::Pretty => self.pretty_line(scope, event),
        }
    }

    fn pretty_line(&self, scope: &RequestScope, event: &Event<'_>) -> String {
        let mut line = String::with_capacity(256);
        push_pretty_head(&mut line, event.metadata().level(), event.metadata().target(), self.colours);
        let mut fields = PrettyFields::default();
        event.record(&mut fields);
        line.push_str(&fields.message);
        line.push_str(&fields.others);
        push_pretty_ids(&mut line, scope);
        line.push('\n');
        line
    }
}

/// The keys are those of `tracing-subscriber`'s JSON format, with the ids of the request beside them.
fn json_line(scope: &RequestScope, event: &Event<'_>) -> String {
    let metadata = event.metadata();
    let mut line = String::with_capacity(256);
    push_json_head(&mut line, metadata.level(), scope);
    let mut fields = JsonFields { line, is_first: true };
    event.record(&mut fields);
    let mut line = fields.line;
    line.push_str("},\"target\":");
    push_json_string(&mut line, metadata.target());
    line.push_str("}\n");
    line
}

/// Appends time, level and target of the pretty format, up to the message.
pub(super) fn push_pretty_head(line: &mut String, level: &Level, target: &str, colours: bool) {
    timestamp::push_now(line);
    let _ = if colours {
        write!(line, " {}{level:>5}\x1b[0m \x1b[2m{target}:\x1b[0m ", colour(level))
    } else {
        write!(line, " {level:>5} {target}: ")
    };
}

/// Appends the ids of a request in the pretty format.
pub(super) fn push_pretty_ids(line: &mut String, scope: &RequestScope) {
    let ids = [
        (" requestId=", scope.request_id()),
        (" traceId=", scope.trace_id()),
        (" clientRequestId=", scope.client_request_id()),
    ];
    for (name, id) in ids {
        if let Some(id) = id {
            line.push_str(name);
            line.push_str(id);
        }
    }
}

/// Appends the beginning of a JSON line, up to the first of its fields. No id needs escaping: ours and a trace's are
/// hexadecimal, and a client's has letters, digits and `._-` only.
pub(super) fn push_json_head(line: &mut String, level: &Level, scope: &RequestScope) {
    line.push_str("{\"timestamp\":\"");
    timestamp::push_now(line);
    line.push_str("\",\"level\":\"");
    line.push_str(level.as_str());
    line.push('"');
    if let Some(id) = scope.request_id() {
        line.push_str(",\"requestId\":\"");
        line.push_str(id);
        line.push('"');
    }
    if let Some(id) = scope.trace_id() {
        line.push_str(",\"traceId\":\"");
        line.push_str(id);
        line.push('"');
    }
    if let Some(id) = scope.client_request_id() {
        line.push_str(",\"clientRequestId\":\"");
        line.push_str(id);
        line.push('"');
    }
    line.push_str(",\"fields\":{");
}

/// Returns whether a field holds what somebody outside said, which may quote a secret.
fn is_from_outside(field: &Field) -> bool {
    matches!(field.name(), "error" | "reason" | "why" | "panic")
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
        writer.write_str(&self.line(&RequestScope::current(), event))
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
mod tests;

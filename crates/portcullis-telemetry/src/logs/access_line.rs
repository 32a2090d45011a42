//! Lines of the access log.
//!
//! They are written without `tracing`: an event with a dozen fields takes three times the instructions, and each request
//! has such a line. `log.access` decides alone which requests have one; `log.level` does not count.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use tracing::Level;

use super::escape::{beginning, push_json_string, push_left_out, push_value};
use super::line_format::{push_json_head, push_pretty_head, push_pretty_ids};
use super::request_scope::RequestScope;
use super::{LogFormat, Output};
use crate::decimal::{push_digits, push_number};

/// The target of the lines.
const TARGET: &str = "access";
/// The message of the lines.
const MESSAGE: &str = "request";

/// A field's name in both formats. It is put together when the program is compiled, and copied without a call.
macro_rules! name {
    ($name:literal) => {
        Name { json: concat!(",\"", $name, "\":"), pretty: concat!(" ", $name, "=") }
    };
}

/// The most bytes of a path. Longer ones are few, and not from people.
const MAX_PATH_BYTES: usize = 2048;

thread_local! {
    /// Keeps its memory from line to line.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What the access log shows of a request whose response has ended.
pub struct AccessLine<'a> {
    /// The ids of the request.
    pub scope: &'a RequestScope,
    /// The method; `None` for bytes that were no request.
    pub method: Option<&'a str>,
    /// The route's template, or `unmatched`.
    pub route: &'a str,
    /// The path as the client wrote it, without query; `None` for bytes that were no request.
    pub path: Option<&'a str>,
    /// The status of the response, or 499 when the client went away before there was one.
    pub status: u16,
    /// The time from the request's head to the end of its response, by a clock that never jumps.
    pub duration: Duration,
    /// The upstream that was asked, and the time until the head of its response, or until it failed.
    pub upstream: Option<(&'a str, Duration)>,
    /// The id of the authenticated user.
    pub user: Option<&'a str>,
    /// The client's address.
    pub client: IpAddr,
    /// Bytes of the request's body that were read.
    pub bytes_in: u64,
    /// Bytes of the response's body that were passed to the connection.
    pub bytes_out: u64,
    /// Whether the response ended before it was complete.
    pub is_aborted: bool,
}

impl AccessLine<'_> {
    /// Writes the line to the log of this process, if it has one. Never waits.
    pub fn write(&self) {
        if let Some(output) = Output::of_process() {
            self.write_to(output);
        }
    }

    fn write_to(&self, output: &Output) {
        LINE.with_borrow_mut(|line| {
            line.clear();
            self.push(line, output.format, output.colours);
            output.queue.push_unhurried(line.as_bytes());
        });
    }

    fn push(&self, line: &mut String, format: LogFormat, colours: bool) {
        match format {
            LogFormat::Json => {
                push_json_head(line, &Level::INFO, self.scope);
                line.push_str("\"message\":\"");
                line.push_str(MESSAGE);
                line.push('"');
                self.push_fields(&mut JsonFields(line));
                line.push_str("},\"target\":\"");
                line.push_str(TARGET);
                line.push_str("\"}\n");
            }
            LogFormat::Pretty => {
                push_pretty_head(line, &Level::INFO, TARGET, colours);
                line.push_str(MESSAGE);
                self.push_fields(&mut PrettyFields(line));
                push_pretty_ids(line, self.scope);
                line.push('\n');
            }
        }
    }

    fn push_fields(&self, fields: &mut impl Fields) {
        if let Some(method) = self.method {
            fields.text(name!("method"), method);
        }
        fields.text(name!("route"), self.route);
        if let Some(path) = self.path {
            fields.cut_text(name!("path"), path, MAX_PATH_BYTES);
        }
        fields.number(name!("status"), self.status.into());
        fields.milliseconds(name!("durationMs"), self.duration);
        if let Some((upstream, duration)) = self.upstream {
            fields.text(name!("upstream"), upstream);
            fields.milliseconds(name!("upstreamDurationMs"), duration);
        }
        if let Some(user) = self.user {
            fields.plain(name!("user"), |line| line.push_str(user));
        }
        fields.plain(name!("client"), |line| push_address(line, self.client));
        fields.number(name!("bytesIn"), self.bytes_in);
        fields.number(name!("bytesOut"), self.bytes_out);
        if self.is_aborted {
            fields.name(name!("aborted")).push_str("true");
        }
    }
}

/// What stands before a value, in the two formats.
struct Name {
    json: &'static str,
    pretty: &'static str,
}

/// The two ways to write a field. A name needs no escaping.
trait Fields {
    /// Appends what stands before a value, and returns the line.
    fn name(&mut self, name: Name) -> &mut String;
    /// Appends a value that may need escaping.
    fn text(&mut self, name: Name, text: &str);
    /// Appends a value that needs none, such as an address.
    fn plain(&mut self, name: Name, push: impl FnOnce(&mut String));

    fn number(&mut self, name: Name, number: u64) {
        push_number(self.name(name), number);
    }

    /// Milliseconds with three places: a proxied request takes less than one.
    fn milliseconds(&mut self, name: Name, duration: Duration) {
        let line = self.name(name);
        push_number(line, duration.as_secs().saturating_mul(1000).saturating_add(duration.subsec_millis().into()));
        line.push('.');
        push_digits::<3>(line, duration.subsec_micros().into());
    }

    /// Appends the beginning of a text, and how much of it was left out.
    fn cut_text(&mut self, name: Name, text: &str, most: usize) {
        let beginning = beginning(text, most);
        if beginning.len() == text.len() {
            return self.text(name, text);
        }
        let mut cut = beginning.to_owned();
        push_left_out(&mut cut, text.len() - beginning.len());
        self.text(name, &cut);
    }
}

struct JsonFields<'l>(&'l mut String);

impl Fields for JsonFields<'_> {
    #[inline]
    fn name(&mut self, name: Name) -> &mut String {
        self.0.push_str(name.json);
        self.0
    }

    fn text(&mut self, name: Name, text: &str) {
        push_json_string(self.name(name), text);
    }

    #[inline]
    fn plain(&mut self, name: Name, push: impl FnOnce(&mut String)) {
        let line = self.name(name);
        line.push('"');
        push(line);
        line.push('"');
    }
}

struct PrettyFields<'l>(&'l mut String);

impl Fields for PrettyFields<'_> {
    #[inline]
    fn name(&mut self, name: Name) -> &mut String {
        self.0.push_str(name.pretty);
        self.0
    }

    fn text(&mut self, name: Name, text: &str) {
        push_value(self.name(name), text);
    }

    #[inline]
    fn plain(&mut self, name: Name, push: impl FnOnce(&mut String)) {
        push(self.name(name));
    }
}

fn push_address(line: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            for (place, octet) in address.octets().into_iter().enumerate() {
                if place > 0 {
                    line.push('.');
                }
                push_number(line, octet.into());
            }
        }
        IpAddr::V6(address) => {
            let _ = write!(line, "{address}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::super::line_queue::LineQueue;
    use super::*;

    fn line() -> AccessLine<'static> {
        let scope = RequestScope::new(b"0123456789abcdef0123456789abcdef", b"0af7651916cd43dd8448eb211c80319c", None);
        AccessLine {
            scope: Box::leak(Box::new(scope)),
            method: Some("GET"),
            route: "/api/v1/projects/{*rest}",
            path: Some("/api/v1/projects/7"),
            status: 200,
            duration: Duration::from_micros(1_234_056),
            upstream: Some(("projects", Duration::from_micros(7))),
            user: Some("0198c2a4-7d1e-7c3b-9a55-0123456789ab"),
            client: IpAddr::from([192, 0, 2, 7]),
            bytes_in: 0,
            bytes_out: 512,
            is_aborted: false,
        }
    }

    fn written(line: &AccessLine<'_>, format: LogFormat) -> String {
        let mut text = String::new();
        line.push(&mut text, format, false);
        assert!(text.ends_with('\n') && text.matches('\n').count() == 1, "{text:?}");
        text
    }

    fn json_of(line: &AccessLine<'_>) -> Value {
        let text = written(line, LogFormat::Json);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn a_json_line_has_the_ids_and_every_field() {
        let json = json_of(&line());
        assert_eq!((&json["level"], &json["target"]), (&"INFO".into(), &"access".into()));
        assert_eq!(json["requestId"], "0123456789abcdef0123456789abcdef");
        assert_eq!(json["traceId"], "0af7651916cd43dd8448eb211c80319c");
        let fields = json!({
            "message": "request", "method": "GET", "route": "/api/v1/projects/{*rest}", "path": "/api/v1/projects/7",
            "status": 200, "durationMs": 1234.056, "upstream": "projects", "upstreamDurationMs": 0.007,
            "user": "0198c2a4-7d1e-7c3b-9a55-0123456789ab", "client": "192.0.2.7", "bytesIn": 0, "bytesOut": 512
        });
        assert_eq!(json["fields"], fields);
    }

    #[test]
    fn a_pretty_line_has_the_same_fields_and_then_the_ids() {
        let text = written(&line(), LogFormat::Pretty);
        let (_, text) = text.split_once("Z ").expect("a time");
        let expected = " INFO access: request method=GET route=/api/v1/projects/{*rest} path=/api/v1/projects/7 status=200 \
                        durationMs=1234.056 upstream=projects upstreamDurationMs=0.007 \
                        user=0198c2a4-7d1e-7c3b-9a55-0123456789ab client=192.0.2.7 bytesIn=0 bytesOut=512 \
                        requestId=0123456789abcdef0123456789abcdef traceId=0af7651916cd43dd8448eb211c80319c\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_line_does_not_wake_the_writer_while_lines_gather() {
        let queue = Arc::new(LineQueue::new(Box::leak(Box::default())));
        let output = Output { queue, format: LogFormat::Json, colours: false };
        line().write_to(&output);
        assert!(!output.queue.is_urgent());
        output.queue.push(b"a line of another kind\n");
        assert!(output.queue.is_urgent());
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let unknown = AccessLine { method: None, path: None, upstream: None, user: None, is_aborted: true, ..line() };
        let fields = &json_of(&unknown)["fields"];
        for name in ["method", "path", "upstream", "upstreamDurationMs", "user"] {
            assert_eq!(fields.get(name), None, "{name}");
        }
        assert_eq!(fields["aborted"], true);
    }

    #[test]
    fn a_path_can_neither_begin_a_line_nor_fill_the_log() {
        let hostile = format!("/a\n{{\"level\":\"ERROR\"}}\u{1b}[2J\u{202e}{}", "x".repeat(1 << 20));
        let hostile = AccessLine { path: Some(&hostile), ..line() };
        for format in [LogFormat::Json, LogFormat::Pretty] {
            let text = written(&hostile, format);
            assert!(!text.trim_end().contains(|c: char| c.is_control() || c == '\u{202e}'), "{format:?}");
            assert!(text.len() < 2 * MAX_PATH_BYTES && text.contains(" more bytes]"), "{format:?}: {}", text.len());
        }
        assert!(json_of(&hostile)["fields"]["path"].as_str().is_some_and(|path| path.starts_with("/a\n{\"level")));
    }
}

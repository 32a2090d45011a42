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
    let lines = lines(LogFormat::Json, || tracing::warn!(path = "/a\n{\"level\":\"ERROR\"}\u{1b}[2J", "odd\r\npath"));
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

#[test]
fn a_value_of_a_megabyte_is_one_bounded_line() {
    let hostile = "a\nb \u{1b}[2J\u{202e}\u{9b}31m".repeat(1 << 16);
    for format in [LogFormat::Json, LogFormat::Pretty] {
        let lines = lines(format, || {
            tracing::warn!(host = hostile, reason = %hostile, error = ?hostile, "{hostile}");
        });
        assert_eq!(lines.len(), 1);
        let line = &lines[0];
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{format:?}");
        // Four values of 16 KB, of which each byte is written as at most six.
        assert!(line.len() < 4 * 6 * (16 << 10) && line.matches(" more bytes]").count() == 4, "{}", line.len());
    }
}

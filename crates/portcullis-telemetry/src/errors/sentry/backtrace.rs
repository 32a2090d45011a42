//! The frames of a backtrace, read from its full text: `std` shows addresses, names and places in no other way.

use std::backtrace::Backtrace;

use sentry_types::protocol::v7::{Addr, Frame};

/// What calls the hook that took the backtrace of a panic.
const PANICS: [&str; 3] = ["core::panicking::", "std::panicking::begin_panic", "rust_begin_unwind"];

/// Returns the frames, the innermost first, from the one that panicked.
pub(super) fn frames(backtrace: &Backtrace) -> Vec<Frame> {
    let mut frames = parse(&format!("{backtrace:#}"));
    let has = |frame: &Frame, part: &str| frame.function.as_deref().is_some_and(|name| name.contains(part));
    let panic = frames.iter().rposition(|frame| PANICS.iter().any(|part| has(frame, part)));
    let innermost = match panic {
        Some(panic) => panic + 1,
        None => frames.iter().position(|frame| !has(frame, "std::backtrace")).unwrap_or_default(),
    };
    frames.drain(..innermost);
    frames
}

/// Reads lines such as `  3:   0x55d8c4 - name` and, below, `at file:line:column`.
fn parse(text: &str) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(place) = line.strip_prefix("at ") {
            if let Some(frame) = frames.last_mut() {
                set_place(frame, place);
            }
            continue;
        }
        let (address, name) = address_and_name(line);
        // A frame that was inlined into the one above it has no address of its own.
        let address = address.or_else(|| frames.last().and_then(|frame| frame.instruction_addr));
        frames.push(Frame {
            function: Some(without_hashes(name)),
            in_app: Some(name.contains("portcullis")),
            instruction_addr: address,
            ..Frame::default()
        });
    }
    frames
}

fn address_and_name(line: &str) -> (Option<Addr>, &str) {
    let numbered = line.split_once(": ").filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()));
    let rest = numbered.map_or(line, |(_, rest)| rest.trim_start());
    match rest.split_once(" - ") {
        Some((address, name)) => {
            let address = address.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
            (address.map(Addr), name)
        }
        None => (None, rest.trim_start_matches("- ")),
    }
}

/// Takes the hashes out of a symbol: `::h` and 16 hexadecimal digits at its end, or digits in brackets behind a crate.
fn without_hashes(name: &str) -> String {
    let is_hash = |text: &str| text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = match name.rsplit_once("::h") {
        Some((name, hash)) if hash.len() == 16 && is_hash(hash) => name,
        _ => name,
    };
    let mut parts = name.split('[');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(']') {
            Some((hash, rest)) if is_hash(hash) => text.push_str(rest),
            _ => {
                text.push('[');
                text.push_str(part);
            }
        }
    }
    text
}

fn set_place(frame: &mut Frame, place: &str) {
    let mut parts = place.rsplitn(3, ':');
    frame.colno = parts.next().and_then(|column| column.parse().ok());
    frame.lineno = parts.next().and_then(|line| line.parse().ok());
    let path = parts.next().unwrap_or(place).trim_start_matches("./");
    frame.filename = path.rsplit('/').next().map(str::to_owned);
    frame.abs_path = Some(path.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_backtrace_is_read_frame_by_frame() {
        let text = "   0:     0x55d8c4a1 - <std[e28293b1aa0f68bd]::backtrace::Backtrace>::force_capture::h0123456789abcdef\n\
                    \x20                              at /rustc/1/library/std/src/backtrace.rs:331:13\n\
                    \x20  1:     0x55d8c4b2 - portcullis_api::users::list\n\
                    \x20                              at ./crates/portcullis-api/src/users.rs:7:9\n\
                    \x20                - inlined::into::it\n\
                    \x20 12:                0x0 - <unknown>\n";
        let frames = parse(text);
        assert_eq!(frames.len(), 4);
        assert_eq!(frames[0].function.as_deref(), Some("<std::backtrace::Backtrace>::force_capture"));
        let list = &frames[1];
        assert_eq!((list.instruction_addr, list.in_app), (Some(Addr(0x55d8_c4b2)), Some(true)));
        assert_eq!((list.lineno, list.colno, list.filename.as_deref()), (Some(7), Some(9), Some("users.rs")));
        assert_eq!(frames[2].function.as_deref(), Some("inlined::into::it"));
        assert_eq!(frames[2].instruction_addr, Some(Addr(0x55d8_c4b2)));
    }

    #[test]
    fn a_real_backtrace_has_this_function() {
        let names: Vec<_> =
            frames(&Backtrace::force_capture()).into_iter().filter_map(|frame| frame.function).collect();
        assert!(names[0].contains("a_real_backtrace_has_this_function"), "{names:?}");
    }
}

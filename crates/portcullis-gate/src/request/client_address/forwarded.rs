//! The header `Forwarded` (RFC 7239 §4).

use std::net::IpAddr;

use http::HeaderMap;
use http::header::FORWARDED;

use super::{Told, parse_hop};

/// Reads the elements from right to left, as far as the hops are trusted. An element that is malformed or names no
/// address ends the chain, as in `X-Forwarded-For`.
pub(super) fn read(headers: &HeaderMap, is_trusted: impl Fn(IpAddr) -> bool) -> Told<'_> {
    let mut told = Told::default();
    for value in headers.get_all(FORWARDED).iter().rev() {
        for element in split_from_right(value.as_bytes(), b',') {
            let element = std::str::from_utf8(element).ok().and_then(parse_element).unwrap_or_default();
            let Some(address) = element.client else { return told };
            told = element;
            if !is_trusted(address) {
                return told;
            }
        }
    }
    told
}

/// Reads one element: pairs of a name and a token or a quoted string.
fn parse_element(text: &str) -> Option<Told<'_>> {
    let (mut node, mut proto, mut host) = (None, None, None);
    for pair in split_from_right(text.as_bytes(), b';') {
        let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        let slot = match name {
            _ if name.eq_ignore_ascii_case("for") => &mut node,
            _ if name.eq_ignore_ascii_case("proto") => &mut proto,
            _ if name.eq_ignore_ascii_case("host") => &mut host,
            _ => continue,
        };
        // A name may occur only once in an element (RFC 7239 §4).
        if slot.replace(unquoted(value)?).is_some() {
            return None;
        }
    }
    Some(Told { client: node.and_then(parse_hop), proto, host })
}

/// Splits a list where the separator stands outside of quotes, beginning at the right: a quote that a client opens and
/// never closes must not swallow what the proxies append.
fn split_from_right(list: &[u8], separator: u8) -> Vec<&[u8]> {
    let (mut parts, mut end, mut is_quoted) = (Vec::new(), list.len(), false);
    for (index, byte) in list.iter().enumerate().rev() {
        if *byte == b'"' {
            is_quoted = !is_quoted;
        } else if *byte == separator && !is_quoted {
            parts.push(list[index + 1..end].trim_ascii());
            end = index;
        }
    }
    parts.push(list[..end].trim_ascii());
    parts
}

/// Returns a token, or what stands in quotes. No address, scheme or host needs an escape, so one is malformed.
fn unquoted(value: &str) -> Option<&str> {
    let inside = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    (!inside.contains(['"', '\\'])).then_some(inside)
}

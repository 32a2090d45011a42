//! Reading a response's head (RFC 9112 §4 to §6).

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{Method, StatusCode};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::Framing;
use super::keep_alive::{Announced, announced};
use crate::error::UpstreamFault;
use crate::headers::to_client;
use crate::upstreams::KeepAlive;

/// The largest head that is accepted, in bytes.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// The most header fields of a response.
const MAX_FIELDS: usize = 100;
/// So many fields are read without an allocation. Room for all of them would have to be cleared for each response.
const FEW_FIELDS: usize = 20;
/// Capacity for the fields that the gate adds to a response, so that the map does not grow.
const ADDED_FIELDS: usize = 16;

/// The head of an upstream's response, without the fields that concern only its connection.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    /// The reason phrase, if it is not the standard one of the status.
    pub(crate) reason: Option<ReasonPhrase>,
    pub(crate) headers: HeaderMap,
    /// The value of `Upgrade`: the protocol that the upstream switches to.
    pub(crate) upgrade: Option<HeaderValue>,
    pub(crate) framing: Framing,
    /// How the connection may be kept for another request; `None` if it may not.
    pub(super) keep_alive: Option<KeepAlive>,
}

/// The positions of a field's name and value in the head's bytes.
#[derive(Clone, Copy, Default)]
struct FieldPosition {
    name: (u32, u32),
    value: (u32, u32),
}

/// The fields that decide on the connection and on the body's end.
#[derive(Default)]
struct FramingFields {
    length: Option<u64>,
    chunked: bool,
    connection: Vec<HeaderValue>,
    /// The value of `Keep-Alive`.
    keep_alive: Option<HeaderValue>,
}

impl ResponseHead {
    /// Takes the head from the beginning of `read`. `None` until all of it has arrived. `method` is the request's.
    pub(super) fn take(read: &mut BytesMut, method: &Method) -> Result<Option<Self>, UpstreamFault> {
        let mut few = [FieldPosition::default(); FEW_FIELDS];
        let mut many = Vec::new();
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut head, read, &mut fields);
        let length = match parsed.map_err(UpstreamFault::Head)? {
            Status::Complete(length) if length <= MAX_HEAD => length,
            Status::Partial if read.len() < MAX_HEAD => return Ok(None),
            Status::Complete(_) | Status::Partial => return Err(UpstreamFault::HeadTooLarge),
        };
        let status = StatusCode::from_u16(head.code.unwrap_or_default())
            .map_err(|_| UpstreamFault::Head(httparse::Error::Status))?;
        let is_http11 = head.version == Some(1);
        let reason = head.reason.filter(|reason| Some(*reason) != status.canonical_reason() && !reason.is_empty());
        let reason = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
        let start = read.as_ptr().addr();
        let position = |part: &[u8]| {
            let begin = part.as_ptr().addr() - start;
            // It fits: a head has at most `MAX_HEAD` bytes.
            (begin as u32, (begin + part.len()) as u32)
        };
        let count = head.headers.len();
        let positions = if count <= FEW_FIELDS {
            &mut few[..count]
        } else {
            many.resize(count, FieldPosition::default());
            &mut many[..]
        };
        for (slot, field) in positions.iter_mut().zip(head.headers.iter()) {
            *slot = FieldPosition { name: position(field.name.as_bytes()), value: position(field.value) };
        }
        let (mut framing, mut headers) = (FramingFields::default(), HeaderMap::with_capacity(count + ADDED_FIELDS));
        let mut upgrade = None;
        let bytes = read.split_to(length).freeze();
        for field in positions {
            let name = HeaderName::from_bytes(&bytes[range(field.name)]).map_err(|_| UpstreamFault::Field)?;
            let value =
                HeaderValue::from_maybe_shared(bytes.slice(range(field.value))).map_err(|_| UpstreamFault::Field)?;
            if name == UPGRADE {
                upgrade = Some(value);
            } else if framing.read(&name, &value)? {
                if to_client::is_passed_on(&name, &value) {
                    headers.append(name, value);
                } else if name.as_str() == "keep-alive" {
                    framing.keep_alive = Some(value);
                }
            }
        }
        to_client::remove_named(&mut headers, framing.connection.iter());
        if status == StatusCode::NO_CONTENT {
            // RFC 9110 §8.6.
            headers.remove(CONTENT_LENGTH);
        }
        let keep_alive = framing.keep_alive(status, method).filter(|_| is_http11);
        let framing = framing.body(status, method, is_http11)?;
        // Without a known end the body lasts until the connection ends.
        let keep_alive = keep_alive.filter(|_| !framing.ends_with_connection());
        Ok(Some(Self { status, reason, headers, upgrade, framing, keep_alive }))
    }

    /// Whether another response to the same request follows (RFC 9110 §15.2).
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }
}

fn range((start, end): (u32, u32)) -> std::ops::Range<usize> {
    start as usize..end as usize
}

impl FramingFields {
    /// Reads a field. Returns whether the field may be passed on.
    fn read(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<bool, UpstreamFault> {
        if *name == CONTENT_LENGTH {
            let length = decimal(value.as_bytes()).ok_or(UpstreamFault::Framing("its length is not a number"))?;
            if self.length.replace(length).is_some() {
                return Err(UpstreamFault::Framing("it has two lengths"));
            }
        } else if *name == TRANSFER_ENCODING {
            // We request no other coding (`TE`), and could not decode one.
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(UpstreamFault::Framing("its transfer coding is not known"));
            }
            self.chunked = true;
            return Ok(false);
        } else if *name == CONNECTION {
            self.connection.push(value.clone());
            return Ok(false);
        }
        Ok(true)
    }

    fn closes(&self) -> bool {
        // Most servers send this one token, which is compared at once.
        let lists = self.connection.iter().map(HeaderValue::as_bytes).filter(|list| *list != b"keep-alive");
        let mut tokens = lists.flat_map(|list| list.split(|byte| *byte == b','));
        tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
    }

    /// How the connection may be kept, as far as these fields tell.
    fn keep_alive(&self, status: StatusCode, method: &Method) -> Option<KeepAlive> {
        let announces_body = self.chunked || self.length.is_some_and(|length| length > 0);
        // A 204 that announces a body is likely to be followed by one.
        if self.closes() || (status == StatusCode::NO_CONTENT && announces_body) {
            return None;
        }
        let settles = is_bodiless(status, method);
        match self.keep_alive.as_ref().map_or(Announced::Nothing, |value| announced(value.as_bytes())) {
            Announced::Over => None,
            Announced::Idle(idle) => Some(KeepAlive { idle: Some(idle), settles }),
            Announced::Nothing => Some(KeepAlive { idle: None, settles }),
        }
    }

    /// How the body is delimited.
    fn body(&self, status: StatusCode, method: &Method, is_http11: bool) -> Result<Framing, UpstreamFault> {
        Ok(match (self.chunked, self.length) {
            _ if is_bodiless(status, method) => Framing::nothing(),
            // A reader that goes by the length would see another end (RFC 9112 §6.3).
            (true, Some(_)) => return Err(UpstreamFault::Framing("it has a length and chunks")),
            (true, None) if !is_http11 => return Err(UpstreamFault::Framing("HTTP/1.0 has no chunks")),
            (true, None) => Framing::chunked(),
            (false, Some(length)) => Framing::length(length),
            (false, None) => Framing::until_close(),
        })
    }
}

/// Whether the response has no body, whatever its fields say (RFC 9112 §6.3).
fn is_bodiless(status: StatusCode, method: &Method) -> bool {
    *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn decimal(digits: &[u8]) -> Option<u64> {
    // `parse` would accept a sign.
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests;

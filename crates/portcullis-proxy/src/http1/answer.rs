//! Reading an answer's head (RFC 9112 §4 to §6).

use std::mem::MaybeUninit;

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE};
use http::{Method, StatusCode};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::{Broken, Framing};
use crate::headers;

/// The largest head that is read, in bytes.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// The most header fields of an answer.
const MAX_FIELDS: usize = 100;
/// Room for what the gate adds to an answer, so that the map need not grow.
const ADDED: usize = 16;

/// What an upstream answered, without what concerns its connection alone.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// What it says beside the status, where that is not what everybody says.
    pub(crate) reason: Option<ReasonPhrase>,
    pub(crate) headers: HeaderMap,
    /// The protocol that it switches to.
    pub(crate) upgrade: Option<HeaderValue>,
    pub(crate) framing: Framing,
    /// Whether the connection may carry another request after this.
    pub(super) keeps_alive: bool,
}

/// Where a field stands in the head's bytes.
#[derive(Clone, Copy, Default)]
struct Place {
    name: (u32, u32),
    value: (u32, u32),
}

/// What the fields say about the connection and the body.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    connection: Vec<HeaderValue>,
}

impl Answer {
    /// Takes the head at the beginning of `read`, once all of it is there. `method` is the request's.
    pub(super) fn take(read: &mut BytesMut, method: &Method) -> Result<Option<Self>, Broken> {
        let mut places = [Place::default(); MAX_FIELDS];
        let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut []);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut head, read, &mut fields);
        let length = match parsed.map_err(Broken::Head)? {
            Status::Complete(length) if length <= MAX_HEAD => length,
            Status::Partial if read.len() < MAX_HEAD => return Ok(None),
            Status::Complete(_) | Status::Partial => return Err(Broken::HeadTooLarge),
        };
        let status =
            StatusCode::from_u16(head.code.unwrap_or_default()).map_err(|_| Broken::Head(httparse::Error::Status))?;
        let is_newest = head.version == Some(1);
        let reason = head.reason.filter(|reason| Some(*reason) != status.canonical_reason() && !reason.is_empty());
        let reason = reason.and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
        let start = read.as_ptr().addr();
        let place = |part: &[u8]| {
            let at = part.as_ptr().addr() - start;
            // A head is no longer than what was read of it.
            (at as u32, (at + part.len()) as u32)
        };
        let count = head.headers.len();
        for (known, field) in places.iter_mut().zip(head.headers.iter()) {
            *known = Place { name: place(field.name.as_bytes()), value: place(field.value) };
        }
        let (mut said, mut headers) = (Said::default(), HeaderMap::with_capacity(count + ADDED));
        let mut upgrade = None;
        let bytes = read.split_to(length).freeze();
        for place in &places[..count] {
            let name = HeaderName::from_bytes(&bytes[range(place.name)]).map_err(|_| Broken::Field)?;
            let value = HeaderValue::from_maybe_shared(bytes.slice(range(place.value))).map_err(|_| Broken::Field)?;
            if name == UPGRADE {
                upgrade = Some(value);
            } else if said.hears(&name, &value)? && headers::is_for_client(&name, &value) {
                headers.append(name, value);
            }
        }
        headers::remove_named(&mut headers, said.connection.iter());
        let (framing, framed) = said.framing(status, method, is_newest)?;
        let keeps_alive = framed && is_newest && !said.closes();
        Ok(Some(Self { status, reason, headers, upgrade, framing, keeps_alive }))
    }

    /// Whether another answer follows to the same request (RFC 9110 §15.2).
    pub(super) fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }
}

fn range((start, end): (u32, u32)) -> std::ops::Range<usize> {
    start as usize..end as usize
}

impl Said {
    /// Takes notice of a field; whether it may be passed on.
    fn hears(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<bool, Broken> {
        if *name == CONTENT_LENGTH {
            let length = decimal(value.as_bytes()).ok_or(Broken::Framing("its length is no number"))?;
            if self.length.replace(length).is_some() {
                return Err(Broken::Framing("it has two lengths"));
            }
        } else if *name == TRANSFER_ENCODING {
            // No other was asked for (`TE`), and what it would have done to the body cannot be undone here.
            if self.chunked || !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(Broken::Framing("its transfer coding is not known"));
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
        let tokens = self.connection.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        tokens.into_iter().any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
    }

    /// Where the body ends, and whether the next answer can be told from it for certain.
    fn framing(&self, status: StatusCode, method: &Method, is_newest: bool) -> Result<(Framing, bool), Broken> {
        let bodiless = *method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(match (self.chunked, self.length) {
            _ if bodiless => (Framing::nothing(), true),
            // Who read the length would see another end (RFC 9112 §6.3).
            (true, Some(_)) => return Err(Broken::Framing("it has a length and chunks")),
            (true, None) if !is_newest => return Err(Broken::Framing("HTTP/1.0 has no chunks")),
            (true, None) => (Framing::chunked(), true),
            (false, Some(length)) => (Framing::length(length), true),
            (false, None) => (Framing::until_close(), false),
        })
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    // `parse` would take a sign.
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::chunked::Next;
    use super::*;

    /// All that comes of a connection's bytes in these pieces: the head, the body, and whether another request may follow.
    fn heard(pieces: &[&[u8]]) -> Result<(u16, Vec<u8>, bool), String> {
        let (mut read, mut pieces) = (BytesMut::new(), pieces.iter());
        let mut answer = loop {
            match Answer::take(&mut read, &Method::GET).map_err(|broken| format!("{broken:?}"))? {
                Some(answer) if answer.is_interim() => {}
                Some(answer) => break answer,
                None => read.extend_from_slice(pieces.next().ok_or("the head ends early")?),
            }
        };
        let mut body = Vec::new();
        loop {
            match answer.framing.next(&mut read).map_err(|broken| format!("{broken:?}"))? {
                Next::Data(data) => body.extend_from_slice(&data),
                Next::End => break,
                Next::More => match pieces.next() {
                    Some(piece) => read.extend_from_slice(piece),
                    None if answer.framing.ends_with_connection() => break,
                    None => return Err("the body ends early".to_owned()),
                },
            }
        }
        let nothing_left = read.is_empty() && pieces.all(|piece| piece.is_empty());
        Ok((answer.status.as_u16(), body, answer.keeps_alive && nothing_left))
    }

    /// What upstreams write, and what they had better not.
    fn line() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "Content-Length: 5",
            "Content-Length: 0",
            "Content-Length: x",
            "Transfer-Encoding: chunked",
            "Transfer-Encoding: gzip",
            "Connection: close",
            "Connection: x-a, keep-alive",
            "X-A: b",
            " folded",
            "no colon",
            "Set-Cookie: a=b",
            "",
        ])
        .prop_map(|line| format!("{line}\r\n"))
    }

    fn wire() -> impl Strategy<Value = Vec<u8>> {
        let start = prop::sample::select(vec![
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n",
            "HTTP/1.0 200 OK\r\n",
            "HTTP/1.1 304 \r\n",
            "HTTP/3 200 OK\r\n",
        ]);
        let body =
            prop::sample::select(vec!["", "hello", "hello, world", "5\r\nhello\r\n0\r\n\r\n", "5\r\nhi\r\n0\r\n\r\n"]);
        (start, prop::collection::vec(line(), 0..5), body, any::<u8>(), any::<prop::sample::Index>(), any::<bool>())
            .prop_map(|(start, lines, body, odd, at, spoilt)| {
                let mut wire = format!("{start}{}\r\n{body}", lines.concat()).into_bytes();
                if spoilt {
                    let at = at.index(wire.len());
                    wire[at] = odd;
                }
                wire
            })
    }

    proptest! {
        #[test]
        fn an_answer_means_the_same_however_it_arrives(
            wire in wire(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
            ends.extend([0, wire.len()]);
            ends.sort_unstable();
            let pieces: Vec<&[u8]> = ends.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
            let bytes: Vec<&[u8]> = wire.chunks(1).collect();
            prop_assert_eq!(heard(&pieces), heard(&[&wire]));
            prop_assert_eq!(heard(&bytes), heard(&[&wire]));
        }
    }

    fn take(text: &str) -> Result<Answer, Broken> {
        take_for(&Method::GET, text)
    }

    fn take_for(method: &Method, text: &str) -> Result<Answer, Broken> {
        Answer::take(&mut BytesMut::from(text), method).map(|answer| answer.expect("the head is whole"))
    }

    /// How much of a body is awaited and whether the connection is kept.
    fn framed(answer: Result<Answer, Broken>) -> (Option<u64>, bool) {
        let answer = answer.expect("an answer");
        (answer.framing.left(), answer.keeps_alive)
    }

    #[test]
    fn a_body_ends_where_the_head_says() {
        let after = |fields: &str| framed(take(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")));
        assert_eq!(after("Content-Length: 0\r\n"), (Some(0), true));
        assert_eq!(after("content-length:  18446744073709551615 \r\n"), (Some(u64::MAX), true));
        assert_eq!(after("Transfer-Encoding: Chunked\r\n"), (None, true));
        assert_eq!(after("Content-Length: 3\r\nConnection: Close\r\n"), (Some(3), false));
        assert_eq!(
            after("Content-Length: 3\r\nConnection: x-a\r\nConnection: keep-alive, close\r\n"),
            (Some(3), false)
        );
        assert_eq!(after(""), (None, false), "it ends with the connection");
        assert_eq!(framed(take("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n")), (Some(3), false));
        for status in ["204 No Content", "304 Not Modified", "101 Switching Protocols"] {
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\n");
            assert_eq!(framed(take(&head)), (Some(0), true), "{status}");
        }
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(framed(take_for(&Method::HEAD, head)), (Some(0), true));
        assert_eq!(framed(take_for(&Method::HEAD, "HTTP/1.1 200 OK\r\n\r\n")), (Some(0), true));
    }

    #[test]
    fn an_end_that_can_be_read_in_two_ways_is_refused() {
        for fields in [
            "Content-Length: 3\r\nContent-Length: 3\r\n",
            "Content-Length: 3, 3\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: -3\r\n",
            "Content-Length: 0x3\r\n",
            "Content-Length: 3 3\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
        ] {
            let answer = take(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
            assert!(matches!(answer, Err(Broken::Framing(_))), "{fields:?}: {answer:?}");
        }
        let old = take("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(matches!(old, Err(Broken::Framing(_))), "{old:?}");
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for head in [
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 99999 Odd\r\n\r\n",
            "HTTP/1.1 099 Odd\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nname : value\r\n\r\n",
            "HTTP/1.1 200 OK\r\nname: folded\r\n value\r\n\r\n",
            "HTTP/1.1 200 OK\r\nna\0me: value\r\n\r\n",
            "HTTP/1.1 200 OK\r\nname: va\0lue\r\n\r\n",
            "HTTP/1.1 200 OK\r\nname: va\rlue\r\n\r\n",
        ] {
            let answer = take(head);
            assert!(matches!(answer, Err(Broken::Head(_) | Broken::Field)), "{head:?}: {answer:?}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
        assert!(matches!(take(&many), Err(Broken::Head(httparse::Error::TooManyHeaders))));
        let large = format!("HTTP/1.1 200 OK\r\nname: {}", "x".repeat(MAX_HEAD));
        assert!(matches!(take(&large), Err(Broken::HeadTooLarge)));
        assert!(matches!(take(&format!("{large}\r\n\r\n")), Err(Broken::HeadTooLarge)), "it came in one read");
    }

    #[test]
    fn nothing_of_this_hop_is_passed_on_and_what_follows_stays() {
        let mut read = BytesMut::from(
            "HTTP/1.1 201 Made\r\nConnection: x-own, keep-alive\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n\
             Trailer: x\r\nContent-Length: 2\r\nX-Two: a\r\nx-two: b\r\n\r\nhi",
        );
        let answer = Answer::take(&mut read, &Method::GET).expect("a head").expect("whole");
        let mut fields: Vec<_> = answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        fields.sort_unstable();
        assert_eq!(fields, [("content-length", &b"2"[..]), ("x-two", b"a"), ("x-two", b"b")]);
        assert_eq!(answer.reason.as_ref().map(ReasonPhrase::as_bytes), Some(&b"Made"[..]));
        assert_eq!(answer.upgrade.expect("it names one"), "h2c");
        assert_eq!(read, "hi");
    }

    #[test]
    fn a_head_is_taken_once_all_of_it_is_there() {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        for end in 1..head.len() {
            let mut read = BytesMut::from(&head[..end]);
            assert!(Answer::take(&mut read, &Method::GET).expect("nothing wrong yet").is_none(), "{end}");
            assert_eq!(read, head[..end], "nothing of it is lost");
        }
    }
}

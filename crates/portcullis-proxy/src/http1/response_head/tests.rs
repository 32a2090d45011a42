//! Heads that upstreams write: where the body ends, what the connection may be kept for, and what is refused.

use proptest::prelude::*;

use super::super::chunked::BodyPart;
use super::*;

/// The status, the body and the reuse of a connection whose bytes arrive in these pieces.
fn outcome(pieces: &[&[u8]]) -> Result<(u16, Vec<u8>, bool), String> {
    let (mut read, mut pieces) = (BytesMut::new(), pieces.iter());
    let mut head = loop {
        match ResponseHead::take(&mut read, &Method::GET).map_err(|broken| format!("{broken:?}"))? {
            Some(head) if head.is_interim() => {}
            Some(head) => break head,
            None => read.extend_from_slice(pieces.next().ok_or("the head ends early")?),
        }
    };
    let mut body = Vec::new();
    loop {
        match head.framing.next(&mut read).map_err(|broken| format!("{broken:?}"))? {
            BodyPart::Data(data) => body.extend_from_slice(&data),
            BodyPart::End => break,
            BodyPart::More => match pieces.next() {
                Some(piece) => read.extend_from_slice(piece),
                None if head.framing.ends_with_connection() => break,
                None => return Err("the body ends early".to_owned()),
            },
        }
    }
    let nothing_left = read.is_empty() && pieces.all(|piece| piece.is_empty());
    Ok((head.status.as_u16(), body, head.keep_alive.is_some() && nothing_left))
}

/// Lines that upstreams write, valid and invalid ones.
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
    fn a_response_means_the_same_in_pieces_of_any_size(
        wire in wire(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len())).collect();
        ends.extend([0, wire.len()]);
        ends.sort_unstable();
        let pieces: Vec<&[u8]> = ends.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect();
        let bytes: Vec<&[u8]> = wire.chunks(1).collect();
        prop_assert_eq!(outcome(&pieces), outcome(&[&wire]));
        prop_assert_eq!(outcome(&bytes), outcome(&[&wire]));
    }
}

fn take(text: &str) -> Result<ResponseHead, UpstreamFault> {
    take_for(&Method::GET, text)
}

fn take_for(method: &Method, text: &str) -> Result<ResponseHead, UpstreamFault> {
    ResponseHead::take(&mut BytesMut::from(text), method).map(|head| head.expect("the head is whole"))
}

/// The bytes of the body, if known, and whether the connection is kept.
fn framed(head: Result<ResponseHead, UpstreamFault>) -> (Option<u64>, bool) {
    let head = head.expect("a head");
    (head.framing.left(), head.keep_alive.is_some())
}

#[test]
fn a_body_ends_where_the_head_says() {
    let after = |fields: &str| framed(take(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")));
    assert_eq!(after("Content-Length: 0\r\n"), (Some(0), true));
    assert_eq!(after("content-length:  18446744073709551615 \r\n"), (Some(u64::MAX), true));
    assert_eq!(after("Transfer-Encoding: Chunked\r\n"), (None, true));
    assert_eq!(after("Content-Length: 3\r\nConnection: Close\r\n"), (Some(3), false));
    assert_eq!(after("Content-Length: 3\r\nConnection: x-a\r\nConnection: keep-alive, close\r\n"), (Some(3), false));
    assert_eq!(after(""), (None, false), "it ends with the connection");
    assert_eq!(framed(take("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n")), (Some(3), false));
    for (status, is_kept) in [("204 No Content", false), ("304 Not Modified", true), ("101 Switching Protocols", true)]
    {
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: 3\r\n\r\n");
        assert_eq!(framed(take(&head)), (Some(0), is_kept), "{status}");
    }
    assert_eq!(framed(take("HTTP/1.1 204 No Content\r\n\r\n")), (Some(0), true));
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(framed(take_for(&Method::HEAD, head)), (Some(0), true));
    assert_eq!(framed(take_for(&Method::HEAD, "HTTP/1.1 200 OK\r\n\r\n")), (Some(0), true));
}

#[test]
fn a_response_tells_how_its_connection_may_be_kept() {
    let kept = |head: &str| take(head).expect("a head").keep_alive;
    let plain = |idle| Some(KeepAlive { idle, settles: false });
    let two = Some(std::time::Duration::from_secs(2));
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n";
    assert_eq!(kept(&format!("{ok}\r\n")), plain(None));
    assert_eq!(kept(&format!("{ok}Keep-Alive: timeout=3\r\n\r\n")), plain(two));
    assert_eq!(kept(&format!("{ok}Connection: keep-alive\r\nkeep-alive: timeout=3, max=9\r\n\r\n")), plain(two));
    assert_eq!(kept(&format!("{ok}Keep-Alive: timeout=0\r\n\r\n")), None);
    let settles = Some(KeepAlive { idle: None, settles: true });
    for head in ["HTTP/1.1 204 \r\n\r\n", "HTTP/1.1 304 \r\nContent-Length: 3\r\n\r\n"] {
        assert_eq!(kept(head), settles, "{head:?}");
    }
    assert_eq!(take_for(&Method::HEAD, &format!("{ok}\r\n")).expect("a head").keep_alive, settles);
}

#[test]
fn an_ambiguous_end_of_the_body_is_refused() {
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
        let head = take(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        assert!(matches!(head, Err(UpstreamFault::Framing(_))), "{fields:?}: {head:?}");
    }
    let old = take("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert!(matches!(old, Err(UpstreamFault::Framing(_))), "{old:?}");
}

#[test]
fn a_malformed_head_is_refused() {
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
        let taken = take(head);
        assert!(matches!(taken, Err(UpstreamFault::Head(_) | UpstreamFault::Field)), "{head:?}: {taken:?}");
    }
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_FIELDS + 1));
    assert!(matches!(take(&many), Err(UpstreamFault::Head(httparse::Error::TooManyHeaders))));
    let large = format!("HTTP/1.1 200 OK\r\nname: {}", "x".repeat(MAX_HEAD));
    assert!(matches!(take(&large), Err(UpstreamFault::HeadTooLarge)));
    assert!(matches!(take(&format!("{large}\r\n\r\n")), Err(UpstreamFault::HeadTooLarge)), "it came in one read");
}

#[test]
fn hop_by_hop_fields_are_left_out_and_the_body_stays() {
    let mut read = BytesMut::from(
        "HTTP/1.1 201 Made\r\nConnection: x-own, keep-alive\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\n\
         Trailer: x\r\nContent-Length: 2\r\nX-Two: a\r\nx-two: b\r\n\r\nhi",
    );
    let head = ResponseHead::take(&mut read, &Method::GET).expect("a head").expect("whole");
    let mut fields: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    fields.sort_unstable();
    assert_eq!(fields, [("content-length", &b"2"[..]), ("x-two", b"a"), ("x-two", b"b")]);
    assert_eq!(head.reason.as_ref().map(ReasonPhrase::as_bytes), Some(&b"Made"[..]));
    assert_eq!(head.upgrade.expect("it names one"), "h2c");
    assert_eq!(read, "hi");
}

#[test]
fn a_head_is_taken_once_it_is_complete() {
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
    for end in 1..head.len() {
        let mut read = BytesMut::from(&head[..end]);
        assert!(ResponseHead::take(&mut read, &Method::GET).expect("nothing wrong yet").is_none(), "{end}");
        assert_eq!(read, head[..end], "nothing of it is lost");
    }
}

#[test]
fn few_and_many_fields_are_read_whole() {
    for count in [0, 1, FEW_FIELDS, FEW_FIELDS + 1, MAX_FIELDS] {
        let fields: String = (0..count).map(|n| format!("x-{n}: value {n}\r\n")).collect();
        let head = take(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).expect("a head");
        assert_eq!(head.headers.len(), count);
        for n in 0..count {
            assert_eq!(head.headers[format!("x-{n}").as_str()], format!("value {n}").as_str());
        }
    }
}

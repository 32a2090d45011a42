use super::*;
use proptest::prelude::*;

/// Four valid requests.
const VALID: &str = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\
     POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
     5;name=value\r\nGET /\r\n0\r\nTrailer: x\r\n\r\n\
     GET /c HTTP/1.1\r\nHost: a\r\n\r\n\
     PUT /d HTTP/1.1\r\nContent-Length: 0\r\n\r\n";

const AMBIGUOUS: &str = "GET /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n";

/// What a connection's bytes end with, after how many complete messages.
fn scan_in_pieces(bytes: &[u8], piece: usize) -> (u64, Outcome) {
    let (mut scanner, mut messages) = (MessageScanner::default(), 0);
    for piece in bytes.chunks(piece) {
        let mut rest = piece;
        while !rest.is_empty() {
            let Scanned { taken, outcome } = scanner.scan(rest);
            rest = &rest[taken..];
            match outcome {
                Outcome::Incomplete => assert!(rest.is_empty(), "bytes of the message are left"),
                Outcome::MessageEnd => messages += 1,
                Outcome::FaultyHead(_) | Outcome::Invalid => return (messages, outcome),
            }
        }
    }
    let is_between = scanner.is_between_messages();
    (messages, if is_between { Outcome::MessageEnd } else { Outcome::Incomplete })
}

/// The number of the first ambiguous head.
fn scan(text: &str) -> Option<u64> {
    match scan_in_pieces(text.as_bytes(), usize::MAX) {
        (messages, Outcome::FaultyHead(fault)) => {
            assert_eq!(fault, HeadFault::Ambiguous);
            Some(messages)
        }
        (_, Outcome::Invalid) => panic!("{text:?} has invalid framing"),
        _ => None,
    }
}

#[test]
fn sr_39_an_ambiguous_head_is_found() {
    for head in [
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-LENGTH:5\r\nTRANSFER-encoding:chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length : 5\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
        "POST / HTTP/1.1\r\nX: a\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\nX: a\r\n\r\n",
        "POST / HTTP/1.1\r\nX: a\r\n\n",
    ] {
        assert_eq!(scan(head), Some(0), "{head:?}");
    }
    let padded = format!("POST / HTTP/1.1\r\nContent-Length:{}5\r\n\r\n", " ".repeat(KEPT));
    assert_eq!(scan(&padded), Some(0), "a length beyond the kept bytes is ambiguous");
}

#[test]
fn the_head_after_several_bodies_is_scanned() {
    assert_eq!(scan(VALID), None);
    assert_eq!(scan(&format!("{VALID}{AMBIGUOUS}")), Some(4), "the fifth head");
}

#[test]
fn an_ambiguous_head_inside_a_body_is_ignored() {
    let body = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{AMBIGUOUS}", AMBIGUOUS.len());
    assert_eq!(scan(&body), None);
}

#[test]
fn an_ambiguous_head_inside_a_chunk_is_ignored() {
    let chunk = format!(
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{:X}\r\n{AMBIGUOUS}\r\n0\r\n\r\n",
        AMBIGUOUS.len()
    );
    assert_eq!(scan(&chunk), None);
    assert_eq!(scan(&format!("{chunk}{AMBIGUOUS}")), Some(1), "the head after the chunks");
}

#[test]
fn sr_40_one_byte_over_the_limit_is_too_large() {
    let head = |bytes: usize| {
        let empty = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        empty.replace("X: ", &format!("X: {}", "x".repeat(bytes - empty.len())))
    };
    let found = |text: String| scan_in_pieces(text.as_bytes(), usize::MAX);
    assert_eq!(found(head(MAX_HEAD_BYTES)), (1, Outcome::MessageEnd));
    assert_eq!(found(head(MAX_HEAD_BYTES + 1)), (0, Outcome::FaultyHead(HeadFault::TooLarge)));
    let two = head(100) + &head(MAX_HEAD_BYTES);
    assert_eq!(found(two), (2, Outcome::MessageEnd), "each head is counted by itself");
}

#[test]
fn a_line_without_an_end_is_not_stored() {
    let mut scanner = MessageScanner::default();
    for _ in 0..10_000 {
        assert_eq!(scanner.scan(&[b'a'; 1000]), Scanned { taken: 1000, outcome: Outcome::Incomplete });
    }
    assert_eq!((scanner.partial.length, scanner.partial.start.len()), (10_000_000, KEPT));
}

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn sr_39_chunks_that_parsers_read_differently_are_invalid() {
    let long = "x".repeat(KEPT);
    for chunks in [
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello \r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 5\r\nhello\r\n0\r\n\r\n",
        "5,\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";x\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5;a\0b\r\nhello\r\n0\r\n\r\n",
        "10000000000000000\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        &format!("5;{long}\r\nhello\r\n0\r\n\r\n"),
        &format!("5;{long}"),
        "0\r\nTrailer: x\n\r\n",
        "0\r\nTrailer: x\n\n",
        "0\r\n\n",
        "0\n\r\n",
        "0\r\nTrailer: x\r\n folded\r\n\r\n",
        &format!("0\r\nTrailer: {}\r\n\r\n", "x".repeat(MAX_TRAILER_BYTES)),
        &format!("0\r\nTrailer: {}", "x".repeat(MAX_TRAILER_BYTES)),
    ] {
        for piece in [1, 3, usize::MAX] {
            let scanned = scan_in_pieces(format!("{CHUNKED}{chunks}").as_bytes(), piece);
            assert_eq!(scanned, (0, Outcome::Invalid), "{chunks:?} in pieces of {piece}");
        }
    }
}

#[test]
fn the_line_that_is_refused_is_not_passed_on() {
    let text = format!("{CHUNKED}5\r\nhello\r\n0\r\nTrailer: x\n\r\n");
    let taken = MessageScanner::default().scan(text.as_bytes()).taken;
    assert_eq!(&text[taken..], "Trailer: x\n\r\n");
}

#[test]
fn chunks_in_every_valid_form_are_accepted() {
    for chunks in [
        "5\r\nhello\r\n0\r\n\r\n",
        "05;name=\"value\"\r\nhello\r\n0;last\r\n\r\n",
        "5 \t; name=value\r\nhello\r\n000\r\nTrailer: x\r\nOther: y\r\n\r\n",
        "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        "2\r\n\r\n\r\n0\r\n\r\n",
    ] {
        for piece in [1, 3, usize::MAX] {
            let two = format!("{CHUNKED}{chunks}").repeat(2);
            assert_eq!(scan_in_pieces(two.as_bytes(), piece), (2, Outcome::MessageEnd), "{chunks:?}");
        }
    }
}

#[test]
fn empty_lines_before_a_request_belong_to_its_head() {
    let get = "GET / HTTP/1.1\r\n\r\n";
    assert_eq!(scan_in_pieces(format!("\r\n\r\n{get}\r\n{get}").as_bytes(), 1), (2, Outcome::MessageEnd));
    assert_eq!(scan(&format!("\n{get}")), Some(0), "a bare LF is ambiguous there too");
    let mut scanner = MessageScanner::default();
    scanner.scan(b"\r\n");
    assert!(scanner.is_within_head());
}

proptest! {
    #[test]
    fn the_size_of_the_pieces_does_not_matter(piece in 1usize..200) {
        let text = format!("{VALID}GET /x HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n");
        let found = scan_in_pieces(text.as_bytes(), piece);
        prop_assert_eq!(found, (4, Outcome::FaultyHead(HeadFault::Ambiguous)));
    }

    #[test]
    fn no_bytes_make_the_scanner_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        scan_in_pieces(&bytes, 7);
    }
}

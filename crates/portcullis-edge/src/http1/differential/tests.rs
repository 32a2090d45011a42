use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// How many bytes at a time a connection is sent in; 0 sends all at once.
const PIECES: [usize; 5] = [0, 1, 2, 7, 61];

/// Parts of connections: whole requests, heads, framing, and what attackers put between them.
const PARTS: [&str; 44] = [
    "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /old HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
    "POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /d HTTP/1.1\r\nContent-Length: 46\r\n\r\n",
    "POST /e HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST /e HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
    "POST /f HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "POST /g HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "POST /h HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
    "GET /up HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "5\r\nhello\r\n",
    "5\nhello\n",
    "5\r\nhello\n",
    "5;a=\"\r\n\"\r\nhello\r\n",
    "5 ;a\r\nhello\r\n",
    "0x5\r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\n",
    "0\n\n",
    "0;a\r\n",
    "Trailer: x\r\n",
    "Trailer: x\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\tchunked \r\n",
    "Transfer-Encoding\r\n : chunked\r\n",
    "Content-Length : 5\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: 0\r\n",
    "X: a\n",
    "X: a\rContent-Length: 5\r\n",
    " folded: line\r\n",
    "\r\n",
    "\n",
    "\r",
    "\0",
    "GET /smuggled HTTP/1.1\r\nHost: a\r\n",
    "ffffffffffffffff\r\n",
    "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000005\r\nhello\r\n",
];

/// A connection: parts in any order, of which a few bytes are changed.
fn connection() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<proptest::sample::Index>(), any::<u8>());
    (vec(select(PARTS.to_vec()), 1..10), vec(change, 0..3), any::<bool>()).prop_map(|(parts, changes, is_changed)| {
        let mut bytes = parts.concat().into_bytes();
        for (index, byte) in changes.into_iter().filter(|_| is_changed) {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn sr_39_generated_connections_are_read_alike(bytes in connection(), piece in select(PIECES.to_vec())) {
        check_connection(&bytes, piece);
    }
}

#[test]
fn sr_39_the_corpus_is_read_alike() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/connection");
    let mut files = 0;
    for file in std::fs::read_dir(&folder).expect("the corpus is part of the repository") {
        let bytes = std::fs::read(file.expect("a readable folder").path()).expect("a readable file");
        PIECES.into_iter().for_each(|piece| check_connection(&bytes, piece));
        files += 1;
    }
    assert!(files >= 40, "the corpus has {files} files");
}

#[tokio::test]
async fn a_connection_that_was_idle_is_served_again() {
    let minute = Duration::from_secs(60);
    let mut timers = ConnectionTimers::new(ConnectionTimeouts { header: minute, idle: minute, send: minute });
    let (stopping, recorder, builder) = (CancellationToken::new(), Arc::<Recorder>::default(), super::super::builder());
    let client = Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)));
    let service = Service { handler: &recorder, builder: &builder, client, stopping: &stopping };
    let (mut stream, mut far) = tokio::io::duplex(1024);
    for number in 0..3 {
        far.write_all(PARTS[2].as_bytes()).await.expect("the server reads");
        let served = tokio::time::timeout(minute / 2, super::super::serve(&service, stream, number == 0, &mut timers));
        let Ok(Served::Idle(idle)) = served.await else { panic!("the connection is not idle after {number}") };
        stream = idle;
        timers.restart();
        let mut response = vec![0; 1024];
        let read = far.read(&mut response).await.expect("a response");
        assert!(response[..read].starts_with(b"HTTP/1.1 200 OK"), "{number}");
    }
    let received = recorder.requests.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(received.len() == 3 && received.iter().all(|request| request.body == b"hello"));
}

#[test]
fn a_valid_connection_reaches_the_handler_whole() {
    let bytes = PARTS[..5].concat().into_bytes();
    for piece in PIECES {
        check_connection(&bytes, piece);
        let received = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let received = received.block_on(serve(&bytes, piece));
        let targets: Vec<_> = received.iter().map(|request| request.target.as_str()).collect();
        assert_eq!(targets, ["/a", "/old", "/b", "/c", "/c"], "in pieces of {piece}");
        assert!(received.iter().all(|request| request.is_complete));
    }
}

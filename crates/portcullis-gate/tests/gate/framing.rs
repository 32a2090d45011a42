//! Requests whose head or body the gate refuses by its framing (SR-39, SR-40).

use portcullis_gate::HeadFault;

use crate::bed::{Bed, Setup};
use crate::client::{Answer, raw};

#[tokio::test]
async fn sr_39_a_head_marked_ambiguous_is_refused_and_closes() {
    let bed = Bed::start(Setup { head_fault: Some(HeadFault::Ambiguous), ..Setup::default() }).await;
    let answer = bed.get("/api/v1/things/1").send().await;
    assert_eq!(answer.refusal(), "Malformed(Framing)");
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn sr_40_a_head_marked_too_large_is_refused() {
    let bed = Bed::start(Setup { head_fault: Some(HeadFault::TooLarge), ..Setup::default() }).await;
    assert_eq!(bed.get("/api/v1/things/1").refusal().await, "HeadTooLarge");
}

#[tokio::test]
async fn a_body_longer_than_the_route_allows_is_stopped_where_the_limit_is() {
    let small = crate::bed::route("/api/v1/small", |policy| {
        policy.max_body = portcullis_model::policy::BodyLimit::Bytes(10);
    });
    let bed = Bed::start(Setup { routes: vec![small], ..Setup::default() }).await;
    assert_eq!(bed.post("/api/small").body("text/plain", "ten bytes!").send().await.line("body"), "ten bytes!");
    assert_eq!(bed.post("/api/small").body("text/plain", "eleven byte").refusal().await, "PayloadTooLarge");
    let chunked = "POST /api/small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                   6\r\nsix by\r\n6\r\ntes an\r\n0\r\n\r\n";
    let answer = Answer::read(raw(bed.address, chunked.as_bytes()).await);
    assert_eq!(answer.line("body"), "TooLarge", "without a length it is noticed while it comes");
}

//! Open streams end with the session, the API key or the right that they stand on (SR-22, SR-56).

use std::sync::Arc;
use std::time::Duration;

use portcullis_gate::{RouteSpec, StreamEnd, StreamGuard};
use portcullis_model::policy::{AuthRequirement, RoutePolicy};
use portcullis_model::{ApiKeyScopes, Revocation, RevocationListener, Role, SessionState};
use portcullis_testkit::session;
use tokio_util::sync::CancellationToken;

use crate::test_gate::{TestConfig, TestGate, proxied_route};

const STREAM: &str = "/api/v1/streams/x";

/// A proxied route that requires a user, and what `change` sets.
fn stream_route(change: impl FnOnce(&mut RoutePolicy)) -> RouteSpec {
    let mut route = proxied_route("/api/v1/streams/{*rest}");
    route.policy.auth = AuthRequirement::Required;
    change(&mut route.policy);
    route
}

/// A gate with that route, whose judge works.
async fn gate_with(change: impl FnOnce(&mut RoutePolicy)) -> TestGate {
    let gate = TestGate::with_routes([stream_route(change)]).await;
    let judged = Arc::clone(&gate.inner);
    tokio::spawn(async move { judged.judge_streams(CancellationToken::new()).await });
    gate
}

async fn open(gate: &TestGate, token: &str) -> StreamGuard {
    gate.open(gate.get(STREAM).bearer(token)).await
}

/// Tells the gate that a session ended.
fn end(gate: &TestGate, session: &SessionState) {
    let (user_id, session_id) = (session.user_id, Some(session.id));
    gate.inner.streams().revoked(&Revocation { user_id, session_id, epoch: 2, ends: true });
}

/// Tells the gate that a user changed, for the nth time.
fn change(gate: &TestGate, session: &SessionState, nth: i64) {
    let (user_id, epoch) = (session.user_id, session.user_epoch + nth);
    gate.inner.streams().revoked(&Revocation { user_id, session_id: None, epoch, ends: false });
}

/// The same session after its user was given this role.
fn with_role(session: &SessionState, role: Role) -> SessionState {
    let changed = portcullis_testkit::session().id(session.id).user(session.user_id).role(role);
    changed.expires_at(session.expires_at).epochs(1, session.user_epoch + 1).build()
}

/// Why the stream ends, which it must.
async fn end_of(stream: &StreamGuard) -> StreamEnd {
    tokio::time::timeout(Duration::from_secs(60), stream.ended()).await.expect("the stream stays open");
    stream.end().expect("the reason is told with the end")
}

/// Waits until a doubted stream has been judged.
async fn judged(gate: &TestGate, session: &SessionState) {
    // The last look-up comes after the first judgement.
    for nth in 10..13 {
        let before = gate.sessions.look_ups();
        change(gate, session, nth);
        while gate.sessions.look_ups() == before {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn sr_22_a_session_takes_only_its_own_streams_with_it() {
    let gate = gate_with(|policy| policy.auth = AuthRequirement::Optional).await;
    let ada = gate.sign_in("ada", Role::Developer);
    let bob = gate.sign_in("bob", Role::Developer);
    let mut others = vec![open(&gate, "bob").await, gate.open(gate.get(STREAM)).await];
    let other = gate.sessions.put(session().user(ada.user_id).expires_at(i64::MAX).build());
    gate.sessions.issue("ada elsewhere", &other, 0..i64::MAX);
    others.push(open(&gate, "ada elsewhere").await);
    let own = [open(&gate, "ada").await, open(&gate, "ada").await];
    end(&gate, &ada);
    for stream in &own {
        assert_eq!(end_of(stream).await, StreamEnd::SessionEnded);
    }
    judged(&gate, &bob).await;
    assert!(others.iter().all(|stream| stream.end().is_none()));
}

#[tokio::test]
async fn sr_56_a_lost_role_ends_the_stream() {
    let gate = gate_with(|policy| policy.minimum_role = Some(Role::Developer)).await;
    let ada = gate.sign_in("ada", Role::Developer);
    let stream = open(&gate, "ada").await;
    gate.sessions.put(with_role(&ada, Role::Viewer));
    change(&gate, &ada, 1);
    assert_eq!(end_of(&stream).await, StreamEnd::RightLost);
}

#[tokio::test]
async fn sr_56_a_change_that_leaves_the_right_ends_no_stream() {
    let gate = gate_with(|policy| policy.minimum_role = Some(Role::Developer)).await;
    let ada = gate.sign_in("ada", Role::Developer);
    let stream = open(&gate, "ada").await;
    gate.sessions.put(with_role(&ada, Role::Manager));
    judged(&gate, &ada).await;
    assert_eq!(stream.end(), None);
}

#[tokio::test]
async fn sr_56_a_session_that_ended_unheard_ends_its_stream() {
    let gate = gate_with(|_| {}).await;
    let ada = gate.sign_in("ada", Role::Developer);
    let stream = open(&gate, "ada").await;
    gate.sessions.end(ada.id);
    change(&gate, &ada, 1);
    assert_eq!(end_of(&stream).await, StreamEnd::SessionEnded);
}

#[tokio::test]
async fn sr_56_a_stream_ends_when_its_session_expires() {
    let gate = gate_with(|_| {}).await;
    let ada = gate.sessions.put(session().expires_at(gate.clock.unix_seconds() + 100).build());
    gate.sessions.issue("ada", &ada, 0..i64::MAX);
    let stream = open(&gate, "ada").await;
    gate.clock.advance(Duration::from_secs(100));
    assert_eq!(end_of(&stream).await, StreamEnd::SessionEnded);
}

#[tokio::test]
async fn sr_56_a_stream_ends_when_its_sign_in_is_too_old() {
    let gate = gate_with(|policy| policy.max_session_age = Some(Duration::from_secs(100))).await;
    gate.sign_in_as("ada", session().authenticated_at(gate.clock.unix_seconds()));
    let stream = open(&gate, "ada").await;
    gate.clock.advance(Duration::from_secs(102));
    assert_eq!(end_of(&stream).await, StreamEnd::RightLost);
}

#[tokio::test]
async fn sr_56_new_settings_are_put_to_every_open_stream() {
    for routes in [vec![], vec![stream_route(|policy| policy.minimum_role = Some(Role::Admin))]] {
        let gate = gate_with(|_| {}).await;
        gate.sign_in("ada", Role::Developer);
        let stream = open(&gate, "ada").await;
        gate.swap(TestConfig { routes, ..TestConfig::default() });
        assert_eq!(end_of(&stream).await, StreamEnd::RightLost);
    }
}

#[tokio::test]
async fn sr_51_a_key_of_an_unconfirmed_owner_holds_no_stream() {
    let gate = gate_with(|_| {}).await;
    let key = session().role(Role::Admin).expires_at(i64::MAX);
    let text = gate.sessions.add_api_key(key.clone().api_key(ApiKeyScopes::All));
    let stream = gate.open(gate.get(STREAM).header("x-api-key", &text)).await;
    gate.sessions.replace_api_key(&text, key.api_key(ApiKeyScopes::All).unconfirmed_email().build());
    gate.swap(TestConfig { routes: vec![stream_route(|_| {})], ..TestConfig::default() });
    assert_eq!(end_of(&stream).await, StreamEnd::RightLost);
}

#[tokio::test]
async fn sr_56_a_doubted_stream_that_nobody_can_confirm_ends() {
    let gate = gate_with(|_| {}).await;
    let ada = gate.sign_in("ada", Role::Developer);
    let stream = open(&gate, "ada").await;
    judged(&gate, &ada).await;
    gate.sessions.set_cold(true);
    gate.sessions.set_unreachable(true);
    judged(&gate, &ada).await;
    assert_eq!(stream.end(), None, "the database may be back in a moment");
    gate.clock.advance(Duration::from_secs(10));
    assert_eq!(end_of(&stream).await, StreamEnd::Unconfirmed);
}

#[tokio::test]
async fn a_stream_that_closes_is_not_counted_any_more() {
    let gate = gate_with(|_| {}).await;
    gate.sign_in("ada", Role::Developer);
    let (first, second) = (open(&gate, "ada").await, open(&gate, "ada").await);
    assert_eq!(gate.inner.streams().count(), 2);
    drop(first);
    assert_eq!(gate.inner.streams().count(), 1);
    drop(second);
    assert_eq!(gate.inner.streams().count(), 0);
}

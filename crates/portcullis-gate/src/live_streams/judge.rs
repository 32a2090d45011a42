//! The judge: decides again whether an open stream may stay open, by the session, the settings and the time of now.
//!
//! It works beside the requests, on a task of its own, and looks sessions up as they do: in the session cache, else in
//! SQL, many streams of one session by one reading.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use portcullis_model::{SessionState, SessionsUnavailable};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::StreamEnd;
use super::registry::{Case, Judgement};
use crate::credential::{Credential, Principal};
use crate::decision::authorise::{Caller, authorise};
use crate::decision::refusal::Refusal;
use crate::gate::Gate;
use crate::routes::table::Match;

/// How often the judge looks for streams that are due. A revocation and a reload wake it at once.
const TICK: Duration = Duration::from_millis(250);
/// Streams that are judged at a time, so that many of them do not take all connections to the database.
const AT_A_TIME: usize = 16;
/// How long one look-up may take.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a stream is judged without a cause, in seconds: should a revocation ever be lost, this bounds the harm.
const PAUSE: i64 = 30;
/// How long a stream whose right may have changed stays open while its session cannot be looked up, in seconds.
const DOUBTED_PATIENCE: i64 = 10;
/// The same for a stream about which nothing is known but that revocations may have been missed.
const PATIENCE: i64 = 300;

impl Gate {
    /// Judges open streams again when their users change, when the settings change, and when their sessions expire, until
    /// `stopping` is cancelled.
    pub async fn judge_streams(&self, stopping: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let judge = Judge { gate: self, unavailable_at: AtomicI64::new(i64::MIN) };
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                Some(()) = running.next(), if !running.is_empty() => {}
                _ = tick.tick() => {}
                () = self.streams().doubted.notified() => {}
            }
            let now = self.clock().unix_seconds();
            while running.len() < AT_A_TIME {
                let Some(case) = self.streams().registry().take_due(now) else { break };
                running.push(judge.run(case));
            }
        }
    }
}

struct Judge<'g> {
    gate: &'g Gate,
    /// When a look-up failed last, in Unix seconds. Others are not tried within that second.
    unavailable_at: AtomicI64,
}

impl Judge<'_> {
    async fn run(&self, case: Case) {
        let now = self.gate.clock().unix_seconds();
        let judgement = self.judge(&case, now).await;
        let patience = if case.is_doubted { DOUBTED_PATIENCE } else { PATIENCE };
        let now = self.gate.clock().unix_seconds();
        self.gate.streams().registry().settle(&case, judgement, now, patience, PAUSE);
    }

    async fn judge(&self, case: &Case, now: i64) -> Judgement {
        let session = match &case.session {
            None => None,
            Some(known) => match self.session(case, known, now).await {
                Ok(Some(session)) => Some(session),
                Ok(None) => return Judgement::Ends(StreamEnd::SessionEnded),
                Err(_unavailable) => return Judgement::Undecided,
            },
        };
        // A request by such a key is refused too (SR-51).
        if session.as_ref().is_some_and(|session| session.api_key.is_some() && !session.email_verified) {
            return Judgement::Ends(StreamEnd::RightLost);
        }
        let credential = match (&case.subject.credential, &session) {
            (Credential::Valid(principal), Some(session)) => {
                Credential::Valid(Principal { session: Arc::clone(session), ..principal.clone() })
            }
            (other, _) => other.clone(),
        };
        let config = self.gate.config();
        let Match::Route { route, .. } = config.routes.find(&case.subject.path, &case.subject.method) else {
            return Judgement::Ends(StreamEnd::RightLost);
        };
        let policy = &route.policy;
        let caller = Caller {
            method: &case.subject.method,
            credential: &credential,
            client: case.subject.client,
            now,
            // A stream that needs the database does not need it at every moment.
            is_current: true,
        };
        match authorise(policy, &caller) {
            Ok(()) => {
                let expires = session.as_ref().map_or(i64::MAX, |session| session.expires_at);
                let too_old = session.as_ref().zip(policy.max_session_age).map_or(i64::MAX, |(session, most)| {
                    let most = i64::try_from(most.as_secs()).unwrap_or(i64::MAX);
                    session.authenticated_at.saturating_add(most).saturating_add(1)
                });
                Judgement::Stays { session, until: expires.min(too_old) }
            }
            Err(Refusal::Unavailable) => Judgement::Undecided,
            Err(_) => Judgement::Ends(StreamEnd::RightLost),
        }
    }

    /// The session as it is now; `None` if it has ended or expired.
    async fn session(
        &self,
        case: &Case,
        known: &Arc<SessionState>,
        now: i64,
    ) -> Result<Option<Arc<SessionState>>, SessionsUnavailable> {
        let sessions = self.gate.sessions();
        // While every revocation is known, a session that nothing was told about is as it was.
        if !case.is_doubted && now < known.expires_at && sessions.is_current() {
            return Ok(Some(Arc::clone(known)));
        }
        let key = case.subject.credential.principal().and_then(|principal| principal.key);
        let user_epoch = known.user_epoch.max(case.user_epoch);
        let is_live = |session: &Arc<SessionState>| now < session.expires_at;
        let cached = match &key {
            Some(digest) => sessions.cached_key(digest),
            None => sessions.cached(known.id),
        };
        if let Some(session) = cached.filter(|session| is_live(session) && session.user_epoch >= user_epoch) {
            return Ok(Some(session));
        }
        if self.unavailable_at.load(Ordering::Relaxed) == now {
            return Err(SessionsUnavailable);
        }
        let look_up = match key {
            Some(digest) => sessions.load_key(digest),
            None => sessions.load(known.id, user_epoch),
        };
        match tokio::time::timeout(LOOK_UP_TIMEOUT, look_up).await {
            Ok(Ok(found)) => Ok(found.filter(is_live)),
            Ok(Err(SessionsUnavailable)) | Err(_) => {
                self.unavailable_at.store(self.gate.clock().unix_seconds(), Ordering::Relaxed);
                Err(SessionsUnavailable)
            }
        }
    }
}

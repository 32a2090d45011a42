//! Housekeeping: jobs that keep the tables small and the times of last use true.

use std::sync::Arc;
use std::time::Duration;

use portcullis_sessions::SessionCache;
use portcullis_storage::{Prunable, Store};

use crate::job::{Batch, Job};

/// Rows that one batch deletes: few enough that nobody waits long for the locks.
const BATCH: u64 = 1_000;

/// Users that one batch deletes. Each takes its sessions, keys and mails with it.
const USERS: u64 = 100;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// How long a sealed successor can be fetched, in database time (docs/contract.md, "Tokens and sessions"); then it is
/// erased.
const GRACE_KEPT: Duration = Duration::from_secs(10);
/// A revocation is of no more use once every copy of a session that it concerns was read after it.
const REVOCATIONS_KEPT: Duration = DAY;
/// A session, or a one-time token, past its limit is kept a week, so that a late refresh is still recognised.
const EXPIRED_KEPT: Duration = Duration::from_secs(7 * 86_400);
/// An ended session, or an API key that was revoked or has expired, is kept a month, so that an operator can look it up.
const ENDED_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Failed sign-ins count for this long after the last of them.
const ATTEMPTS_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Mails are kept for this long after they were queued, so that an operator can look one up.
const MAILS_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// A group of errors is kept a month after its last error.
const ERRORS_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// An idempotency key, or a known client, is deleted at once when it expires.
const KEYS_KEPT: Duration = Duration::ZERO;

/// What housekeeping is told by settings.
#[derive(Clone, Copy, Debug, Default)]
pub struct HousekeepingOptions {
    /// How long audit events are kept; `None` for ever.
    pub audit_kept: Option<Duration>,
    /// How long users who never confirmed their address nor signed in are kept; `None` for ever.
    pub unconfirmed_kept: Option<Duration>,
}

/// The jobs of housekeeping. `docs/jobs.md` describes each.
pub fn housekeeping(store: &Store, sessions: &Arc<SessionCache>, options: HousekeepingOptions) -> Vec<Job> {
    let prune = |name, interval, what, kept| prune(store, name, interval, what, kept);
    let mut jobs = vec![
        prune("erase_grace", 10 * SECOND, Prunable::RefreshGrace, GRACE_KEPT),
        prune("prune_revocations", HOUR, Prunable::Revocations, REVOCATIONS_KEPT),
        prune("prune_sessions", HOUR, Prunable::Sessions, EXPIRED_KEPT),
        prune("prune_ended_sessions", HOUR, Prunable::EndedSessions, ENDED_KEPT),
        prune("prune_revoked_api_keys", HOUR, Prunable::RevokedApiKeys, ENDED_KEPT),
        prune("prune_expired_api_keys", HOUR, Prunable::ExpiredApiKeys, ENDED_KEPT),
        prune("prune_one_time_tokens", HOUR, Prunable::OneTimeTokens, EXPIRED_KEPT),
        prune("prune_sign_in_attempts", HOUR, Prunable::SignInAttempts, ATTEMPTS_KEPT),
        prune("prune_known_clients", HOUR, Prunable::KnownClients, KEYS_KEPT),
        prune("prune_mails", HOUR, Prunable::Mails, MAILS_KEPT),
        prune("prune_idempotency_keys", HOUR, Prunable::IdempotencyKeys, KEYS_KEPT),
        prune("prune_errors", HOUR, Prunable::Errors, ERRORS_KEPT),
        end_left_sessions(store),
        finish_deletions(store),
        flush_last_seen(sessions),
        drop_old_copies(sessions),
        close_idle_connections(store),
    ];
    jobs.extend(options.audit_kept.map(|kept| prune("prune_audit_log", HOUR, Prunable::AuditLog, kept)));
    jobs.extend(options.unconfirmed_kept.map(|kept| prune_unconfirmed_users(store, kept)));
    jobs
}

fn prune(store: &Store, name: &'static str, interval: Duration, what: Prunable, kept: Duration) -> Job {
    let store = store.clone();
    Job::on_one_replica(name, interval, move || {
        let store = store.clone();
        async move {
            let now = store.now().await?;
            let deleted = store.prune(what, now - kept, BATCH).await?;
            Ok(if deleted < BATCH { Batch::Last } else { Batch::More })
        }
    })
}

/// Ends the rows of sessions that a logout of very many sessions has ended by their user's epoch.
fn end_left_sessions(store: &Store) -> Job {
    let store = store.clone();
    Job::on_one_replica("end_left_sessions", MINUTE, move || {
        let store = store.clone();
        async move {
            let more = store.end_left_sessions(BATCH, store.now().await?).await?;
            Ok(if more { Batch::More } else { Batch::Last })
        }
    })
}

/// Deletes the rows of users with very many of them, after the users were deleted.
fn finish_deletions(store: &Store) -> Job {
    let store = store.clone();
    Job::on_one_replica("finish_deletions", MINUTE, move || {
        let store = store.clone();
        async move {
            let more = store.finish_deletions(BATCH).await?;
            Ok(if more { Batch::More } else { Batch::Last })
        }
    })
}

fn prune_unconfirmed_users(store: &Store, kept: Duration) -> Job {
    let store = store.clone();
    Job::on_one_replica("prune_unconfirmed_users", HOUR, move || {
        let store = store.clone();
        async move {
            let now = store.now().await?;
            let deleted = store.prune_unconfirmed_users(now - kept, USERS).await?;
            Ok(if deleted < USERS { Batch::Last } else { Batch::More })
        }
    })
}

fn flush_last_seen(sessions: &Arc<SessionCache>) -> Job {
    let sessions = Arc::clone(sessions);
    Job::on_every_replica("flush_last_seen", MINUTE, move || {
        let sessions = Arc::clone(&sessions);
        async move {
            sessions.flush_last_seen().await?;
            Ok(Batch::Last)
        }
    })
}

fn drop_old_copies(sessions: &Arc<SessionCache>) -> Job {
    let sessions = Arc::clone(sessions);
    Job::on_every_replica("drop_old_session_copies", MINUTE, move || {
        sessions.drop_old_copies();
        std::future::ready(Ok(Batch::Last))
    })
}

fn close_idle_connections(store: &Store) -> Job {
    let store = store.clone();
    Job::on_every_replica("close_idle_connections", MINUTE, move || {
        store.close_idle_connections();
        std::future::ready(Ok(Batch::Last))
    })
}

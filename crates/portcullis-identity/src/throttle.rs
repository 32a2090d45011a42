//! Slowing down password guessing (SR-09; NIST SP 800-63B-4 §3.2.2).
//!
//! Attempts are counted per user, per client, and per pair of both, before the password is compared; for addresses that
//! belong to no user as well. A success ends the count of the user and of the pair. After a few failures the next attempt
//! must wait, and each further failure doubles the wait. After a hundred failures against one user, the user's password
//! works from known clients only: clients where the user signed in in the last 90 days, or followed a mailed link. So a
//! stranger cannot lock a user out.
//!
//! A client may be an office behind one address. Its failures drain away steadily, faster with each user who signs in,
//! and delay no user at a known client (SR-62).

use std::net::IpAddr;
use std::time::{Duration, Instant};

use portcullis_model::secret::sha256;
use portcullis_model::{ClientNetwork, Clock, Email, Timestamp, UserId};
use portcullis_storage::{AttemptLimits, AttemptSubjects, Failures, Reserved, SignInView, Store, Tx};

use crate::audit::Caller;
use crate::error::IdentityError;

/// How waits grow with the number of consecutive failures.
struct Backoff {
    /// Failures that cause no wait.
    free: u64,
    longest: Duration,
}

/// Failures of one client against one user.
const PAIR: Backoff = Backoff { free: 5, longest: Duration::from_secs(15 * 60) };
/// Failures of a known client against its user. Others may share the client's address, so the wait stays short.
const KNOWN_PAIR: Backoff = Backoff { free: 5, longest: Duration::from_secs(60) };
/// Failures of all unknown clients together against one user.
const ACCOUNT: Backoff = Backoff { free: 10, longest: Duration::from_secs(15 * 60) };
/// Failures of one client against any user that cause no wait. The number is high, because an office may share one
/// address.
const CLIENT_BURST: u32 = 50;
/// How long each of them takes to drain away, in which one more is admitted.
const CLIENT_DRAIN: Duration = Duration::from_secs(30);
/// Consecutive failures after which a user's password works from known clients only.
const LOCK_AFTER: u64 = 100;
/// A client without failures against a user for this long has that count reset.
const RESET_AFTER: Duration = Duration::from_secs(15 * 60);
/// How many attempts may be under way at once, on all replicas, while none is known to have failed.
const UNCONFIRMED: u64 = LOCK_AFTER;
/// The wait of an attempt that came at the same moment as too many others.
const COLLIDED: Duration = Duration::from_secs(1);
/// How long a client where a user signed in counts as known.
const KNOWN: Duration = Duration::from_secs(90 * 86_400);
/// A success prolongs that time once a day at most, and counts once a day for its client.
const KNOWN_AGAIN: Duration = Duration::from_secs(89 * 86_400);
/// How long a client where a mailed link was followed counts as known.
const TRUST: Duration = Duration::from_secs(30 * 86_400);
/// How many characters of a text that is not an e-mail address are hashed into the key of its counter.
const MAX_HASHED_CHARACTERS: usize = 320;

impl Backoff {
    /// The remaining wait before the next attempt.
    fn wait(&self, failures: &Failures, now: Timestamp) -> Option<Duration> {
        let over = failures.count.checked_sub(self.free)?;
        let pause = self.pause(over);
        let waited = (now - failures.failed_at?).to_std().unwrap_or_default();
        pause.checked_sub(waited).filter(|left| !left.is_zero())
    }

    /// The wait after this many failures beyond the free ones.
    fn pause(&self, over: u64) -> Duration {
        Duration::from_secs(1 << over.min(20)).min(self.longest)
    }

    /// The waits by the number of failures beyond the free ones, up to the longest.
    fn pauses(&self) -> Vec<Duration> {
        let growing = (0..).map(|over| self.pause(over)).take_while(|pause| *pause < self.longest);
        growing.chain([self.longest]).collect()
    }
}

/// The keys that attempts are counted under.
pub(crate) fn subjects(address: &str, ip: Option<IpAddr>) -> AttemptSubjects {
    let account = match Email::parse(address) {
        Ok(email) => email.to_string(),
        Err(_) => address.chars().take(MAX_HASHED_CHARACTERS).collect(),
    };
    let client = ip.map_or_else(|| "shell".to_owned(), |ip| ClientNetwork::from(ip).to_string());
    let hash = |text: String| sha256(text.as_bytes());
    AttemptSubjects {
        account: hash(format!("account\n{account}")),
        client: hash(format!("client\n{client}")),
        pair: hash(format!("pair\n{account}\n{client}")),
    }
}

/// Records that a user signed in at a client, given by its key in [`subjects`].
pub(crate) async fn remember_client(
    tx: &mut Tx,
    user: UserId,
    subjects: &AttemptSubjects,
    now: Timestamp,
) -> Result<(), IdentityError> {
    Ok(tx.remember_client(user, subjects.client, now + KNOWN).await?)
}

/// Records that a user followed a mailed link at a client: from there their password works even while failures of
/// others lock them.
pub(crate) async fn trust_client(
    tx: &mut Tx,
    user: UserId,
    subjects: &AttemptSubjects,
    now: Timestamp,
) -> Result<(), IdentityError> {
    tx.forget_failures(subjects, now, Duration::ZERO).await?;
    tx.remember_client(user, subjects.client, now + TRUST).await?;
    Ok(tx.forget_oldest_clients(user).await?)
}

/// An attempt that was counted before its password is compared.
pub(crate) struct Attempt {
    subjects: AttemptSubjects,
    /// The database's time when it was counted, and the moment.
    at: (Timestamp, Instant),
    /// Until when the client was known before.
    known_until: Option<Timestamp>,
    is_counted: bool,
    /// Whether even the right password is refused. The password is then not compared with the user's.
    pub(crate) is_locked: bool,
}

/// Counts attempts and refuses those that come too early.
#[derive(Clone)]
pub(crate) struct Throttle {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// `password.throttle`; nothing is counted or refused when it is `false`.
    pub(crate) enabled: bool,
}

impl Throttle {
    /// Counts an attempt, or refuses one that comes too early. A refusal costs no hash and tells nothing about the user.
    pub(crate) async fn admit(
        &self,
        action: &'static str,
        subjects: AttemptSubjects,
        view: &SignInView,
        caller: &Caller,
    ) -> Result<Attempt, IdentityError> {
        let mut attempt = Attempt {
            subjects,
            at: (view.now, Instant::now()),
            known_until: view.known_until,
            is_counted: self.enabled,
            is_locked: false,
        };
        if !self.enabled {
            return Ok(attempt);
        }
        let known = view.is_known_client;
        let pair = if known { &KNOWN_PAIR } else { &PAIR };
        let waits = if known {
            [pair.wait(&view.pair, view.now), None, None]
        } else {
            [pair.wait(&view.pair, view.now), ACCOUNT.wait(&view.account, view.now), client_wait(view)]
        };
        if let Some(retry) = waits.into_iter().flatten().max() {
            return self.refuse(action, view, retry, caller).await;
        }
        let limits = AttemptLimits {
            now: view.now,
            is_known_client: known,
            unconfirmed: UNCONFIRMED,
            account_free: ACCOUNT.free,
            pair_free: pair.free,
            waits: pair.pauses(),
            reset_after: RESET_AFTER,
            drain: CLIENT_DRAIN,
            client_burst: CLIENT_BURST,
        };
        match self.store.reserve_attempt(&subjects, &limits).await? {
            Reserved::Admitted { account } => {
                attempt.is_locked = account > LOCK_AFTER && !known;
                Ok(attempt)
            }
            // Others came between the look-up and the count.
            Reserved::TooEarly => self.refuse(action, view, COLLIDED, caller).await,
        }
    }

    async fn refuse<T>(
        &self,
        action: &'static str,
        view: &SignInView,
        retry: Duration,
        caller: &Caller,
    ) -> Result<T, IdentityError> {
        let user = view.credentials.as_ref().map(|known| known.user.id);
        self.store.append_audit(&caller.failure(action, self.clock.now(), user, "throttled")).await?;
        Err(IdentityError::Throttled { retry })
    }

    /// Takes back an attempt whose password was not compared, because the gateway was too busy.
    pub(crate) async fn release(&self, attempt: &Attempt) -> Result<(), IdentityError> {
        if attempt.is_counted {
            self.store.release_attempt(&attempt.subjects, CLIENT_DRAIN).await?;
        }
        Ok(())
    }

    /// Notes that an attempt failed.
    pub(crate) async fn failed(&self, attempt: &Attempt) -> Result<(), IdentityError> {
        if attempt.is_counted {
            self.store.confirm_failure(&attempt.subjects, attempt.now()).await?;
        }
        Ok(())
    }
}

impl Attempt {
    /// The database's time now.
    fn now(&self) -> Timestamp {
        let (at, moment) = self.at;
        at + moment.elapsed()
    }

    /// Ends the counts of the user and of the pair in the transaction of the success, and remembers the client.
    pub(crate) async fn succeeded(&self, tx: &mut Tx, user: UserId) -> Result<(), IdentityError> {
        let now = self.now();
        let is_news = self.known_until.is_none_or(|until| until < now + KNOWN_AGAIN);
        if self.is_counted {
            // The attempt itself, and once a day for each user one failure of others at this client.
            let drained = CLIENT_DRAIN * if is_news { 2 } else { 1 };
            tx.forget_failures(&self.subjects, now, drained).await?;
        }
        if is_news {
            remember_client(tx, user, &self.subjects, now).await?;
        }
        if self.known_until.is_none() {
            tx.forget_oldest_clients(user).await?;
        }
        Ok(())
    }
}

/// The remaining wait of a client whose failures against any user have not drained away yet.
fn client_wait(view: &SignInView) -> Option<Duration> {
    let drain = i64::try_from(CLIENT_DRAIN.as_millis()).unwrap_or(i64::MAX);
    let full = view.now.timestamp_millis() + drain * (i64::from(CLIENT_BURST) - 1);
    u64::try_from(view.client_drains_at - full).ok().filter(|left| *left > 0).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::Clock;

    #[test]
    fn sr_09_waits_double_up_to_a_limit_and_expire() {
        let now = Clock::system().now();
        let wait = |count, seconds| {
            let failures = Failures { count, failed_at: Some(now - Duration::from_secs(seconds)) };
            PAIR.wait(&failures, now).map(|left| left.as_secs())
        };
        assert_eq!((wait(0, 0), wait(4, 0)), (None, None));
        assert_eq!((wait(5, 0), wait(6, 0), wait(10, 0)), (Some(1), Some(2), Some(32)));
        assert_eq!((wait(10, 31), wait(10, 32), wait(10, 4000)), (Some(1), None, None));
        assert_eq!((wait(15, 0), wait(u64::MAX, 0)), (Some(900), Some(900)), "the longest wait");
    }

    #[test]
    fn the_waits_of_the_statement_are_those_of_the_rule() {
        let seconds = |backoff: &Backoff| backoff.pauses().iter().map(Duration::as_secs).collect::<Vec<_>>();
        assert_eq!(seconds(&KNOWN_PAIR), [1, 2, 4, 8, 16, 32, 60]);
        assert_eq!(seconds(&PAIR), seconds(&ACCOUNT), "one list serves both");
        assert_eq!(seconds(&PAIR).last(), Some(&900));
    }

    #[test]
    fn spellings_of_one_user_and_client_share_one_counter() {
        let ip = |text: &str| Some(text.parse().expect("an address"));
        let of = |address: &str, from: &str| subjects(address, ip(from));
        let ada = of("ada@example.com", "2001:db8:1:2::5");
        assert_eq!(of(" ADA@Example.COM ", "2001:db8:1:2:ffff::1").pair, ada.pair);
        assert_ne!(of("ada@example.com", "2001:db8:1:3::5").client, ada.client);
        assert_eq!(of("x", "::ffff:192.0.2.1").client, of("y", "192.0.2.1").client);
        assert_ne!(of("not an address", "192.0.2.1").account, of("nor this", "192.0.2.1").account);
        assert_ne!(ada.account, ada.client);
    }
}

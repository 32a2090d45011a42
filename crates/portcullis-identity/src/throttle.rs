//! Slowing down password guessing (SR-09; NIST SP 800-63B-4 §3.2.2).
//!
//! Consecutive failures are counted per user, per client, and per pair of both; for addresses that belong to no user
//! as well. After a few failures the next attempt must wait, and each further failure doubles the wait. After a
//! hundred failures against one user, the user's password works from known clients only: clients where the user
//! signed in before or followed a mailed link. So a stranger cannot lock a user out.

use std::net::IpAddr;
use std::time::Duration;

use portcullis_model::secret::sha256;
use portcullis_model::{Clock, Email, Timestamp};
use portcullis_storage::{AttemptSubjects, Failures, SignInView, Store};

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
/// Failures of one client against any user. The limit is high, because an office may share one address.
const CLIENT: Backoff = Backoff { free: 50, longest: Duration::from_secs(60) };
/// Failures of all unknown clients together against one user.
const ACCOUNT: Backoff = Backoff { free: 10, longest: Duration::from_secs(15 * 60) };
/// Consecutive failures after which a user's password works from known clients only.
const LOCK_AFTER: u64 = 100;
/// A client without failures for this long has its count reset.
const RESET_AFTER: Duration = Duration::from_secs(15 * 60);
/// How long a client where a mailed link was followed counts as known.
const TRUST: Duration = Duration::from_secs(30 * 86_400);
/// How many characters of a text that is not an e-mail address are hashed into the key of its counter.
const MAX_HASHED_CHARACTERS: usize = 320;

impl Backoff {
    /// The remaining wait before the next attempt.
    fn wait(&self, failures: &Failures, now: Timestamp) -> Option<Duration> {
        let over = failures.count.checked_sub(self.free)?;
        let pause = Duration::from_secs(1 << over.min(20)).min(self.longest);
        let waited = (now - failures.last_at?).to_std().unwrap_or_default();
        pause.checked_sub(waited).filter(|left| !left.is_zero())
    }
}

/// The keys that failures of an attempt are counted under.
pub(crate) fn subjects(address: &str, ip: Option<IpAddr>) -> AttemptSubjects {
    let account = match Email::parse(address) {
        Ok(email) => email.to_string(),
        Err(_) => address.chars().take(MAX_HASHED_CHARACTERS).collect(),
    };
    let client = ip.map_or_else(|| "shell".to_owned(), client);
    let hash = |text: String| sha256(text.as_bytes());
    AttemptSubjects {
        account: hash(format!("account\n{account}")),
        client: hash(format!("client\n{client}")),
        pair: hash(format!("pair\n{account}\n{client}")),
    }
}

/// An IPv4 address, or the /64 network of an IPv6 address, which is what a provider assigns to one customer.
fn client(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("{:x?}", &v6.segments()[..4]),
    }
}

/// Whether even the right password is refused. Also applies to addresses that belong to no user.
fn is_locked(view: &SignInView, failures: u64) -> bool {
    failures >= LOCK_AFTER && !view.is_known_client
}

/// Counts failed attempts and refuses attempts that come too early.
#[derive(Clone)]
pub(crate) struct Throttle {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    /// `password.throttle`; nothing is counted or refused when it is `false`.
    pub(crate) enabled: bool,
}

impl Throttle {
    /// Refuses an attempt that comes too early. No password is hashed, and the refusal tells nothing about the user.
    pub(crate) async fn check(
        &self,
        action: &'static str,
        view: &SignInView,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        if !self.enabled {
            return Ok(());
        }
        let now = self.clock.now();
        let account = if view.is_known_client { None } else { ACCOUNT.wait(&view.account, now) };
        let waits = [PAIR.wait(&view.pair, now), CLIENT.wait(&view.client, now), account];
        let Some(retry) = waits.into_iter().flatten().max() else { return Ok(()) };
        let user = view.credentials.as_ref().map(|known| known.user.id);
        self.store.append_audit(&caller.failure(action, now, user, "throttled")).await?;
        Err(IdentityError::Throttled { retry })
    }

    /// Whether the user's password works from known clients only and this client is unknown.
    pub(crate) fn locks(&self, view: &SignInView, failures: u64) -> bool {
        self.enabled && is_locked(view, failures)
    }

    /// Counts a failed attempt.
    pub(crate) async fn count_failure(&self, subjects: &AttemptSubjects, now: Timestamp) -> Result<(), IdentityError> {
        if self.enabled {
            self.store.count_failure(subjects, now, now - RESET_AFTER).await?;
        }
        Ok(())
    }
}

/// Until when a client where a mailed link is followed `now` counts as known.
pub(crate) fn trusted_until(now: Timestamp) -> Timestamp {
    now + TRUST
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::Clock;

    #[test]
    fn sr_09_waits_double_up_to_a_limit_and_expire() {
        let now = Clock::system().now();
        let wait = |count, seconds| {
            let failures = Failures { count, last_at: Some(now - Duration::from_secs(seconds)) };
            PAIR.wait(&failures, now).map(|left| left.as_secs())
        };
        assert_eq!((wait(0, 0), wait(4, 0)), (None, None));
        assert_eq!((wait(5, 0), wait(6, 0), wait(10, 0)), (Some(1), Some(2), Some(32)));
        assert_eq!((wait(10, 31), wait(10, 32), wait(10, 4000)), (Some(1), None, None));
        assert_eq!((wait(15, 0), wait(u64::MAX, 0)), (Some(900), Some(900)), "the longest wait");
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

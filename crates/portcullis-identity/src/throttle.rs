//! Slowing down who guesses passwords (requirement 9; NIST SP 800-63B-4 §3.2.2).
//!
//! Failures in a row are counted against the account, against the client, and against both together, for accounts
//! that do not exist as for those that do. Past a few of them the next attempt must wait, longer with each. Past a
//! hundred against one account its password no longer works from where its owner was never seen; from a client where
//! they signed in before, or after a mailed link was followed there, it does: a stranger can lock nobody out.

use std::net::IpAddr;
use std::time::Duration;

use portcullis_model::secret::sha256;
use portcullis_model::{Email, Timestamp};
use portcullis_storage::{AttemptSubjects, Failures, SignInView};

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::identity::Parts;

/// Failures before the first wait, and the longest wait.
struct Patience {
    free: u64,
    longest: Duration,
}

/// One client against one account.
const PAIR: Patience = Patience { free: 5, longest: Duration::from_secs(15 * 60) };
/// One client against any account: an office may stand behind it.
const CLIENT: Patience = Patience { free: 50, longest: Duration::from_secs(60) };
/// Clients that the owner was never seen at, together against one account.
const ACCOUNT: Patience = Patience { free: 10, longest: Duration::from_secs(15 * 60) };
/// Failures in a row after which an account's password works from known clients only.
const MOST: u64 = 100;
/// After so much quiet a client begins anew.
const QUIET: Duration = Duration::from_secs(15 * 60);
/// How long a client where a mailed link was followed counts as the owner's.
const TRUST: Duration = Duration::from_secs(30 * 86_400);
/// What is hashed of a text that is no address, in characters.
const LONGEST: usize = 320;

impl Patience {
    /// How long the next attempt must wait still.
    fn wait(&self, failures: &Failures, now: Timestamp) -> Option<Duration> {
        let over = failures.count.checked_sub(self.free)?;
        let pause = Duration::from_secs(1 << over.min(20)).min(self.longest);
        let waited = (now - failures.last_at?).to_std().unwrap_or_default();
        pause.checked_sub(waited).filter(|left| !left.is_zero())
    }
}

/// Whom failures of an attempt are counted against.
pub(crate) fn subjects(address: &str, ip: Option<IpAddr>) -> AttemptSubjects {
    let account = match Email::parse(address) {
        Ok(email) => email.to_string(),
        Err(_) => address.chars().take(LONGEST).collect(),
    };
    let client = ip.map_or_else(|| "shell".to_owned(), client);
    let hash = |text: String| sha256(text.as_bytes());
    AttemptSubjects {
        account: hash(format!("account\n{account}")),
        client: hash(format!("client\n{client}")),
        pair: hash(format!("pair\n{account}\n{client}")),
    }
}

/// An IPv4 address, or the /64 of an IPv6 one: what one customer is given.
fn client(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("{:x?}", &v6.segments()[..4]),
    }
}

/// Whether even the right password would not do: the same for accounts that do not exist.
pub(crate) fn is_locked(view: &SignInView, failures: u64) -> bool {
    failures >= MOST && !view.is_known_client
}

impl Parts {
    /// Refuses an attempt that comes too early. Costs no hash, and tells nothing of the account.
    pub(crate) async fn may_try(
        &self,
        action: &'static str,
        view: &SignInView,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        if !self.options.throttle {
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

    /// Whether the account's password works from known clients only, and this is none.
    pub(crate) fn locks(&self, view: &SignInView, failures: u64) -> bool {
        self.options.throttle && is_locked(view, failures)
    }

    /// Counts a failure.
    pub(crate) async fn failed(&self, subjects: &AttemptSubjects, now: Timestamp) -> Result<(), IdentityError> {
        if self.options.throttle {
            self.store.count_failure(subjects, now, now - QUIET).await?;
        }
        Ok(())
    }
}

/// Until when a client where a mailed link was followed counts as the owner's.
pub(crate) fn trusted_until(now: Timestamp) -> Timestamp {
    now + TRUST
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_model::Clock;

    #[test]
    fn sr_09_waits_grow_to_a_longest_one_and_run_out() {
        let now = Clock::system().now();
        let wait = |count, seconds| {
            let failures = Failures { count, last_at: Some(now - Duration::from_secs(seconds)) };
            PAIR.wait(&failures, now).map(|left| left.as_secs())
        };
        assert_eq!((wait(0, 0), wait(4, 0)), (None, None));
        assert_eq!((wait(5, 0), wait(6, 0), wait(10, 0)), (Some(1), Some(2), Some(32)));
        assert_eq!((wait(10, 31), wait(10, 32), wait(10, 4000)), (Some(1), None, None));
        assert_eq!((wait(15, 0), wait(u64::MAX, 0)), (Some(900), Some(900)), "never for ever");
    }

    #[test]
    fn one_account_and_one_customer_are_one_subject_however_they_are_spelled() {
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

//! The addresses of a target's host, by the system's resolver.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The age at which an answer is looked up anew, when the next connection is opened.
const MAX_AGE: Duration = Duration::from_secs(2);
/// The longest wait for a new answer while an older one is known.
const NEW_ANSWER_WAIT: Duration = Duration::from_millis(500);

/// The addresses of a host. Requests that need them at once share one lookup.
pub(super) struct Resolver {
    host: Box<str>,
    port: u16,
    /// Whether the host is an address, which needs no lookup.
    is_address: bool,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// The latest answer of the resolver; it stays when a later lookup fails.
    addresses: Vec<SocketAddr>,
    /// The address to which a connection was opened last.
    working: Option<SocketAddr>,
    /// When the latest lookup ended.
    looked_up: Option<Instant>,
    /// The error of the latest lookup.
    error: Option<Arc<io::Error>>,
    /// Closed when the lookup under way has ended.
    under_way: Option<watch::Receiver<()>>,
}

impl Resolver {
    /// The resolver of a host: a name, or an address without brackets.
    pub(super) fn new(host: &str, port: u16) -> Self {
        let mut known = Known::default();
        let address = host.parse::<IpAddr>().ok();
        known.addresses.extend(address.map(|address| SocketAddr::new(address, port)));
        Self { host: host.into(), port, is_address: address.is_some(), known: Arc::new(Mutex::new(known)) }
    }

    /// A resolver of tests whose name has these addresses until it is looked up.
    #[cfg(test)]
    pub(super) fn with_addresses(addresses: Vec<SocketAddr>) -> Self {
        let known = Known { addresses, looked_up: Some(Instant::now()), ..Known::default() };
        Self { host: "name".into(), port: 80, is_address: false, known: Arc::new(Mutex::new(known)) }
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The addresses in the order in which to try them (RFC 8305 §4): the one that worked last, then the two families by
    /// turns. Fails only while no lookup has ever succeeded.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, Arc<io::Error>> {
        let name = (self.host.clone(), self.port);
        self.addresses_by(|| async move { Ok(tokio::net::lookup_host((&*name.0, name.1)).await?.collect()) }).await
    }

    async fn addresses_by<F>(&self, look_up: impl FnOnce() -> F) -> Result<Vec<SocketAddr>, Arc<io::Error>>
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        if !self.is_address
            && let Some((mut ended, has_older)) = self.begin(look_up)
        {
            // It returns an error when the lookup has ended, which is what we wait for.
            if has_older {
                let _ = tokio::time::timeout(NEW_ANSWER_WAIT, ended.changed()).await;
            } else {
                let _ = ended.changed().await;
            }
        }
        let known = self.lock();
        match &known.error {
            Some(error) if known.addresses.is_empty() => Err(Arc::clone(error)),
            _ => Ok(in_order(&known.addresses, known.working)),
        }
    }

    /// Begins a lookup if the answer is too old, and none is under way. Returns its end, and whether an older answer is known.
    fn begin<F>(&self, look_up: impl FnOnce() -> F) -> Option<(watch::Receiver<()>, bool)>
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        let mut known = self.lock();
        let has_older = !known.addresses.is_empty();
        if let Some(ended) = &known.under_way {
            return Some((ended.clone(), has_older));
        }
        if known.looked_up.is_some_and(|at| at.elapsed() < MAX_AGE) {
            return None;
        }
        let (end, ended) = watch::channel(());
        known.under_way = Some(ended.clone());
        drop(known);
        let (shared, host, answer) = (Arc::clone(&self.known), self.host.clone(), look_up());
        // In a task of its own, so that it goes on for the others when the first client hangs up.
        tokio::spawn(async move {
            let answer = answer.await;
            shared.lock().unwrap_or_else(PoisonError::into_inner).update(answer, &host);
            drop(end);
        });
        Some((ended, has_older))
    }

    /// Remembers the address that a connection was opened to, so that later ones need not wait for a dead one.
    pub(super) fn worked(&self, address: SocketAddr) {
        self.lock().working = Some(address);
    }

    /// Whether the host is an address, which no lookup changes.
    pub(super) fn is_address(&self) -> bool {
        self.is_address
    }

    /// Makes the next connection look the name up, however old the answer is.
    pub(super) fn expire(&self) {
        self.lock().looked_up = None;
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn update(&mut self, answer: io::Result<Vec<SocketAddr>>, host: &str) {
        self.under_way = None;
        self.looked_up = Some(Instant::now());
        let answer = answer.and_then(|found| {
            if found.is_empty() { Err(io::Error::other("the name has no address")) } else { Ok(found) }
        });
        match answer {
            Ok(addresses) => {
                if !self.addresses.is_empty() && !is_same_set(&self.addresses, &addresses) {
                    tracing::info!(host, ?addresses, "the name of an upstream has new addresses");
                }
                (self.addresses, self.error) = (addresses, None);
            }
            Err(error) => {
                // The first of a series of failures only, or there would be a line for each lookup.
                if self.error.is_none() && !self.addresses.is_empty() {
                    tracing::warn!(%error, host, "the name of an upstream cannot be resolved; its last addresses are used");
                }
                self.error = Some(Arc::new(error));
            }
        }
    }
}

fn is_same_set(some: &[SocketAddr], others: &[SocketAddr]) -> bool {
    some.len() == others.len() && some.iter().all(|address| others.contains(address))
}

/// The first address, then the two families by turns, each in the order of the resolver (RFC 8305 §4). `working` is the
/// first if it is still one of them.
fn in_order(addresses: &[SocketAddr], working: Option<SocketAddr>) -> Vec<SocketAddr> {
    let Some(first) = working.filter(|working| addresses.contains(working)).or_else(|| addresses.first().copied())
    else {
        return Vec::new();
    };
    let rest = || addresses.iter().copied().filter(move |address| *address != first);
    let mut same = rest().filter(|address| address.is_ipv4() == first.is_ipv4());
    let mut other = rest().filter(|address| address.is_ipv4() != first.is_ipv4());
    let mut order = vec![first];
    loop {
        let pair = (other.next(), same.next());
        if pair == (None, None) {
            return order;
        }
        order.extend(pair.0.into_iter().chain(pair.1));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use portcullis_testkit::Stopwatch;

    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| SocketAddr::new(text.parse().expect("an address"), 80)).collect()
    }

    #[test]
    fn families_take_turns_after_the_address_that_worked() {
        let all = addresses(&["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"]);
        assert_eq!(in_order(&all, None), addresses(&["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]));
        assert_eq!(in_order(&all, Some(all[4])), addresses(&["2.2.2.2", "::1", "1.1.1.1", "::2", "::3"]));
        let gone = addresses(&["9.9.9.9"])[0];
        assert_eq!(in_order(&all, Some(gone))[0], all[0], "an address that left the answer is not tried");
        assert_eq!(in_order(&all[..1], None), all[..1]);
        assert!(in_order(&[], Some(gone)).is_empty());
    }

    #[tokio::test]
    async fn an_address_needs_no_lookup() {
        for (host, wanted) in [("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80")] {
            let resolver = Resolver::new(host, 80);
            let found = resolver.addresses_by(|| async { panic!("it looks an address up") }).await;
            assert_eq!(found.expect("it is an address"), [wanted.parse().expect("an address")]);
        }
    }

    #[tokio::test]
    async fn a_real_name_is_resolved() {
        let found = Resolver::new("localhost", 80).addresses().await.expect("every machine knows localhost");
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80) && !found.is_empty());
    }

    #[tokio::test]
    async fn concurrent_requests_share_a_lookup() {
        let resolver = Resolver::new("name", 80);
        let lookups = AtomicUsize::new(0);
        let found = futures_util::future::join_all((0..100).map(|_| {
            resolver.addresses_by(|| {
                lookups.fetch_add(1, Ordering::Relaxed);
                async { Ok(addresses(&["1.1.1.1"])) }
            })
        }))
        .await;
        assert!(found.iter().all(|found| found.as_ref().is_ok_and(|found| *found == addresses(&["1.1.1.1"]))));
        assert_eq!(lookups.into_inner(), 1);
    }

    #[tokio::test]
    async fn a_lookup_outlives_the_client_that_began_it() {
        let resolver = Resolver::new("name", 80);
        let (answer, asked) = tokio::sync::oneshot::channel::<Vec<SocketAddr>>();
        let first = resolver.addresses_by(|| async { Ok(asked.await.expect("the test answers")) });
        assert!(futures_util::FutureExt::now_or_never(first).is_none(), "there is no answer yet");
        answer.send(addresses(&["1.1.1.1"])).expect("the lookup goes on");
        let found = resolver.addresses_by(|| async { panic!("a second lookup") }).await;
        assert_eq!(found.expect("the first lookup's answer"), addresses(&["1.1.1.1"]));
    }

    #[tokio::test]
    async fn an_answer_is_looked_up_anew_when_old_or_expired() {
        let resolver = Resolver::new("name", 80);
        let answer = |list| resolver.addresses_by(move || async move { Ok(addresses(list)) });
        assert_eq!(answer(&["1.1.1.1"]).await.expect("an answer"), addresses(&["1.1.1.1"]));
        // However long that took, it is a moment old.
        resolver.lock().looked_up = Some(Instant::now());
        assert_eq!(answer(&["2.2.2.2"]).await.expect("an answer"), addresses(&["1.1.1.1"]));
        resolver.lock().looked_up = Instant::now().checked_sub(MAX_AGE);
        assert_eq!(answer(&["2.2.2.2"]).await.expect("an answer"), addresses(&["2.2.2.2"]));
        resolver.expire();
        assert_eq!(answer(&["3.3.3.3"]).await.expect("an answer"), addresses(&["3.3.3.3"]));
    }

    #[tokio::test]
    async fn the_last_addresses_stay_while_the_resolver_fails() {
        let resolver = Resolver::new("name", 80);
        let failing = || async { Err(io::Error::other("no such name")) };
        assert_eq!(resolver.addresses_by(failing).await.expect_err("no answer yet").to_string(), "no such name");
        resolver.expire();
        let found = resolver.addresses_by(|| async { Ok(addresses(&["1.1.1.1"])) }).await;
        assert_eq!(found.expect("an answer"), addresses(&["1.1.1.1"]));
        for failure in [failing().await, Ok(Vec::new())] {
            resolver.expire();
            let found = resolver.addresses_by(|| async { failure }).await;
            assert_eq!(found.expect("the last answer"), addresses(&["1.1.1.1"]));
        }
    }

    #[tokio::test]
    async fn a_resolver_that_hangs_delays_a_known_name_little() {
        let resolver = Resolver::new("name", 80);
        let found = resolver.addresses_by(|| async { Ok(addresses(&["1.1.1.1"])) }).await;
        assert!(found.is_ok());
        resolver.expire();
        let stopwatch = Stopwatch::start();
        let found = resolver.addresses_by(std::future::pending).await;
        assert_eq!(found.expect("the last answer"), addresses(&["1.1.1.1"]));
        stopwatch.assert_within(NEW_ANSWER_WAIT.as_secs_f64()..10.0);
    }
}

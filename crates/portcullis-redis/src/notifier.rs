//! Notices between replicas: a message on a channel whose only content is the sender's name.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use portcullis_model::ReplicaNotifier;
use portcullis_telemetry::RequestScope;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::link::{Link, close};

/// The time between two probes of a subscription. Without them a network that drops packets would go unnoticed.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Publishes a notice for the other replicas.
pub(crate) struct Publisher {
    requested: Notify,
    /// The work that the next publication is for, of which its span and its log lines are a part. Of requests that share a
    /// publication, it is the first.
    scope: Mutex<Option<RequestScope>>,
}

impl Publisher {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { requested: Notify::new(), scope: Mutex::default() })
    }

    /// Publishes a notice for each request. Requests during a publication share the next one.
    pub(crate) async fn run(self: Arc<Self>, link: Arc<Link>, replica: String, stop: CancellationToken) {
        let channel = channel(&link.prefix);
        loop {
            tokio::select! {
                () = self.requested.notified() => {}
                () = stop.cancelled() => return,
            }
            let publish = link.client.publish::<(), _, _>(channel.as_str(), replica.as_str());
            let scope = self.waiting().take().unwrap_or(RequestScope::OUTSIDE);
            // A lost notice is no harm: every replica reads the revocation log at a fixed interval.
            // Boxed, because the library's future is large.
            let _ = scope.wrap(Box::pin(link.run("publish", "PUBLISH revocations", publish))).await;
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<RequestScope>> {
        self.scope.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReplicaNotifier for Publisher {
    fn notify(&self) {
        self.waiting().get_or_insert_with(RequestScope::current);
        self.requested.notify_one();
    }
}

/// Calls `on_notice` for each notice of another replica and after each connection, until cancelled.
pub(crate) async fn listen(
    subscriber: SubscriberClient,
    prefix: &str,
    replica: &str,
    on_notice: Arc<dyn Fn() + Send + Sync>,
    stop: CancellationToken,
) {
    let mut messages = subscriber.message_rx();
    let mut connected = subscriber.reconnect_rx();
    let managing = subscriber.manage_subscriptions();
    let connecting = subscriber.connect();
    let subscribe = subscriber.subscribe(channel(prefix));
    tokio::select! {
        // Waits until Redis answers. From then on the library subscribes again after each loss.
        _ = subscribe => on_notice(),
        () = stop.cancelled() => {}
    }
    let mut probes = tokio::time::interval(PROBE_INTERVAL);
    probes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        tokio::select! {
            message = messages.recv() => match message {
                Ok(message) if message.value.as_str().is_some_and(|who| who == replica) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => on_notice(),
                Err(RecvError::Closed) => break,
            },
            _ = connected.recv() => on_notice(),
            _ = probes.tick() => {
                let alive = tokio::time::timeout(PROBE_TIMEOUT, subscriber.ping::<()>(None)).await;
                if !matches!(alive, Ok(Ok(()))) {
                    // This does nothing while the client is connecting already.
                    let _ = subscriber.force_reconnection().await;
                }
            }
            () = stop.cancelled() => break,
        }
    }
    close(&subscriber).await;
    managing.abort();
    connecting.abort();
}

fn channel(prefix: &str) -> String {
    format!("{prefix}:revocations")
}

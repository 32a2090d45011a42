//! The notifier between replicas: a message on a channel, which says who rang and nothing else.

use std::sync::Arc;
use std::time::Duration;

use fred::clients::SubscriberClient;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use portcullis_model::ReplicaNotifier;
use tokio::sync::Notify;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::connect::leave;
use crate::link::Link;

/// How often a subscription is asked for a sign of life: a network that drops packets says nothing.
const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(2);
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Rings over a link.
pub(crate) struct Ringing {
    wanted: Notify,
}

impl Ringing {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { wanted: Notify::new() })
    }

    /// Sends what is wanted; what is wanted while it sends is sent once more.
    pub(crate) async fn run(self: Arc<Self>, link: Arc<Link>, replica: String, stop: CancellationToken) {
        let channel = channel(&link.prefix);
        loop {
            tokio::select! {
                () = self.wanted.notified() => {}
                () = stop.cancelled() => return,
            }
            let ring = link.client.publish::<(), _, _>(channel.as_str(), replica.as_str());
            // Unheard, the readings of the log bring the news.
            let _ = link.run("ring", ring).await;
        }
    }
}

impl ReplicaNotifier for Ringing {
    fn notify(&self) {
        self.wanted.notify_one();
    }
}

/// Calls `rung` for each message of another replica and after each connecting, until cancelled.
pub(crate) async fn listen(
    subscriber: SubscriberClient,
    prefix: &str,
    replica: &str,
    rung: Arc<dyn Fn() + Send + Sync>,
    stop: CancellationToken,
) {
    let mut messages = subscriber.message_rx();
    let mut connected = subscriber.reconnect_rx();
    let managing = subscriber.manage_subscriptions();
    let connecting = subscriber.connect();
    let subscribe = subscriber.subscribe(channel(prefix));
    tokio::select! {
        // Waits until Redis is there; from then on the library subscribes anew after each loss.
        _ = subscribe => rung(),
        () = stop.cancelled() => {}
    }
    let mut pulse = tokio::time::interval(SIGN_OF_LIFE_EVERY);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !stop.is_cancelled() {
        tokio::select! {
            message = messages.recv() => match message {
                Ok(message) if message.value.as_str().is_some_and(|who| who == replica) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => rung(),
                Err(RecvError::Closed) => break,
            },
            _ = connected.recv() => rung(),
            _ = pulse.tick() => {
                let alive = tokio::time::timeout(SIGN_OF_LIFE, subscriber.ping::<()>(None)).await;
                if !matches!(alive, Ok(Ok(()))) {
                    // Does nothing while it is connecting already.
                    let _ = subscriber.force_reconnection().await;
                }
            }
            () = stop.cancelled() => break,
        }
    }
    leave(&subscriber).await;
    managing.abort();
    connecting.abort();
}

fn channel(prefix: &str) -> String {
    format!("{prefix}:revocations")
}

//! The choice of the target for a request: targets take turns, and when connecting fails at one, the next is tried.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use portcullis_telemetry::QueueRefusal;
use tokio::time::Instant;

use super::capacity::{Slot, SlotKind};
use super::connecting::ConnectError;
use super::{ActiveUpstream, Connection, Reuse, Target};
use crate::error::ProxyError;

impl ActiveUpstream {
    /// An idle connection to the target whose turn it is, if it has one and room for the request. Nearly every request is
    /// sent on such a connection, so that its future need not hold the larger one of [`connect`](Self::connect).
    pub(crate) fn connect_at_once(&self, reuse: Reuse, kind: SlotKind) -> Option<(Box<Connection>, Arc<Target>)> {
        let turn = self.next.load(Ordering::Relaxed);
        let target = self.targets.get(if self.targets.len() > 1 { turn % self.targets.len() } else { 0 })?;
        if target.last_connect_failed() {
            return None;
        }
        let slot = target.capacity.try_slot(kind)?;
        let mut connection = target.pool.take(reuse)?;
        connection.slot = Some(slot);
        if self.targets.len() > 1 {
            self.next.fetch_add(1, Ordering::Relaxed);
        }
        Some((connection, Arc::clone(target)))
    }

    /// A connection to the first target that has room and accepts one. If none has room, the request waits in the queue of
    /// the first. `avoid` is the target at which the request failed before; it is tried last.
    pub(crate) async fn connect(
        &self,
        avoid: Option<&Arc<Target>>,
        reuse: Reuse,
        kind: SlotKind,
    ) -> Result<(Box<Connection>, Arc<Target>), ProxyError> {
        let is_avoided = |target: &Arc<Target>| avoid.is_some_and(|avoided| Arc::ptr_eq(avoided, target));
        let targets = self.in_turn().filter(|target| !is_avoided(target)).chain(avoid);
        let (mut deadline, mut failed) = (None, ProxyError::Connect(ConnectError::NoTarget));
        let mut full = Vec::new();
        for target in targets {
            let Some(slot) = target.capacity.try_slot(kind) else {
                full.push(target);
                continue;
            };
            // Nothing was sent yet, so the next target may be tried.
            match target.connection(slot, reuse, &mut deadline).await {
                Ok(connection) => return Ok((connection, Arc::clone(target))),
                Err(error) => failed = ProxyError::Connect(error),
            }
        }
        for target in full {
            match target.capacity.slot(kind).await {
                Ok(slot) => match target.connection(slot, reuse, &mut deadline).await {
                    Ok(connection) => return Ok((connection, Arc::clone(target))),
                    Err(error) => failed = ProxyError::Connect(error),
                },
                Err(QueueRefusal::queue_full) => failed = ProxyError::Overloaded(QueueRefusal::queue_full),
                // It has waited for as long as a request may.
                Err(timeout) => return Err(ProxyError::Overloaded(timeout)),
            }
        }
        Err(failed)
    }

    /// All targets. Each call begins with the next one. Those that could not be reached a moment ago come last.
    fn in_turn(&self) -> impl Iterator<Item = &Arc<Target>> {
        let count = self.targets.len();
        let start = if count > 1 { self.next.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let rotated = move || (0..count).map(move |offset| &self.targets[(start + offset) % count]);
        // Targets are asked one at a time: one that is asked counts as tried.
        let mut unreachable = Vec::new();
        let mut reachable = rotated();
        let mut first_pass = true;
        std::iter::from_fn(move || {
            if first_pass {
                for target in reachable.by_ref() {
                    if count == 1 || !target.is_unreachable() {
                        return Some(target);
                    }
                    unreachable.push(target);
                }
                first_pass = false;
                unreachable.reverse();
            }
            unreachable.pop()
        })
    }
}

impl Target {
    /// A connection for the request that has the slot: an idle one, or a new one by the deadline, which begins with the
    /// first attempt.
    async fn connection(
        &self,
        slot: Slot,
        reuse: Reuse,
        deadline: &mut Option<Instant>,
    ) -> Result<Box<Connection>, ConnectError> {
        if let Some(mut connection) = self.pool.take(reuse) {
            connection.slot = Some(slot);
            return Ok(connection);
        }
        let deadline = *deadline.get_or_insert_with(|| self.connect_deadline());
        self.connect(slot, deadline).await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use portcullis_telemetry::{Metrics, MetricsOptions};

    use super::super::connecting::tests::listener;
    use super::super::{KeepAlive, TargetLimits, Upstream};
    use super::*;

    fn upstream(ports: &[u16]) -> ActiveUpstream {
        let settings = Upstream {
            name: "things".into(),
            targets: ports.iter().map(|port| format!("http://127.0.0.1:{port}").parse().expect("a URL")).collect(),
            connect_timeout: Duration::from_secs(5),
            limits: TargetLimits::default(),
            keepalive: Duration::from_secs(4),
            max_age: None,
        };
        ActiveUpstream::new(settings, &Metrics::new(&MetricsOptions::default(), "test"))
    }

    fn order(upstream: &ActiveUpstream) -> Vec<&str> {
        upstream.in_turn().map(|target| target.authority.to_str().expect("ASCII")).collect()
    }

    #[tokio::test]
    async fn targets_take_turns_and_unreachable_ones_come_last() {
        // Nobody listens on ports 1 to 3 of a machine that runs tests.
        let upstream = upstream(&[1, 2, 3]);
        assert_eq!(order(&upstream), ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        assert_eq!(order(&upstream), ["127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:1"]);
        assert!(upstream.targets[2].connect_now().await.is_err());
        assert_eq!(order(&upstream), ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        assert_eq!(order(&upstream), ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
        assert!(upstream.connect(None, Reuse::Any, SlotKind::Request).await.is_err());
        assert_eq!(order(&upstream), ["127.0.0.1:3", "127.0.0.1:1", "127.0.0.1:2"], "none is left out");
    }

    #[tokio::test]
    async fn idle_connections_are_used_in_turn() {
        let (one, _) = listener("127.0.0.1:0").await;
        let (two, _) = listener("127.0.0.1:0").await;
        let ports = [&one, &two].map(|listener| listener.local_addr().expect("it is bound").port());
        let upstream = upstream(&ports);
        assert!(upstream.connect_at_once(Reuse::Any, SlotKind::Request).is_none(), "none is open");
        for target in &upstream.targets {
            target.pool.release(target.connect_now().await.expect("it listens"), KeepAlive::default());
        }
        let at_once = || upstream.connect_at_once(Reuse::Any, SlotKind::Request).map(|(_, target)| target);
        let used = [at_once(), at_once()].map(|target| target.expect("it is idle").authority.clone());
        assert_eq!(used, [0, 1].map(|index| upstream.targets[index].authority.clone()));
        assert!(at_once().is_none(), "both are in use");
    }

    #[tokio::test]
    async fn an_idle_connection_to_an_unreachable_target_waits() {
        let (listening, address) = listener("127.0.0.1:0").await;
        let upstream = upstream(&[address.port()]);
        let target = &upstream.targets[0];
        target.pool.release(target.connect_now().await.expect("it listens"), KeepAlive::default());
        drop(listening);
        assert!(target.connect_now().await.is_err());
        assert!(upstream.connect_at_once(Reuse::Any, SlotKind::Request).is_none());
    }
}

//! Graceful shutdown: SIGTERM and Ctrl-C, and the order in which the parts stop.

use std::time::Duration;

use portcullis_model::policy::Environment;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::service_manager::{self, State};
use crate::assembly::Application;

/// How long readiness fails before the listener closes, so that a load balancer that checks every second or two has
/// noticed it.
const READINESS_NOTICE: Duration = Duration::from_secs(2);

/// The signals that stop the process gracefully. From [`listen`](Self::listen) on they do not end it by themselves.
pub(crate) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    pub(crate) fn listen() -> std::io::Result<Self> {
        let (terminate, interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        Ok(Self { terminate, interrupt })
    }

    /// Waits for a signal that came since [`listen`](Self::listen).
    pub(crate) async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The running parts, which [`stop`](Self::stop) ends.
pub(super) struct Running<'a> {
    pub(super) application: &'a Application,
    pub(super) environment: Environment,
    /// The server of the listener.
    pub(super) server: JoinHandle<()>,
    /// Closes the listener and lets open requests finish.
    pub(super) closing: CancellationToken,
    pub(super) background: TaskTracker,
    /// Ends the background tasks.
    pub(super) stopping: CancellationToken,
}

impl Running<'_> {
    /// Fails readiness, drains the requests, then ends the background tasks and closes database and Redis.
    pub(super) async fn stop(self) {
        let Self { application, environment, server, closing, background, stopping } = self;
        tracing::info!("stopping");
        service_manager::notify(State::Stopping);
        application.lifecycle().begin_stopping();
        if environment == Environment::Production {
            tokio::time::sleep(READINESS_NOTICE).await;
        }
        closing.cancel();
        application.front.gate.streams().stopping().cancel();
        if let Err(error) = server.await {
            tracing::error!(%error, "the server ended with an error");
        }
        stopping.cancel();
        background.close();
        background.wait().await;
        application.flush_last_seen().await;
        application.store.close().await;
        if let Some(redis) = &application.redis {
            redis.close().await;
        }
    }
}

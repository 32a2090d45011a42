//! The log level while the process runs: what the settings say, and what `portcullis log-level` says for a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use portcullis_model::user::rfc3339_millis;
use portcullis_model::{Clock, Timestamp};
use portcullis_telemetry::logs::{self, FILTER_TARGET, LogFilter};
use serde::{Deserialize, Serialize};

/// The log level of this process.
pub(super) struct LogLevel {
    state: Mutex<State>,
    clock: Clock,
}

struct State {
    /// `log.level` of the settings in force.
    configured: LogFilter,
    changed: Option<Change>,
    /// Numbers the changes, so that the end of an earlier one does not end a later one.
    changes: u64,
}

/// What holds in place of the settings, or beside them.
struct Change {
    filter: LogFilter,
    until: Option<Timestamp>,
}

/// What `portcullis log-level` shows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LogLevelInForce {
    /// The filter in force.
    pub level: String,
    /// `log.level` of the settings.
    pub configured: String,
    /// When the settings hold again by themselves (RFC 3339).
    pub until: Option<String>,
}

impl LogLevel {
    pub(super) fn new(configured: LogFilter, clock: Clock) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { configured, changed: None, changes: 0 }), clock })
    }

    /// Returns what is in force.
    pub(super) fn in_force(&self) -> LogLevelInForce {
        self.state().in_force()
    }

    /// Changes the level, for a time or until the settings change it. Modules that the filter does not name keep their level.
    pub(super) fn change(self: &Arc<Self>, filter: LogFilter, time: Option<Duration>, by: &str) -> LogLevelInForce {
        let until = time.map(|time| self.clock.now() + time);
        let number = {
            let mut state = self.state();
            state.changed = Some(Change { filter, until });
            state.changes += 1;
            state.apply(by);
            state.changes
        };
        if let Some(time) = time {
            let level = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                level.end(number);
            });
        }
        self.in_force()
    }

    /// Goes back to the settings at the end of a change's time, unless there was a later change.
    fn end(&self, change: u64) {
        let mut state = self.state();
        if state.changes == change && state.changed.take().is_some() {
            state.apply("the end of its time");
        }
    }

    /// Goes back to the settings.
    pub(super) fn reset(&self, by: &str) -> LogLevelInForce {
        let mut state = self.state();
        if state.changed.take().is_some() {
            state.apply(by);
        }
        state.in_force()
    }

    /// Takes over `log.level` of a reload. A change by command ends if the setting is another one than before.
    pub(super) fn configure(&self, configured: &LogFilter) {
        let mut state = self.state();
        if state.configured != *configured {
            state.configured = configured.clone();
            state.changed = None;
            state.apply("a reload");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn filter(&self) -> LogFilter {
        self.changed.as_ref().map_or_else(|| self.configured.clone(), |change| self.configured.with(&change.filter))
    }

    fn in_force(&self) -> LogLevelInForce {
        LogLevelInForce {
            level: self.filter().to_string(),
            configured: self.configured.to_string(),
            until: self.changed.as_ref().and_then(|change| change.until).map(rfc3339_millis),
        }
    }

    /// Puts the filter in force and logs that, before if nothing is logged afterwards.
    fn apply(&self, by: &str) {
        let filter = self.filter();
        if filter.is_off() {
            self.log(by);
        }
        logs::set_filter(&filter);
        if !filter.is_off() {
            self.log(by);
        }
    }

    fn log(&self, by: &str) {
        let LogLevelInForce { level, until, .. } = self.in_force();
        let until = until.as_deref().unwrap_or("it is changed again");
        tracing::info!(target: FILTER_TARGET, level, by, until, "the log level was changed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> LogFilter {
        LogFilter::parse(text).expect("a filter")
    }

    fn level() -> Arc<LogLevel> {
        LogLevel::new(filter("info"), Clock::adjustable())
    }

    #[tokio::test]
    async fn a_change_adds_to_the_settings_and_ends() {
        let level = level();
        let changed = level.change(filter("portcullis_gate=debug"), Some(Duration::from_secs(600)), "a test");
        assert_eq!((changed.level.as_str(), changed.configured.as_str()), ("info,portcullis_gate=debug", "info"));
        assert!(changed.until.is_some());
        assert_eq!(level.in_force(), changed);
        level.end(1);
        let expected = LogLevelInForce { level: "info".to_owned(), configured: "info".to_owned(), until: None };
        assert_eq!(level.in_force(), expected);
    }

    #[tokio::test]
    async fn the_end_of_a_change_does_not_end_a_later_one() {
        let level = level();
        level.change(filter("debug"), Some(Duration::from_secs(60)), "a test");
        level.change(filter("warn"), None, "a test");
        level.end(1);
        assert_eq!(level.in_force().level, "warn");
        assert_eq!(level.reset("a test").level, "info");
    }

    #[tokio::test]
    async fn a_reload_ends_a_change_only_with_another_level() {
        let level = level();
        level.change(filter("debug"), None, "a test");
        level.configure(&filter("info"));
        assert_eq!(level.in_force().level, "debug");
        level.configure(&filter("warn"));
        assert_eq!((level.in_force().level.as_str(), level.in_force().configured.as_str()), ("warn", "warn"));
    }
}

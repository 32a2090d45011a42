//! The filter of log lines, and its change while the process runs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use tracing_subscriber::EnvFilter;

/// The level of what no module names.
const DEFAULT_LEVEL: &str = "info";
/// The target of the lines about the filter itself, which every filter lets pass but `off`.
pub const FILTER_TARGET: &str = "portcullis::log_level";

/// Which lines are logged: a level, and levels of single modules (`info,portcullis_gate=debug`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    /// The level of all other modules; `None` in a filter that only adds to another one.
    level: Option<&'static str>,
    modules: BTreeMap<String, &'static str>,
}

/// Why a text is no filter. The names are those of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidFilter {
    /// A level that is none of [`LogFilter::LEVELS`].
    Level(String),
    /// A module of a crate that is none of [`LogFilter::CRATES`].
    Module(String),
}

impl LogFilter {
    /// The levels, from few lines to many.
    pub const LEVELS: [&'static str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    /// The crates that log. The level of a module is that of all targets that begin with its name, so `portcullis` stands
    /// for all of our crates.
    pub const CRATES: [&'static str; 19] = [
        "portcullis",
        "portcullis_api",
        "portcullis_edge",
        "portcullis_gate",
        "portcullis_identity",
        "portcullis_jobs",
        "portcullis_proxy",
        "portcullis_redis",
        "portcullis_sessions",
        "portcullis_settings",
        "portcullis_storage",
        "portcullis_telemetry",
        "h2",
        "hyper",
        "hyper_util",
        "sqlx",
        "sqlx_core",
        "sqlx_postgres",
        "sqlx_sqlite",
    ];

    /// Reads a filter: a level and `module=level` pairs in any order, separated by commas.
    ///
    /// # Errors
    /// When a level or a crate is unknown.
    pub fn parse(text: &str) -> Result<Self, InvalidFilter> {
        let mut filter = Self { level: None, modules: BTreeMap::new() };
        for part in text.split(',').map(str::trim) {
            let (module, level) = part.split_once('=').map_or((None, part), |(module, level)| (Some(module), level));
            let known = Self::LEVELS.into_iter().find(|known| known.eq_ignore_ascii_case(level.trim()));
            let level = known.ok_or_else(|| InvalidFilter::Level(level.to_owned()))?;
            let Some(module) = module else {
                filter.level = Some(level);
                continue;
            };
            let module = module.trim().to_ascii_lowercase();
            let name_of_crate = module.split("::").next().unwrap_or_default();
            let is_path = module.split("::").all(|part| !part.is_empty() && part.bytes().all(is_of_name));
            if !is_path || !Self::CRATES.contains(&name_of_crate) {
                return Err(InvalidFilter::Module(module));
            }
            filter.modules.insert(module, level);
        }
        Ok(filter)
    }

    /// Returns this filter with the levels of another one in place of its own.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut modules = self.modules.clone();
        modules.extend(other.modules.clone());
        Self { level: other.level.or(self.level), modules }
    }

    /// Whether it lets no line pass.
    pub fn is_off(&self) -> bool {
        self.level() == "off" && self.modules.values().all(|level| *level == "off")
    }

    fn level(&self) -> &'static str {
        self.level.unwrap_or(DEFAULT_LEVEL)
    }

    pub(super) fn to_env_filter(&self) -> EnvFilter {
        let own = if self.is_off() { String::new() } else { format!(",{FILTER_TARGET}=info") };
        EnvFilter::new(format!("{self}{own}"))
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self { level: Some(DEFAULT_LEVEL), modules: BTreeMap::new() }
    }
}

/// The whole filter, with the level that holds if it names none.
impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.level())?;
        self.modules.iter().try_for_each(|(module, level)| write!(f, ",{module}={level}"))
    }
}

/// Replaces the filter of the running log.
type Replace = Box<dyn Fn(EnvFilter) + Send + Sync>;

static REPLACE: OnceLock<Replace> = OnceLock::new();

pub(super) fn can_be_replaced_by(replace: Replace) {
    // The process has one log, which is started once.
    let _ = REPLACE.set(replace);
}

/// Puts another filter in force for the log of this process, if it has one.
pub fn set_filter(filter: &LogFilter) {
    if let Some(replace) = REPLACE.get() {
        replace(filter.to_env_filter());
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> LogFilter {
        LogFilter::parse(text).unwrap_or_else(|invalid| panic!("{text}: {invalid:?}"))
    }

    #[test]
    fn a_filter_is_a_level_and_levels_of_modules() {
        assert_eq!(filter("WARN").to_string(), "warn");
        assert_eq!(filter("portcullis_gate::decision=trace, info").to_string(), "info,portcullis_gate::decision=trace");
        // What it does not name keeps the default level, and does not go silent.
        assert_eq!(filter("h2=off").to_string(), "info,h2=off");
    }

    #[test]
    fn unknown_levels_and_modules_are_named() {
        for text in ["", "wran", "info,", "info,h2=", "h2=loud"] {
            assert!(matches!(LogFilter::parse(text), Err(InvalidFilter::Level(_))), "{text}");
        }
        for text in ["gate=debug", "=debug", "portcullis_gat=debug", "portcullis_gate::=debug", "a\n=debug"] {
            assert!(matches!(LogFilter::parse(text), Err(InvalidFilter::Module(_))), "{text}");
        }
        assert_eq!(
            LogFilter::parse("info,portcullis_gat=debug"),
            Err(InvalidFilter::Module("portcullis_gat".to_owned()))
        );
    }

    #[test]
    fn the_levels_of_another_filter_come_before_ones_own() {
        let own = filter("warn,h2=error,hyper=off");
        assert_eq!(
            own.with(&filter("portcullis_gate=debug")).to_string(),
            "warn,h2=error,hyper=off,portcullis_gate=debug"
        );
        assert_eq!(own.with(&filter("debug,h2=trace")).to_string(), "debug,h2=trace,hyper=off");
    }

    #[test]
    fn off_is_a_filter_that_lets_nothing_pass() {
        assert!(filter("off").is_off() && filter("off,h2=off").is_off());
        assert!(!filter("off,h2=error").is_off() && !filter("error").is_off());
    }
}

//! `[limits]`: how often one address may call.

use portcullis_gate::LimitsConfig;
use portcullis_model::{Rate, policy::Environment};

use super::key::{Key, Preset, Section};
use super::notice::{Notice, Problems};
use super::reader::Reader;
use super::tree::Table;

static ENABLED: Key = Key::new(
    "enabled",
    Preset::Value("true"),
    "true or false",
    "`false` lifts the two limits below; a route's own `rate_limit` stays.",
);
static AUTH: Key = Key::new(
    "auth",
    Preset::Value("60/1m"),
    "requests/duration, or `off`",
    "For one address on login, register, refresh and the like.",
);
static API: Key = Key::new(
    "api",
    Preset::Value("6000/1m"),
    "requests/duration, or `off`",
    "For one address on the rest; health and metrics have no limit.",
);

pub(super) static SECTION: Section = Section { name: "limits", keys: &[&ENABLED, &AUTH, &API] };

pub(super) fn read(
    tree: &Table,
    environment: Environment,
    problems: &mut Problems,
    advice: &mut Vec<Notice>,
) -> LimitsConfig {
    let mut section = Reader::open(tree, &SECTION, problems);
    let enabled = section.flag(&ENABLED);
    let auth = section.value(&AUTH, Rate::parse);
    let api = section.value(&API, Rate::parse);
    if environment == Environment::Production && (!enabled || auth.is_none()) {
        let key = if enabled { &AUTH } else { &ENABLED };
        let message = "nothing slows down whoever guesses passwords";
        advice.push(Notice::new(&section.place_of(key), message).hint("leave limits.auth at its default, 60/1m"));
    }
    if enabled { LimitsConfig { auth, api } } else { LimitsConfig { auth: None, api: None } }
}

#[cfg(test)]
mod tests {
    use crate::settings::testing::{refused, settings};

    #[test]
    fn limits_have_defaults_and_can_be_lifted_one_by_one_or_together() {
        let text = |rate: Option<portcullis_model::Rate>| rate.map(|rate| rate.to_string());
        let limits = settings("", &[]).limits;
        assert_eq!((text(limits.auth).as_deref(), text(limits.api).as_deref()), (Some("60/60s"), Some("6000/60s")));
        let limits = settings("[limits]\nauth = \"off\"\n", &[]).limits;
        assert!(limits.auth.is_none() && limits.api.is_some());
        let limits = settings("", &[("PORTCULLIS__LIMITS__ENABLED", "false")]).limits;
        assert!(limits.auth.is_none() && limits.api.is_none());
        assert!(
            refused("[limits]\napi = 100\n", &[]).contains("limits.api = 100 cannot be used\n  hint: a rate limit is")
        );
    }
}

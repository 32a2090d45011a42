//! `[limits]` and `routes.rate_limit`: how many requests, counted per what.

use portcullis_gate::LimitsConfig;
use portcullis_model::input::did_you_mean;
use portcullis_model::{InvalidInput, Limit, LimitBy, Multipliers, Rate, Role, WithoutRedis, policy::Environment};

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::{Reader, unknown_hint};
use crate::engine::tree::{Node, Table, Value};
use crate::engine::values::one_of;

/// The form of a limit.
const UNIT: &str = "requests/duration, `off`, or a table";

static ENABLED: Key = Key::live(
    "enabled",
    DefaultValue::Text("true"),
    "true or false",
    "`false` turns the limits below off; `rate_limit` of a route stays.",
);
static AUTH: Key = Key::live(
    "auth",
    DefaultValue::Text("60/1m"),
    UNIT,
    "The limit per client address on login, register, refresh and the like.",
);
static API: Key = Key::live(
    "api",
    DefaultValue::Text("6000/1m"),
    UNIT,
    "The limit per client address on all other paths; health and metrics have no limit.",
);
static READS: Key = Key::live(
    "reads",
    DefaultValue::Text("off"),
    UNIT,
    "The limit per principal on all other paths, with `GET`, `HEAD` and `OPTIONS`.",
);
static WRITES: Key = Key::live(
    "writes",
    DefaultValue::Text("off"),
    UNIT,
    "The limit per principal on all other paths, with other methods.",
);
static MULTIPLIERS: Key = Key::live(
    "multipliers",
    DefaultValue::Described("none"),
    "`{ ROLE = times }`",
    "Factors by role for limits that count principals and have no `multipliers` of their own.",
);
static WITHOUT_REDIS: Key = Key::live(
    "without_redis",
    DefaultValue::Text("local"),
    "`local`, `open` or `closed`",
    "The limits while Redis cannot be reached: `local` each replica counts for itself, `open` every request passes, `closed` none does (503).",
);

pub(crate) static SECTION: Section = Section {
    name: "limits",
    about: "\
A limit `60/1m` accepts 60 requests in a minute, in a burst if they come together (GCRA). IPv6 addresses count
by /64. Replicas that share a Redis count together; without Redis each counts for itself. A limit may be a
table too, see [gate.md](gate.md):
`{ rate = \"60/1m\", by = \"caller\", name = \"mine\", multipliers = { ADMIN = 10 }, without_redis = \"closed\" }`.",
    keys: &[&ENABLED, &AUTH, &API, &READS, &WRITES, &MULTIPLIERS, &WITHOUT_REDIS],
};

static RATE: Key =
    Key::live("rate", DefaultValue::Required, "requests/duration, or `off`", "How many requests in which time.");
static BY: Key = Key::live(
    "by",
    DefaultValue::Described("`caller` for routes, `reads` and `writes`; else `address`"),
    "`address`, `caller`, `api_key`, `role`, `everybody` or `header:<name>`",
    "What is counted: requests per address, per principal, per API key, per role, of everybody, or per value of a header.",
);
static NAME: Key = Key::live(
    "name",
    DefaultValue::Described("`route`, `route-2` and so on; else the key"),
    "name",
    "The name of the limit in headers and metrics.",
);

/// A limit written as a table.
static LIMIT: Section = Section { name: "limit", about: "", keys: &[&RATE, &BY, &NAME, &MULTIPLIERS, &WITHOUT_REDIS] };

/// The values of a limit that sets none of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitDefaults {
    multipliers: Multipliers,
    without_redis: WithoutRedis,
}

pub(crate) fn read(
    tree: &Table,
    environment: Environment,
    problems: &mut Problems,
    advice: &mut Vec<Notice>,
) -> (LimitsConfig, LimitDefaults) {
    let mut section = Reader::open(tree, &SECTION, problems);
    let enabled = section.flag(&ENABLED);
    let defaults = LimitDefaults {
        multipliers: multipliers(&mut section).unwrap_or_default(),
        without_redis: section.value(&WITHOUT_REDIS, parse_without_redis),
    };
    let config = LimitsConfig {
        auth: global_limit(&mut section, &AUTH, &defaults),
        api: global_limit(&mut section, &API, &defaults),
        reads: global_limit(&mut section, &READS, &defaults),
        writes: global_limit(&mut section, &WRITES, &defaults),
    };
    if environment == Environment::Production && (!enabled || config.auth.is_none()) {
        let key = if enabled { &AUTH } else { &ENABLED };
        let message = "no limit slows down password guessing";
        advice.push(
            Notice::new(&section.place_of(key), message)
                .hint("remove limits.auth and limits.enabled: the default is 60/1m"),
        );
    }
    (if enabled { config } else { LimitsConfig::default() }, defaults)
}

/// Reads one of the limits for all paths. `auth` and `api` are counted before the principal is known.
fn global_limit(section: &mut Reader<'_, '_>, key: &'static Key, defaults: &LimitDefaults) -> Option<Limit> {
    let early = key.name == AUTH.name || key.name == API.name;
    let by = if early { LimitBy::Address } else { LimitBy::Caller };
    let limit = match section.node(key).map(Node::structured) {
        Some(node) => read_limit(section, key, &node, key.name, &by, defaults)?,
        None => plain_limit(key.name, section.value(key, Rate::parse)?, &by, defaults),
    };
    if early && limit.needs_caller() {
        let hint = "give it by = \"address\", \"everybody\" or \"header:<name>\", and no multipliers";
        section.reject(key, "is counted before the principal is known", hint);
        return None;
    }
    Some(limit)
}

/// Reads the limits of a route: one, or a list.
pub(crate) fn of_route(section: &mut Reader<'_, '_>, key: &'static Key, defaults: &LimitDefaults) -> Vec<Limit> {
    let Some(node) = section.node(key).map(Node::structured) else { return Vec::new() };
    let items = match node.value {
        Value::List(items) => items,
        _ => vec![node],
    };
    let mut limits: Vec<Limit> = Vec::new();
    for (number, item) in items.iter().enumerate() {
        let name = if number == 0 { "route".to_owned() } else { format!("route-{}", number + 1) };
        let Some(limit) = read_limit(section, key, item, &name, &LimitBy::Caller, defaults) else { continue };
        if limits.iter().any(|known| known.name == limit.name) {
            let message = format!("{} has two limits with the name {}", section.path(key), limit.name);
            section.problems.add(Notice::new(&item.place, message).hint("give each limit a name of its own"));
        }
        limits.push(limit);
    }
    limits
}

/// Reads a limit that is a text or a table; `None` when it is off or was refused.
fn read_limit(
    section: &mut Reader<'_, '_>,
    key: &'static Key,
    node: &Node,
    name: &str,
    by: &LimitBy,
    defaults: &LimitDefaults,
) -> Option<Limit> {
    if !matches!(node.value, Value::Table(_)) {
        let mut rates = section.items(key, &list_of(node), Rate::parse);
        return rates.pop().flatten().map(|rate| plain_limit(name, rate, by, defaults));
    }
    let mut table = Reader::of(Some(node), section.path(key), &LIMIT, section.problems);
    if table.node(&RATE).is_none() {
        table.reject(&RATE, "is missing", "write rate = \"100/1m\"");
    }
    let rate = table.optional(&RATE, Rate::parse).flatten();
    let by = table.optional(&BY, parse_by).unwrap_or_else(|| by.clone());
    let name = table.optional(&NAME, parse_name).unwrap_or_else(|| name.to_owned());
    let own = multipliers(&mut table);
    let without_redis = table.optional(&WITHOUT_REDIS, parse_without_redis).unwrap_or(defaults.without_redis);
    let multipliers = own.unwrap_or_else(|| inherited_multipliers(&by, defaults));
    rate.map(|rate| Limit { name: name.as_str().into(), rate, by, multipliers, without_redis })
}

fn plain_limit(name: &str, rate: Rate, by: &LimitBy, defaults: &LimitDefaults) -> Limit {
    Limit {
        name: name.into(),
        rate,
        by: by.clone(),
        multipliers: inherited_multipliers(by, defaults),
        without_redis: defaults.without_redis,
    }
}

/// Only limits that count principals inherit multipliers: the others are counted before the principal is known.
fn inherited_multipliers(by: &LimitBy, defaults: &LimitDefaults) -> Multipliers {
    if matches!(by, LimitBy::Caller | LimitBy::ApiKey | LimitBy::Role) {
        defaults.multipliers.clone()
    } else {
        Multipliers::default()
    }
}

/// Wraps a single value into a list, for [`Reader::items`].
fn list_of(node: &Node) -> Node {
    Node { value: Value::List(vec![node.clone()]), place: node.place.clone() }
}

fn multipliers(section: &mut Reader<'_, '_>) -> Option<Multipliers> {
    let node = section.node(&MULTIPLIERS).map(Node::structured)?;
    let Value::Table(table) = &node.value else {
        section.reject(&MULTIPLIERS, format!("is {}", node.value.kind()), "write { ADMIN = 10, MANAGER = 2 }");
        return None;
    };
    let mut of = Vec::new();
    for (name, node) in table {
        let role = name.parse::<Role>();
        let times = match node.value {
            Value::Integer(times) => u32::try_from(times).ok().filter(|times| (1..=1000).contains(times)),
            _ => None,
        };
        let hint = match (role, times) {
            (Ok(role), Some(times)) => {
                of.push((role, times));
                continue;
            }
            (Err(_), _) => unknown_hint(name, Role::ALL.into_iter().map(Role::as_str)),
            (Ok(_), None) => "write a whole number from 1 to 1000".to_owned(),
        };
        let message = format!("{} cannot be used for `{name}`", section.path(&MULTIPLIERS));
        section.problems.add(Notice::new(&node.place, message).hint(hint));
    }
    Some(Multipliers::new(of))
}

fn parse_without_redis(text: &str) -> Result<WithoutRedis, InvalidInput> {
    one_of(text, &[("local", WithoutRedis::Local), ("open", WithoutRedis::Open), ("closed", WithoutRedis::Closed)])
}

const KINDS: [&str; 5] = ["address", "caller", "api_key", "role", "everybody"];

fn parse_by(text: &str) -> Result<LimitBy, InvalidInput> {
    if let Some(name) = text.strip_prefix("header:") {
        let name = name.trim().to_ascii_lowercase();
        // The value of a header becomes part of a key in Redis; a credential must not.
        if ["authorization", "cookie", "x-api-key"].contains(&name.as_str()) {
            return Err(InvalidInput("count credentials with by = \"caller\" or \"api_key\"".to_owned()));
        }
        let header = http::HeaderName::try_from(name.as_str());
        return header
            .map(|header| LimitBy::Header(header.as_str().into()))
            .map_err(|_| InvalidInput("write the name of a header after header:, such as header:x-tenant".to_owned()));
    }
    match text {
        "address" => Ok(LimitBy::Address),
        "caller" => Ok(LimitBy::Caller),
        "api_key" => Ok(LimitBy::ApiKey),
        "role" => Ok(LimitBy::Role),
        "everybody" => Ok(LimitBy::Everybody),
        _ => match did_you_mean(text, KINDS) {
            Some(near) => Err(InvalidInput(format!("did you mean `{near}`?"))),
            None => Err(InvalidInput(format!("write {} or header:<name>", KINDS.join(", ")))),
        },
    }
}

fn parse_name(text: &str) -> Result<String, InvalidInput> {
    let good = (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if good {
        Ok(text.to_owned())
    } else {
        Err(InvalidInput("write 1 to 32 characters: letters a-z, digits, - and _".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{refused, settings};

    fn text(limit: Option<&Limit>) -> Option<String> {
        limit.map(|limit| format!("{} {} by {}", limit.name, limit.rate, limit.by))
    }

    #[test]
    fn limits_have_defaults_and_can_be_turned_off() {
        let limits = settings("", &[]).limits;
        assert_eq!(text(limits.auth.as_ref()).as_deref(), Some("auth 60/60s by address"));
        assert_eq!(text(limits.api.as_ref()).as_deref(), Some("api 6000/60s by address"));
        assert_eq!((limits.reads, limits.writes), (None, None));
        let limits = settings("[limits]\nauth = \"off\"\nwrites = \"10/1m\"\n", &[]).limits;
        assert!(limits.auth.is_none() && limits.api.is_some());
        assert_eq!(text(limits.writes.as_ref()).as_deref(), Some("writes 10/60s by caller"));
        let limits = settings("", &[("PORTCULLIS__LIMITS__ENABLED", "false")]).limits;
        assert_eq!(limits, LimitsConfig::default());
        assert!(
            refused("[limits]\napi = 100\n", &[]).contains("limits.api = 100 cannot be used\n  hint: a rate limit is")
        );
    }

    #[test]
    fn a_limit_may_be_a_table_in_file_and_environment() {
        let file = "[limits]\nmultipliers = { ADMIN = 10 }\nwithout_redis = \"closed\"\n\
            writes = { rate = \"10/1m\", without_redis = \"open\" }\n\
            api = { rate = \"5/1s\", by = \"everybody\" }\n";
        let limits = settings(file, &[("PORTCULLIS__LIMITS__READS", "{ rate = \"7/1m\", by = \"role\" }")]).limits;
        let writes = limits.writes.expect("set");
        assert_eq!((writes.rate_for(Some(Role::Admin)).limit, writes.without_redis), (100, WithoutRedis::Open));
        let api = limits.api.expect("set");
        assert_eq!(
            (api.by.clone(), api.without_redis, api.needs_caller()),
            (LimitBy::Everybody, WithoutRedis::Closed, false)
        );
        assert_eq!(text(limits.reads.as_ref()).as_deref(), Some("reads 7/60s by role"));
    }

    #[test]
    fn a_route_may_have_several_limits() {
        let route = |limit: &str| {
            format!(
                "[upstreams.p]\ntargets = [\"http://127.0.0.1:1\"]\n[[routes]]\npath = \"/p\"\nupstream = \"p\"\nrate_limit = {limit}\n"
            )
        };
        let limits = |limit: &str| settings(&route(limit), &[]).routes[0].policy.limits.clone();
        assert_eq!(limits("\"off\""), []);
        let several = limits(
            "[\"100/15m\", { rate = \"5/1s\", by = \"header:X-Tenant\", name = \"tenant\" }, { rate = \"1/1s\", by = \"api_key\", multipliers = { ADMIN = 2 } }]",
        );
        let message: Vec<_> = several.iter().map(|limit| text(Some(limit)).expect("a limit")).collect();
        assert_eq!(message, ["route 100/900s by caller", "tenant 5/1s by header:x-tenant", "route-3 1/1s by api_key"]);
        for (bad, hint) in [
            ("{ by = \"caller\" }", "rate_limit.rate is missing"),
            ("{ rate = \"1/1m\", by = \"adress\" }", "did you mean `address`?"),
            ("{ rate = \"1/1m\", by = \"header:a b\" }", "write the name of a header after header:"),
            ("{ rate = \"1/1m\", by = \"header:Authorization\" }", "count credentials with by ="),
            ("{ rate = \"1/1m\", name = \"A B\" }", "write 1 to 32 characters"),
            ("{ rate = \"1/1m\", multipliers = { ADMIN = 0 } }", "write a whole number from 1 to 1000"),
            ("{ rate = \"1/1m\", multipliers = { ADMN = 2 } }", "did you mean `ADMIN`?"),
            ("{ rate = \"1/1m\", without_redis = \"shut\" }", "write local, open or closed"),
            ("{ rate = \"1/1m\", burst = 3 }", "unknown key `burst` in [routes.rate_limit]"),
            ("[\"1/1m\", { rate = \"2/1m\", name = \"route\" }]", "two limits with the name route"),
            ("[\"1/1m\", \"often\"]", "a rate limit is \"N/duration\""),
        ] {
            let message = refused(&route(bad), &[]);
            assert!(message.contains(hint) && message.contains("portcullis.toml:"), "{bad}: {message}");
        }
    }

    #[test]
    fn an_early_limit_cannot_count_principals() {
        for bad in ["{ rate = \"1/1m\", by = \"caller\" }", "{ rate = \"1/1m\", multipliers = { ADMIN = 2 } }"] {
            let message = refused(&format!("[limits]\nauth = {bad}\n"), &[]);
            assert!(
                message.contains("limits.auth is counted before the principal is known\n  hint: give it"),
                "{message}"
            );
        }
        let limits = settings("[limits]\nmultipliers = { ADMIN = 2 }\n", &[]).limits;
        assert!(!limits.auth.expect("set").needs_caller(), "multipliers apply to known principals only");
    }
}

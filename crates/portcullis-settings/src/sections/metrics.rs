//! `[metrics]`: the histograms and their buckets, and who may read `/metrics` where.

use std::net::SocketAddr;

use portcullis_model::{InvalidInput, SecretString, policy::Environment};
use portcullis_telemetry::MetricsOptions;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::layers::Layers;
use crate::engine::notice::{Notice, Place, Problems};
use crate::engine::reader::Reader;
use crate::sections::listen;

/// The section `[metrics]`.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The families and their buckets.
    pub families: MetricsOptions,
    /// The bearer token that a scraper needs; `None` when anybody may read `/metrics`.
    pub token: Option<SecretString>,
    /// The address of the only listener that has `/metrics`; `None` when it is on the main one.
    pub listen: Option<SocketAddr>,
}

static HTTP_BUCKETS: Key = Key::restart(
    "http_buckets",
    DefaultValue::Described("0.1, 0.5, 1, 2, 5, 10"),
    "list of seconds",
    "The upper bounds of the buckets of `http_request_duration_seconds`.",
);
static DATABASE_BUCKETS: Key = Key::restart(
    "database_buckets",
    DefaultValue::Described("0.01, 0.05, 0.1, 0.5, 1, 2"),
    "list of seconds",
    "The upper bounds of the buckets of `database_query_duration_seconds`.",
);
static FINE: Key = Key::restart(
    "fine",
    DefaultValue::Text("true"),
    "true or false",
    "Whether there is `http_server_request_duration_seconds` as well, with the labels and the 14 buckets (5 ms to 10 s) of OpenTelemetry's conventions.",
);

static TOKEN: Key = Key::restart(
    "token",
    DefaultValue::Described("none: anybody who reaches `/metrics` may read it"),
    "text of at least 16 characters, without spaces",
    "The bearer token that a scraper must present. A user or an API key with SYSTEM_VIEW_METRICS may read them as well.",
)
.secret();
static LISTEN: Key = Key::restart(
    "listen",
    DefaultValue::Described("none: `/metrics` is on the main listener"),
    "host:port",
    "The address of a listener for `/metrics` alone, which is then 404 on the main one. Outside production it is on loopback unless `HOST` or `--host` is set.",
);

pub(crate) static SECTION: Section =
    Section { name: "metrics", about: "", keys: &[&HTTP_BUCKETS, &DATABASE_BUCKETS, &FINE, &TOKEN, &LISTEN] };

pub(crate) fn read(
    layers: &Layers,
    environment: Environment,
    problems: &mut Problems,
    warnings: &mut Vec<Notice>,
    advice: &mut Vec<Notice>,
) -> Metrics {
    let mut section = Reader::open(&layers.tree, &SECTION, problems);
    let token = section.optional(&TOKEN, parse_token);
    let listen = listen::read_other(&LISTEN, &mut section, layers, environment, warnings);
    let is_open = section.node(&TOKEN).is_none() && section.node(&LISTEN).is_none();
    if environment == Environment::Production && is_open {
        let message = "anybody who reaches the gateway can read /metrics";
        let hint = "set metrics.token, or metrics.listen to an address that only Prometheus reaches";
        advice.push(Notice::new(&Place::Nowhere, message).hint(hint));
    }
    Metrics { families: families(&mut section), token, listen }
}

/// The shortest token, in characters: 16 of base64 are 96 bits.
const MIN_TOKEN: usize = 16;

/// Parses a token that a header can carry (RFC 6750 §2.1: visible ASCII).
fn parse_token(text: &str) -> Result<SecretString, InvalidInput> {
    if text.len() < MIN_TOKEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        let wanted =
            format!("write at least {MIN_TOKEN} characters without spaces; `openssl rand -hex 32` makes a token");
        return Err(InvalidInput(wanted));
    }
    Ok(SecretString::new(text))
}

fn families(section: &mut Reader<'_, '_>) -> MetricsOptions {
    let default = MetricsOptions::default();
    MetricsOptions {
        http_buckets: buckets(section, &HTTP_BUCKETS, default.http_buckets),
        database_buckets: buckets(section, &DATABASE_BUCKETS, default.database_buckets),
        fine: section.flag(&FINE),
    }
}

/// The most buckets: every route has as many series.
const MAX_BUCKETS: usize = 50;

fn buckets(section: &mut Reader<'_, '_>, key: &Key, default: Vec<f64>) -> Vec<f64> {
    if section.node(key).is_none() {
        return default;
    }
    let bounds = section.list(key, |text| {
        let bound = text.parse::<f64>().ok().filter(|bound| bound.is_finite() && *bound > 0.0);
        bound.ok_or_else(|| InvalidInput("write a number of seconds above 0".to_owned()))
    });
    if bounds.is_empty() || bounds.len() > MAX_BUCKETS || bounds.windows(2).any(|pair| pair[0] >= pair[1]) {
        section.reject(
            key,
            "is not a list of rising bounds",
            format!("write 1 to {MAX_BUCKETS} seconds, each above the one before"),
        );
    }
    bounds
}

#[cfg(test)]
mod tests {
    use portcullis_model::SecretString;

    use crate::testing::{PRODUCTION, refused, settings};

    #[test]
    fn sr_26_a_token_is_long_and_never_shown() {
        let token = "0123456789abcdef";
        let known = settings(&format!("[metrics]\ntoken = {token:?}\n"), &[]).metrics;
        assert_eq!(known.token.as_ref().map(SecretString::expose), Some(token));
        assert!(!format!("{known:?}").contains(token));
        for bad in ["0123456789abcde", "0123456789 abcdef", "0123456789abcdefé", ""] {
            let message = refused(&format!("[metrics]\ntoken = {bad:?}\n"), &[]);
            assert!(message.contains("at least 16 characters"), "{message}");
            assert!(bad.is_empty() || !message.contains(bad), "{message}");
        }
    }

    #[test]
    fn sr_50_its_listener_is_on_loopback_unless_host_says_so() {
        let file = "[metrics]\nlisten = \"0.0.0.0:9100\"\n";
        let listen = |environment| settings(file, environment).metrics.listen.expect("is set").to_string();
        assert_eq!(listen(&[]), "127.0.0.1:9100");
        assert!(settings(file, &[]).warnings[0].to_string().contains("metrics.listen is 0.0.0.0"));
        assert_eq!(listen(&[("HOST", "0.0.0.0")]), "0.0.0.0:9100");
        assert_eq!(listen(PRODUCTION), "0.0.0.0:9100");
        assert_eq!(settings("", &[]).metrics.listen, None);
    }

    #[test]
    fn open_metrics_in_production_get_advice() {
        let advised = |file: &str, environment| {
            settings(file, environment).advice.iter().any(|notice| notice.message.contains("/metrics"))
        };
        assert!(advised("", PRODUCTION));
        assert!(!advised("", &[]));
        assert!(!advised("[metrics]\nlisten = \"127.0.0.1:9100\"\n", PRODUCTION));
        assert!(!advised("[metrics]\ntoken = \"0123456789abcdef\"\n", PRODUCTION));
    }

    #[test]
    fn fine_buckets_can_be_turned_off() {
        assert!(settings("", &[]).metrics.families.fine);
        assert!(!settings("[metrics]\nfine = false\n", &[]).metrics.families.fine);
    }

    #[test]
    fn buckets_are_rising_numbers_above_zero() {
        assert_eq!(settings("", &[]).metrics.families.http_buckets, [0.1, 0.5, 1.0, 2.0, 5.0, 10.0]);
        assert_eq!(
            settings("[metrics]\nhttp_buckets = [0.005, 1, 2.5]\n", &[]).metrics.families.http_buckets,
            [0.005, 1.0, 2.5]
        );
        assert_eq!(
            settings("", &[("PORTCULLIS__METRICS__DATABASE_BUCKETS", "1, 2")]).metrics.families.database_buckets,
            [1.0, 2.0]
        );
        for bad in ["[]", "[1, 1]", "[2, 1]", "[0]", "[\"x\"]", "5", "[nan]"] {
            let message = refused(&format!("[metrics]\nhttp_buckets = {bad}\n"), &[]);
            assert!(message.contains("portcullis.toml:2: metrics.http_buckets"), "{bad}: {message}");
        }
    }
}

//! `[headers]`: security headers of responses.

use portcullis_gate::SecurityHeaderOptions;
use portcullis_model::InvalidInput;
use portcullis_model::duration::parse_duration;
use portcullis_model::policy::Environment;

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

static HSTS: Key = Key::live(
    "hsts",
    DefaultValue::Described("`365d` in production, else `off`"),
    "duration, or `off`",
    "How long browsers use only HTTPS for this host (`Strict-Transport-Security`).",
);
static NOSNIFF: Key = Key::live(
    "nosniff",
    DefaultValue::Text("true"),
    "true or false",
    "Whether browsers must believe the content type of a response (`X-Content-Type-Options`).",
);
static FRAME_ANCESTORS: Key = Key::live(
    "frame_ancestors",
    DefaultValue::Text("'none'"),
    "sources of a content security policy, or `off`",
    "The pages that may show a response in a frame: `'none'`, `'self'`, `https://partner.example`. `X-Frame-Options` is sent too where it can express it.",
);
static REFERRER_POLICY: Key = Key::live(
    "referrer_policy",
    DefaultValue::Text("strict-origin-when-cross-origin"),
    "a referrer policy, or `off`",
    "How much of the address browsers tell other sites (`Referrer-Policy`).",
);
static OVERRIDE: Key = Key::live(
    "override",
    DefaultValue::Text("false"),
    "true or false",
    "Whether these headers replace those that an upstream has set.",
);

pub(crate) static SECTION: Section = Section {
    name: "headers",
    about: "\
Security headers of all responses: of built-in endpoints, refusals and upstreams. A header that an upstream has
set wins over these, unless `override` is true. `security_headers = false` of a route leaves them out.",
    keys: &[&HSTS, &NOSNIFF, &FRAME_ANCESTORS, &REFERRER_POLICY, &OVERRIDE],
};

/// The default of `hsts` in production, in seconds: a year, which preload lists require.
const YEAR: u64 = 365 * 86_400;
/// The referrer policies that the W3C defines.
const POLICIES: [&str; 8] = [
    "no-referrer",
    "no-referrer-when-downgrade",
    "origin",
    "origin-when-cross-origin",
    "same-origin",
    "strict-origin",
    "strict-origin-when-cross-origin",
    "unsafe-url",
];

pub(crate) fn read(
    tree: &Table,
    environment: Environment,
    problems: &mut Problems,
    advice: &mut Vec<Notice>,
) -> SecurityHeaderOptions {
    let mut section = Reader::open(tree, &SECTION, problems);
    let hsts = section.optional(&HSTS, |text| match text {
        "off" => Ok(None),
        text => parse_duration(text).map(|duration| Some(duration.as_secs())),
    });
    let production = environment == Environment::Production;
    if production && hsts.is_some_and(|seconds| seconds.is_none_or(|seconds| seconds < YEAR)) {
        let message = "browsers use only HTTPS for less than a year";
        advice.push(Notice::new(&section.place_of(&HSTS), message).hint("remove headers.hsts: its default is 365d"));
    }
    let off = |text: &str| (text != "off").then(|| text.to_owned());
    SecurityHeaderOptions {
        hsts_seconds: hsts.unwrap_or_else(|| production.then_some(YEAR)),
        nosniff: section.flag(&NOSNIFF),
        frame_ancestors: section.value(&FRAME_ANCESTORS, |text| {
            let good = !text.is_empty()
                && text.is_ascii()
                && !text.contains([';', ','])
                && !text.contains(|c: char| c.is_ascii_control());
            if good {
                Ok(off(text))
            } else {
                Err(InvalidInput("separate sources by spaces, as in 'self' https://partner.example".to_owned()))
            }
        }),
        referrer_policy: section.value(&REFERRER_POLICY, |text| {
            if text == "off" || POLICIES.contains(&text) {
                Ok(off(text))
            } else {
                Err(InvalidInput(format!("write one of {}", POLICIES.join(", "))))
            }
        }),
        overrides: section.flag(&OVERRIDE),
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{refused, settings};

    const PRODUCTION: [(&str, &str); 4] = [
        ("PORTCULLIS_ENV", "production"),
        ("CSRF_SECRET", "fF3x-9QmZ_27hTqLw8RkVb5NcYd1GsPjAe"),
        ("ENCRYPTION_KEY", "another one: pW4z8Lq2Vn6Xc0Tb9Ry3Kd7"),
        ("PUBLIC_URL", "https://gate.example.com"),
    ];

    #[test]
    fn sr_29_production_tells_browsers_to_use_https_for_a_year() {
        assert_eq!(settings("", &[]).headers.hsts_seconds, None);
        assert_eq!(settings("", &PRODUCTION).headers.hsts_seconds, Some(31_536_000));
        let off = settings("[headers]\nhsts = \"off\"\n", &PRODUCTION);
        assert_eq!(off.headers.hsts_seconds, None);
        assert!(off.advice.iter().any(|notice| notice.message.contains("less than a year")));
        assert_eq!(settings("[headers]\nhsts = \"1d\"\n", &[]).headers.hsts_seconds, Some(86_400));
    }

    #[test]
    fn invalid_values_are_refused() {
        let headers = settings("[headers]\nframe_ancestors = \"off\"\nreferrer_policy = \"off\"\n", &[]).headers;
        assert_eq!((headers.frame_ancestors, headers.referrer_policy), (None, None));
        let default = settings("", &[]).headers;
        assert_eq!(default.frame_ancestors.as_deref(), Some("'none'"));
        assert!(
            refused("[headers]\nframe_ancestors = \"'self'; script-src *\"\n", &[])
                .contains("separate sources by spaces")
        );
        assert!(refused("[headers]\nreferrer_policy = \"never\"\n", &[]).contains("no-referrer"));
    }
}

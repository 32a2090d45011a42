//! A property: whatever the spelling of a private path, it reaches the private route or is refused. The service behind
//! the gateway is assumed to read paths as leniently as any server is known to.

use http::Method;
use portcullis_model::policy::{AuthRequirement, Methods};
use portcullis_telemetry::{Metrics, MetricsOptions};
use proptest::prelude::*;

use super::policy;
use crate::request::path::normalise;
use crate::routes::route::{Destination, EndpointId, RouteSpec};
use crate::routes::table::{Match, RouteTable};
use crate::routes::versions::Versions;

const PRIVATE: &str = "/api/v1/admin/{*rest}";
const PRIVATE_EXACT: &str = "/api/v1/reports:delete";

fn table() -> RouteTable {
    let spec = |template: &str, auth| RouteSpec {
        template: template.to_owned(),
        methods: Methods::Standard,
        policy: policy(auth),
        destination: Destination::BuiltIn(EndpointId(0)),
    };
    let specs = vec![
        spec(PRIVATE, AuthRequirement::Required),
        spec(PRIVATE_EXACT, AuthRequirement::Required),
        spec("/api/v1/{*rest}", AuthRequirement::None),
        spec("/public/{*rest}", AuthRequirement::None),
    ];
    RouteTable::build(specs, &Versions::new(Vec::new()), &Metrics::new(&MetricsOptions::default(), "1"))
        .expect("no collision")
}

/// Reads a path as a service that decodes twice, accepts overlong UTF-8 and backslashes, removes path parameters,
/// merges slashes, resolves dots, drops dots and spaces at the end of segments, ignores case and ignores a final slash.
fn read_leniently(path: &str) -> String {
    let decoded = decode(&decode(path.as_bytes()));
    let text = String::from_utf8_lossy(&decoded).replace('\\', "/").to_ascii_lowercase();
    let text = text.split(['?', '#', '\0']).next().unwrap_or_default();
    let mut segments = Vec::new();
    for segment in text.split('/') {
        match segment.split(';').next().unwrap_or_default() {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => match name.trim_end_matches(['.', ' ']) {
                "" => {}
                name => segments.push(name),
            },
        }
    }
    format!("/{}", segments.join("/"))
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while let Some((first, later)) = rest.split_first() {
        let digits = later.first_chunk::<2>().and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &later[2..];
            }
            None => {
                out.push(*first);
                rest = later;
            }
        }
    }
    // Overlong two-byte forms of ASCII characters.
    let mut index = 0;
    while index + 1 < out.len() {
        if matches!(out[index], 0xc0 | 0xc1) && (0x80..0xc0).contains(&out[index + 1]) {
            out[index] = ((out[index] & 1) << 6) | (out[index + 1] & 0x3f);
            out.remove(index + 1);
        }
        index += 1;
    }
    out
}

/// Writes one character of a path as an attacker might who wants to get around a rule.
fn spell(c: char, how: u8) -> String {
    let byte = c as u32;
    match how {
        0 => format!("%{byte:02X}"),
        1 => format!("%{byte:02x}"),
        2 => format!("%25{byte:02x}"),
        3 => format!("%{:02X}%{:02X}", 0xc0 | (byte >> 6), 0x80 | (byte & 0x3f)),
        4 => c.to_uppercase().to_string(),
        5 if c == '/' => "//".to_owned(),
        6 if c == '/' => "/./".to_owned(),
        7 if c == '/' => "/x/../".to_owned(),
        8 if c == '/' => "\\".to_owned(),
        9 if c == '/' => ";a=b/".to_owned(),
        10 if c == '/' => "/%2e%2E;/".to_owned(),
        11 if c == '/' => "%3Bv/".to_owned(),
        12 if c == '/' => "/public/..;/".to_owned(),
        13 if c == '/' => "/%2e/".to_owned(),
        14 if c == '/' => "./".to_owned(),
        15 if c == '/' => "%20./".to_owned(),
        16 if c == '/' => "/.../".to_owned(),
        _ => c.to_string(),
    }
}

fn spellings() -> impl Strategy<Value = String> {
    let targets = prop_oneof![
        Just("/api/v1/admin"),
        Just("/api/v1/admin/users"),
        Just("/public/../api/v1/admin/users"),
        Just("/api/v1/reports:delete"),
    ];
    let ends = proptest::sample::select(vec![
        "", "", "", "/", "/.", ";x", "%3bx", "%3fx", "%23", "/%2e/", ".", "%20", "..%20",
    ]);
    // Only few characters are changed, because nearly every spelling would be refused otherwise.
    let hows = proptest::collection::vec((0usize..40, 0u8..17), 0..4);
    (targets, hows, ends).prop_map(|(target, hows, end)| {
        let how = |at: usize| hows.iter().find(|(index, _)| *index == at).map_or(u8::MAX, |(_, how)| *how);
        let spelled: String = target.chars().enumerate().map(|(at, c)| spell(c, how(at))).collect();
        spelled + end
    })
}

fn is_private(read: &str) -> bool {
    read == "/api/v1/admin" || read.starts_with("/api/v1/admin/") || read == "/api/v1/reports:delete"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn every_spelling_of_a_private_path_is_private_or_refused(path in spellings()) {
        let Ok(normal) = normalise(&path) else { return Ok(()) };
        let table = table();
        if let Match::Route { route, .. } = table.find(&normal, &Method::GET)
            && is_private(&read_leniently(&normal))
        {
            prop_assert!(
                matches!(&*route.template, PRIVATE | PRIVATE_EXACT),
                "{} went on as {} to {}", path, normal, route.template
            );
        }
    }
}

#[test]
fn plain_spellings_of_a_private_path_reach_its_route() {
    let table = table();
    for path in ["/api/v1/admin", "/api/v1//admin/./users", "/api/v1/%61dmin/users", "/x/../api/v1/admin/a%20b"] {
        let normal = normalise(path).expect("not ambiguous");
        let Match::Route { route, .. } = table.find(&normal, &Method::GET) else { panic!("{path} was refused") };
        assert_eq!(&*route.template, PRIVATE, "{path}");
    }
}

//! Loading of settings in tests.

use std::path::Path;

use portcullis_gate::{Destination, EndpointId, RouteSpec};
use portcullis_model::policy::{Methods, RoutePolicy};
use portcullis_model::{AuthRequirement, SecretString};
use portcullis_secrets::{StoredSecrets, StoredValue};

use crate::{Flags, Problems, Settings, Sources, Stored};

/// The environment of a complete production configuration.
pub(crate) const PRODUCTION: &[(&str, &str)] = &[
    ("PORTCULLIS_ENV", "production"),
    ("CSRF_SECRET", "kT4vXn8Q2pLz7Rb5Yw9Hc3Jd6Fg1Ms0e"),
    ("ENCRYPTION_KEY", "Zq3Wc8Vn5Xb2Mt7Kp1Ly9Rj4Hf6Gd0Sa"),
    ("PUBLIC_URL", "https://gate.example.com"),
];

/// The templates of the built-in endpoints that tests load with.
const ENDPOINTS: [&str; 6] =
    ["/", "/metrics", "/.well-known/jwks.json", "/api/v1/health", "/api/v1/auth/login", "/api/v1/users/{id}"];

/// Loads `portcullis.toml` with this text and this environment.
pub(crate) fn load(file: &str, environment: &[(&str, &str)]) -> Result<Settings, Problems> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("portcullis.toml"), file).expect("writable");
    load_in(folder.path(), Flags::default(), environment)
}

/// Loads settings that a store of secrets completes, and whose file is empty.
pub(crate) fn load_stored(environment: &[(&str, &str)], secret: &[(&str, &str)]) -> Result<Settings, Problems> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = |value: &str| StoredValue::Text(SecretString::new(value));
    let stored = StoredSecrets {
        store: "Vault secret/data/gate".into(),
        version: "1".to_owned(),
        values: secret.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect(),
    };
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let folder = folder.path().to_owned();
    crate::load(
        &Sources { flags: Flags::default(), environment, folder, stored: Stored::Read(stored) },
        &built_in_routes(),
    )
}

/// Loads the files of a folder.
pub(crate) fn load_in(folder: &Path, flags: Flags, environment: &[(&str, &str)]) -> Result<Settings, Problems> {
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    crate::load(
        &Sources { flags, environment, folder: folder.to_owned(), stored: Stored::NotAsked },
        &built_in_routes(),
    )
}

fn built_in_routes() -> Vec<RouteSpec> {
    let spec = |(id, template): (usize, &str)| RouteSpec {
        template: template.to_owned(),
        methods: Methods::Only(vec!["GET".to_owned()]),
        policy: RoutePolicy::requiring(AuthRequirement::None),
        destination: Destination::BuiltIn(EndpointId(u16::try_from(id).expect("a few endpoints"))),
    };
    ENDPOINTS.into_iter().enumerate().map(spec).collect()
}

/// Loads settings that must be accepted.
pub(crate) fn settings(file: &str, environment: &[(&str, &str)]) -> Settings {
    load(file, environment).unwrap_or_else(|problems| panic!("refused:\n{problems}"))
}

/// Loads settings that must be refused, and returns the problems as text.
pub(crate) fn refused(file: &str, environment: &[(&str, &str)]) -> String {
    load(file, environment).expect_err("these settings should be refused").to_string()
}

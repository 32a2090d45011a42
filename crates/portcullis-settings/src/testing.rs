//! Loading settings in tests.

use std::path::Path;

use crate::{Flags, Problems, Settings, Sources, load as load_sources};

/// The environment of a complete production configuration.
pub(crate) const PRODUCTION: &[(&str, &str)] = &[
    ("PORTCULLIS_ENV", "production"),
    ("CSRF_SECRET", "kT4vXn8Q2pLz7Rb5Yw9Hc3Jd6Fg1Ms0e"),
    ("ENCRYPTION_KEY", "Zq3Wc8Vn5Xb2Mt7Kp1Ly9Rj4Hf6Gd0Sa"),
    ("PUBLIC_URL", "https://gate.example.com"),
];

/// Loads `portcullis.toml` with this text and this environment.
pub(crate) fn load(file: &str, environment: &[(&str, &str)]) -> Result<Settings, Problems> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("portcullis.toml"), file).expect("writable");
    load_in(folder.path(), Flags::default(), environment)
}

/// Loads what a folder holds.
pub(crate) fn load_in(folder: &Path, flags: Flags, environment: &[(&str, &str)]) -> Result<Settings, Problems> {
    let environment = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
    load_sources(&Sources { flags, environment, folder: folder.to_owned() }, &[])
}

/// Settings that are good.
pub(crate) fn settings(file: &str, environment: &[(&str, &str)]) -> Settings {
    load(file, environment).unwrap_or_else(|problems| panic!("refused:\n{problems}"))
}

/// What is said of settings that are not.
pub(crate) fn refused(file: &str, environment: &[(&str, &str)]) -> String {
    load(file, environment).expect_err("these settings should be refused").to_string()
}

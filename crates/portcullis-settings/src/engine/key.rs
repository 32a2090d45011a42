//! What the settings can hold: each key with its default, environment name and
//! unit, in one table from which the loader, the messages and the
//! documentation's test all read.

/// A section of the file.
#[derive(Debug)]
pub(crate) struct Section {
    /// `server`, `upstreams.<name>`, `routes` (a list).
    pub(crate) name: &'static str,
    /// Its keys, in the order of the documentation.
    pub(crate) keys: &'static [&'static Key],
}

/// A key of a section.
#[derive(Debug)]
pub(crate) struct Key {
    /// Its name in the file.
    pub(crate) name: &'static str,
    /// What holds when it is not set.
    pub(crate) preset: Preset,
    /// The names of the contract's environment variables that set it. Every key has `PORTCULLIS__SECTION__KEY` too.
    pub(crate) environment: &'static [&'static str],
    /// What its value is: a duration, bytes, connections.
    pub(crate) unit: &'static str,
    /// What it does, in a sentence.
    pub(crate) about: &'static str,
    /// Whether its value must never be shown.
    pub(crate) secret: bool,
}

/// What holds when a key is not set.
#[derive(Debug)]
pub(crate) enum Preset {
    /// This text, read like one that was set.
    Value(&'static str),
    /// What the words say.
    Otherwise(&'static str),
    /// It must be set.
    Required,
}

impl Key {
    pub(crate) const fn new(name: &'static str, preset: Preset, unit: &'static str, about: &'static str) -> Self {
        Self { name, preset, environment: &[], unit, about, secret: false }
    }

    pub(crate) const fn environment(mut self, names: &'static [&'static str]) -> Self {
        self.environment = names;
        self
    }

    pub(crate) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// What holds when it is not set, for people.
    pub(crate) fn default_text(&self) -> String {
        match self.preset {
            Preset::Value(text) => format!("`{text}`"),
            Preset::Otherwise(words) => words.to_owned(),
            Preset::Required => "must be set".to_owned(),
        }
    }

    /// What it is, for the hint to somebody who wrote something else.
    pub(crate) fn describe(&self) -> String {
        format!("it is {}; default: {}", self.unit, self.default_text())
    }
}

/// The name by which the environment sets any key: `PORTCULLIS__SECTION__KEY`.
pub(crate) fn variable(section: &str, key: &str) -> String {
    format!("PORTCULLIS__{}__{}", section.replace('.', "__").to_ascii_uppercase(), key.to_ascii_uppercase())
}

//! The declaration of a section and its keys. The loader, the messages, the report of a reload and `docs/settings.md` are
//! all made from it.

/// A section of the settings file.
#[derive(Debug)]
pub(crate) struct Section {
    /// The name in the file: `server`, `upstreams.<name>`, `routes` (a list).
    pub(crate) name: &'static str,
    /// The paragraphs above the table of its keys in `docs/settings.md`; may be empty.
    pub(crate) about: &'static str,
    /// The keys, in the order of the documentation.
    pub(crate) keys: &'static [&'static Key],
}

/// A key of a section.
#[derive(Debug)]
pub(crate) struct Key {
    /// The name in the file.
    pub(crate) name: &'static str,
    /// When a changed value takes effect.
    pub(crate) reload: Reload,
    /// The value when the key is not set.
    pub(crate) default: DefaultValue,
    /// The environment variables that set the key besides `PORTCULLIS__SECTION__KEY`.
    pub(crate) environment: &'static [&'static str],
    /// The form of the value: a duration, bytes, connections.
    pub(crate) unit: &'static str,
    /// The effect of the key, in a sentence.
    pub(crate) about: &'static str,
    /// Whether the value must never be shown.
    pub(crate) secret: bool,
}

/// When a changed value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// At a reload, without a restart.
    Live,
    /// At the next start.
    Restart,
}

/// The value of a key that is not set.
#[derive(Debug)]
pub(crate) enum DefaultValue {
    /// This text, parsed like a text that was set.
    Text(&'static str),
    /// No fixed text: the words describe the default.
    Described(&'static str),
    /// None: the key must be set.
    Required,
}

impl Key {
    /// Declares a key whose changed value a reload puts in force.
    pub(crate) const fn live(
        name: &'static str,
        default: DefaultValue,
        unit: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, reload: Reload::Live, default, environment: &[], unit, about, secret: false }
    }

    /// Declares a key whose changed value waits for the next start.
    pub(crate) const fn restart(
        name: &'static str,
        default: DefaultValue,
        unit: &'static str,
        about: &'static str,
    ) -> Self {
        Self { name, reload: Reload::Restart, default, environment: &[], unit, about, secret: false }
    }

    /// Adds short names in the environment.
    pub(crate) const fn environment(mut self, names: &'static [&'static str]) -> Self {
        self.environment = names;
        self
    }

    /// Marks the value as secret.
    pub(crate) const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Describes the default for messages and the documentation.
    pub(crate) fn default_text(&self) -> String {
        match self.default {
            DefaultValue::Text(text) => format!("`{text}`"),
            DefaultValue::Described(words) => words.to_owned(),
            DefaultValue::Required => "must be set".to_owned(),
        }
    }

    /// Describes the accepted form, as the hint for a value of another form.
    pub(crate) fn describe(&self) -> String {
        format!("expected: {}; default: {}", self.unit, self.default_text())
    }
}

/// The environment variable that sets any key: `PORTCULLIS__SECTION__KEY`.
pub(crate) fn variable(section: &str, key: &str) -> String {
    format!("PORTCULLIS__{}__{}", section.replace('.', "__").to_ascii_uppercase(), key.to_ascii_uppercase())
}

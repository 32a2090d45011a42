//! `[tracing]`: whose traces are recorded.

use crate::engine::key::{DefaultValue, Key, Section};
use crate::engine::notice::Problems;
use crate::engine::reader::Reader;
use crate::engine::tree::Table;

/// The section `[tracing]`.
#[derive(Clone, Copy, Debug)]
pub struct Tracing {
    /// Whether every client decides if its requests are recorded, not only a trusted proxy.
    pub trust_incoming: bool,
}

static TRUST_INCOMING: Key = Key::live(
    "trust_incoming",
    DefaultValue::Text("false"),
    "true or false",
    "Whether the sampled flag of any client's `traceparent` counts; without it, only that of `server.trusted_proxies` does.",
);

pub(crate) static SECTION: Section = Section { name: "tracing", about: "", keys: &[&TRUST_INCOMING] };

pub(crate) fn read(tree: &Table, problems: &mut Problems) -> Tracing {
    let mut section = Reader::open(tree, &SECTION, problems);
    Tracing { trust_incoming: section.flag(&TRUST_INCOMING) }
}

#[cfg(test)]
mod tests {
    use crate::testing::settings;

    #[test]
    fn clients_are_not_trusted_with_sampling_by_default() {
        assert!(!settings("", &[]).tracing.trust_incoming);
        assert!(settings("[tracing]\ntrust_incoming = true\n", &[]).tracing.trust_incoming);
    }
}

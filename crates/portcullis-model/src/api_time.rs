//! Instants as the API writes and reads them.

use chrono::Datelike;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Timestamp;

/// An instant in RFC 3339: written in UTC with milliseconds, read with any offset, of the years 1 to 9999 in UTC. Others
/// have no RFC 3339 text, and not every engine stores them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiTime(pub Timestamp);

impl ApiTime {
    /// Reads an instant; `None` for a text that is none, or for one outside of the years 1 to 9999.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(has_four_digit_year).map(Self)
    }
}

/// Whether an instant lies in the years 1 to 9999 in UTC.
pub fn has_four_digit_year(at: &Timestamp) -> bool {
    (1..=9999).contains(&at.year())
}

impl Serialize for ApiTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::user::rfc3339_millis(self.0))
    }
}

impl<'de> Deserialize<'de> for ApiTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        // The reader of requests puts the name of the field before it.
        Self::parse(&text).ok_or_else(|| de::Error::custom("must be a time as in 2026-01-31T12:00:00Z (RFC 3339)"))
    }
}

impl JsonSchema for ApiTime {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ApiTime".into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_without_an_rfc_3339_text_are_refused() {
        for text in ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-01-31T12:00:00+05:00"] {
            assert!(ApiTime::parse(text).is_some(), "{text}");
        }
        for text in [
            "9999-12-31T23:59:59-05:00",
            "0001-01-01T00:00:00+05:00",
            "-5000-01-01T00:00:00Z",
            "+12026-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "yesterday",
        ] {
            assert_eq!(ApiTime::parse(text), None, "{text}");
        }
    }
}

//! Identifiers: UUIDv7 (RFC 9562 §5.7), so that new rows are neighbours in an index.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Clock, Random};

/// Makes a UUIDv7 from the given clock and random source.
pub fn new_uuid(clock: &Clock, random: &Random) -> Uuid {
    let millis = u64::try_from(clock.unix_micros() / 1000).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random.bytes()).into_uuid()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Makes a new identifier.
            pub fn new(clock: &Clock, random: &Random) -> Self {
                Self(new_uuid(clock, random))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": "uuid" })
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::try_parse(text).map(Self)
            }
        }
    };
}

id!(
    /// The id of a user. It never changes, not even by an import.
    UserId
);

impl UserId {
    /// The id of the demo account, the same in every installation. The id alone marks the account: no other user has
    /// it, because imports refuse it and new ids are made of the time and random bits.
    pub const DEMO: Self = Self(Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_de40));

    /// The bytes of an id as text.
    pub const TEXT_BYTES: usize = uuid::fmt::Hyphenated::LENGTH;

    /// Writes the id as text, without the formatting machinery.
    pub fn write_to(self, text: &mut [u8; Self::TEXT_BYTES]) -> &str {
        self.0.as_hyphenated().encode_lower(text)
    }

    /// Whether this is the demo account.
    pub fn is_demo(self) -> bool {
        self == Self::DEMO
    }
}
id!(
    /// The id of a session: one sign-in of one user on one device.
    SessionId
);

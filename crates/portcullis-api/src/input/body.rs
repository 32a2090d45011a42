//! The JSON body of a request.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, Visitor};
use serde_json::json;

use super::members::{self, Members};
use super::{Input, InputDescription, reader};
use crate::error::ErrorKind;
use crate::operation::Example;
use crate::{ApiError, Call};

/// A body that must be a JSON object.
pub(crate) struct Body<T>(pub(crate) T);

/// A body that must be a JSON object, or nothing at all, which counts as an empty object.
pub(crate) struct OptionalBody<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema + Example + Send> Input for Body<T> {
    async fn read(call: &mut Call) -> Result<Self, ApiError> {
        if !is_json(&call.headers) {
            return Err(ErrorKind::UNSUPPORTED_MEDIA_TYPE.into());
        }
        let bytes = call.gather().await?;
        parse(&bytes).map(Self)
    }

    fn describe(to: &mut InputDescription<'_>) {
        describe::<T>(to, true);
    }
}

impl<T: DeserializeOwned + JsonSchema + Example + Send> Input for OptionalBody<T> {
    async fn read(call: &mut Call) -> Result<Self, ApiError> {
        let bytes = call.gather().await?;
        if bytes.is_empty() {
            return reader::read(&Members::new()).map(Self).map_err(ApiError::validation);
        }
        if !is_json(&call.headers) {
            return Err(ErrorKind::UNSUPPORTED_MEDIA_TYPE.into());
        }
        parse(&bytes).map(Self)
    }

    fn describe(to: &mut InputDescription<'_>) {
        describe::<T>(to, false);
    }
}

fn parse<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, ApiError> {
    let members = members::of_json(bytes).map_err(|error| ApiError::malformed_json(&error))?;
    reader::read(&members).map_err(ApiError::validation)
}

fn describe<T: JsonSchema + Example>(to: &mut InputDescription<'_>, required: bool) {
    let schema = to.schemas.subschema_for::<T>();
    let content = json!({ "application/json": { "schema": schema, "example": T::example() } });
    to.body = Some(json!({ "required": required, "content": content }));
}

/// Whether the body is declared as JSON: `application/json` or any `+json` (RFC 6839).
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let essence = essence.trim_ascii().to_ascii_lowercase();
    essence == b"application/json" || (essence.starts_with(b"application/") && essence.ends_with(b"+json"))
}

/// A field of a change: absent keeps the old value, null clears it.
///
/// In a struct it needs `#[serde(default)]`, which also tells the schema that it may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Patch<T> {
    /// The old value stays.
    #[default]
    Keep,
    /// The old value goes.
    Clear,
    /// A new value takes its place.
    Set(T),
}

impl<T> Patch<T> {
    /// `None` keeps the old value, `Some(None)` clears it.
    pub(crate) fn into_option(self) -> Option<Option<T>> {
        match self {
            Self::Keep => None,
            Self::Clear => Some(None),
            Self::Set(value) => Some(Some(value)),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Patch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PatchVisitor<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for PatchVisitor<T> {
            type Value = Patch<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or null")
            }

            fn visit_unit<E: Error>(self) -> Result<Patch<T>, E> {
                Ok(Patch::Keep)
            }

            fn visit_none<E: Error>(self) -> Result<Patch<T>, E> {
                Ok(Patch::Clear)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Patch<T>, D::Error> {
                T::deserialize(deserializer).map(Patch::Set)
            }
        }
        deserializer.deserialize_option(PatchVisitor(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Patch<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        Option::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<T>::json_schema(generator)
    }
}

//! The query of a request.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::str::FromStr;

use portcullis_model::{SessionId, UserId};
use portcullis_storage::Outcome;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, Visitor};
use serde_json::{Value, json};

use super::{Input, InputDescription, members, reader};
use crate::{ApiError, Call};

/// The query as a struct. Unknown parameters are ignored; of one given twice the first counts.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned + JsonSchema + Send> Input for Query<T> {
    async fn read(call: &mut Call) -> Result<Self, ApiError> {
        let members = members::of_query(call.permit.query().unwrap_or_default());
        reader::read(&members).map(Self).map_err(ApiError::invalid_query)
    }

    /// The fields of the struct are the parameters; their doc comments describe them.
    fn describe(to: &mut InputDescription<'_>) {
        let mut settings = SchemaSettings::draft2020_12();
        settings.inline_subschemas = true;
        let schema = settings.into_generator().into_root_schema_for::<T>().to_value();
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let mut field = without_null(field);
            let description = field.as_object_mut().and_then(|field| field.remove("description"));
            let mut parameter = json!({ "name": name, "in": "query", "description": description, "schema": field });
            if required.contains(&Value::from(name.as_str())) {
                parameter["required"] = Value::from(true);
            }
            to.parameters.push(parameter);
        }
    }
}

/// A parameter is absent rather than null.
fn without_null(schema: &Value) -> Value {
    let mut schema = schema.clone();
    let null = json!("null");
    if let Some(kinds) = schema["type"].as_array_mut() {
        kinds.retain(|kind| *kind != null);
        if let [kind] = kinds.as_slice() {
            schema["type"] = kind.clone();
        }
    }
    if let Some(values) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        values.retain(|value| !value.is_null());
    }
    let choices = schema.get("anyOf").and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(Value::Object(choice)) = choices.into_iter().find(|choice| choice["type"] != "null")
        && let Some(object) = schema.as_object_mut()
    {
        object.remove("anyOf");
        for (key, value) in choice {
            object.entry(key).or_insert(value);
        }
    }
    schema
}

/// A value that is written as text in a query.
pub(crate) trait QueryText: FromStr {
    /// Completes the sentence "`name` must be …".
    const RULE: &'static str;

    fn schema() -> Schema;
}

impl QueryText for UserId {
    const RULE: &'static str = "the id of a user";

    fn schema() -> Schema {
        json_schema!({ "type": "string", "format": "uuid" })
    }
}

/// An API key has the id of a session in the tables and in the limits.
impl QueryText for SessionId {
    const RULE: &'static str = "the id of an API key";

    fn schema() -> Schema {
        json_schema!({ "type": "string", "format": "uuid" })
    }
}

impl QueryText for IpAddr {
    const RULE: &'static str = "an IP address";

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl QueryText for Outcome {
    const RULE: &'static str = "success or failure";

    fn schema() -> Schema {
        json_schema!({ "type": "string", "enum": [Self::Success.as_str(), Self::Failure.as_str()] })
    }
}

/// A parameter whose text is parsed into `T`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parsed<T>(pub(crate) T);

impl<'de, T: QueryText> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<T>(PhantomData<T>);
        impl<T: QueryText> Visitor<'_> for TextVisitor<T> {
            type Value = Parsed<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::RULE)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Parsed<T>, E> {
                text.parse().map(Parsed).map_err(|_| E::custom(format_args!("must be {}", T::RULE)))
            }
        }
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

impl<T: QueryText> JsonSchema for Parsed<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::RULE.into()
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

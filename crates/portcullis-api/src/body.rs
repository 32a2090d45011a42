//! Reading the JSON body of a built-in endpoint.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::BodyExt;
use portcullis_gate::InboundBody;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::Fault;

/// The members of a JSON object body, and what is wrong with them so far.
///
/// Unknown members are ignored; a member given twice is refused, because two
/// parsers would disagree on which of them counts (RFC 8259 §4).
#[derive(Debug)]
pub(crate) struct JsonObject {
    members: Map<String, Value>,
    problems: Vec<String>,
}

impl JsonObject {
    /// Reads a body that must be a JSON object.
    pub(crate) async fn read(headers: &HeaderMap, body: InboundBody) -> Result<Self, Fault> {
        if !is_json(headers) {
            return Err(Fault::unsupported_media_type());
        }
        let bytes = body.collect().await.map_err(Fault::from_body)?.to_bytes();
        Self::parse(&bytes)
    }

    /// Like [`read`](Self::read), but an empty body is an empty object, of whatever type.
    pub(crate) async fn read_optional(headers: &HeaderMap, body: InboundBody) -> Result<Self, Fault> {
        let bytes = body.collect().await.map_err(Fault::from_body)?.to_bytes();
        if bytes.is_empty() {
            return Ok(Self { members: Map::new(), problems: Vec::new() });
        }
        if !is_json(headers) {
            return Err(Fault::unsupported_media_type());
        }
        Self::parse(&bytes)
    }

    fn parse(bytes: &Bytes) -> Result<Self, Fault> {
        match serde_json::from_slice::<Members>(bytes) {
            Ok(Members(members)) => Ok(Self { members, problems: Vec::new() }),
            Err(error) => Err(Fault::malformed_json(&error)),
        }
    }

    /// A text that must be there; the empty text stands in for it until [`finish`](Self::finish) refuses.
    pub(crate) fn text(&mut self, name: &str) -> String {
        match self.members.remove(name) {
            Some(Value::String(text)) => text,
            None | Some(Value::Null) => {
                self.problems.push(format!("{name} is required"));
                String::new()
            }
            Some(_) => {
                self.problems.push(format!("{name} must be a string"));
                String::new()
            }
        }
    }

    /// A text that may be absent or null.
    pub(crate) fn optional_text(&mut self, name: &str) -> Option<String> {
        match self.members.remove(name) {
            Some(Value::String(text)) => Some(text),
            None | Some(Value::Null) => None,
            Some(_) => {
                self.problems.push(format!("{name} must be a string"));
                None
            }
        }
    }

    /// A text that may be absent (`None`) or null (`Some(None)`).
    pub(crate) fn nullable_text(&mut self, name: &str) -> Option<Option<String>> {
        self.members.contains_key(name).then(|| self.optional_text(name))
    }

    /// A truth value; absent or null is `false`.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        match self.members.remove(name) {
            Some(Value::Bool(value)) => value,
            None | Some(Value::Null) => false,
            Some(_) => {
                self.problems.push(format!("{name} must be true or false"));
                false
            }
        }
    }

    /// A truth value that may be absent or null.
    pub(crate) fn optional_flag(&mut self, name: &str) -> Option<bool> {
        let given = self.members.get(name).is_some_and(|value| !value.is_null());
        given.then(|| self.flag(name))
    }

    /// Texts that must be there; none stand in for them until [`finish`](Self::finish) refuses.
    pub(crate) fn list(&mut self, name: &str) -> Vec<String> {
        self.optional_list(name).unwrap_or_else(|| {
            self.problems.push(format!("{name} is required"));
            Vec::new()
        })
    }

    /// Texts that may be absent or null.
    pub(crate) fn optional_list(&mut self, name: &str) -> Option<Vec<String>> {
        let texts = match self.members.remove(name) {
            None | Some(Value::Null) => return None,
            Some(Value::Array(values)) => values
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Some(text),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>(),
            Some(_) => None,
        };
        if texts.is_none() {
            self.problems.push(format!("{name} must be a list of strings"));
        }
        Some(texts.unwrap_or_default())
    }

    /// Adds a problem found by the caller.
    pub(crate) fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Refuses with every problem found, if there was one.
    pub(crate) fn finish(self) -> Result<(), Fault> {
        if self.problems.is_empty() { Ok(()) } else { Err(Fault::validation(self.problems)) }
    }
}

/// Whether the body is declared as JSON: `application/json` or any `+json` (RFC 6839).
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(text) = value.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// An object whose members are all different.
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Distinct;
        impl<'de> Visitor<'de> for Distinct {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member is given twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Distinct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<JsonObject, Fault> {
        JsonObject::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let mut object = parse(r#"{"email":5,"rememberMe":"yes"}"#).expect("an object");
        object.text("email");
        object.text("password");
        object.flag("rememberMe");
        assert_eq!(
            object.problems,
            ["email must be a string", "password is required", "rememberMe must be true or false"]
        );
        assert!(object.finish().is_err());
    }

    #[test]
    fn a_member_given_twice_is_refused_and_an_unknown_one_ignored() {
        assert!(parse(r#"{"email":"a","email":"b"}"#).is_err());
        assert!(parse(r#"{"email":"a","other":{"x":1}}"#).is_ok());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let deep = "[".repeat(10_000);
        let nested = format!("{{\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        for bad in ["", "null", "[]", "\"x\"", "{", "{}x", "{\"a\":}", &deep, &nested] {
            assert!(parse(bad).is_err(), "accepted {bad:.20}");
        }
        assert!(JsonObject::parse(&Bytes::from_static(b"{\"a\":\"\xff\"}")).is_err());
    }
}

//! The members of a request by name, before they are read into a type.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

/// Members by name, of a JSON object or of a query.
pub(super) type Members = BTreeMap<String, Member>;

/// One member as the client sent it.
#[derive(Debug)]
pub(super) enum Member {
    /// A member of a JSON object.
    Json(Value),
    /// The values of a query parameter in their order; at least one.
    Text(Vec<String>),
}

/// Splits a query into its parameters.
pub(super) fn of_query(query: &str) -> Members {
    let mut members = Members::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()).into_owned() {
        match members.entry(name).or_insert_with(|| Member::Text(Vec::new())) {
            Member::Text(values) => values.push(value),
            Member::Json(_) => {}
        }
    }
    members
}

/// Parses a JSON object. A member given twice is refused, because two parsers would disagree on which of them counts
/// (RFC 8259 §4).
pub(super) fn of_json(bytes: &[u8]) -> Result<Members, serde_json::Error> {
    serde_json::from_slice::<UniqueMembers>(bytes).map(|unique| unique.0)
}

/// An object whose members are all different.
struct UniqueMembers(Members);

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = UniqueMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<UniqueMembers, A::Error> {
                let mut members = Members::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if members.insert(name, Member::Json(value)).is_some() {
                        return Err(A::Error::custom("a member is given twice"));
                    }
                }
                Ok(UniqueMembers(members))
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_given_twice_is_refused() {
        assert!(of_json(br#"{"email":"a","email":"b"}"#).is_err());
    }

    #[test]
    fn only_an_object_is_accepted() {
        let deep = "[".repeat(10_000);
        let nested = format!("{{\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        for bad in ["", "null", "[]", "\"x\"", "{", "{}x", "{\"a\":}", &deep, &nested] {
            assert!(of_json(bad.as_bytes()).is_err(), "accepted {bad:.20}");
        }
        assert!(of_json(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn a_repeated_query_parameter_keeps_its_order() {
        let members = of_query("header=a&x=1&header=b");
        let Some(Member::Text(values)) = members.get("header") else { panic!("{members:?}") };
        assert_eq!(values, &["a", "b"]);
    }
}

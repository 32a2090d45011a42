//! Reads members into a type and notes every problem, where a usual deserializer stops at the first.
//!
//! A member that is missing or of the wrong type is noted, and a placeholder of the right type takes its place, so that
//! the members behind it are read too. A member that its own type refuses is noted, and the whole is read once more as
//! if it had not been sent. The value is given out only when there was no problem, so no placeholder leaves this file.

use std::collections::BTreeMap;

use serde::de::value::{Error, StrDeserializer};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::members::{Member, Members};

/// Reads `members` into `T`, a struct with named fields. Members that it does not name are ignored.
///
/// # Errors
/// One sentence for each problem, in the order of the struct's fields.
pub(super) fn read<T: DeserializeOwned>(members: &Members) -> Result<T, Vec<String>> {
    let mut refused = BTreeMap::new();
    loop {
        let known = refused.len();
        let mut problems = Vec::new();
        let reader = StructReader { members, refused: &mut refused, problems: &mut problems };
        match T::deserialize(reader) {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => return Err(problems),
            Err(_) if refused.len() > known => {}
            // A placeholder was refused, too: the members behind it stay unread.
            Err(_) => return Err(problems),
        }
    }
}

struct StructReader<'a> {
    members: &'a Members,
    /// The sentences on members that their own type refused.
    refused: &'a mut BTreeMap<&'static str, String>,
    problems: &'a mut Vec<String>,
}

impl<'de> Deserializer<'de> for StructReader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        Err(Error::custom("a request is a struct with named fields"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields { reader: self, left: fields.iter(), current: "" })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Gives every field of the struct, also those that were not sent.
struct Fields<'a> {
    reader: StructReader<'a>,
    left: std::slice::Iter<'static, &'static str>,
    current: &'static str,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(name) = self.left.next() else { return Ok(None) };
        self.current = name;
        let name: StrDeserializer<'_, Error> = name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let StructReader { members, refused, problems } = &mut self.reader;
        let name = self.current;
        let before = problems.len();
        if let Some(sentence) = refused.get(name) {
            problems.push(sentence.clone());
            return seed.deserialize(FieldReader { name, member: None, problems, quiet: true });
        }
        let member = members.get(name);
        let read = seed.deserialize(FieldReader { name, member, problems, quiet: false });
        if let Err(error) = &read {
            // Already noted when it was the placeholder that was refused.
            if problems.len() == before {
                refused.insert(name, format!("{name} {error}"));
            }
        }
        read
    }
}

struct FieldReader<'a> {
    name: &'static str,
    member: Option<&'a Member>,
    problems: &'a mut Vec<String>,
    /// Whether the problem of this member is noted already.
    quiet: bool,
}

impl FieldReader<'_> {
    /// Notes why the member is not of the type: it is missing, or `rule` is broken.
    fn note(&mut self, rule: &str) {
        let Self { name, .. } = self;
        if self.quiet {
            return;
        }
        self.problems.push(match self.member {
            None | Some(Member::Json(Value::Null)) => format!("{name} is required"),
            Some(_) => format!("{name} {rule}"),
        });
    }

    fn text(&self) -> Option<&str> {
        match self.member? {
            Member::Json(value) => value.as_str(),
            Member::Text(values) => values.first().map(String::as_str),
        }
    }

    fn truth(&self) -> Option<bool> {
        match self.member? {
            Member::Json(value) => value.as_bool(),
            Member::Text(values) => values.first()?.parse().ok(),
        }
    }

    fn texts(&self) -> Option<Vec<String>> {
        match self.member? {
            Member::Json(Value::Array(values)) => values.iter().map(|value| Some(value.as_str()?.to_owned())).collect(),
            Member::Json(_) => None,
            Member::Text(values) => Some(values.clone()),
        }
    }

    /// How the names of an enum are listed in a sentence.
    fn one_of(&self, names: &[&str]) -> String {
        match (names, self.member) {
            ([one, other], Some(Member::Json(_))) => format!("must be {one:?} or {other:?}"),
            ([one, other], _) => format!("must be {one} or {other}"),
            _ => format!("must be one of {}", names.join(", ")),
        }
    }
}

impl<'de> Deserializer<'de> for FieldReader<'_> {
    type Error = Error;

    /// Without a type that is asked for, a text.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        if self.text().is_none() {
            self.note("must be a string");
        }
        visitor.visit_str(self.text().unwrap_or_default())
    }

    fn deserialize_bool<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        if self.truth().is_none() {
            self.note("must be true or false");
        }
        visitor.visit_bool(self.truth().unwrap_or_default())
    }

    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        let texts = self.texts();
        if texts.is_none() {
            self.note("must be a list of strings");
        }
        visitor.visit_seq(serde::de::value::SeqDeserializer::new(texts.unwrap_or_default().into_iter()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text = self.text();
        let known = names.iter().find(|name| text == Some(name)).copied();
        if known.is_none() {
            let rule = if text.is_some() { self.one_of(names) } else { "must be a string".to_owned() };
            self.note(&rule);
        }
        let name: StrDeserializer<'_, Error> = known.unwrap_or(names[0]).into_deserializer();
        visitor.visit_enum(name)
    }

    /// Absent is `unit` and null is `none`, which [`Patch`](super::Patch) tells apart and `Option` does not.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.member {
            None => visitor.visit_unit(),
            Some(Member::Json(Value::Null)) => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct map
        struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests;

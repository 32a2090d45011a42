//! The name of the schema that holds the tables (`schema` in `DATABASE_URL`).

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_model::InvalidInput;

/// The name of a schema in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaName(String);

/// The longest name that PostgreSQL keeps, in bytes (`NAMEDATALEN - 1`). It cuts longer ones.
const MAX_BYTES: usize = 63;
/// The schema that every database has, and that is used when none is named.
const PUBLIC: &str = "public";

impl SchemaName {
    /// Parses the name as it stands in the catalogue: letter case counts, and nothing is quoted.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidInput> {
        if text.len() > MAX_BYTES || text.contains('\0') || text.contains(char::is_control) {
            return Err(InvalidInput(format!("`schema` is a name of at most {MAX_BYTES} bytes")));
        }
        if text.starts_with("pg_") || text == "information_schema" {
            return Err(InvalidInput("`schema` names a schema of PostgreSQL itself: choose another one".to_owned()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the name as an identifier of SQL.
    pub(crate) fn quoted(&self) -> String {
        format!("\"{}\"", self.0.replace('"', "\"\""))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a number that keeps the locks and channels of this schema apart from those of other schemas in the same
    /// database. `public` has the same as no schema at all.
    pub(crate) fn namespace(&self) -> u64 {
        if self.0 == PUBLIC {
            return 0;
        }
        let hash = digest(&SHA256, self.0.as_bytes());
        let bytes: [u8; 8] = hash.as_ref()[..8].try_into().expect("SHA-256 has 32 bytes");
        u64::from_be_bytes(bytes)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_quoted_and_has_a_namespace_of_its_own() {
        let name = SchemaName::parse("Au\"th; DROP").expect("a name");
        assert_eq!(name.quoted(), "\"Au\"\"th; DROP\"");
        assert_ne!(name.namespace(), SchemaName::parse("auth").expect("a name").namespace());
        assert_eq!(SchemaName::parse("public").expect("a name").namespace(), 0);
        for bad in ["pg_catalog", "information_schema", "a\0b", "a\nb", &"x".repeat(64)] {
            assert!(SchemaName::parse(bad).is_err(), "{bad:?}");
        }
    }
}

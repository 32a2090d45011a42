//! What is carried: each table with its columns, in an order in which no row comes before the one it belongs to.

use uuid::Uuid;

use crate::engine::dialect::{Dialect, whole_micros};
use crate::engine::error::StoreError;
use crate::engine::row::Row;
use crate::engine::value::Value;

/// What a column holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Boolean,
    BigInt,
    Text,
    Bytes,
    Uuid,
    Time,
}

/// A table.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// The first ones are the primary key.
    columns: &'static [(&'static str, Kind)],
    keys: usize,
    /// A column that the engine numbers.
    pub(super) sequence: Option<&'static str>,
}

use Kind::{BigInt, Boolean, Bytes, Text, Time, Uuid as Id};

/// Every table but the ledger of migrations, which belongs to a database and not to what is in it.
pub(super) static TABLES: &[Table] = &[
    Table {
        name: "users",
        columns: &[
            ("id", Id),
            ("email", Text),
            ("username", Text),
            ("first_name", Text),
            ("last_name", Text),
            ("avatar", Text),
            ("role", Text),
            ("is_active", Boolean),
            ("password_hash", Text),
            ("email_verified_at", Time),
            ("last_login_at", Time),
            ("created_at", Time),
            ("updated_at", Time),
            ("epoch", BigInt),
            ("token_epoch", BigInt),
        ],
        keys: 1,
        sequence: None,
    },
    Table { name: "user_permissions", columns: &[("user_id", Id), ("permission", Text)], keys: 2, sequence: None },
    Table {
        name: "sessions",
        columns: &[
            ("id", Id),
            ("user_id", Id),
            ("refresh_hash", Bytes),
            ("created_at", Time),
            ("last_seen_at", Time),
            ("idle_expires_at", Time),
            ("absolute_expires_at", Time),
            ("remember", Boolean),
            ("transport", Text),
            ("ip", Text),
            ("user_agent", Text),
            ("amr", Text),
            ("authenticated_at", Time),
            ("epoch", BigInt),
            ("ended_at", Time),
            ("end_reason", Text),
        ],
        keys: 1,
        sequence: None,
    },
    Table {
        name: "refresh_grace",
        columns: &[("token_hash", Bytes), ("session_id", Id), ("sealed_successor", Bytes), ("rotated_at", Time)],
        keys: 1,
        sequence: None,
    },
    Table {
        name: "revocations",
        columns: &[
            ("seq", BigInt),
            ("at", Time),
            ("user_id", Id),
            ("session_id", Id),
            ("epoch", BigInt),
            ("ends", Boolean),
        ],
        keys: 1,
        sequence: Some("seq"),
    },
    Table {
        name: "idempotency_keys",
        columns: &[("id", Bytes), ("request", Bytes), ("claimed_at", Time), ("expires_at", Time), ("answer", Text)],
        keys: 1,
        sequence: None,
    },
    Table {
        name: "one_time_tokens",
        columns: &[
            ("hash", Bytes),
            ("purpose", Text),
            ("user_id", Id),
            ("created_at", Time),
            ("expires_at", Time),
            ("used_at", Time),
        ],
        keys: 1,
        sequence: None,
    },
    Table {
        name: "signing_keys",
        columns: &[
            ("kid", Text),
            ("algorithm", Text),
            ("public_key", Bytes),
            ("sealed_private", Bytes),
            ("created_at", Time),
            ("retired_at", Time),
            ("signs_from", Time),
        ],
        keys: 1,
        sequence: None,
    },
    Table {
        name: "audit_log",
        columns: &[
            ("id", Id),
            ("at", Time),
            ("action", Text),
            ("outcome", Text),
            ("actor_id", Id),
            ("subject_id", Id),
            ("session_id", Id),
            ("ip", Text),
            ("user_agent", Text),
            ("request_id", Text),
            ("details", Text),
            ("times", BigInt),
            ("last_at", Time),
            ("gathered_as", Bytes),
        ],
        keys: 1,
        sequence: None,
    },
    Table {
        name: "mail_outbox",
        columns: &[
            ("id", Id),
            ("template", Text),
            ("user_id", Id),
            ("created_at", Time),
            ("attempts", BigInt),
            ("next_attempt_at", Time),
            ("sent_at", Time),
            ("last_error", Text),
            ("given_up_at", Time),
        ],
        keys: 1,
        sequence: None,
    },
    Table {
        name: "api_keys",
        columns: &[
            ("id", Id),
            ("user_id", Id),
            ("name", Text),
            ("prefix", Text),
            ("hash", Bytes),
            ("scopes", Text),
            ("created_at", Time),
            ("expires_at", Time),
            ("last_used_at", Time),
            ("epoch", BigInt),
            ("revoked_at", Time),
        ],
        keys: 1,
        sequence: None,
    },
    Table {
        name: "sign_in_attempts",
        columns: &[("subject", Bytes), ("failures", BigInt), ("last_at", Time), ("trusted_until", Time)],
        keys: 1,
        sequence: None,
    },
    Table {
        name: "jobs",
        columns: &[
            ("name", Text),
            ("holder", Text),
            ("lease_until", Time),
            ("next_run_at", Time),
            ("last_started_at", Time),
            ("last_finished_at", Time),
            ("last_success_at", Time),
            ("last_result", Text),
            ("last_error", Text),
        ],
        keys: 1,
        sequence: None,
    },
    Table { name: "instance", columns: &[("key", Text), ("value", Text)], keys: 1, sequence: None },
];

impl Table {
    /// A SELECT of the next rows; its parameters are the last row's key.
    pub(super) fn page(&self, has_key: bool, limit: usize) -> String {
        let keys = self.names(self.keys);
        let condition = if has_key {
            let parameters: Vec<String> = (1..=self.keys).map(|n| format!("${n}")).collect();
            format!("WHERE ({keys}) > ({}) ", parameters.join(", "))
        } else {
            String::new()
        };
        let columns = self.names(self.columns.len());
        format!("SELECT {columns} FROM {} {condition}ORDER BY {keys} LIMIT {limit}", self.name)
    }

    /// An INSERT of so many rows.
    pub(super) fn insert(&self, dialect: Dialect, rows: usize) -> String {
        let width = self.columns.len();
        let row = |row: usize| {
            let parameters: Vec<String> = (1..=width).map(|column| dialect.parameter(row * width + column)).collect();
            format!("({})", parameters.join(", "))
        };
        let rows: Vec<String> = (0..rows).map(row).collect();
        // Else PostgreSQL numbers the rows itself.
        let overriding = match (self.sequence, dialect) {
            (Some(_), Dialect::Postgres) => "OVERRIDING SYSTEM VALUE ",
            _ => "",
        };
        format!("INSERT INTO {} ({}) {overriding}VALUES {}", self.name, self.names(width), rows.join(", "))
    }

    pub(super) fn read(&self, row: &Row) -> Result<Vec<Value>, StoreError> {
        let read = |(name, kind): &(&str, Kind)| {
            Ok(match kind {
                Boolean => Value::Boolean(row.get(name)?),
                BigInt => Value::BigInt(row.get(name)?),
                Text => Value::Text(row.get(name)?),
                Bytes => Value::Bytes(row.get(name)?),
                Id => Value::Uuid(row.get::<Option<Uuid>>(name)?),
                Time => Value::Time(row.optional_time(name)?.map(whole_micros)),
            })
        };
        self.columns.iter().map(read).collect()
    }

    pub(super) fn key_of(&self, row: &[Value]) -> Vec<Value> {
        row[..self.keys].to_vec()
    }

    /// What its key's columns hold.
    pub(super) fn key_kinds(&self) -> impl Iterator<Item = Kind> {
        self.columns[..self.keys].iter().map(|(_, kind)| *kind)
    }

    fn names(&self, count: usize) -> String {
        self.columns[..count].iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    #[cfg(test)]
    pub(super) fn column_names(&self) -> Vec<&'static str> {
        self.columns.iter().map(|(name, _)| *name).collect()
    }
}

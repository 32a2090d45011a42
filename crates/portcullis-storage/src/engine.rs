//! Connections and statements on SQLite and PostgreSQL: pools, dialects, values, rows, errors.
//!
//! Everything here serves every table alike. No file in this folder imports one of the modules that hold the SQL of a
//! subject (users, sessions, audit log…).

pub(crate) mod advisory_lock;
pub(crate) mod availability;
pub(crate) mod columns;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod dialect;
pub(crate) mod direct_connection;
pub(crate) mod error;
pub(crate) mod error_classification;
pub(crate) mod open_error;
pub(crate) mod options;
pub(crate) mod pool;
pub(crate) mod pooler;
pub(crate) mod pools;
pub(crate) mod postgres_options;
pub(crate) mod postgres_url;
pub(crate) mod private_file;
pub(crate) mod row;
pub(crate) mod schema_name;
pub(crate) mod server_check;
pub(crate) mod statement;
pub(crate) mod stored_text;
pub(crate) mod stored_types;
pub(crate) mod url;
pub(crate) mod value;

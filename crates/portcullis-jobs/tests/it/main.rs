//! Jobs and their leases, on SQLite and on a private PostgreSQL.

mod database_loss;
mod documentation;
mod failures;
mod housekeeping;
mod leases;
mod test_database;

//! The session cache and the revocation feed, on SQLite and on a private PostgreSQL.

mod api_keys;
mod cache;
mod explorer;
mod feed;
mod feed_independence;
mod key_look_ups;
mod last_seen;
mod late_commits;
mod permissions;
mod test_database;

//! The Store over PostgreSQL and SQLite, migrations, the session table and the revocation feed: the only SQL.

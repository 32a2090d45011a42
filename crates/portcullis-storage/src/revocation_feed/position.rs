//! Up to where a replica has read the revocation log.

use std::time::Instant;

use portcullis_model::Timestamp;

/// Up to where the revocation log was read: which entries were visible to the last complete reading.
#[derive(Clone, Debug)]
pub struct LogPosition {
    /// The database that the position belongs to.
    pub(super) database: DatabaseIdentity,
    /// What the last complete reading saw.
    pub(super) seen: Seen,
    /// The reading that has returned some of its pages; `None` between two readings.
    pub(super) unfinished: Option<Unfinished>,
}

/// What one reading saw of the log.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// On PostgreSQL the text of the reading's `pg_snapshot`: which transactions had ended. Empty on SQLite, whose
    /// writers take turns, so that numbers rise in the order of the commits.
    pub(super) snapshot: String,
    /// The highest number of an entry.
    pub(super) seq: i64,
    /// The database's time.
    pub(super) now: Timestamp,
}

/// A reading of several pages that is under way.
#[derive(Clone, Debug)]
pub(super) struct Unfinished {
    /// What its first page saw. Entries that became visible later are read by the next reading.
    pub(super) first: Seen,
    /// When its first page was asked for.
    pub(super) begun: Instant,
    /// The number of the last entry that was read.
    pub(super) last: i64,
}

/// Tells one database from another: transactions and entries are numbered anew in a restored or promoted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DatabaseIdentity {
    /// The start of the server and the database's object id, which each reading compares.
    pub(super) server: String,
    /// The server's cluster and timeline and the database's object id, which survive a restart of the server.
    pub(super) history: String,
}

/// The outcome of reading one page of the log.
#[derive(Debug)]
pub enum LogReading {
    /// There are further pages after this position.
    More(LogPosition),
    /// Every entry that was visible at `begun` has been read.
    Complete {
        /// Where the next reading begins.
        position: LogPosition,
        /// When the first page was asked for.
        begun: Instant,
    },
    /// The position says nothing about this log: the database was replaced by another one, or entries may have been
    /// pruned since the last reading. The reader must trust nothing that it knew, and read the whole log.
    Lost,
}

impl LogPosition {
    /// Returns the database's time at the last complete reading.
    pub fn now(&self) -> Timestamp {
        self.seen.now
    }
}

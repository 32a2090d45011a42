//! The places in long lists: a page by its number for the first rows, a cursor for any.

use portcullis_model::Timestamp;
use uuid::Uuid;

use crate::engine::error::StoreError;
use crate::engine::row::Row;

/// Where counting the rows of a list stops, and the last row that a page can be found at by its number. More would read a
/// whole table for a number that need not be exact.
pub const MOST_COUNTED: u64 = 100_000;

/// Where a page of a list begins. A list is sorted by time and then by id, the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageStart {
    /// After so many rows.
    Offset(u64),
    /// After the row with this time and id. The cost does not depend on the place.
    After(Timestamp, Uuid),
}

/// The number of rows of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// The number, at most [`MOST_COUNTED`].
    pub counted: u64,
    /// Whether there are more rows than were counted.
    pub is_capped: bool,
}

/// Cuts the rows of a page, of which one more than `limit` were read, and returns whether there are more.
pub(crate) fn cut_page(rows: &mut Vec<Row>, limit: u64) -> bool {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    has_more
}

impl Total {
    /// The limit of the rows that a statement counts: one more tells whether there are more.
    pub(crate) const LIMIT: u64 = MOST_COUNTED + 1;

    /// Reads the number from the column `n`.
    pub(crate) fn read(row: Option<&Row>) -> Result<Self, StoreError> {
        let counted = row.map_or(Ok(0), |row| row.count("n"))?;
        Ok(Self { counted: counted.min(MOST_COUNTED), is_capped: counted > MOST_COUNTED })
    }
}

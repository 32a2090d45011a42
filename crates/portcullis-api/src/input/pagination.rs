//! The pages of long lists.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_model::Timestamp;
use portcullis_storage::{MOST_COUNTED, PageStart, Total};
use schemars::{JsonSchema, Schema, json_schema};
use serde::Serialize;
use uuid::Uuid;

use super::Parsed;
use super::query::QueryText;
use crate::ApiError;

/// The number of a page of a list; the first is 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageNumber(u64);

/// How many entries a page has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageSize(u64);

impl PageSize {
    /// The most entries of a page; `RULE` names the same number.
    const MAX: u64 = 100;

    pub(crate) fn get(self) -> u64 {
        self.0
    }
}

impl Default for PageSize {
    fn default() -> Self {
        Self(20)
    }
}

impl FromStr for PageNumber {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        whole_number(text).map(Self).ok_or(())
    }
}

impl FromStr for PageSize {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        whole_number(text).filter(|number| *number <= Self::MAX).map(Self).ok_or(())
    }
}

/// A number from 1 in digits only.
fn whole_number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number >= 1)
}

/// The place after an entry of a list, as clients see it: opaque text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor(Timestamp, Uuid);

impl Cursor {
    /// The time in microseconds and the id, in base64url.
    fn text(self) -> String {
        let mut bytes = self.0.timestamp_micros().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.1.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ())?;
        let (time, id) = bytes.split_first_chunk::<8>().ok_or(())?;
        let micros = i64::from_be_bytes(*time);
        let at = Timestamp::from_timestamp_micros(micros).filter(|_| STORABLE.contains(&micros)).ok_or(())?;
        Ok(Self(at, Uuid::from_slice(id).map_err(|_| ())?))
    }
}

/// The times that a cursor can name, in microseconds: the years of four digits, which both engines store.
const STORABLE: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// A page of a list, as the query asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    /// `None` when the page is found by a cursor.
    number: Option<u64>,
    cursor: Option<Cursor>,
    pub(crate) limit: u64,
}

impl Page {
    /// Reads the page of a list. A page past the rows that are counted is found by a cursor only.
    pub(crate) fn new(
        number: Option<Parsed<PageNumber>>,
        limit: Option<Parsed<PageSize>>,
        cursor: Option<Parsed<Cursor>>,
    ) -> Result<Self, ApiError> {
        let limit = limit.map_or_else(PageSize::default, |limit| limit.0).get();
        let cursor = cursor.map(|cursor| cursor.0);
        let number = match (number.map(|number| number.0.0), cursor) {
            (Some(_), Some(_)) => {
                return Err(ApiError::invalid_query(vec![
                    "page and cursor exclude each other: leave one out".to_owned(),
                ]));
            }
            (None, Some(_)) => None,
            (number, None) => Some(number.unwrap_or(1)),
        };
        let page = Self { number, cursor, limit };
        if page.offset() >= MOST_COUNTED {
            let problem = format!(
                "page must end within the first {MOST_COUNTED} entries: pass pagination.next of the page before as cursor"
            );
            return Err(ApiError::invalid_query(vec![problem]));
        }
        Ok(page)
    }

    /// How many entries come before a page that is found by its number.
    pub(crate) fn offset(self) -> u64 {
        self.number.map_or(0, |number| (number - 1).saturating_mul(self.limit))
    }

    /// Where the page begins in its list.
    pub(crate) fn start(self) -> PageStart {
        match self.cursor {
            Some(Cursor(at, id)) => PageStart::After(at, id),
            None => PageStart::Offset(self.offset()),
        }
    }

    /// Returns the page beside the number of all entries. `last` is its last entry if more follow.
    pub(crate) fn of(self, total: Total, last: Option<(Timestamp, Uuid)>) -> Pagination {
        let Self { number, limit, .. } = self;
        Pagination {
            page: number,
            limit,
            total: total.counted,
            total_is_capped: total.is_capped,
            pages: total.counted.div_ceil(limit),
            next: last.map(|(at, id)| Cursor(at, id).text()),
        }
    }
}

/// The place of a page in its list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pagination {
    /// The number of the page; absent when it was found by a cursor.
    #[serde(skip_serializing_if = "Option::is_none")]
    page: Option<u64>,
    limit: u64,
    /// Entries of all pages, counted to 100,000.
    total: u64,
    /// Whether there are more entries than `total`.
    total_is_capped: bool,
    pages: u64,
    /// The `cursor` of the next page; null on the last one.
    next: Option<String>,
}

impl Pagination {
    pub(crate) const EXAMPLE: Self =
        Self { page: Some(1), limit: 20, total: 1, total_is_capped: false, pages: 1, next: None };
}

impl QueryText for Cursor {
    const RULE: &'static str = "pagination.next of another page";

    fn schema() -> Schema {
        json_schema!({ "type": "string" })
    }
}

impl QueryText for PageNumber {
    const RULE: &'static str = "a whole number from 1";

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "default": 1 })
    }
}

impl QueryText for PageSize {
    const RULE: &'static str = "a whole number from 1 to 100";

    fn schema() -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": Self::MAX, "default": Self::default().0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_what_it_names() {
        let cursor = Cursor(Timestamp::from_timestamp_micros(1_764_000_000_123_456).expect("valid"), Uuid::max());
        assert_eq!(cursor.text().parse(), Ok(cursor));
        let far = Cursor(Timestamp::MAX_UTC, Uuid::nil()).text();
        for text in ["", "x", "nonsense!", &cursor.text()[1..], far.as_str()] {
            assert_eq!(text.parse::<Cursor>(), Err(()), "{text}");
        }
    }
}

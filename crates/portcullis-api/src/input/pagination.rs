//! The pages of long lists.

use std::str::FromStr;

use schemars::{JsonSchema, Schema, json_schema};
use serde::Serialize;

use super::Parsed;
use super::query::QueryText;

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

/// A page of a list, as the query asks for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    number: u64,
    pub(crate) limit: u64,
}

impl Page {
    pub(crate) fn new(number: Option<Parsed<PageNumber>>, limit: Option<Parsed<PageSize>>) -> Self {
        let limit = limit.map_or_else(PageSize::default, |limit| limit.0);
        Self { number: number.map_or(1, |number| number.0.0), limit: limit.get() }
    }

    /// How many entries come before the page.
    pub(crate) fn offset(self) -> u64 {
        (self.number - 1).saturating_mul(self.limit)
    }

    /// Returns the page beside the number of all entries.
    pub(crate) fn of(self, total: u64) -> Pagination {
        let Self { number, limit } = self;
        Pagination { page: number, limit, total, pages: total.div_ceil(limit) }
    }
}

/// The place of a page in its list.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Pagination {
    page: u64,
    limit: u64,
    /// Entries of all pages.
    total: u64,
    pages: u64,
}

impl Pagination {
    pub(crate) const EXAMPLE: Self = Self { page: 1, limit: 20, total: 1, pages: 1 };
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

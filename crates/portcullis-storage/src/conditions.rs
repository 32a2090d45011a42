//! Conditions of a query that are put together from a filter, with the values that they bind.

use crate::engine::value::{Value, as_bigint};
use crate::paging::PageStart;

/// The conditions and values of a query. A condition that a filter does not set is left out, so that indices can be used.
pub(crate) struct Conditions {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// Begins with a condition that has no value.
    pub(crate) fn new(first: &str) -> Self {
        Self { conditions: vec![first.to_owned()], values: Vec::new() }
    }

    /// Adds a value and returns its parameter.
    pub(crate) fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// Adds a number and returns its parameter.
    pub(crate) fn bind_number(&mut self, number: u64) -> String {
        self.bind(as_bigint(number))
    }

    /// Adds a condition as it is.
    pub(crate) fn require(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    /// Adds the condition that a column compares with a value, such as `column` "at" and `operator` ">=". Adds none
    /// without a value.
    pub(crate) fn compare(&mut self, column: &str, operator: &str, value: Option<Value>) {
        if let Some(value) = value {
            let parameter = self.bind(value);
            self.require(format!("{column} {operator} {parameter}"));
        }
    }

    /// Restricts a list, newest first, to the rows after the start of a page, and returns the number of rows to skip.
    pub(crate) fn begin_page(&mut self, at: &str, id: &str, start: PageStart) -> u64 {
        match start {
            PageStart::Offset(rows) => rows,
            PageStart::After(time, row) => {
                let (time, row) = (self.bind(time.into()), self.bind(row.into()));
                self.require(format!("({at}, {id}) < ({time}, {row})"));
                0
            }
        }
    }

    /// Returns the conditions as SQL.
    pub(crate) fn sql(&self) -> String {
        self.conditions.join(" AND ")
    }

    /// Returns the values for a statement that uses all parameters so far.
    pub(crate) fn values(&self) -> Vec<Value> {
        self.values.clone()
    }

    /// Takes back the last value, which only the statement before this used.
    pub(crate) fn unbind_last(&mut self) {
        self.values.pop();
    }
}

//! Reading the query of a built-in endpoint.

use std::str::FromStr;

use portcullis_model::Timestamp;

use crate::{Call, Fault};

/// The largest page of a list.
const MOST_A_PAGE: u64 = 100;
const A_PAGE: u64 = 20;

/// The parameters, and what is wrong with them so far. Unknown ones are ignored; of one given twice the first counts.
pub(crate) struct Query {
    parameters: Vec<(String, String)>,
    problems: Vec<String>,
}

/// Which page of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) number: u64,
    pub(crate) limit: u64,
}

impl Page {
    pub(crate) fn offset(self) -> u64 {
        (self.number - 1).saturating_mul(self.limit)
    }

    /// What a list says of its pages.
    pub(crate) fn json(self, total: u64) -> serde_json::Value {
        let Self { number, limit } = self;
        serde_json::json!({ "page": number, "limit": limit, "total": total, "pages": total.div_ceil(limit) })
    }
}

impl Query {
    pub(crate) fn of(call: &Call) -> Self {
        let query = call.permit.query().unwrap_or_default();
        Self { parameters: form_urlencoded::parse(query.as_bytes()).into_owned().collect(), problems: Vec::new() }
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    /// Every value of a parameter that may be given several times.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.parameters.iter().filter(|(key, _)| key == name).map(|(_, value)| value.clone()).collect()
    }

    /// A text that must be given; else empty, and a problem.
    pub(crate) fn required(&mut self, name: &str) -> String {
        self.text(name).unwrap_or_else(|| {
            self.refuse(format!("{name} is required"));
            String::new()
        })
    }

    /// Notes a problem.
    pub(crate) fn refuse(&mut self, problem: String) {
        self.problems.push(problem);
    }

    /// Takes what was read, or notes what is wrong with it, unless something was wrong before.
    pub(crate) fn check<T>(&mut self, read: Result<T, Vec<String>>) -> Option<T> {
        read.map_err(|problems| {
            if self.problems.is_empty() {
                self.problems.extend(problems);
            }
        })
        .ok()
    }

    /// `page` and `limit`.
    pub(crate) fn page(&mut self) -> Page {
        Page { number: self.number("page", 1, u64::MAX), limit: self.number("limit", A_PAGE, MOST_A_PAGE) }
    }

    fn number(&mut self, name: &str, otherwise: u64, most: u64) -> u64 {
        let Some(text) = self.text(name) else { return otherwise };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(number) if digits && (1..=most).contains(&number) => number,
            _ => {
                self.problems.push(match most {
                    u64::MAX => format!("{name} must be a whole number from 1"),
                    most => format!("{name} must be a whole number from 1 to {most}"),
                });
                otherwise
            }
        }
    }

    /// A value of ours by its name; `rule` says which there are.
    pub(crate) fn parsed<T: FromStr>(&mut self, name: &str, rule: &str) -> Option<T> {
        let parsed = self.text(name)?.parse().ok();
        if parsed.is_none() {
            self.problems.push(format!("{name} must be {rule}"));
        }
        parsed
    }

    /// An instant, RFC 3339.
    pub(crate) fn time(&mut self, name: &str) -> Option<Timestamp> {
        self.parsed(name, "a time as in 2026-01-31T12:00:00Z (RFC 3339)")
    }

    /// Refuses with every problem found, if there was one.
    pub(crate) fn finish(self) -> Result<(), Fault> {
        if self.problems.is_empty() { Ok(()) } else { Err(Fault::bad_query(self.problems)) }
    }
}

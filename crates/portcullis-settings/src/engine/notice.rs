//! Problems, warnings and advice about settings, each with its place and a hint.

use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};

/// The place where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of a settings file.
    File {
        /// The path as the operator gave it.
        path: Arc<str>,
        /// The line, counted from 1.
        line: usize,
    },
    /// A line of `.env`.
    DotEnv {
        /// The path as the operator gave it.
        path: Arc<str>,
        /// The line, counted from 1.
        line: usize,
        /// The variable that the line sets.
        name: Arc<str>,
    },
    /// An environment variable of the process.
    Variable(Arc<str>),
    /// A value in a store of secrets.
    Store {
        /// The store and the secret in it.
        store: Arc<str>,
        /// The name of the value.
        name: Arc<str>,
    },
    /// A command-line option.
    Flag(&'static str),
    /// No place: a required value is missing, or the value is a default.
    Nowhere,
}

impl Place {
    /// Returns the file and the line, if the place is in a file.
    pub fn line(&self) -> Option<(&str, usize)> {
        match self {
            Self::File { path, line } | Self::DotEnv { path, line, .. } => Some((path, *line)),
            Self::Variable(_) | Self::Store { .. } | Self::Flag(_) | Self::Nowhere => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::DotEnv { path, line, name } => write!(f, "{path}:{line} ({name})"),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Store { store, name } => write!(f, "{store}, {name}"),
            Self::Flag(name) => f.write_str(name),
            Self::Nowhere => f.write_str("settings"),
        }
    }
}

/// A problem, a warning or a piece of advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The place in the settings that the notice is about.
    pub place: Place,
    /// What happened and why. It never contains a secret.
    pub message: String,
    /// How to fix it.
    pub hint: Option<String>,
}

impl Notice {
    /// Makes a notice without a hint.
    pub fn new(place: &Place, message: impl Into<String>) -> Self {
        Self { place: place.clone(), message: message.into(), hint: None }
    }

    /// Adds how to fix it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Notice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Notice", 5)?;
        out.serialize_field("place", &self.place.to_string())?;
        out.serialize_field("file", &self.place.line().map(|(file, _)| file))?;
        out.serialize_field("line", &self.place.line().map(|(_, line)| line))?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("hint", &self.hint)?;
        out.end()
    }
}

/// The problems because of which settings are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Notice>);

impl Problems {
    /// Adds a problem, unless it was added before.
    pub(crate) fn add(&mut self, notice: Notice) {
        if !self.0.contains(&notice) {
            self.0.push(notice);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sorts the problems: those in files by line, then the others in the order in which they were found.
    pub(crate) fn sort(&mut self) {
        self.0.sort_by(|a, b| match (a.place.line(), b.place.line()) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (None, None) => std::cmp::Ordering::Equal,
        });
    }

    /// Returns the problems in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Notice> {
        self.0.iter()
    }
}

impl From<Notice> for Problems {
    fn from(notice: Notice) -> Self {
        Self(vec![notice])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, notice) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            notice.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_read_like_those_of_a_compiler_files_first() {
        let at = |line| Place::File { path: "portcullis.toml".into(), line };
        let mut problems = Problems::default();
        problems.add(Notice::new(&Place::Variable("PORT".into()), "is not a port"));
        problems.add(Notice::new(&at(12), "unknown key").hint("did you mean `listen`?"));
        problems.add(Notice::new(&at(3), "too long"));
        problems.add(Notice::new(&at(3), "too long"));
        problems.sort();
        assert_eq!(
            problems.to_string(),
            "portcullis.toml:3: too long\nportcullis.toml:12: unknown key\n  hint: did you mean `listen`?\nenvironment PORT: is not a port"
        );
    }
}

//! The environment: the variables of the process, then in development those of `.env`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use portcullis_model::policy::Environment;

use super::dotenv;
use super::notice::{Notice, Place, Problems};

/// Variables by name. An empty variable counts as not set, because compose files pass on missing variables as empty ones.
#[derive(Default)]
pub(crate) struct Variables {
    known: BTreeMap<String, Variable>,
    /// Names whose values are not UTF-8: a problem only when a setting needs them.
    unreadable: BTreeSet<String>,
}

#[derive(Clone)]
pub(crate) struct Variable {
    pub(crate) value: String,
    pub(crate) place: Place,
}

impl Variables {
    /// Takes the variables of the process.
    pub(crate) fn of(process: &[(OsString, OsString)]) -> Self {
        let mut variables = Self::default();
        for (name, value) in process {
            let Some(name) = name.to_str() else { continue };
            match value.to_str() {
                Some("") => {}
                Some(value) => {
                    let variable = Variable { value: value.to_owned(), place: Place::Variable(name.into()) };
                    variables.known.insert(name.to_owned(), variable);
                }
                None => {
                    variables.unreadable.insert(name.to_owned());
                }
            }
        }
        variables
    }

    /// Determines the environment: `PORTCULLIS_ENV`, else `NODE_ENV`, else development.
    pub(crate) fn environment(&self, problems: &mut Problems) -> Environment {
        let Some(variable) = ENVIRONMENT_NAMES.iter().find_map(|name| self.get(name, problems)) else {
            return Environment::Development;
        };
        parse_environment(&variable.value).unwrap_or_else(|| {
            let message = format!("{:?} is not an environment", variable.value);
            problems.add(Notice::new(&variable.place, message).hint("write development, production or test"));
            Environment::Development
        })
    }

    /// Adds the variables of `.env` that the process does not set. A line that sets none, or that is about other
    /// programs, has no effect.
    pub(crate) fn add_dotenv(&mut self, folder: &Path, problems: &mut Problems, warnings: &mut Vec<Notice>) {
        let file: Arc<str> = ".env".into();
        let text = match std::fs::read(folder.join(".env")) {
            // A value that is not UTF-8 is a problem only when a setting needs it.
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => {
                let place = Place::File { path: file, line: 1 };
                problems.add(
                    Notice::new(&place, format!("cannot be read: {error}"))
                        .hint("make the file readable, or remove it"),
                );
                return;
            }
        };
        // The last line that sets a variable wins.
        let entries: BTreeMap<String, dotenv::Entry> =
            dotenv::parse(&file, &text).into_iter().map(|entry| (entry.name.clone(), entry)).collect();
        let mut entries: Vec<dotenv::Entry> = entries.into_values().collect();
        entries.sort_by(|a, b| a.place.line().cmp(&b.place.line()));
        for entry in entries {
            if ENVIRONMENT_NAMES.contains(&entry.name.as_str()) {
                if parse_environment(&entry.value) != Some(Environment::Development) {
                    let message = format!("{:?} has no effect here: .env is read only in development", entry.value);
                    let hint = format!("set {} in the environment of the process", entry.name);
                    problems.add(Notice::new(&entry.place, message).hint(hint));
                }
            } else if entry.value.contains(char::REPLACEMENT_CHARACTER) {
                if !self.known.contains_key(&entry.name) {
                    self.unreadable.insert(entry.name);
                }
            } else if !entry.value.is_empty() && !self.known.contains_key(&entry.name) {
                warnings.extend(entry.warning);
                self.known.insert(entry.name, Variable { value: entry.value, place: entry.place });
            }
        }
    }

    /// Returns the value of a variable, or the text of the file that `<NAME>_FILE` names. Both at once are a problem.
    pub(crate) fn get(&self, name: &str, problems: &mut Problems) -> Option<Variable> {
        let file_name = format!("{name}_FILE");
        for name in [name, file_name.as_str()] {
            if self.unreadable.contains(name) {
                problems
                    .add(Notice::new(&Place::Variable(name.into()), "is not UTF-8").hint("set it to a text in UTF-8"));
            }
        }
        match (self.known.get(name), self.known.get(&file_name)) {
            (None, None) => None,
            (Some(variable), None) => Some(variable.clone()),
            (None, Some(file)) => read_file(file, problems),
            (Some(variable), Some(_)) => {
                let message = format!("{name} and {file_name} are both set");
                problems.add(Notice::new(&variable.place, message).hint("unset one of them"));
                Some(variable.clone())
            }
        }
    }

    /// Returns the value of exactly this variable, whose name ends in `_FILE` by itself: it is the path of a file.
    pub(crate) fn verbatim(&self, name: &str) -> Option<Variable> {
        self.known.get(name).cloned()
    }

    /// Sets a variable that is not set.
    pub(super) fn insert(&mut self, name: &str, variable: Variable) {
        self.known.insert(name.to_owned(), variable);
    }

    /// Returns the names that begin with a prefix, without `_FILE` at the end.
    pub(crate) fn names_under(&self, prefix: &str) -> BTreeSet<String> {
        self.known
            .keys()
            .chain(&self.unreadable)
            .filter(|name| name.starts_with(prefix) && name.len() > prefix.len())
            .map(|name| name.strip_suffix("_FILE").unwrap_or(name).to_owned())
            .collect()
    }

    /// Returns the place where a variable, or its file, was set.
    pub(crate) fn place(&self, name: &str) -> Option<Place> {
        let variable = self.known.get(name).or_else(|| self.known.get(&format!("{name}_FILE")));
        variable.map(|variable| variable.place.clone())
    }
}

/// The variables that name the environment; the first one that is set wins.
pub(crate) const ENVIRONMENT_NAMES: [&str; 2] = ["PORTCULLIS_ENV", "NODE_ENV"];

fn parse_environment(text: &str) -> Option<Environment> {
    [Environment::Development, Environment::Production, Environment::Test]
        .into_iter()
        .find(|environment| environment.as_str() == text)
}

/// Reads a secret's file as Docker and Kubernetes mount them; the line break at the end does not count.
fn read_file(file: &Variable, problems: &mut Problems) -> Option<Variable> {
    match std::fs::read_to_string(&file.value) {
        Ok(text) => {
            let value = text.strip_suffix('\n').unwrap_or(&text);
            let value = value.strip_suffix('\r').unwrap_or(value).to_owned();
            (!value.is_empty()).then(|| Variable { value, place: file.place.clone() })
        }
        Err(error) => {
            let message = format!("the file {} cannot be read: {error}", file.value);
            problems.add(Notice::new(&file.place, message).hint("write the value into it, in UTF-8"));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
        Variables::of(&pairs)
    }

    #[test]
    fn a_value_may_come_from_a_file_but_not_from_both() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "from the file\n").expect("writable");
        let file = file.to_str().expect("UTF-8");
        let mut problems = Problems::default();
        let only = variables(&[("CSRF_SECRET_FILE", file)]);
        assert_eq!(only.get("CSRF_SECRET", &mut problems).expect("read").value, "from the file");
        assert!(problems.is_empty());
        variables(&[("CSRF_SECRET_FILE", file), ("CSRF_SECRET", "x")]).get("CSRF_SECRET", &mut problems);
        assert!(problems.to_string().contains("CSRF_SECRET and CSRF_SECRET_FILE are both set"), "{problems}");
        let mut problems = Problems::default();
        let missing = variables(&[("CSRF_SECRET_FILE", "/nowhere/at/all")]).get("CSRF_SECRET", &mut problems);
        assert!(
            missing.is_none() && problems.to_string().starts_with("environment CSRF_SECRET_FILE: the file /nowhere")
        );
    }

    #[test]
    fn a_value_that_is_not_utf_8_is_refused_when_it_is_needed() {
        use std::os::unix::ffi::OsStringExt;
        let variables = Variables::of(&[
            ("PORT".into(), OsString::from_vec(vec![0xff])),
            ("X".into(), OsString::from_vec(vec![0xff])),
        ]);
        let mut problems = Problems::default();
        assert!(variables.get("PORT", &mut problems).is_none());
        assert_eq!(problems.to_string(), "environment PORT: is not UTF-8\n  hint: set it to a text in UTF-8");
    }

    #[test]
    fn portcullis_env_wins_over_node_env() {
        let mut problems = Problems::default();
        let of = |pairs: &[(&str, &str)], problems: &mut Problems| variables(pairs).environment(problems);
        assert_eq!(of(&[], &mut problems), Environment::Development);
        assert_eq!(of(&[("NODE_ENV", "production")], &mut problems), Environment::Production);
        assert_eq!(of(&[("NODE_ENV", "production"), ("PORTCULLIS_ENV", "test")], &mut problems), Environment::Test);
        assert_eq!(of(&[("NODE_ENV", "production"), ("PORTCULLIS_ENV", "")], &mut problems), Environment::Production);
        assert!(problems.is_empty());
        of(&[("PORTCULLIS_ENV", "prod")], &mut problems);
        assert!(problems.to_string().contains("\"prod\" is not an environment"), "{problems}");
    }

    #[test]
    fn no_line_of_dotenv_that_is_not_ours_is_a_problem() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let text = b"\xef\xbb\xbfPORT=1\nnonsense\nOTHER=\"open\nVITE.NAME=x\nLATIN=\xff\nPORT=9000\t# here\nset -a\n";
        std::fs::write(folder.path().join(".env"), text).expect("writable");
        let (mut problems, mut warnings) = (Problems::default(), Vec::new());
        let mut variables = variables(&[]);
        variables.add_dotenv(folder.path(), &mut problems, &mut warnings);
        assert_eq!(variables.get("PORT", &mut problems).expect("set").value, "9000", "the last line wins");
        assert!(problems.is_empty(), "{problems}");
        assert!(variables.get("LATIN", &mut problems).is_none());
        assert_eq!(problems.to_string(), "environment LATIN: is not UTF-8\n  hint: set it to a text in UTF-8");
    }

    #[test]
    fn dotenv_adds_variables_but_not_the_environment() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(".env"), "PORT=9000\nHOST=127.0.0.2\nNODE_ENV=production\n")
            .expect("writable");
        let mut problems = Problems::default();
        let mut variables = variables(&[("PORT", "8123")]);
        variables.add_dotenv(folder.path(), &mut problems, &mut Vec::new());
        assert_eq!(variables.get("PORT", &mut problems).expect("set").value, "8123");
        assert_eq!(variables.get("HOST", &mut problems).expect("set").value, "127.0.0.2");
        assert_eq!(problems.iter().len(), 1, "{problems}");
        assert!(problems.to_string().starts_with(".env:3 (NODE_ENV): \"production\" has no effect here"), "{problems}");
    }
}

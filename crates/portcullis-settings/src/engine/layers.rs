//! Lays the flags over the environment and the environment over the file, into one tree of values.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portcullis_gate::Propagation;
use portcullis_model::input::did_you_mean;
use portcullis_telemetry::traces::TraceOptions;

use super::key::{Key, Section, variable};
use super::notice::{Notice, Place, Problems};
use super::sources::Flags;
use super::tree::{self, Node, Table, Value};
use super::variables::{Variable, Variables};
use crate::otel_variables;

/// The beginning of the variable that sets any key: `PORTCULLIS__SECTION__KEY`.
const PREFIX: &str = "PORTCULLIS__";
/// The settings file that is read when none is named.
const DEFAULT_FILE: &str = "portcullis.toml";
/// The most parts that a key has: `upstreams.projects.health.path`.
const MAX_DEPTH: usize = 4;
/// The variable that sets `secrets.vault.token_file`, and the name whose file it would be by the general rule.
const TOKEN_FILE_NAME: &str = "PORTCULLIS__SECRETS__VAULT__TOKEN_FILE";
const TOKEN_NAME: &str = "PORTCULLIS__SECRETS__VAULT__TOKEN";
/// Names that follow `PORTCULLIS_` with one underscore.
const OTHER_NAMES: [&str; 3] = ["ENV", "CONFIG", "DATA_DIR"];

/// Holds the merged values: a flag overrides the environment, the environment overrides the file.
#[derive(Default)]
pub(crate) struct Layers {
    pub(crate) tree: Table,
    /// `--host` or `HOST`, which replaces the host in `server.listen`.
    pub(crate) host: Option<Variable>,
    /// `--port` or `PORT`, which replaces the port in `server.listen`.
    pub(crate) port: Option<Variable>,
    /// The settings file, if one was read.
    pub(crate) file: Option<PathBuf>,
    /// Where traces are sent.
    pub(crate) traces: Option<TraceOptions>,
    /// How requests name their trace.
    pub(crate) propagation: Propagation,
}

impl Layers {
    /// Reads the file, then lays the environment and the flags over it.
    pub(crate) fn gather(
        flags: &Flags,
        variables: &Variables,
        folder: &Path,
        sections: &[&'static Section],
        problems: &mut Problems,
    ) -> Result<Self, Problems> {
        let named = match &flags.config {
            Some(path) => Some((path.clone(), Place::Flag("--config"))),
            None => variables.get("PORTCULLIS_CONFIG", problems).map(|found| (found.value.into(), found.place)),
        };
        let (tree, file) = read(named, folder)?;
        let mut layers = Self { tree, file, host: None, port: None, traces: None, propagation: Propagation::default() };
        layers.apply_variables(variables, sections, problems);
        layers.apply_flags(flags);
        layers.traces = otel_variables::read(variables, problems);
        layers.propagation = otel_variables::propagation(variables, problems);
        Ok(layers)
    }

    fn apply_variables(&mut self, variables: &Variables, sections: &[&'static Section], problems: &mut Problems) {
        let generic = variables.names_under(PREFIX);
        for name in &generic {
            // This key is the path of a file that the store reads.
            if name == TOKEN_NAME
                && let Some(found) = variables.verbatim(TOKEN_FILE_NAME)
            {
                // Fails only when `secrets` or `vault` is not a table in the file, which its reader reports.
                let _ = set(&mut self.tree, &["secrets", "vault", "token_file"], &found);
                continue;
            }
            let Some(found) = variables.get(name, problems) else { continue };
            let path = path_of(&name[PREFIX.len()..], sections);
            if path.iter().any(String::is_empty) || path.len() > MAX_DEPTH {
                let hint = "write PORTCULLIS__SECTION__KEY, with two underscores between the parts";
                problems.add(Notice::new(&found.place, "no key has this name").hint(hint));
                continue;
            }
            if set(&mut self.tree, &path, &found).is_none() {
                let message = "a part of this name is a value in the file, not a section";
                problems.add(Notice::new(&found.place, message).hint("write PORTCULLIS__SECTION__KEY"));
            }
        }
        for section in sections {
            for key in section.keys {
                self.apply_short_names(section, key, variables, problems);
            }
        }
        // Refuses likely typing errors only: Kubernetes sets PORTCULLIS_PORT and more for a service of this name.
        for name in variables.names_under("PORTCULLIS_") {
            let rest = &name["PORTCULLIS_".len()..];
            if let Some(known) = did_you_mean(rest, OTHER_NAMES).filter(|known| *known != rest)
                && let Some(place) = variables.place(&name)
            {
                let hint = format!("did you mean PORTCULLIS_{known}?");
                problems.add(Notice::new(&place, "no setting has this name").hint(hint));
            }
        }
    }

    /// Lays the short names of a key over the tree.
    fn apply_short_names(&mut self, section: &Section, key: &Key, variables: &Variables, problems: &mut Problems) {
        for name in key.environment {
            let Some(found) = variables.get(name, problems) else { continue };
            match *name {
                "HOST" => self.host = Some(found),
                "PORT" => self.port = Some(found),
                _ => {
                    let generic = variable(section.name, key.name);
                    if variables.place(&generic).is_some() {
                        let message = format!("{name} and {generic} are both set, but set the same key");
                        problems.add(Notice::new(&found.place, message).hint("unset one of them"));
                    }
                    // Fails only when the section is not a table in the file, which its reader reports.
                    let _ = set(&mut self.tree, &[section.name, key.name], &found);
                }
            }
        }
    }

    fn apply_flags(&mut self, flags: &Flags) {
        let given = |value: String, name| Variable { value, place: Place::Flag(name) };
        if let Some(host) = &flags.host {
            self.host = Some(given(host.clone(), "--host"));
        }
        if let Some(port) = &flags.port {
            self.port = Some(given(port.to_string(), "--port"));
        }
        if let Some(folder) = &flags.data_dir {
            let folder = given(folder.to_string_lossy().into_owned(), "--data-dir");
            let _ = set(&mut self.tree, &["server", "data_dir"], &folder);
        }
    }
}

/// Turns the part of a name after [`PREFIX`] into the path of a key in the file. By custom the environment is in upper case
/// and the file in lower case, except for the names of roles.
fn path_of(name: &str, sections: &[&'static Section]) -> Vec<String> {
    let mut path: Vec<String> = name.split("__").map(str::to_ascii_lowercase).collect();
    if let [section, key] = path.as_mut_slice()
        && let Some(section) = sections.iter().find(|known| known.name == section)
        && let Some(known) = section.keys.iter().find(|known| known.name.eq_ignore_ascii_case(key))
    {
        key.replace_range(.., known.name);
    }
    path
}

/// Sets a value and makes the tables on the way; `None` when one of them is a value already.
fn set(table: &mut Table, path: &[impl AsRef<str>], variable: &Variable) -> Option<()> {
    let (first, rest) = path.split_first()?;
    let first = first.as_ref();
    // A name that is in the file keeps its spelling there.
    let name = table.keys().find(|known| known.eq_ignore_ascii_case(first)).cloned();
    let name = name.unwrap_or_else(|| first.to_owned());
    if rest.is_empty() {
        table.insert(name, Node { value: Value::Raw(variable.value.clone()), place: variable.place.clone() });
        return Some(());
    }
    let empty = || Node { value: Value::Table(Table::new()), place: variable.place.clone() };
    match &mut table.entry(name).or_insert_with(empty).value {
        Value::Table(inner) => set(inner, rest, variable),
        _ => None,
    }
}

/// Reads the settings file. The tree is empty when no file was named and the default one does not exist.
fn read(named: Option<(PathBuf, Place)>, folder: &Path) -> Result<(Table, Option<PathBuf>), Problems> {
    let is_default = named.is_none();
    let (path, place) = named.unwrap_or_else(|| (DEFAULT_FILE.into(), Place::Nowhere));
    match std::fs::read_to_string(folder.join(&path)) {
        Ok(text) => {
            let name: Arc<str> = path.to_string_lossy().into();
            Ok((tree::parse(&name, &text)?, Some(folder.join(&path))))
        }
        Err(error) if is_default && error.kind() == std::io::ErrorKind::NotFound => Ok((Table::new(), None)),
        Err(error) => {
            let message = format!("the settings file {} cannot be read: {error}", path.display());
            Err(Notice::new(&place, message)
                .hint("name a readable UTF-8 file with --config or PORTCULLIS_CONFIG")
                .into())
        }
    }
}

//! Writes the list of migrations from the files in `migrations/`, so that no source file repeats it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A line of a migration that programs of an older schema cannot run on, followed by the oldest schema that can.
const RUNS_SINCE: &str = "-- runs_since: ";

fn main() {
    println!("cargo::rerun-if-changed=migrations");
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("migrations");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("migrations.rs");
    fs::write(out, list_of(&folder)).expect("the output folder is writable");
}

/// Returns a Rust expression: the slice of all migrations, oldest first.
fn list_of(folder: &Path) -> String {
    let mut list = String::from("&[\n");
    let mut runs_since = 1;
    for (position, (version, name)) in up_files(folder).into_iter().enumerate() {
        assert_eq!(position + 1, version, "migrations are numbered from 0001 without gaps");
        let [up, down] = ["up", "down"].map(|direction| folder.join(format!("{version:04}_{name}.{direction}.sql")));
        assert!(down.exists(), "{} is missing", down.display());
        let text = fs::read_to_string(&up).expect("the file was listed");
        if let Some(schema) = text.lines().find_map(|line| line.strip_prefix(RUNS_SINCE)) {
            runs_since = schema.trim().parse().expect("runs_since is a number");
        }
        let (up, down) = (up.display().to_string(), down.display().to_string());
        writeln!(
            list,
            "    Migration {{ version: {version}, name: {name:?}, up: include_str!({up:?}), \
             down: include_str!({down:?}), runs_since: {runs_since} }},"
        )
        .expect("a String takes any text");
    }
    list.push_str("]\n");
    list
}

/// Returns the number and the name of each `NNNN_name.up.sql`.
fn up_files(folder: &Path) -> BTreeMap<usize, String> {
    let entries = fs::read_dir(folder).expect("the folder of migrations exists");
    let names = entries.map(|entry| entry.expect("it is readable").file_name().to_string_lossy().into_owned());
    names
        .filter_map(|name| name.strip_suffix(".up.sql").map(str::to_owned))
        .map(|name| {
            let (number, name) = name.split_once('_').expect("a migration is called NNNN_name.up.sql");
            (number.parse().expect("a migration's name begins with its number"), name.to_owned())
        })
        .collect()
}

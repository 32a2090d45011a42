//! ARCHITECTURE.md shows the crates and the files that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(repository().join(name)).expect("the page exists")
}

/// Our crates that a manifest's `[dependencies]` name, without the prefix `portcullis-`.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let dependencies = manifest.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next());
    let lines = dependencies.unwrap_or_default().lines();
    lines.filter_map(|line| line.strip_prefix("portcullis-")?.split(['.', ' ']).next()).map(str::to_owned).collect()
}

/// Name and manifest of every crate.
fn manifests() -> BTreeMap<String, String> {
    let folders = std::fs::read_dir(repository().join("crates")).expect("the crates' folder").flatten();
    folders
        .map(|folder| {
            let manifest = std::fs::read_to_string(folder.path().join("Cargo.toml")).expect("a crate has a manifest");
            (folder.file_name().to_string_lossy().into_owned(), manifest)
        })
        .collect()
}

/// The rows of the table of crates: name and the cell "depends on", in the order of the page.
fn crate_rows() -> Vec<(String, String)> {
    let page = page("ARCHITECTURE.md");
    let (_, table) = page.split_once("## The crates").expect("there is a section about the crates");
    let rows = table.lines().filter(|line| line.starts_with("| `portcullis"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].trim_matches('`').to_owned(), (*cells.last().expect("a row has cells")).to_owned())
    })
    .collect()
}

#[test]
fn the_architecture_lists_what_each_crate_depends_on() {
    let manifests = manifests();
    let rows = crate_rows();
    let listed: BTreeSet<&String> = rows.iter().map(|(name, _)| name).collect();
    assert_eq!(listed, manifests.keys().collect());
    for (name, cell) in rows.iter().filter(|(_, cell)| cell != "all of the above") {
        let named: BTreeSet<String> = cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(named, dependencies(&manifests[name]), "{name}");
    }
}

#[test]
fn crates_depend_only_on_crates_above_them() {
    let manifests = manifests();
    let mut above: BTreeSet<String> = BTreeSet::new();
    for (name, _) in crate_rows() {
        let needed = dependencies(&manifests[&name]);
        assert!(needed.is_subset(&above), "{name} depends on {:?}", needed.difference(&above));
        above.insert(name.trim_start_matches("portcullis-").to_owned());
    }
}

#[test]
fn the_architecture_names_files_that_exist() {
    fn walk(folder: &Path, files: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the repository").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, files);
            } else {
                files.push(path.to_string_lossy().into_owned());
            }
        }
    }
    let mut files = Vec::new();
    walk(&repository().join("crates"), &mut files);
    for name in ["ARCHITECTURE.md", "docs/adding.md"] {
        let page = page(name);
        for path in page.split('`').skip(1).step_by(2).filter(|path| path.ends_with(".rs")) {
            let ending = format!("/{path}");
            assert!(files.iter().any(|file| file.ends_with(&ending)), "{name} names {path}");
        }
    }
}

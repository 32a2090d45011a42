//! The pages as a book: every page has its place, and every command block is run by a test or says why not.
//! `make docs` checks links and spelling, and builds the book.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::documents::RUN;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The pages below a folder, by their paths in it.
fn pages_below(folder: &str) -> BTreeSet<String> {
    fn walk(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder of the repository").flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let path = path.strip_prefix(root).expect("it is below");
                found.insert(path.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    let root = repository().join(folder);
    let mut found = BTreeSet::new();
    walk(&root, &root, &mut found);
    found
}

#[test]
fn every_page_has_one_place_in_the_book() {
    let summary = read(&repository().join("docs/SUMMARY.md"));
    let places: Vec<&str> =
        summary.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(page, _)| page).collect();
    let listed: BTreeSet<String> = places.iter().map(|&page| page.to_owned()).collect();
    assert_eq!(listed.len(), places.len(), "a page is listed twice");
    let mut pages = pages_below("docs");
    pages.remove("SUMMARY.md");
    assert_eq!(listed, pages);
}

#[test]
fn llms_txt_names_pages_that_exist() {
    let text = read(&repository().join("llms.txt"));
    let links: Vec<&str> =
        text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link).collect();
    assert!(links.len() > 20, "{links:?}");
    for link in links {
        assert!(repository().join(link).is_file(), "{link}");
    }
}

/// A fenced block: its language, the line above it, and its line number.
struct Block<'a> {
    language: &'a str,
    above: &'a str,
    line: usize,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let (mut found, mut above, mut is_open) = (Vec::new(), "", false);
    for (number, line) in page.lines().enumerate() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            if !is_open {
                found.push(Block { language, above, line: number + 1 });
            }
            is_open = !is_open;
        }
        above = line;
    }
    found
}

/// Whether a script runs the marked blocks of a page: `scripts/tutorials.sh`, `scripts/secrets.sh`.
fn is_run_by_script(page: &str) -> bool {
    page.starts_with("docs/tutorials/")
        || ["docs/migrate-from-keycloak.md", "docs/migrate-from-nginx.md", "docs/secrets.md"].contains(&page)
}

/// What is wrong with a block, if anything. `runs` tells whether a test runs the blocks of a name.
fn complaint(block: &Block<'_>, runs: impl Fn(&str) -> bool) -> Option<String> {
    let marker = block.above.trim().strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
    match (block.language, marker) {
        ("", _) => Some("has no language".to_owned()),
        ("sh", Some(marker)) => match (marker.strip_prefix("test: "), marker.strip_prefix("not run: ")) {
            (Some(name), _) if runs(name) => None,
            (Some(name), _) => Some(format!("is marked for a test {name:?} that does not run it")),
            (_, Some(reason)) if !reason.trim().is_empty() => None,
            _ => Some(format!("has the marker {marker:?}, which is neither \"test: name\" nor \"not run: reason\"")),
        },
        ("sh", None) => Some("is run by no test and does not say why (<!-- not run: reason -->)".to_owned()),
        ("bash" | "shell" | "console", _) => Some("has commands: call its language sh".to_owned()),
        _ => None,
    }
}

#[test]
fn every_command_block_is_run_or_says_why_not() {
    let mut pages: Vec<String> = pages_below("docs").into_iter().map(|page| format!("docs/{page}")).collect();
    pages.extend(pages_below("deploy").into_iter().map(|page| format!("deploy/{page}")));
    pages.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"].map(str::to_owned));
    let mut wrong = Vec::new();
    for page in &pages {
        let text = read(&repository().join(page));
        for block in blocks(&text) {
            let runs = |name: &str| RUN.contains(&(page, name)) || is_run_by_script(page);
            if let Some(complaint) = complaint(&block, runs) {
                wrong.push(format!("{page}:{}: the block {complaint}", block.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn blocks_without_a_known_marker_are_found() {
    let page = "<!-- test: a -->\n```sh\nx\n```\n<!-- test: b -->\n```sh\n```\n```sh\n```\n```\n```\n```bash\n```\n\
                <!-- not run: why -->\n```sh\n```\n<!-- not run:  -->\n```sh\n```\n```json\n```\n";
    let wrong: Vec<usize> =
        blocks(page).iter().filter(|block| complaint(block, |name| name == "a").is_some()).map(|b| b.line).collect();
    assert_eq!(wrong, [6, 8, 10, 12, 18]);
}

//! The subjects of the crate, which are its top-level modules, import one another in one direction.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

type Imports = BTreeMap<String, BTreeSet<String>>;

fn collect(folder: &Path, subject: Option<&str>, imports: &mut Imports) {
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let subject = subject.unwrap_or(&stem);
        if path.is_dir() {
            collect(&path, Some(subject), imports);
        } else if path.extension().is_some_and(|extension| extension == "rs") && subject != "lib" {
            let text = std::fs::read_to_string(&path).expect("readable");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let names = code.split("crate::").skip(1).filter_map(|rest| rest.split(|c: char| !is_word(c)).next());
            let others = names.filter(|name| *name != subject).map(str::to_owned);
            imports.entry(subject.to_owned()).or_default().extend(others);
        }
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[test]
fn subjects_do_not_import_each_other_in_a_circle() {
    let mut imports = Imports::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, &mut imports);
    assert!(imports.contains_key("sign_in") && imports["identity"].contains("sign_in"), "{imports:?}");
    // Takes away subjects that import none of the remaining ones; a circle is never taken away.
    while let Some(last) = imports.iter().find(|(_, of)| of.iter().all(|other| !imports.contains_key(other))) {
        let last = last.0.clone();
        imports.remove(&last);
    }
    assert!(imports.is_empty(), "in a circle, or above one: {:?}", imports.keys());
}

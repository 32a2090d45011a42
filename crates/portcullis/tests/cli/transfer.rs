//! `portcullis move`: an error is one sentence with a hint, and no message shows a password.

use crate::shell::{CommandOutput, Shell};

fn attempt(shell: &Shell, from: &str, to: &str) -> CommandOutput {
    shell.run(&["move", "--from", from, "--to", to])
}

/// A shell in whose folder there is a database of a gateway, and its address.
fn with_database() -> (Shell, String) {
    let shell = Shell::new();
    let url = format!("sqlite://{}", shell.path("from.db").display());
    let shell = shell.env("DATABASE_URL", &url);
    shell.run(&["migrate", "up"]).ok();
    (shell, url)
}

#[test]
fn an_impossible_move_is_one_sentence_with_a_hint() {
    let (shell, from) = with_database();
    let at = |name: &str| format!("sqlite://{}", shell.path(name).display());
    std::fs::write(shell.path("text.db"), "Remember the milk. ".repeat(100)).expect("the folder is writable");
    std::fs::write(shell.path("empty.db"), "").expect("the folder is writable");
    let nobody = format!("postgres://ada:hunter2@127.0.0.1:{}/gate", portcullis_testkit::free_port());
    for (from, to, sentence, hint) in [
        (&at("none.db"), &at("to.db"), "there is no database at ", "--from takes the absolute path"),
        (&from, &from, "both addresses lead to the same database", "--to must name another"),
        (&from, &from.replace("/from.db", "/./from.db"), "both addresses lead to the same", "--to must name another"),
        (&at("text.db"), &at("to.db"), "the database to move from cannot be opened", "set --from to another file"),
        (&at("empty.db"), &at("to.db"), "the database to move from has schema 0", "does --from name the right one"),
        (&from, &at("none/to.db"), "the database to move to cannot be used", "must exist and be writable"),
        (&from, &nobody, "the database to move to cannot be used", "are host and port of --to right?"),
        (&from, &"mysql://ada:hunter2@db/gate".to_owned(), "--to cannot be used", "sqlite:// or postgres://"),
        (&"postgres://ada:hunter2@db:port/gate".to_owned(), &at("to.db"), "--from cannot be used", "percent-encoded"),
    ] {
        let output = attempt(&shell, from, to).failed();
        assert!(output.err.starts_with(&format!("error: {sentence}")), "{}", output.err);
        let told = output.err.split_once("  hint: ").map(|(_, hint)| hint).unwrap_or_default();
        assert!(told.contains(hint), "{hint:?} is not in {}", output.err);
        assert!(output.out.is_empty() && !output.err.contains("hunter2"), "{}{}", output.out, output.err);
    }
    assert!(!shell.path("none.db").exists(), "looking for the source made it");
    assert!(!shell.path("to.db").exists(), "a target was made for a source that cannot be moved");
}

#[test]
fn an_empty_database_moves_and_the_result_names_the_key() {
    let (shell, from) = with_database();
    let to = from.replace("from.db", "to.db");
    let output = attempt(&shell, &from, &to).ok();
    assert!(output.out.starts_with("TABLE ") && output.out.contains("both databases hold the same"), "{}", output.out);
    assert!(output.out.contains("the same ENCRYPTION_KEY"), "{}", output.out);
    assert!(
        output.err.contains("users: 0 rows\n") && output.err.ends_with("comparing both databases\n"),
        "{}",
        output.err
    );
    let again = shell.run(&["move", "--from", &from, "--to", &from.replace("from.db", "third.db"), "--json"]).ok();
    assert_eq!((again.json()["rows"].as_u64(), again.err.as_str()), (Some(0), ""));
}

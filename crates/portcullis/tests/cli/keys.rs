//! `portcullis keys init`: the secrets it prints and the file it writes.

use std::os::unix::fs::PermissionsExt;

use crate::shell::Shell;

fn secrets(lines: &str) -> Vec<(&str, &str)> {
    lines.lines().map(|line| line.split_once('=').expect("NAME=value")).collect()
}

#[test]
fn each_run_makes_two_new_secrets() {
    let shell = Shell::new();
    let (first, second) = (shell.run(&["keys", "init"]).ok(), shell.run(&["keys", "init"]).ok());
    assert!(first.err.is_empty(), "only the lines are printed, for a pipe: {}", first.err);
    let (first, second) = (secrets(&first.out), secrets(&second.out));
    assert_eq!(first.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["CSRF_SECRET", "ENCRYPTION_KEY"]);
    let mut values: Vec<&str> = first.iter().chain(&second).map(|(_, value)| *value).collect();
    assert!(values.iter().all(|value| value.len() == 64));
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 4);
}

#[test]
fn a_file_is_for_its_owner_only_and_never_overwritten() {
    let shell = Shell::new();
    shell.run(&["keys", "init", "--output", "gate.env"]).ok();
    let before = std::fs::read_to_string(shell.path("gate.env")).expect("it was written");
    assert_eq!(secrets(&before).len(), 2);
    let mode = shell.path("gate.env").metadata().expect("it exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let output = shell.run(&["keys", "init", "--output", "gate.env"]).failed();
    assert!(output.err.starts_with("error: gate.env exists already; nothing was written\n  hint: "), "{}", output.err);
    assert_eq!(std::fs::read_to_string(shell.path("gate.env")).expect("it is there"), before);
}

#[test]
fn the_id_of_a_key_may_begin_with_a_hyphen() {
    let shell = Shell::migrated();
    for arguments in [&["keys", "retire", "-pNoSuchKey"][..], &["keys", "retire", "--force", "-pNoSuchKey"]] {
        let output = shell.run(arguments).failed();
        assert!(output.err.contains("-pNoSuchKey") && !output.err.contains("unexpected argument"), "{}", output.err);
    }
}

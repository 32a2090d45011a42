//! `portcullis man`: the pages of every command.

use crate::shell::Shell;

#[test]
fn the_page_of_a_command_has_its_options_and_examples() {
    let shell = Shell::new();
    let folder = shell.path("man1");
    assert!(shell.run(&["man", "--output", folder.to_str().expect("UTF-8")]).ok().out.is_empty());
    let page = std::fs::read_to_string(folder.join("portcullis-users-create.1")).expect("the page of the command");
    for part in [".SH NAME", "password\\-stdin", ".SH EXAMPLES\n.nf\n", "portcullis users create"] {
        assert!(page.contains(part), "{part:?} in {page}");
    }
    assert!(!folder.join("portcullis-help.1").exists());
}

#[test]
fn every_command_has_a_page() {
    let shell = Shell::new();
    let folder = shell.path("man1");
    shell.run(&["man", "--output", folder.to_str().expect("UTF-8")]).ok();
    let help = shell.run(&["--help"]).ok().out;
    let commands = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list");
    // A description that takes more lines is indented further.
    let rows = commands.lines().filter_map(|line| line.strip_prefix("  ").filter(|row| !row.starts_with(' ')));
    for command in rows.filter_map(|row| row.split(' ').next()).filter(|name| *name != "help") {
        assert!(folder.join(format!("portcullis-{command}.1")).exists(), "{command}");
    }
}

#[test]
fn without_a_folder_the_page_of_the_program_is_printed() {
    let page = Shell::new().run(&["man"]).ok().out;
    assert!(page.contains(".TH portcullis 1") && page.contains("portcullis\\-users(1)"), "{page}");
}

#[test]
fn a_folder_that_cannot_be_made_is_refused_with_a_hint() {
    let shell = Shell::new().file("taken", "");
    let output = shell.run(&["man", "--output", "taken/man1"]).failed();
    assert!(output.err.contains("taken/man1") && output.err.contains("hint:"), "{}", output.err);
}

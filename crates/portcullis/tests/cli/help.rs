//! `--help`: golden files of every page, and the exit code of wrong usage.

use std::fmt::Write as _;
use std::path::Path;

use crate::shell::Shell;

#[track_caller]
fn page(name: &str, arguments: &[&str]) {
    let output = Shell::new().run(arguments).ok();
    assert!(output.err.is_empty(), "{}", output.err);
    assert!(!output.out.contains('\u{1b}'), "colours are for terminals only");
    insta::assert_snapshot!(name, output.out);
}

#[test]
fn the_help_of_every_command_is_as_reviewed() {
    page("help", &["--help"]);
    page("help_serve", &["serve", "--help"]);
    page("help_check", &["check", "--help"]);
    page("help_doctor", &["doctor", "--help"]);
    page("help_routes", &["routes", "--help"]);
    page("help_move", &["move", "--help"]);
    page("help_users", &["users", "--help"]);
    page("help_users_create", &["users", "create", "--help"]);
    page("help_users_recover_admin", &["users", "recover-admin", "--help"]);
    page("help_users_list", &["users", "list", "--help"]);
    for command in ["disable", "enable", "set-role", "reset", "import", "export"] {
        page(&format!("help_users_{}", command.replace('-', "_")), &["users", command, "--help"]);
    }
    for command in ["list", "rotate", "retire", "reseal"] {
        page(&format!("help_keys_{command}"), &["keys", command, "--help"]);
    }
    page("help_audit_export", &["audit", "export", "--help"]);
    for command in ["list", "delete"] {
        page(&format!("help_errors_{command}"), &["errors", command, "--help"]);
    }
    for command in ["create", "list", "verify"] {
        page(&format!("help_backup_{command}"), &["backup", command, "--help"]);
    }
    page("help_restore", &["restore", "--help"]);
    page("help_log_level", &["log-level", "--help"]);
    page("help_keys", &["keys", "--help"]);
    page("help_keys_init", &["keys", "init", "--help"]);
    page("help_healthcheck", &["healthcheck", "--help"]);
    page("help_support_bundle", &["support-bundle", "--help"]);
    page("help_upgrade_check", &["upgrade-check", "--help"]);
    page("help_completions", &["completions", "--help"]);
    page("help_man", &["man", "--help"]);
}

/// Appends the help of a command, then that of its subcommands.
fn describe(page: &mut String, command: &[&str]) {
    let output = Shell::new().run(&[command, &["--help"]].concat()).ok().out;
    let name = [&["portcullis"], command].concat().join(" ");
    let _ = write!(page, "\n## {name}\n\n```text\n{}\n```\n", output.trim_end());
    let rows = output.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description that takes more lines is indented further.
    let rows = rows.filter_map(|line| line.strip_prefix("  ").filter(|row| !row.starts_with(' ')));
    for subcommand in rows.filter_map(|row| row.split(' ').next()).filter(|name| *name != "help") {
        describe(page, &[command, &[subcommand]].concat());
    }
}

#[test]
fn the_page_about_the_command_line_has_the_help_of_every_command() {
    let mut page =
        String::from("# Command line\n\nWhat `--help` prints for each command. This page is made from the program.\n");
    describe(&mut page, &[]);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/command-line.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).expect("the page can be written");
    }
    let kept = std::fs::read_to_string(&file).expect("the page exists");
    assert!(kept == page, "docs/command-line.md is out of date. hint: run the test with UPDATE_DOCS=1");
}

#[test]
fn wrong_usage_is_exit_code_2() {
    for arguments in [
        &[][..],
        &["sevre"],
        &["serve", "--prot", "1"],
        &["serve", "--port", "70000"],
        &["move"],
        &["move", "--to", "sqlite:///a.db"],
        &["users", "create"],
        &["users", "create", "--role", "BOSS"],
        &["users", "create", "--password", "x"],
        &["completions", "tcsh"],
    ] {
        let output = Shell::new().run(arguments);
        assert_eq!(output.code, Some(2), "{arguments:?}: {}", output.err);
        assert!(output.out.is_empty() && !output.err.is_empty(), "{arguments:?}");
    }
    assert!(Shell::new().run(&["sevre"]).err.contains("serve"), "the message suggests the right command");
}

#[test]
fn the_version_is_printed() {
    assert_eq!(Shell::new().run(&["--version"]).ok().out, format!("portcullis {}\n", env!("CARGO_PKG_VERSION")));
}

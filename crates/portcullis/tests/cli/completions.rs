//! `portcullis completions`: the scripts of every shell.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::shell::Shell;

#[test]
fn every_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = Shell::new().run(&["completions", shell]).ok();
        assert!(output.err.is_empty(), "{}", output.err);
        for word in ["recover-admin", "healthcheck", "data-dir"] {
            assert!(output.out.contains(word), "{word} in the script for {shell}");
        }
    }
}

#[test]
fn bash_can_read_its_script() {
    let script = Shell::new().run(&["completions", "bash"]).ok().out;
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().expect("bash runs");
    bash.stdin.take().expect("stdin was piped").write_all(script.as_bytes()).expect("bash reads");
    assert!(bash.wait().expect("it ends").success());
}

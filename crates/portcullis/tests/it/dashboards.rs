//! Grafana's dashboards in `deploy/grafana`.

use std::path::Path;
use std::process::Command;

#[test]
fn the_dashboards_are_as_their_source_writes_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/grafana");
    let output = Command::new("python3").args(["-B", "dashboards.py", "--check"]).current_dir(folder).output();
    let output = output.expect("python3 is missing. hint: make setup");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

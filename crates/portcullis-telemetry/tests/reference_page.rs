//! The table of metrics in `docs/observability.md` agrees with the families. `UPDATE_DOCS=1` rewrites it.

use std::path::Path;

use portcullis_telemetry::{MetricFamily, Metrics, MetricsOptions};

const BEGIN: &str = "<!-- metrics: begin -->\n";
const END: &str = "<!-- metrics: end -->\n";

fn row(family: &MetricFamily) -> String {
    let labels = family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
    let (name, unit) = (family.sample_name(), family.unit().unwrap_or_default());
    format!("| `{name}` | {} | {labels} | {unit} | {} |\n", family.kind.as_str(), family.help)
}

#[test]
fn the_page_about_metrics_lists_every_family() {
    let mut table = String::from("| name | type | labels | unit | meaning |\n|---|---|---|---|---|\n");
    table.extend(Metrics::new(&MetricsOptions::default(), "1").families().iter().map(row));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/observability.md");
    let page = std::fs::read_to_string(&file).expect("the page exists");
    let (before, rest) = page.split_once(BEGIN).expect("the page marks where the table begins");
    let (_, after) = rest.split_once(END).expect("the page marks where the table ends");
    let wanted = [before, BEGIN, &table, END, after].concat();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, wanted).expect("the page can be written");
    } else {
        assert!(page == wanted, "docs/observability.md lists other metrics than there are; UPDATE_DOCS=1 rewrites it");
    }
}

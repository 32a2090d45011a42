//! The reference of all keys, as `docs/settings.md` shows it.

use super::key::{Key, Reload, Section, variable};

/// The heading, the introduction and the table of every section, as Markdown.
pub(crate) fn render(sections: &[&Section]) -> String {
    sections.iter().map(|section| render_section(section)).collect::<Vec<_>>().join("\n")
}

fn render_section(section: &Section) -> String {
    let mut page = format!("{}\n\n", heading(section));
    if !section.about.is_empty() {
        page.push_str(section.about.trim());
        page.push_str("\n\n");
    }
    page.push_str("| key | default | environment | value | takes effect | what it does |\n|---|---|---|---|---|---|\n");
    for key in section.keys {
        page.push_str(&row(section, key));
    }
    page
}

fn heading(section: &Section) -> String {
    if is_list(section) { format!("## `[[{}]]`", section.name) } else { format!("## `[{}]`", section.name) }
}

/// `[[routes]]` is the only list. Its members have no names, so the environment cannot set one key of a member.
fn is_list(section: &Section) -> bool {
    section.name == "routes"
}

fn row(section: &Section, key: &Key) -> String {
    let generic = (!is_list(section)).then(|| variable(section.name, key.name));
    let names: Vec<String> =
        key.environment.iter().map(|name| (*name).to_owned()).chain(generic).map(|name| format!("`{name}`")).collect();
    let environment = if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    let takes_effect = match key.reload {
        Reload::Live => "on reload",
        Reload::Restart => "on restart",
    };
    let default = key.default_text();
    format!("| `{}` | {default} | {environment} | {} | {takes_effect} | {} |\n", key.name, key.unit, key.about)
}

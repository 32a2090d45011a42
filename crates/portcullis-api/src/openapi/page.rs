//! The description as one page, without scripts and without requests to another host.

use std::fmt::Write as _;

use serde_json::Value;

use crate::error::EXPLANATIONS;

const STYLE: &str = include_str!("page.css");

/// Renders the page for an OpenAPI document.
pub(super) fn page(document: &Value) -> String {
    let mut html = String::with_capacity(128 * 1024);
    let title = text(&document["info"]["title"]);
    let version = text(&document["info"]["version"]);
    let _ = write!(
        html,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title} API {version}</title>\
         <style>{STYLE}</style></head><body><a class=\"skip\" href=\"#operations\">Skip to the operations</a>\
         <header><h1>{title} API <small>{version}</small></h1></header>"
    );
    let tags = document["tags"].as_array().cloned().unwrap_or_default();
    html.push_str("<nav aria-label=\"Subjects\"><ul>");
    for tag in &tags {
        let name = text(&tag["name"]);
        let _ = write!(html, "<li><a href=\"#{name}\">{name}</a></li>");
    }
    html.push_str("<li><a href=\"#codes\">error codes</a></li></ul></nav><main id=\"operations\">");
    for paragraph in document["info"]["description"].as_str().unwrap_or_default().split("\n\n") {
        let _ = write!(html, "<p>{}</p>", prose(paragraph));
    }
    html.push_str("<p>For programs: <a href=\"docs.json\">docs.json</a> (OpenAPI 3.1).</p>");
    for tag in &tags {
        let _ = write!(
            html,
            "<section aria-labelledby=\"{0}\"><h2 id=\"{0}\">{0}</h2><p>{1}</p>",
            text(&tag["name"]),
            text(&tag["description"])
        );
        for (path, methods) in document["paths"].as_object().into_iter().flatten() {
            for (method, operation) in methods.as_object().into_iter().flatten() {
                if operation["tags"][0] == tag["name"] {
                    describe(&mut html, method, path, operation, document);
                }
            }
        }
        html.push_str("</section>");
    }
    errors(&mut html);
    html.push_str("</main></body></html>\n");
    html
}

/// The table of codes. Each row is what the `type` of a problem document points to (`ErrorKind::link`).
fn errors(html: &mut String) {
    html.push_str(
        "<section aria-labelledby=\"codes\"><h2 id=\"codes\">error codes</h2><p>What each <code>code</code> means.</p>\
         <table><thead><tr><th>Code</th><th>Meaning</th><th>What to do</th></tr></thead><tbody>",
    );
    for explanation in EXPLANATIONS {
        let (cause, remedy) = (prose(explanation.cause), prose(explanation.remedy));
        let code = escaped(explanation.code);
        let _ = write!(html, "<tr id=\"{code}\"><td><code>{code}</code></td><td>{cause}</td><td>{remedy}</td></tr>");
    }
    html.push_str("</tbody></table></section>");
}

fn describe(html: &mut String, method: &str, path: &str, operation: &Value, document: &Value) {
    let id = text(&operation["operationId"]);
    let _ = write!(
        html,
        "<details id=\"{id}\"><summary><span class=\"method {method}\">{}</span> <code>{}</code> \
         <span class=\"summary\">{}</span></summary>",
        method.to_ascii_uppercase(),
        escaped(path),
        text(&operation["summary"])
    );
    for paragraph in operation["description"].as_str().unwrap_or_default().split("\n\n").filter(|p| !p.is_empty()) {
        let _ = write!(html, "<p>{}</p>", prose(paragraph));
    }
    let parameters: Vec<&Value> =
        operation["parameters"].as_array().into_iter().flatten().map(|one| resolved(one, document)).collect();
    if !parameters.is_empty() {
        html.push_str(
            "<h3>Parameters</h3><table><thead><tr><th>Name</th><th>In</th><th>Meaning</th></tr></thead><tbody>",
        );
        for parameter in parameters {
            let needed = if parameter["required"] == true { " (required)" } else { "" };
            let _ = write!(
                html,
                "<tr><td><code>{}</code>{needed}</td><td>{}</td><td>{} {}</td></tr>",
                text(&parameter["name"]),
                text(&parameter["in"]),
                prose(parameter["description"].as_str().unwrap_or_default()),
                rule(&parameter["schema"])
            );
        }
        html.push_str("</tbody></table>");
    }
    let body = &operation["requestBody"]["content"]["application/json"];
    if !body.is_null() {
        html.push_str("<h3>Body</h3>");
        fields(html, resolved(&body["schema"], document), document);
        example(html, &body["example"]);
    }
    html.push_str("<h3>Responses</h3><table><thead><tr><th>Status</th><th>Meaning</th></tr></thead><tbody>");
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        let description = prose(resolved(response, document)["description"].as_str().unwrap_or_default());
        let _ = write!(html, "<tr><td>{status}</td><td>{description}</td></tr>");
    }
    html.push_str("</tbody></table>");
    let usual = operation["responses"].as_object().into_iter().flatten().find(|(status, _)| status.starts_with('2'));
    if let Some((_, response)) = usual {
        example(html, &response["content"]["application/json"]["example"]);
    }
    html.push_str("</details>");
}

fn fields(html: &mut String, schema: &Value, document: &Value) {
    html.push_str("<table><thead><tr><th>Field</th><th>Meaning</th></tr></thead><tbody>");
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let needed = schema["required"].as_array().into_iter().flatten().any(|needed| needed == name);
        let needed = if needed { " (required)" } else { "" };
        let _ = write!(
            html,
            "<tr><td><code>{}</code>{needed}</td><td>{} {}</td></tr>",
            escaped(name),
            prose(field["description"].as_str().unwrap_or_default()),
            rule(type_of(field, document))
        );
    }
    html.push_str("</tbody></table>");
}

/// The schema of a field that holds the type itself: behind a reference, and beside null.
fn type_of<'a>(field: &'a Value, document: &'a Value) -> &'a Value {
    let choices = field["anyOf"].as_array().into_iter().flatten();
    let choice = choices.into_iter().find(|choice| choice["type"] != "null");
    resolved(choice.unwrap_or(field), document)
}

/// States in a few words what a value must be.
fn rule(schema: &Value) -> String {
    let mut words = Vec::new();
    match &schema["type"] {
        Value::String(kind) => words.push(kind.clone()),
        Value::Array(kinds) => {
            words.push(kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "));
        }
        _ => {}
    }
    let mut push = |label: &str, value: &Value| {
        if !value.is_null() {
            words.push(format!("{label}{}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
        }
    };
    push("", &schema["format"]);
    push("from ", &schema["minimum"]);
    push("to ", &schema["maximum"]);
    push("at least ", &schema["minLength"]);
    push("at most ", &schema["maxLength"]);
    push("by default ", &schema["default"]);
    if let Some(values) = schema["enum"].as_array() {
        words.push(values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
    }
    let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
    if words.is_empty() { String::new() } else { format!("<small>{}</small>", escaped(&words.join(" · "))) }
}

fn example(html: &mut String, value: &Value) {
    if !value.is_null() {
        let pretty = serde_json::to_string_pretty(value).expect("values have text keys");
        let _ = write!(html, "<pre tabindex=\"0\">{}</pre>", escaped(&pretty));
    }
}

fn resolved<'a>(value: &'a Value, document: &'a Value) -> &'a Value {
    let target = value["$ref"].as_str().and_then(|target| document.pointer(&target[1..]));
    target.unwrap_or(value)
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

/// Renders a text; what stands between backquotes becomes code.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(n, part)| if n % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { escaped(part) }).collect()
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

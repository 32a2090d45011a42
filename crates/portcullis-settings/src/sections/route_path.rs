//! The path templates and prefixes that a proxied route may have.

use portcullis_gate::normalise;

use crate::sections::versions::is_version;

/// Checks a template; the error is the hint for the operator.
pub(crate) fn check(template: &str, versions: &[&str]) -> Result<(), String> {
    if !template.starts_with('/') {
        return Err(format!("begin the path with /: /{template}"));
    }
    if template.contains(['?', '#']) {
        return Err("remove the query and the fragment".to_owned());
    }
    match normalise(template) {
        Ok(normal) if normal == template => {}
        Ok(normal) => return Err(format!("write the path in its canonical spelling: {normal}")),
        Err(_) => {
            return Err("servers interpret this path differently: use no %2F, no backslash, no spaces".to_owned());
        }
    }
    check_parameters(template)?;
    check_version(template, versions)
}

/// Checks that each segment is plain text, `{name}`, or at the end `{*name}`, and no name occurs twice.
fn check_parameters(template: &str) -> Result<(), String> {
    let form = "a parameter must be a whole segment: {id}, or {*rest} at the end";
    let mut names = Vec::new();
    let mut segments = template[1..].split('/').peekable();
    while let Some(segment) = segments.next() {
        if !segment.contains(['{', '}', '*']) {
            continue;
        }
        let inside = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or(form)?;
        let name = inside.strip_prefix('*').unwrap_or(inside);
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain || (inside.starts_with('*') && segments.peek().is_some()) {
            return Err(form.to_owned());
        }
        if names.contains(&name) {
            return Err(format!("the parameter {name} occurs twice"));
        }
        names.push(name);
    }
    Ok(())
}

fn check_version(template: &str, versions: &[&str]) -> Result<(), String> {
    let Some(rest) = template.strip_prefix("/api/") else { return Ok(()) };
    let first = rest.split('/').next().unwrap_or_default();
    if versions.contains(&first) {
        Ok(())
    } else if is_version(first) {
        Err(format!("{first} is not served; add [versions.{first}], or write /api/{}/…", versions[0]))
    } else {
        Err(format!("add a version: /api/{}/{rest}, which matches /api/{rest} too", versions[0]))
    }
}

/// Whether a template is under `/api/<version>/webhooks/`, where requests need no CSRF token (docs/contract.md, "CSRF").
pub(crate) fn is_webhook(template: &str) -> bool {
    let family = template.strip_prefix("/api/").and_then(|rest| rest.split_once('/'));
    family.is_some_and(|(_, rest)| rest.starts_with("webhooks/"))
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Checks that a prefix can be removed from every path that the template matches.
pub(crate) fn check_prefix(prefix: &str, template: &str) -> Result<(), String> {
    if !prefix.starts_with('/') || prefix.len() == 1 || prefix.ends_with('/') {
        return Err("begin the prefix with / and do not end it with / (/api/v1)".to_owned());
    }
    if prefix.contains(['{', '}']) || !is_below(template, prefix) {
        return Err(format!("write whole segments from the beginning of {template}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_canonical() {
        for good in [
            "/api/v1/projects/{*rest}",
            "/api/v2/x",
            "/api/v1/{service}/x",
            "/app/{*rest}",
            "/{*rest}",
            "/api/v1/authors",
        ] {
            assert_eq!(check(good, &["v1", "v2"]), Ok(()), "{good}");
        }
        for (bad, word) in [
            ("api/v1/x", "begin the path with /"),
            ("/api/projects", "/api/v1/projects"),
            ("/api/{*rest}", "/api/v1/{*rest}"),
            ("/api/v3/x", "add [versions.v3]"),
            ("/api/v1//x", "/api/v1/x"),
            ("/api/v1/../x", "/api/x"),
            ("/api/v1/%2Fx", "no %2F"),
            ("/api/v1/x?y", "remove the query"),
            ("/api/v1/{*rest}/x", "whole segment"),
            ("/api/v1/x{id}", "whole segment"),
            ("/api/v1/{}", "whole segment"),
            ("/api/v1/*", "whole segment"),
            ("/api/v1/{id}/{id}", "twice"),
        ] {
            let reason = check(bad, &["v1", "v2"]).expect_err(bad);
            assert!(reason.contains(word), "{bad}: {reason}");
        }
    }

    #[test]
    fn a_prefix_is_removed_in_whole_segments() {
        assert_eq!(check_prefix("/api/v1", "/api/v1/projects/{id}"), Ok(()));
        assert_eq!(check_prefix("/api/v1/projects", "/api/v1/projects/{*rest}"), Ok(()));
        for bad in ["api", "/", "/api/", "/api/v", "/other", "/api/v1/projects/{id}", ""] {
            assert!(check_prefix(bad, "/api/v1/projects/{id}").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_webhook_is_below_the_path_of_webhooks() {
        assert!(is_webhook("/api/v1/webhooks/{*rest}") && is_webhook("/api/v1/webhooks/github"));
        assert!(!is_webhook("/api/v1/webhooks") && !is_webhook("/api/v1/webhooksx/y") && !is_webhook("/webhooks/x"));
    }
}

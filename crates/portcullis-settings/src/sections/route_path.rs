//! The paths that a proxied route may have.

use portcullis_gate::normalise;

use crate::sections::versions::is_version;

/// Where built-in endpoints live under every version. A proxied route there would
/// be outrun by an endpoint of the next version, or answer in its place.
const BUILT_IN: [&str; 10] =
    ["auth", "health", "csrf-token", "versions", "docs", "docs.json", "users", "audit-logs", "api-keys", "gateway"];
/// The same outside of `/api`.
const BUILT_IN_ROOTS: [&str; 3] = ["/metrics", "/setup", "/.well-known/jwks.json"];
/// Where the contract puts endpoints that this version does not have yet.
const LATER: [&str; 1] = ["webhooks"];

/// Checks a template; the error says what to write instead.
pub(crate) fn check(template: &str, versions: &[&str]) -> Result<(), String> {
    if !template.starts_with('/') {
        return Err(format!("a path begins with /, as /{template} does"));
    }
    if template.contains(['?', '#']) {
        return Err("a path has no query and no fragment".to_owned());
    }
    match normalise(template) {
        Ok(normal) if normal == template => {}
        Ok(normal) => return Err(format!("paths are matched in their plain spelling: {normal}")),
        Err(_) => {
            return Err("it means different things to different servers: no %2F, no backslash, no spaces".to_owned());
        }
    }
    check_parameters(template)?;
    check_version(template, versions)?;
    match built_in(template) {
        Some(taken) => Err(format!("{taken} belongs to the built-in endpoints; choose another path")),
        None => Ok(()),
    }
}

/// Each segment is plain, `{name}`, or at the end `{*name}`; no name twice.
fn check_parameters(template: &str) -> Result<(), String> {
    let form = "a parameter is a whole segment: {id}, or {*rest} at the end";
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
            return Err(format!("the parameter {name} stands in it twice"));
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
        Err(format!("paths under /api have a version: /api/{}/{rest}, which answers /api/{rest} too", versions[0]))
    }
}

/// The built-in path that a template is at or below.
fn built_in(template: &str) -> Option<String> {
    // An upstream or a careless client may fold case; the gate's table does.
    let folded = template.to_ascii_lowercase();
    if folded == "/" {
        return Some(folded);
    }
    let root = BUILT_IN_ROOTS.into_iter().find(|root| is_below(&folded, root)).map(str::to_owned);
    root.or_else(|| BUILT_IN.into_iter().find_map(|name| below_api(&folded, name)))
}

/// The path of the contract that a later version will have there, if any.
pub(crate) fn reserved_later(template: &str) -> Option<String> {
    let folded = template.to_ascii_lowercase();
    LATER.into_iter().find_map(|name| below_api(&folded, name))
}

/// Whether it is one of `/api/webhooks/*`, which need no CSRF token (contract §5).
pub(crate) fn is_webhook(template: &str) -> bool {
    below_api(template, "webhooks").is_some_and(|root| template.len() > root.len())
}

fn below_api(template: &str, name: &str) -> Option<String> {
    let rest = template.strip_prefix("/api/")?;
    let (version, rest) = rest.split_once('/')?;
    is_below(rest, name).then(|| format!("/api/{version}/{name}"))
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Checks that a prefix can be taken off every path that the template matches.
pub(crate) fn check_prefix(prefix: &str, template: &str) -> Result<(), String> {
    if !prefix.starts_with('/') || prefix.len() == 1 || prefix.ends_with('/') {
        return Err("a prefix begins with / and does not end with it (/api/v1)".to_owned());
    }
    if prefix.contains(['{', '}']) || !is_below(template, prefix) {
        return Err(format!("it is not the beginning of {template}, in whole segments"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_canonical_and_leave_the_built_in_paths_alone() {
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
            ("api/v1/x", "begins with /"),
            ("/api/projects", "/api/v1/projects"),
            ("/api/{*rest}", "/api/v1/{*rest}"),
            ("/api/v3/x", "add [versions.v3]"),
            ("/api/v1//x", "/api/v1/x"),
            ("/api/v1/../x", "/api/x"),
            ("/api/v1/%2Fx", "no %2F"),
            ("/api/v1/x?y", "no query"),
            ("/api/v1/{*rest}/x", "whole segment"),
            ("/api/v1/x{id}", "whole segment"),
            ("/api/v1/{}", "whole segment"),
            ("/api/v1/*", "whole segment"),
            ("/api/v1/{id}/{id}", "twice"),
            ("/api/v1/auth/{*rest}", "/api/v1/auth belongs to the built-in"),
            ("/api/v1/Auth/x", "belongs to the built-in"),
            ("/api/v2/health", "belongs to the built-in"),
            ("/metrics", "belongs to the built-in"),
            ("/", "belongs to the built-in"),
        ] {
            let reason = check(bad, &["v1", "v2"]).expect_err(bad);
            assert!(reason.contains(word), "{bad}: {reason}");
        }
    }

    #[test]
    fn a_prefix_is_taken_off_in_whole_segments() {
        assert_eq!(check_prefix("/api/v1", "/api/v1/projects/{id}"), Ok(()));
        assert_eq!(check_prefix("/api/v1/projects", "/api/v1/projects/{*rest}"), Ok(()));
        for bad in ["api", "/", "/api/", "/api/v", "/other", "/api/v1/projects/{id}", ""] {
            assert!(check_prefix(bad, "/api/v1/projects/{id}").is_err(), "{bad}");
        }
    }

    #[test]
    fn webhooks_are_below_their_path() {
        assert!(is_webhook("/api/v1/webhooks/{*rest}") && is_webhook("/api/v1/webhooks/github"));
        assert!(!is_webhook("/api/v1/webhooks") && !is_webhook("/api/v1/webhooksx/y") && !is_webhook("/webhooks/x"));
    }
}

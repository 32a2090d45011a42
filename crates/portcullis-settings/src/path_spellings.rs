//! A warning about a strict route beside a weaker one to the same upstream (docs/gate.md, "Spellings of a path").
//!
//! The gate refuses the spellings of a strict route's path that it knows. A framework may have further ones, which the gate
//! takes for other paths: they go to the weaker route, and the upstream reads them as the strict one's.

use crate::engine::notice::Notice;
use crate::sections::routes::Route;
use crate::sections::upstreams::Upstream;

/// Warns once for each strict route.
pub(crate) fn warn(routes: &[Route], upstreams: &[Upstream], warnings: &mut Vec<Notice>) {
    for strict in routes {
        let is_way_around = |weak: &&Route| {
            is_same_service(weak, strict, upstreams)
                && strict.policy.asks_more_than(&weak.policy)
                && receives_misspelt(&weak.path, &strict.path)
        };
        if let Some(weak) = routes.iter().find(is_way_around) {
            let message = format!(
                "{} asks less of a request than {}, and both lead to the upstream {}: a spelling of the stricter path that \
                 only the upstream understands would go the weaker way",
                weak.path, strict.path, strict.forwarding.upstream
            );
            warnings.push(Notice::new(&strict.place, message).hint(
                "give the weaker route the same requirements, or name its paths one by one; docs/gate.md has the \
                 spellings that the gateway refuses itself",
            ));
        }
    }
}

/// Whether both routes lead to one upstream, or to two names of one.
fn is_same_service(a: &Route, b: &Route, upstreams: &[Upstream]) -> bool {
    let targets = |route: &Route| {
        let found = upstreams.iter().find(|upstream| upstream.name == route.forwarding.upstream);
        found.map(|upstream| &upstream.targets)
    };
    a.forwarding.upstream == b.forwarding.upstream
        || targets(a).zip(targets(b)).is_some_and(|(a, b)| a.iter().any(|target| b.contains(target)))
}

/// Whether a path with another spelling of a literal segment of `strict` matches `weak`.
fn receives_misspelt(weak: &str, strict: &str) -> bool {
    let mut weak = weak.trim_start_matches('/').split('/');
    let mut strict = strict.trim_start_matches('/').split('/');
    let is_parameter = |segment: &str| segment.starts_with('{');
    // Whether an earlier segment of the weaker route takes any text in place of a literal.
    let mut takes_other_text = false;
    loop {
        match (weak.next(), strict.next()) {
            (Some(rest), Some(literal)) if rest.starts_with("{*") => {
                return takes_other_text || !is_parameter(literal) || strict.any(|segment| !is_parameter(segment));
            }
            (Some(weak), Some(strict)) if is_parameter(weak) => takes_other_text |= !is_parameter(strict),
            (Some(weak), Some(strict)) if !weak.eq_ignore_ascii_case(strict) => return false,
            (Some(_), Some(_)) => {}
            (None, None) => return takes_other_text,
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    #[test]
    fn a_weaker_route_receives_other_spellings_of_literals() {
        for (weak, strict) in [
            ("/{*rest}", "/admin"),
            ("/{*rest}", "/admin/{*rest}"),
            ("/api/v1/{*rest}", "/api/v1/admin/{*rest}"),
            ("/api/v1/users/{id}", "/api/v1/users/admin"),
            ("/api/v1/{kind}/list", "/api/v1/admin/list"),
            ("/{*rest}", "/{tenant}/admin"),
        ] {
            assert!(receives_misspelt(weak, strict), "{weak} {strict}");
        }
        for (weak, strict) in [
            ("/public/{*rest}", "/admin"),
            ("/api/v1/{*rest}", "/admin"),
            ("/api/v1/users", "/api/v1/admin"),
            ("/api/v1/users/{id}", "/api/v1/admin/{id}"),
            ("/{*rest}", "/{tenant}"),
            ("/api/v1/{kind}", "/api/v1/admin/list"),
        ] {
            assert!(!receives_misspelt(weak, strict), "{weak} {strict}");
        }
    }

    fn warnings(strict: &str, weak: &str) -> Vec<String> {
        let file = format!(
            "[upstreams.p]\ntargets = [\"http://127.0.0.1:1\"]\n[upstreams.same]\ntargets = [\"http://127.0.0.1:1\"]\n\
             [upstreams.other]\ntargets = [\"http://127.0.0.1:2\"]\n[[routes]]\n{strict}\n[[routes]]\n{weak}\n"
        );
        let warnings = settings(&file, &[]).warnings;
        warnings.iter().map(ToString::to_string).filter(|warning| warning.contains("asks less")).collect()
    }

    const STRICT: &str = "path = \"/admin/{*rest}\"\nupstream = \"p\"\nroles = [\"ADMIN\"]";

    #[test]
    fn an_open_catch_all_to_the_same_service_gets_a_warning() {
        for weak in [
            "path = \"/{*rest}\"\nupstream = \"p\"\nauth = \"none\"",
            "path = \"/{*rest}\"\nupstream = \"same\"\nauth = \"none\"",
            "path = \"/{*rest}\"\nupstream = \"p\"",
        ] {
            let found = warnings(STRICT, weak);
            assert!(found.len() == 1 && found[0].starts_with("portcullis.toml:8: /{*rest} asks less of"), "{found:?}");
        }
    }

    #[test]
    fn a_catch_all_that_is_no_way_around_gets_none() {
        for weak in [
            "path = \"/{*rest}\"\nupstream = \"other\"\nauth = \"none\"",
            "path = \"/{*rest}\"\nupstream = \"p\"\nroles = [\"ADMIN\"]",
            "path = \"/public/{*rest}\"\nupstream = \"p\"\nauth = \"none\"",
        ] {
            assert_eq!(warnings(STRICT, weak), [""; 0], "{weak}");
        }
    }
}

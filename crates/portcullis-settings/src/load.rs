//! Loads every layer and every section, and collects every problem.

use std::time::Duration;

use portcullis_gate::RouteSpec;
use portcullis_model::policy::Environment;
use portcullis_secrets::StoreOptions;

use crate::engine::changed_keys::SetKeys;
use crate::engine::effective::EffectiveSettings;
use crate::engine::file_permissions;
use crate::engine::layers::Layers;
use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::unknown_hint;
use crate::engine::sources::{Sources, Stored};
use crate::engine::tree::Table;
use crate::engine::variables::Variables;
use crate::sections::{
    SECTIONS, audit, backup, cors, csrf, database, demo, headers, limits, log, mail, metrics, password, redis,
    registration, roles, routes, secrets, sentry, server, session, tracing, upstreams, versions,
};
use crate::{Settings, path_spellings, reserved_paths, route_collisions, unused_variables, weak_passwords};

/// Loads and checks all settings. `built_in` holds the routes of the endpoints that are enabled, with which the routes of
/// the operator must not collide.
///
/// # Errors
/// All problems at once: those in files by line, then the others.
pub fn load(sources: &Sources, built_in: &[RouteSpec]) -> Result<Settings, Problems> {
    let mut problems = Problems::default();
    let mut warnings = Vec::new();
    let mut variables = Variables::of(&sources.environment);
    let environment = variables.environment(&mut problems);
    if environment == Environment::Development {
        variables.add_dotenv(&sources.folder, &mut problems, &mut warnings);
    }
    if let Stored::Read(stored) = &sources.stored {
        variables.add_stored(stored, SECTIONS, &mut problems, &mut warnings);
    }
    let layers = Layers::gather(&sources.flags, &variables, &sources.folder, SECTIONS, &mut problems)?;
    refuse_unknown_sections(&layers.tree, &mut problems);
    unused_variables::warn(&variables, &mut warnings);
    file_permissions::warn(&layers.tree, SECTIONS, layers.file.as_deref(), &mut warnings);
    let store = secrets::read_store(&layers.tree, &variables, &mut problems);
    let settings = read(layers, store, environment, sources, built_in, &mut problems, warnings);
    if problems.is_empty() {
        Ok(settings)
    } else {
        problems.sort();
        Err(problems)
    }
}

/// Returns the store of secrets that the settings name; `None` also if its keys have problems, which [`load`] reports.
pub fn secret_store(sources: &Sources) -> Option<StoreOptions> {
    let (mut problems, mut warnings) = (Problems::default(), Vec::new());
    let mut variables = Variables::of(&sources.environment);
    if variables.environment(&mut problems) == Environment::Development {
        variables.add_dotenv(&sources.folder, &mut problems, &mut warnings);
    }
    let layers = Layers::gather(&sources.flags, &variables, &sources.folder, SECTIONS, &mut problems).ok()?;
    secrets::read_store(&layers.tree, &variables, &mut problems).0
}

fn read(
    layers: Layers,
    (secret_store, secret_refresh): (Option<StoreOptions>, Duration),
    environment: Environment,
    sources: &Sources,
    built_in: &[RouteSpec],
    problems: &mut Problems,
    mut warnings: Vec<Notice>,
) -> Settings {
    let tree = &layers.tree;
    let mut advice = Vec::new();
    let (server, data_dir) = server::read(&layers, environment, &sources.folder, problems, &mut warnings, &mut advice);
    let upstreams = upstreams::read(tree, problems, &mut warnings);
    let versions = versions::read(tree, problems, &mut warnings);
    let granted = roles::read(tree, problems);
    let (limits, limit_defaults) = limits::read(tree, environment, problems, &mut advice);
    let context = routes::RouteContext {
        upstreams: &upstreams,
        versions: versions.all.iter().map(|version| version.name.as_str()).collect(),
        max_body: server.max_body,
        limits: limit_defaults,
    };
    let routes = routes::read(tree, &context, problems);
    let accepted = reserved_paths::check(built_in, &routes, problems, &mut warnings);
    route_collisions::check(built_in, &accepted, &versions.versions(), problems);
    path_spellings::warn(&routes, &upstreams, &mut warnings);
    routes::warn_of_unused_upstreams(&upstreams, &routes, &mut warnings);
    if environment == Environment::Production {
        weak_passwords::warn(tree, SECTIONS, &mut warnings);
    }
    let (log, access_log) = log::read(tree, environment, problems);
    let registration = registration::read(tree, environment, problems, &mut advice);
    roles::warn_of_registrants(&granted, &registration, &mut warnings);
    Settings {
        environment,
        database: database::read(tree, &data_dir, problems),
        redis: redis::read(tree, problems),
        audit_kept: audit::read(tree, problems),
        backup: backup::read(tree, &sources.folder, problems),
        headers: headers::read(tree, environment, problems, &mut advice),
        mail: mail::read(tree, environment, problems, &mut warnings),
        secrets: secrets::read(tree, environment, &sources.stored, problems, &mut warnings),
        secret_store,
        secret_refresh,
        session: session::read(tree, server.public_url.as_ref(), problems),
        registration,
        password: password::read(tree, &sources.folder, problems, &mut advice),
        demo: demo::read(tree, environment, problems, &mut warnings),
        csrf_mode: csrf::read(tree, environment, problems, &mut warnings),
        allowed_origins: cors::read(tree, problems),
        limits,
        metrics: metrics::read(&layers, environment, problems, &mut warnings, &mut advice),
        log,
        access_log,
        tracing: tracing::read(tree, problems),
        sentry: sentry::read(tree, environment, problems, &mut warnings),
        traces: layers.traces.clone(),
        propagation: layers.propagation,
        roles: roles::permissions(granted, &routes, &mut warnings),
        set_keys: SetKeys::of(&layers, SECTIONS),
        effective: EffectiveSettings::of(&layers, SECTIONS),
        config_file: layers.file,
        data_dir,
        server,
        versions,
        upstreams,
        routes,
        warnings,
        advice,
    }
}

fn refuse_unknown_sections(tree: &Table, problems: &mut Problems) {
    let known = || SECTIONS.iter().map(|section| section.name.split('.').next().unwrap_or(section.name));
    for (name, node) in tree {
        if !known().any(|section| section == name) {
            let notice = Notice::new(&node.place, format!("unknown section [{name}]"));
            problems.add(notice.hint(unknown_hint(name, known())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::Flags;
    use crate::testing::{PRODUCTION, load_in, refused, settings};

    #[test]
    fn no_settings_at_all_are_accepted() {
        let settings = settings("", &[]);
        assert_eq!(settings.environment, Environment::Development);
        assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
        assert_eq!(settings.base_url(), "http://127.0.0.1:8000");
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join("portcullis.toml"), "[server]\nlisten = \"127.0.0.1:1\"\n")
            .expect("writable");
        std::fs::write(folder.path().join(".env"), "PORT=2\n").expect("writable");
        let port = |environment: &[(&str, &str)], flags: Flags| {
            load_in(folder.path(), flags, environment).expect("good settings").server.listen.port()
        };
        assert_eq!(port(&[("PORTCULLIS_ENV", "test")], Flags::default()), 1, ".env is read in development only");
        assert_eq!(port(&[], Flags::default()), 2);
        assert_eq!(port(&[("PORT", "3")], Flags::default()), 3);
        assert_eq!(port(&[("PORT", "3")], Flags { port: Some(4), ..Flags::default() }), 4);
        std::fs::write(folder.path().join("other.toml"), "[server]\nlisten = \"127.0.0.1:5\"\n").expect("writable");
        let named = || Flags { config: Some("other.toml".into()), ..Flags::default() };
        assert_eq!(port(&[("PORTCULLIS_ENV", "test"), ("PORTCULLIS_CONFIG", "portcullis.toml")], named()), 5);
        assert_eq!(port(&[("PORTCULLIS_ENV", "test"), ("PORTCULLIS_CONFIG", "other.toml")], Flags::default()), 5);
    }

    #[test]
    fn a_file_that_is_named_must_exist() {
        let message = refused("", &[("PORTCULLIS_CONFIG", "nowhere.toml")]);
        assert!(
            message.starts_with("environment PORTCULLIS_CONFIG: the settings file nowhere.toml cannot be read"),
            "{message}"
        );
    }

    #[test]
    fn every_problem_is_reported_in_order_with_a_hint() {
        let file = "\
[server]
lisen = \"127.0.0.1:1\"
header_timeout = \"10 s\"

[sever]

[upstreams.projects]
targets = [\"http://127.0.0.1:1\"]

[[routes]]
path = \"/api/v1/a\"
upstream = \"project\"
roles = [\"DEVELOPR\"]
permissions = [\"p-view\"]
methods = [\"get\"]

[[routes]]
path = \"/api/v1/b\"
upstrem = \"projects\"
auth = \"none\"
roles = [\"ADMIN\"]
";
        let message = refused(file, &[("JWT_EXPIRES_IN", "a day")]);
        let expected = "\
portcullis.toml:2: unknown key `lisen` in [server]
  hint: did you mean `listen`?
portcullis.toml:3: server.header_timeout = \"10 s\" cannot be used
  hint: a duration is digits, then s, m, h or d (30s, 15m, 24h, 7d); plain digits are seconds
portcullis.toml:5: unknown section [sever]
  hint: did you mean `server`?
portcullis.toml:12: routes.upstream = \"project\" cannot be used
  hint: no upstream has this name: did you mean `projects`?
portcullis.toml:13: routes.roles = \"DEVELOPR\" cannot be used
  hint: did you mean `DEVELOPER`?
portcullis.toml:14: routes.permissions = \"p-view\" cannot be used
  hint: A permission is 3 to 64 characters: a capital letter, then capitals, digits and _
portcullis.toml:15: routes.methods = \"get\" cannot be used
  hint: did you mean `GET`?
";
        assert!(message.starts_with(expected), "{message}");
        for part in [
            "portcullis.toml:19: unknown key `upstrem` in [routes]\n  hint: did you mean `upstream`?",
            "portcullis.toml:17: routes.upstream is missing",
            "portcullis.toml:21: routes.roles requires something",
            "environment JWT_EXPIRES_IN: session.access_ttl = \"a day\" cannot be used",
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }

    #[test]
    fn the_environment_sets_any_key() {
        let route = "[{path = \"/api/v1/a\", upstream = \"p\", methods = [\"GET\"]}]";
        let from_environment =
            settings("", &[("PORTCULLIS__ROUTES", route), ("PORTCULLIS__UPSTREAMS__P__TARGETS", "http://127.0.0.1:1")]);
        assert_eq!(from_environment.routes.len(), 1);
    }

    #[test]
    fn a_misspelt_variable_is_refused_with_a_suggestion() {
        let message = refused(
            "",
            &[("PORTCULLIS__SERVER__LISEN", "x"), ("PORTCULLIS__SEVER__LISTEN", "x"), ("PORTCULLIS_CONFG", "x")],
        );
        for part in [
            "environment PORTCULLIS__SERVER__LISEN: unknown key `lisen` in [server]\n  hint: did you mean `listen`?",
            "environment PORTCULLIS__SEVER__LISTEN: unknown section [sever]",
            "environment PORTCULLIS_CONFG: no setting has this name\n  hint: did you mean PORTCULLIS_CONFIG?",
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
    }

    #[test]
    fn a_variable_that_names_no_key_is_refused() {
        let deep = format!("PORTCULLIS__A{}", "__B".repeat(20_000));
        let message = refused("", &[(&deep, "x"), ("PORTCULLIS__ROUTES", "[{path = \"/x\", upstream")]);
        for part in [
            "__B: no key has this name\n  hint: write PORTCULLIS__SECTION__KEY",
            "environment PORTCULLIS__ROUTES: this is not a TOML list of routes\n  hint: write it as '[{path = ",
        ] {
            assert!(message.contains(part), "missing: {part}");
        }
    }

    #[test]
    fn two_names_of_one_key_are_refused() {
        let message = refused("", &[("DATABASE_POOL_MAX", "5"), ("PORTCULLIS__DATABASE__POOL_MAX", "6")]);
        assert!(message.contains("DATABASE_POOL_MAX and PORTCULLIS__DATABASE__POOL_MAX are both set"), "{message}");
    }

    #[test]
    fn variables_of_kubernetes_and_other_programs_are_ignored() {
        let others =
            [("PORTCULLIS_PORT", "tcp://10.0.0.1:80"), ("PORTCULLIS_SERVICE_HOST", "10.0.0.1"), ("CSRF_MODE", "x")];
        assert_eq!(settings("", &others).warnings, []);
    }

    #[test]
    fn a_file_with_a_route_and_an_upstream_is_accepted() {
        let file = "\
[server]
listen = \"0.0.0.0:8000\"
trusted_proxies = [\"10.0.0.0/8\"]

[upstreams.projects]
targets = [\"http://10.0.0.5:8002\", \"http://10.0.0.6:8002\"]
health = { path = \"/health\", interval = \"5s\" }

[[routes]]
path = \"/api/v1/projects/{*rest}\"
upstream = \"projects\"
methods = [\"GET\", \"POST\"]
auth = \"required\"
roles = [\"DEVELOPER\"]
permissions = [\"PROJECT_VIEW\"]
csrf = true
rate_limit = \"100/15m\"
strip_prefix = \"/api/v1\"
timeout = \"30s\"
";
        let settings = settings(file, PRODUCTION);
        let route = &settings.routes[0];
        assert_eq!(route.forwarding.strip_prefix.as_deref(), Some("/api/v1"));
        assert_eq!(route.policy.minimum_role, Some(portcullis_model::Role::Developer));
        assert_eq!(settings.server.listen.to_string(), "0.0.0.0:8000");
        assert_eq!(settings.base_url(), "https://gate.example.com");
    }

    #[test]
    fn a_secret_in_a_shared_file_gets_a_warning() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("portcullis.toml");
        std::fs::write(&file, "[secrets]\njwt_secret = \"kT4vXn8Q2pLz7Rb5Yw9Hc3Jd6Fg1Ms0e\"\n").expect("writable");
        for (mode, warned) in [(0o644, 1), (0o640, 1), (0o600, 0)] {
            std::fs::set_permissions(&file, Permissions::from_mode(mode)).expect("the file belongs to the test");
            let warnings = load_in(folder.path(), Flags::default(), &[]).expect("good settings").warnings;
            assert_eq!(warnings.len(), warned, "{mode:o}: {warnings:?}");
        }
    }
}

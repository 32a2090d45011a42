//! `deploy/kustomize/base`: the gateway started with the environment and the settings that a pod would give it.

use std::path::Path;

use portcullis_testkit::PrivateDatabase;

use crate::client::{app, get};

const BASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/kustomize/base");

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(BASE).join(name)).expect("the file is there")
}

/// The value of each line `key: …` of a manifest, without the quotes.
fn values<'a>(manifest: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    let values = manifest
        .lines()
        .filter_map(move |line| line.trim_start_matches([' ', '-']).strip_prefix(key)?.strip_prefix(": "));
    values.map(|value| value.trim_matches(['\'', '"']))
}

/// The environment of the container.
fn environment(deployment: &str) -> Vec<(&str, &str)> {
    let (_, rest) = deployment.split_once("env:\n").expect("the container has an environment");
    let (environment, _) = rest.split_once("ports:\n").expect("its ports follow");
    values(environment, "name").zip(values(environment, "value")).collect()
}

/// What the test does not take from the manifest: Redis is by choice, addresses and folders are this machine's.
const LEFT_OUT: [&str; 6] =
    ["REDIS_URL_FILE", "PORT", "HOST", "PORTCULLIS__METRICS__LISTEN", "TMPDIR", "PORTCULLIS_DATA_DIR"];

#[tokio::test]
async fn the_gateway_starts_as_the_kustomize_base_says() {
    let deployment = read("deployment.yaml");
    let database = PrivateDatabase::postgres();
    let secrets = tempfile::tempdir().expect("a folder");
    let mut builder = app().settings(&read("portcullis.toml")).without_env("DATABASE_URL");
    for (name, value) in environment(&deployment) {
        builder = match (name, value.strip_prefix("/run/secrets/portcullis/")) {
            (name, _) if LEFT_OUT.contains(&name) => builder,
            ("PORTCULLIS_CONFIG", _) => builder.env(name, "portcullis.toml"),
            (_, Some(file)) => {
                let path = secrets.path().join(file);
                let secret = if file == "database_url" { database.url().to_owned() } else { format!("{file:*<32}") };
                std::fs::write(&path, secret).expect("writable");
                builder.env(name, path.display().to_string())
            }
            (_, None) => builder.env(name, value),
        };
    }
    let app = builder.env("HOST", "127.0.0.1").start();

    let probes: Vec<&str> = values(&deployment, "path").filter(|path| path.starts_with("/api")).collect();
    assert_eq!(probes.len(), 3, "{deployment}");
    for path in probes {
        assert_eq!(get(&app, path).await.status, 200, "{path}");
    }
    assert_eq!(get(&app, "/api/v1/health").await.body["data"]["environment"], "production");
}

//! The values of a store of secrets, laid beside the environment: they have its names, and hold secrets only.

use std::collections::BTreeMap;

use portcullis_model::input::did_you_mean;
use portcullis_secrets::{StoredSecrets, StoredValue};

use super::key::{Section, variable};
use super::notice::{Notice, Place, Problems};
use super::variables::{Variable, Variables};

/// The variables of OpenTelemetry that hold secrets.
const HEADERS: [&str; 2] = ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"];

/// The names that a store may set: those of variables whose values are secret. The value tells whether the setting is one.
fn names(sections: &[&Section]) -> BTreeMap<String, bool> {
    let mut names: BTreeMap<String, bool> = HEADERS.iter().map(|name| ((*name).to_owned(), true)).collect();
    for section in sections {
        for key in section.keys {
            let short = key.environment.iter().map(|name| (*name).to_owned());
            names.extend(short.chain([variable(section.name, key.name)]).map(|name| (name, key.secret)));
        }
    }
    names
}

impl Variables {
    /// Adds what a store holds. A name that the environment sets too is a problem, as `<NAME>` beside `<NAME>_FILE` is.
    pub(crate) fn add_stored(
        &mut self,
        stored: &StoredSecrets,
        sections: &[&Section],
        problems: &mut Problems,
        warnings: &mut Vec<Notice>,
    ) {
        let known = names(sections);
        let mut others = Vec::new();
        for (name, value) in &stored.values {
            let place = Place::Store { store: stored.store.clone(), name: name.as_str().into() };
            match known.get(name) {
                Some(true) => {}
                Some(false) => {
                    let notice = Notice::new(&place, "this is no secret, so its value is not used");
                    warnings.push(notice.hint("set it in the environment or in the settings file"));
                    continue;
                }
                None => {
                    let secrets = known.iter().filter(|(_, is_secret)| **is_secret).map(|(name, _)| name.as_str());
                    match did_you_mean(name, secrets) {
                        Some(near) => warnings.push(
                            Notice::new(&place, "no setting has this name, so its value is not used")
                                .hint(format!("did you mean {near}?")),
                        ),
                        None => others.push(name.as_str()),
                    }
                    continue;
                }
            }
            let text = match value {
                StoredValue::Text(text) => text,
                StoredValue::Other(kind) => {
                    let notice = Notice::new(&place, format!("the value is {kind}, but must be a text"));
                    problems.add(notice.hint("store it in quotes"));
                    continue;
                }
            };
            if let Some(other) = self.place(name) {
                let notice = Notice::new(&place, format!("{name} is set here and in the environment ({other})"));
                problems.add(notice.hint("remove it from one of them"));
            } else if !text.expose().is_empty() {
                self.insert(name, Variable { value: text.expose().to_owned(), place });
            }
        }
        if !others.is_empty() {
            let place = Place::Store { store: stored.store.clone(), name: others.join(", ").into() };
            warnings.push(
                Notice::new(&place, "no setting has these names, so their values are not used")
                    .hint("the names are those of environment variables, such as CSRF_SECRET; give the gateway a secret of its own"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{PRODUCTION, load_stored};

    const GOOD: &str = "fF3x-9QmZ_27hTqLw8RkVb5NcYd1GsPjAe";

    /// Loads production with these variables and this secret in a store.
    fn load(environment: &[(&str, &str)], secret: &[(&str, &str)]) -> Result<crate::Settings, crate::Problems> {
        let environment = [&PRODUCTION[..1], &PRODUCTION[3..], environment].concat();
        load_stored(&environment, secret)
    }

    #[test]
    fn a_store_takes_the_place_of_the_environment() {
        let url = "postgres://gate:7f3a9c1be02d44f8@db.example/gate";
        let secret = [
            ("CSRF_SECRET", GOOD),
            ("ENCRYPTION_KEY", "another one: pW4z8Lq2Vn6Xc0Tb9Ry3Kd7"),
            ("DATABASE_URL", url),
            ("PORTCULLIS__METRICS__TOKEN", "0123456789abcdef"),
            ("REDIS_URL", ""),
        ];
        let settings = load(&[], &secret).unwrap_or_else(|problems| panic!("refused:\n{problems}"));
        assert_eq!(settings.secrets.csrf.expect("given").current().expose(), GOOD);
        assert!(settings.metrics.token.is_some() && settings.redis.is_none());
        let key = settings.effective.keys.iter().find(|key| key.key == "database.url").expect("it is set");
        assert_eq!(
            (key.value.to_string(), key.place.as_str()),
            ("\"[hidden]\"".to_owned(), "Vault secret/data/gate, DATABASE_URL")
        );
        assert!(settings.effective.secrets.iter().any(|secret| secret.expose() == "7f3a9c1be02d44f8"));
    }

    #[test]
    fn a_name_that_the_environment_sets_too_is_refused() {
        let secret = [("CSRF_SECRET", GOOD), ("ENCRYPTION_KEY", "another one: pW4z8Lq2Vn6Xc0Tb9Ry3Kd7")];
        let problems = load(&[("CSRF_SECRET", "hunter2")], &secret).expect_err("twice").to_string();
        let expected = "Vault secret/data/gate, CSRF_SECRET: CSRF_SECRET is set here and in the environment \
                        (environment CSRF_SECRET)\n  hint: remove it from one of them";
        assert!(problems.contains(expected) && !problems.contains("hunter2") && !problems.contains(GOOD), "{problems}");
        let problems = load(&[("CSRF_SECRET_FILE", "/nowhere")], &secret).expect_err("twice").to_string();
        assert!(problems.contains("(environment CSRF_SECRET_FILE)"), "{problems}");
    }

    #[test]
    fn weak_and_missing_secrets_of_a_store_are_named() {
        let secret = [("CSRF_SECRET", "your-super-secret-jwt-key-change-in-production")];
        let problems = load(&[], &secret).expect_err("weak").to_string();
        assert!(
            problems.contains("Vault secret/data/gate, CSRF_SECRET: secrets.csrf_secret cannot be used"),
            "{problems}"
        );
        assert!(
            problems.contains("ENCRYPTION_KEY is missing") && problems.contains("or add it to Vault secret/data/gate"),
            "{problems}"
        );
        assert!(!problems.contains("super-secret"), "{problems}");
    }

    #[test]
    fn values_that_no_setting_takes_get_a_warning() {
        let secret = [
            ("CSRF_SECRET", GOOD),
            ("ENCRYPTION_KEY", "another one: pW4z8Lq2Vn6Xc0Tb9Ry3Kd7"),
            ("JWT_SECRETS", "x"),
            ("PORT", "9000"),
            ("engine", "postgres"),
            ("host", "db.example"),
        ];
        let settings = load(&[], &secret).unwrap_or_else(|problems| panic!("refused:\n{problems}"));
        assert_eq!(settings.server.listen.port(), 8000);
        let warnings = settings.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        for part in [
            "JWT_SECRETS: no setting has this name, so its value is not used\n  hint: did you mean JWT_SECRET?",
            "PORT: this is no secret",
            "gate, engine, host: no setting has these names",
        ] {
            assert!(warnings.contains(part), "{part} in {warnings}");
        }
    }
}

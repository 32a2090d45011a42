//! Warns of passwords in addresses that an attacker tries first.

use crate::engine::key::Section;
use crate::engine::notice::Notice;
use crate::engine::tree::{Table, Value};

/// Passwords of examples and of images of containers.
const KNOWN: [&str; 16] = [
    "admin",
    "changeme",
    "default",
    "example",
    "foobared",
    "guest",
    "mysecretpassword",
    "pass",
    "password",
    "portcullis",
    "postgres",
    "redis",
    "root",
    "secret",
    "smtp",
    "test",
];
/// The shortest password that is not found by trying all.
const SHORTEST: usize = 8;

/// Warns of weak passwords in the addresses that sections declare secret (`DATABASE_URL`, `REDIS_URL`, `SMTP_URL`).
pub(crate) fn warn(tree: &Table, sections: &[&'static Section], warnings: &mut Vec<Notice>) {
    for section in sections {
        let Some(Value::Table(table)) = tree.get(section.name).map(|node| &node.value) else { continue };
        for key in section.keys.iter().filter(|key| key.secret) {
            let Some(node) = table.get(key.name) else { continue };
            let (Value::Text(text) | Value::Raw(text)) = &node.value else { continue };
            if has_weak_password(text) {
                let message = format!("the password in {}.{} is one that is tried first", section.name, key.name);
                warnings.push(
                    Notice::new(&node.place, message)
                        .hint("set a long random password, such as of `openssl rand -hex 32`"),
                );
            }
        }
    }
}

fn has_weak_password(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    let Some(password) = url.password() else { return false };
    let lower = password.to_ascii_lowercase();
    password.len() < SHORTEST || lower == url.username().to_ascii_lowercase() || KNOWN.contains(&lower.as_str())
}

#[cfg(test)]
mod tests {
    use crate::testing::{PRODUCTION, settings};

    #[test]
    fn a_password_that_is_tried_first_gets_a_warning_in_production() {
        let warned = |variables: &[(&str, &str)]| {
            let settings = settings("", variables);
            settings.warnings.iter().any(|warning| warning.message.contains("is one that is tried first"))
        };
        let with = |url: &'static str| [PRODUCTION, &[("DATABASE_URL", url)]].concat();
        assert!(warned(&with("postgres://postgres:postgres@db.example/x")));
        assert!(warned(&with("postgres://gate:mysecretpassword@db.example/x")));
        assert!(warned(&with("postgres://gate:x7!kq@db.example/x")));
        assert!(!warned(&with("postgres://gate:7f3a9c1be02d44f8@db.example/x")));
        assert!(!warned(&with("postgres://gate@db.example/x")));
        assert!(
            !warned(&[("DATABASE_URL", "postgres://postgres:postgres@db.example/x")]),
            "development is not exposed"
        );
    }
}

//! Options of addresses: honoured, mapped or refused by name.

use super::*;

fn parsed(options: &str) -> PostgresUrl {
    PostgresUrl::parse(&format!("postgres://ada:hunter2@db.example/gate?{options}")).expect(options)
}

fn refused(options: &str) -> String {
    let url = format!("postgres://ada:hunter2@db.example/gate?{options}");
    let said = PostgresUrl::parse(&url).expect_err(options).to_string();
    assert!(!said.contains("hunter2"), "{said}");
    said
}

fn driver_query(options: &str) -> String {
    let url = parsed(options);
    url.expose().split_once('?').map(|(_, query)| query.to_owned()).unwrap_or_default()
}

#[test]
fn an_unknown_option_is_refused_with_a_suggestion() {
    for (options, said) in [
        ("sslmod=verify-full", "`sslmod` is not an option: did you mean `sslmode`?"),
        ("Sslmode=require", "did you mean `sslmode`?"),
        ("shema=auth", "did you mean `schema`?"),
        ("connection_limit=5", "`connection_limit` is not an option here: set DATABASE_POOL_MAX instead"),
        ("currentSchema=auth", "write schema"),
        ("colour=blue", "`colour` is not an option: the options are application_name,"),
        ("sslmode=verify_full", "did you mean verify-full?"),
        ("sslmode=no-verify", "did you mean require?"),
        ("schema=", "`schema` has no value"),
        ("schema=a&schema=b", "`schema` is written twice"),
        ("sslcert=/a.pem", "write both"),
        ("port=x", "`port` is a number"),
        ("channel_binding=require", "not supported"),
        ("connect_timeout=soon", "whole number of seconds"),
        ("statement_timeout=0", "milliseconds above 0"),
        ("pgbouncer=yes", "true or false"),
        ("schema=pg_toast", "of PostgreSQL itself"),
    ] {
        assert!(refused(options).contains(said), "{options}: {}", refused(options));
    }
}

#[test]
fn every_option_that_cannot_be_used_is_named() {
    let said = refused("sslmod=require&pool_timeout=3&ssl=maybe");
    for part in ["`sslmod`", "`pool_timeout`", "`ssl`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn sr_47_no_value_of_an_option_is_repeated() {
    for options in ["sslpassword=hunter2", "password=x&hunter2", "passwort=hunter2", "ssl=hunter2", "port=hunter2"] {
        refused(options);
    }
    let url = PostgresUrl::parse("postgres://db/gate?user=ada&password=hunter2&schema=auth").expect("valid");
    assert_eq!(format!("{url} {url:?}"), "postgres://db:5432/gate?schema=auth postgres://db:5432/gate?schema=auth");
    let refused = PostgresUrl::parse("postgres://ada:hunter2@db:port/gate").expect_err("no port");
    assert!(!refused.to_string().contains("hunter2"));
}

#[test]
fn ssl_true_verifies_and_ssl_false_does_not_encrypt() {
    assert_eq!(driver_query("ssl=true"), "sslmode=verify-full");
    assert_eq!(driver_query("ssl=false"), "sslmode=disable");
    assert!(refused("ssl=true&sslmode=require").contains("keep sslmode"));
}

#[test]
fn an_authority_that_is_named_is_checked() {
    assert_eq!(driver_query("sslmode=require&sslrootcert=/ca.pem"), "sslmode=verify-ca&sslrootcert=%2Fca.pem");
    assert!(refused("sslrootcert=/ca.pem").contains("no effect with sslmode=prefer: write sslmode=verify-full"));
    assert!(refused("ssl=false&sslrootcert=/ca.pem").contains("no effect with sslmode=disable"));
    assert_eq!(driver_query("ssl-mode=verify-full&ssl-ca=/ca.pem"), "sslmode=verify-full&sslrootcert=%2Fca.pem");
}

#[test]
fn options_of_libpq_are_honoured() {
    let url = parsed("connect_timeout=7&statement_timeout=2s&schema=Auth&application_name=gate&options=-c geqo=off");
    assert_eq!(url.connect_timeout(), Some(Duration::from_secs(7)));
    assert_eq!(url.statement_timeout(), Some(Duration::from_secs(2)));
    assert_eq!(url.schema().map(SchemaName::as_str), Some("Auth"));
    assert!(url.names_application());
    let options = PgConnectOptions::from_str(url.expose()).expect("the driver reads it");
    assert_eq!(options.get_application_name(), Some("gate"));
    assert_eq!(options.get_options(), Some("-c geqo=off"));
    assert_eq!(parsed("connect_timeout=0").connect_timeout(), None);
    assert_eq!(driver_query("channel_binding=prefer&client_encoding=UTF8&gssencmode=disable"), "");
    assert_eq!(driver_query("sslmode=allow"), "sslmode=prefer");
}

#[test]
fn a_hash_sign_is_not_dropped() {
    let said = PostgresUrl::parse("postgres://ada:x@db/gate#hunter2").expect_err("a fragment").to_string();
    assert!(said.contains("%23") && !said.contains("hunter2"), "{said}");
}

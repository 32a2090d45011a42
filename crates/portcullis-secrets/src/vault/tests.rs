use std::sync::Arc;

use portcullis_testkit::{FakeVault, free_port};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::testing::{file, text};

fn options(address: &str, token_file: PathBuf) -> VaultOptions {
    VaultOptions {
        address: Url::parse(address).expect("a URL"),
        token_file,
        path: SecretPath::parse("secret/gate").expect("a path"),
        namespace: None,
        authorities: None,
    }
}

/// Reads from the fake with its good token.
async fn read(vault: &FakeVault) -> Result<StoredSecrets, StoreError> {
    let (_folder, token) = file(&format!("{}\n", vault.token()));
    Vault::new(&options(&vault.address(), token)).expect("a client").read().await
}

/// The message and the hint of a failed read, and whether another try may help.
async fn refused(vault: &FakeVault) -> (String, String, bool) {
    let error = read(vault).await.expect_err("it should be refused");
    (error.to_string(), error.hint(), error.may_pass())
}

#[tokio::test]
async fn the_newest_version_of_a_secret_is_read() {
    let vault = FakeVault::start();
    vault.put("{\"CSRF_SECRET\": \"one\"}");
    vault.put("{\"CSRF_SECRET\": \"two\", \"PORT\": 5432}");
    let stored = read(&vault).await.expect("it is there");
    assert_eq!((&*stored.store, stored.version.as_str()), ("Vault secret/data/gate", "2"));
    assert_eq!(text(&stored, "CSRF_SECRET"), "two");
    assert!(matches!(stored.values["PORT"], crate::StoredValue::Other("a number")));
    assert_eq!(vault.requests(), ["GET /v1/secret/data/gate"]);
}

#[tokio::test]
async fn a_token_that_was_replaced_in_its_file_is_used() {
    let vault = FakeVault::start();
    vault.put("{}");
    let (_folder, token) = file("hvs.another");
    let client = Vault::new(&options(&vault.address(), token.clone())).expect("a client");
    assert!(client.read().await.expect_err("it is another token").to_string().contains("permission denied"));
    std::fs::write(&token, vault.token()).expect("writable");
    client.read().await.expect("the token is good");
}

#[tokio::test]
async fn a_namespace_is_named_in_each_request() {
    let vault = FakeVault::start().in_namespace("team/a");
    vault.put("{}");
    assert!(refused(&vault).await.0.contains("permission denied"));
    let (_folder, token) = file(vault.token());
    let options = VaultOptions { namespace: Some("team/a".to_owned()), ..options(&vault.address(), token) };
    Vault::new(&options).expect("a client").read().await.expect("it is in the namespace");
}

#[tokio::test]
async fn what_vault_refuses_is_told_with_its_fix() {
    let vault = FakeVault::start();
    let (message, hint, _) = refused(&vault).await;
    assert!(message.contains("no secret at secret/data/gate"), "{message}");
    assert!(hint.contains("`vault kv get -mount=secret gate`"), "{hint}");
    vault.put("{}");
    vault.delete();
    let (message, hint, _) = refused(&vault).await;
    assert!(message.contains("was deleted") && hint.contains("vault kv undelete"), "{message} {hint}");
    vault.seal();
    let (message, hint, may_pass) = refused(&vault).await;
    assert!(message == "Vault is sealed" && hint.contains("unseal") && may_pass, "{message} {hint}");
}

#[tokio::test]
async fn answers_of_other_servers_are_no_secrets() {
    let vault = FakeVault::start();
    for (status, body, message, passes) in [
        (
            200,
            "{\"data\": {\"CSRF_SECRET\": \"x\"}, \"lease_duration\": 2764800}",
            "not a secret of the KV engine",
            false,
        ),
        (200, "<html>Sign in</html>", "not Vault's", false),
        (200, "", "not Vault's", false),
        (200, "[]", "not Vault's", false),
        (502, "<html>Bad gateway</html>", "not Vault's", true),
        (307, "", "Vault answered 307", false),
        (429, "{\"errors\": [\"rate limit quota exceeded\"]}", "Vault answered 429: rate limit quota exceeded", true),
        (
            500,
            "{\"errors\": [\"1 error occurred:\\n\\t* internal error\\n\\n\"]}",
            "1 error occurred: * internal",
            true,
        ),
    ] {
        vault.answer_always(status, body);
        let (found, hint, may_pass) = refused(&vault).await;
        assert!(found.contains(message) && !hint.is_empty() && may_pass == passes, "{body}: {found}");
    }
    let huge = format!("{{\"data\": \"{}\"}}", "x".repeat(3 << 20));
    vault.answer_always(200, &huge);
    assert!(refused(&vault).await.0.contains("more than 2 MiB"));
}

#[tokio::test]
async fn a_token_file_that_has_no_token_is_refused() {
    let (_folder, token) = file("");
    let client = Vault::new(&options("http://127.0.0.1:1", token.clone())).expect("a client");
    for (content, message) in
        [("", "is empty"), ("\n\n", "is empty"), ("a b", "more than a token"), ("a\nb", "more than")]
    {
        std::fs::write(&token, content).expect("writable");
        let error = client.read().await.expect_err(message);
        assert!(error.to_string().contains(message) && error.hint().contains("token_file"), "{content:?}: {error}");
    }
    std::fs::remove_file(&token).expect("it was there");
    let error = client.read().await.expect_err("there is no file").to_string();
    assert!(error.contains("cannot be read") && error.contains(token.to_str().expect("UTF-8")), "{error}");
}

#[tokio::test]
async fn a_server_that_is_gone_may_come_back() {
    let (_folder, token) = file("x");
    let client = Vault::new(&options(&format!("http://127.0.0.1:{}", free_port()), token)).expect("a client");
    let error = client.read().await.expect_err("nobody listens");
    assert!(error.to_string().contains("cannot be reached: Connection refused"), "{error}");
    assert!(error.may_pass());
}

#[tokio::test]
async fn a_token_is_renewed_in_the_second_half_of_its_life() {
    let vault = FakeVault::start();
    let (_folder, token) = file(vault.token());
    let client = Vault::new(&options(&vault.address(), token)).expect("a client");
    vault.set_token_life(99, 120, true);
    assert_eq!(client.keep_token_alive().await.expect("it is good"), Some(Duration::from_secs(33)));
    assert_eq!(vault.requests(), ["GET /v1/auth/token/lookup-self"]);
    vault.set_token_life(30, 120, true);
    assert_eq!(client.keep_token_alive().await.expect("it is renewed"), Some(Duration::from_secs(40)));
    assert_eq!(vault.requests()[2..], ["POST /v1/auth/token/renew-self"]);
    vault.set_token_life(30, 120, false);
    assert_eq!(client.keep_token_alive().await.expect("nothing can be done"), None);
}

#[tokio::test]
async fn only_a_server_with_a_trusted_certificate_gets_the_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate is made");
    let (certificate, key) = (folder.path().join("ca.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("writable");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("writable");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS")
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(&certificate).expect("PEM")],
            PrivateKeyDer::from_pem_file(&key).expect("PEM"),
        )
        .expect("the key fits");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = format!("https://{}", listener.local_addr().expect("an address"));
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
            let body = "{\"data\": {\"data\": {}, \"metadata\": {\"version\": 7}}}";
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let _ = stream.write_all(head.as_bytes()).await;
        }
    });
    let (_token_folder, token) = file("x");
    let strict = options(&address, token);
    let error = Vault::new(&strict).expect("a client").read().await.expect_err("nobody signed it");
    assert!(error.to_string().contains("certificate") && error.hint().contains("authorities"), "{error}");
    assert!(!error.may_pass());
    let trusting = VaultOptions { authorities: Some(certificate), ..strict };
    assert_eq!(Vault::new(&trusting).expect("a client").read().await.expect("it is trusted").version, "7");
}

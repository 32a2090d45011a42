//! The exporter and a collector with a private authority that asks for a certificate.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::tests::{LONG, OK, contains, options, record};
use super::*;
use crate::traces::{CollectorTls, TlsFileError, dropped_spans, exported_spans};

/// Writes a certificate that signed itself, and its key, into a folder.
fn write_certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate is made");
    std::fs::write(folder.join("certificate.pem"), made.cert.pem()).expect("the file is written");
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).expect("the file is written");
}

/// A server that takes only connections that show its own certificate.
fn acceptor(folder: &Path) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_file(folder.join("certificate.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("a key");
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).expect("a root");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(vec![certificate], key)
        .expect("the key fits");
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_private_authority_and_a_certificate_of_ours_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    write_certificate(folder.path());
    let mut trusting = CollectorTls::default();
    trusting.trust(&certificate).expect("a certificate");
    let mut known = trusting.clone();
    known.identify(&certificate, &key).expect("a certificate and its key");
    for (tls, outcome) in [(CollectorTls::default(), (0, 1)), (trusting, (0, 2)), (known, (1, 2))] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let acceptor = acceptor(folder.path());
        let collector = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = Vec::new();
                while !contains(&request, "first") && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
                let _ = stream.write_all(OK.as_bytes()).await;
            }
        });
        let mut options = options(address);
        options.endpoint = format!("https://{address}/v1/traces").parse().expect("a URI");
        options.tls = tls;
        let (queue, spans) = mpsc::channel(1);
        let exporter = TraceExporter::run(spans, &options, "1");
        queue.send(record("first")).await.expect("the exporter runs");
        exporter.shut_down(LONG).await;
        assert_eq!((exported_spans(), dropped_spans()), outcome);
        collector.abort();
    }
}

#[test]
fn files_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    for folder in [&one, &other] {
        std::fs::create_dir(folder).expect("a folder");
        write_certificate(folder);
    }
    let refusal = |outcome: Result<(), TlsFileError>| outcome.expect_err("it is refused").to_string();
    let mut tls = CollectorTls::default();
    let missing = refusal(tls.trust(&folder.path().join("missing.pem")));
    assert!(missing.starts_with("cannot be read: No such file"), "{missing}");
    assert_eq!(refusal(tls.trust(&one.join("key.pem"))), "has no certificate in PEM");
    let strange = refusal(tls.identify(&one.join("certificate.pem"), &other.join("key.pem")));
    assert!(strange.starts_with("cannot be used: "), "{strange}");
}

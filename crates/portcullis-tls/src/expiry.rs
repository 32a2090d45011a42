//! When the certificate of a server ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use portcullis_model::{Finding, Timestamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

/// An instant after the end of every certificate (RFC 5280 §4.1.2.5 ends with the year 9999), in seconds.
const AFTER_ALL: u64 = 253_402_300_800;
/// Nothing is known yet.
const UNKNOWN: i64 = i64::MIN;
/// A certificate that ends within this many days should have been renewed.
const SOON: i64 = 14;

/// Verifies certificates as usual, and notes when the last one that it accepted ends.
#[derive(Debug)]
pub struct CertificateExpiry {
    verifier: Arc<dyn ServerCertVerifier>,
    /// In Unix seconds.
    ends: AtomicI64,
}

impl CertificateExpiry {
    pub(crate) fn new(verifier: Arc<dyn ServerCertVerifier>) -> Self {
        Self { verifier, ends: AtomicI64::new(UNKNOWN) }
    }

    /// When the certificate ends; `None` before one was accepted.
    pub fn ends(&self) -> Option<Timestamp> {
        match self.ends.load(Ordering::Relaxed) {
            UNKNOWN => None,
            seconds => Timestamp::from_timestamp(seconds, 0),
        }
    }

    /// Judges how long the certificate is still valid; `None` before one was accepted.
    pub fn finding(&self, check: &str, now: Timestamp) -> Option<Finding> {
        let ends = self.ends()?;
        let days = ends.signed_duration_since(now).num_days();
        let text = format!("the certificate ends in {days} days, at {}", ends.format("%Y-%m-%d %H:%M UTC"));
        Some(match days > SOON {
            true => Finding::pass(check, text),
            false => {
                Finding::warn(check, text, "renew the certificate of the server, and find out why nothing renewed it")
            }
        })
    }
}

impl ServerCertVerifier for CertificateExpiry {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.verify_server_cert(certificate, intermediates, name, ocsp, now)?;
        // An instant at which no certificate is valid has the verifier say when this one ends.
        let late = UnixTime::since_unix_epoch(Duration::from_secs(AFTER_ALL));
        if let Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) =
            self.verifier.verify_server_cert(certificate, intermediates, name, ocsp, late)
        {
            self.ends.store(i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::finding::Status;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use rustls::client::WebPkiServerVerifier;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    /// The end of the certificate, as the verifier notes it, at a time when it is valid.
    fn noted(name: &str) -> (Result<ServerCertVerified, Error>, CertificateExpiry) {
        let mut parameters = CertificateParams::new(vec!["gate.example".to_owned()]).expect("a name");
        (parameters.not_before, parameters.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 3, 1));
        let key = KeyPair::generate().expect("a key is made");
        let certificate = parameters.self_signed(&key).expect("a certificate is made");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, certificate.pem()).expect("writable");
        let roots = crate::authorities::roots(Some(&file)).expect("PEM");
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crate::provider()).build();
        let expiry = CertificateExpiry::new(verifier.expect("there is an authority"));
        let der = CertificateDer::from_pem_file(&file).expect("PEM");
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        // 2026-02-01
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_769_904_000));
        (expiry.verify_server_cert(&der, &[], &name, &[], now), expiry)
    }

    #[test]
    fn the_end_of_an_accepted_certificate_is_noted() {
        let (accepted, expiry) = noted("gate.example");
        accepted.expect("the name and the time fit");
        let ends = expiry.ends().expect("noted");
        assert_eq!(ends.format("%F").to_string(), "2026-03-01");
        let at = |days: i64| ends - Duration::from_secs(u64::try_from(days * 86_400).expect("positive"));
        assert_eq!(expiry.finding("x", at(15)).map(|found| found.status), Some(Status::Pass));
        assert_eq!(expiry.finding("x", at(14)).map(|found| found.status), Some(Status::Warn));
    }

    #[test]
    fn a_certificate_that_is_not_accepted_is_not_noted() {
        let (accepted, expiry) = noted("other.example");
        assert!(accepted.is_err() && expiry.ends().is_none());
    }
}

//! TLS towards the collector: whose certificates are trusted, and which one the gateway shows.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

/// The certificates of connections to the collector. By default, the system's authorities are trusted, and none is shown.
#[derive(Clone, Default)]
pub struct CollectorTls {
    authorities: Option<Arc<RootCertStore>>,
    client: Option<Arc<CertifiedKey>>,
}

/// Why a file of certificates or keys cannot be used.
#[derive(Debug)]
pub enum TlsFileError {
    /// It cannot be read, or is malformed.
    File(pem::Error),
    /// It has no certificate.
    NoCertificate,
    /// The library does not accept what it holds.
    Unusable(rustls::Error),
}

impl CollectorTls {
    /// Trusts the certificates of a PEM file in place of the system's authorities.
    pub fn trust(&mut self, file: &Path) -> Result<(), TlsFileError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(TlsFileError::Unusable)?;
        }
        self.authorities = Some(Arc::new(roots));
        Ok(())
    }

    /// Shows a certificate to the collector: PEM files with its chain and its private key.
    pub fn identify(&mut self, chain: &Path, key: &Path) -> Result<(), TlsFileError> {
        let key = PrivateKeyDer::from_pem_file(key).map_err(TlsFileError::File)?;
        let certified = CertifiedKey::from_der(certificates(chain)?, key, &provider());
        self.client = Some(Arc::new(certified.map_err(TlsFileError::Unusable)?));
        Ok(())
    }

    /// Makes the configuration of connections. The system's authorities are read only if they are needed.
    pub(super) fn config(&self, is_used: bool) -> ClientConfig {
        let roots = match &self.authorities {
            Some(authorities) => Arc::clone(authorities),
            None => {
                let mut roots = RootCertStore::empty();
                if is_used {
                    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                }
                Arc::new(roots)
            }
        };
        let config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows TLS 1.2 and 1.3")
            .with_root_certificates(roots);
        match &self.client {
            Some(client) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(client)))),
            None => config.with_no_client_auth(),
        }
    }
}

impl fmt::Debug for CollectorTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CollectorTls")
            .field("has_authorities", &self.authorities.is_some())
            .field("has_client", &self.client.is_some())
            .finish()
    }
}

impl fmt::Display for TlsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(pem::Error::Io(error)) => write!(f, "cannot be read: {error}"),
            Self::File(error) => write!(f, "is not PEM: {error}"),
            Self::NoCertificate => f.write_str("has no certificate in PEM"),
            Self::Unusable(error) => write!(f, "cannot be used: {error}"),
        }
    }
}

fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(TlsFileError::File)?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(TlsFileError::File)?;
    if certificates.is_empty() { Err(TlsFileError::NoCertificate) } else { Ok(certificates) }
}

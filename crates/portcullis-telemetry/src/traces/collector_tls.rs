//! TLS towards the collector: whose certificates are trusted, and which one the gateway shows.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use portcullis_tls::AuthoritiesError;
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
        match portcullis_tls::roots(Some(file)) {
            Ok(roots) if !roots.is_empty() => self.authorities = Some(Arc::new(roots)),
            Ok(_) | Err(AuthoritiesError::None(_)) => return Err(TlsFileError::NoCertificate),
            Err(AuthoritiesError::File { source, .. }) => return Err(TlsFileError::File(source)),
        }
        Ok(())
    }

    /// Shows a certificate to the collector: PEM files with its chain and its private key.
    pub fn identify(&mut self, chain: &Path, key: &Path) -> Result<(), TlsFileError> {
        let key = PrivateKeyDer::from_pem_file(key).map_err(TlsFileError::File)?;
        let certified = CertifiedKey::from_der(certificates(chain)?, key, &portcullis_tls::provider());
        self.client = Some(Arc::new(certified.map_err(TlsFileError::Unusable)?));
        Ok(())
    }

    /// Makes the configuration of connections. The system's authorities are read only if they are needed.
    pub(super) fn config(&self, is_used: bool) -> ClientConfig {
        let roots = match &self.authorities {
            Some(authorities) => Arc::clone(authorities),
            None if is_used => Arc::new(portcullis_tls::roots(None).expect("only a file cannot be read")),
            None => Arc::new(RootCertStore::empty()),
        };
        let mut config = portcullis_tls::client_config_trusting(roots);
        if let Some(client) = &self.client {
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(Arc::clone(client)));
        }
        config
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

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let certificates = CertificateDer::pem_file_iter(file).map_err(TlsFileError::File)?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(TlsFileError::File)?;
    if certificates.is_empty() { Err(TlsFileError::NoCertificate) } else { Ok(certificates) }
}

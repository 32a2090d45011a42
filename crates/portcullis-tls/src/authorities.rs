//! The certificate authorities that a client trusts.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::client::VerifierBuilderError;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Why certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// The file cannot be read.
    #[error("the certificate authorities in {} cannot be read", path.display())]
    File {
        /// The file that `authorities` names.
        path: PathBuf,
        /// Why no certificate could be read from it.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// There is none: the file is empty, or the system has no authorities.
    #[error("there is no certificate authority to trust")]
    None(#[source] VerifierBuilderError),
}

/// Reads a PEM file, or the authorities of the system. Those that cannot be used are left out.
///
/// # Errors
/// When the file cannot be read, or is no PEM.
pub fn roots(file: Option<&Path>) -> Result<RootCertStore, AuthoritiesError> {
    let mut roots = RootCertStore::empty();
    match file {
        Some(path) => {
            let failed = |source| AuthoritiesError::File { path: path.to_owned(), source };
            for certificate in CertificateDer::pem_file_iter(path).map_err(failed)? {
                roots.add_parsable_certificates([certificate.map_err(failed)?]);
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    Ok(roots)
}

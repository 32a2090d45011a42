//! TLS towards servers: whom a client trusts, and when the certificate of a server ends. It opens no connection.

mod authorities;
mod expiry;

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::{ClientConfig, RootCertStore};

pub use authorities::{AuthoritiesError, roots};
pub use expiry::CertificateExpiry;

/// Returns the configuration of a client that trusts the authorities in this PEM file, or else those of the system.
///
/// # Errors
/// When the file cannot be read.
pub fn client_config(authorities: Option<&Path>) -> Result<ClientConfig, AuthoritiesError> {
    Ok(client_config_trusting(roots(authorities)?))
}

/// Returns the configuration of a client that trusts these authorities.
pub fn client_config_trusting(roots: impl Into<Arc<RootCertStore>>) -> ClientConfig {
    builder().with_root_certificates(roots).with_no_client_auth()
}

/// Returns the same, together with what notes when the certificate of the server ends.
///
/// # Errors
/// When the file cannot be read, or holds no certificate.
pub fn watching_client_config(
    authorities: Option<&Path>,
) -> Result<(ClientConfig, Arc<CertificateExpiry>), AuthoritiesError> {
    let roots = roots(authorities)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    let expiry = Arc::new(CertificateExpiry::new(verifier.build().map_err(AuthoritiesError::None)?));
    let watched = Arc::clone(&expiry);
    Ok((builder().dangerous().with_custom_certificate_verifier(watched).with_no_client_auth(), expiry))
}

/// Returns the cryptography of all TLS. It is named, because a process may have several.
pub fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("AWS-LC speaks TLS 1.2 and 1.3")
}

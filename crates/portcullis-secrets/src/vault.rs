//! HashiCorp Vault: a secret of the KV engine, version 2.
//!
//! Only what a read needs of the API is used: `GET /v1/<mount>/data/<path>`, `auth/token/lookup-self` and
//! `auth/token/renew-self` (developer.hashicorp.com/vault/api-docs). OpenBao has the same.

mod answer;
mod error;
mod path;
mod token;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use portcullis_model::SecretString;
use url::Url;

use crate::client::{Answer, HttpClient};
use crate::{StoreError, StoredSecrets};
pub use error::VaultError;
pub use path::SecretPath;
pub(crate) use token::TokenState;

/// Where Vault is, and which secret is read with which token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VaultOptions {
    /// The address, such as `https://vault.example:8200`.
    pub address: Url,
    /// The file that holds the token. It is read at each request, so that an agent may replace it.
    pub token_file: PathBuf,
    /// The secret.
    pub path: SecretPath,
    /// The namespace of Vault Enterprise.
    pub namespace: Option<String>,
    /// The PEM file of the authorities that may sign the certificate; `None` for those of the system.
    pub authorities: Option<PathBuf>,
}

pub(crate) struct Vault {
    options: VaultOptions,
    client: HttpClient,
    /// What messages call the secret.
    name: Arc<str>,
}

const TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
const NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
/// Agents and proxies of Vault may ask for it, as a guard against forged requests.
const REQUEST: HeaderName = HeaderName::from_static("x-vault-request");

impl Vault {
    pub(crate) fn new(options: &VaultOptions) -> Result<Self, StoreError> {
        let client = HttpClient::new(options.authorities.as_deref())?;
        Ok(Self { options: options.clone(), client, name: format!("Vault {}", options.path).into() })
    }

    pub(crate) async fn read(&self) -> Result<StoredSecrets, StoreError> {
        let answer = self.send(Method::GET, self.options.path.api_path()).await?;
        let found = answer::secret(&answer, &self.options.path)?;
        Ok(StoredSecrets::new(&self.name, found.version, found.values))
    }

    pub(crate) async fn token_state(&self) -> Result<TokenState, StoreError> {
        let answer = self.send(Method::GET, "auth/token/lookup-self").await?;
        Ok(token::state(&answer)?)
    }

    pub(crate) async fn keep_token_alive(&self) -> Result<Option<Duration>, StoreError> {
        // A token without the policy `default` may not ask about itself. It serves until it ends.
        let Ok(state) = self.token_state().await else { return Ok(None) };
        if !state.wants_renewal() {
            return Ok(state.next_look());
        }
        let answer = self.send(Method::POST, "auth/token/renew-self").await?;
        Ok(token::renewed(&answer)?.next_look())
    }

    async fn send(&self, method: Method, path: &str) -> Result<Answer, StoreError> {
        let address = self.options.address.as_str().trim_end_matches('/');
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{address}/v1/{path}"))
            .body(Full::new(Bytes::new()))
            .expect("the address is a URL and the path is encoded");
        let headers = request.headers_mut();
        headers.insert(TOKEN, header(self.token()?.expose())?);
        headers.insert(REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = &self.options.namespace {
            headers.insert(NAMESPACE, header(namespace)?);
        }
        Ok(self.client.send(request).await?)
    }

    /// Reads the token. A line break at the end does not belong to it.
    fn token(&self) -> Result<SecretString, VaultError> {
        let path = &self.options.token_file;
        let text = std::fs::read_to_string(path)
            .map(SecretString::new)
            .map_err(|source| VaultError::TokenFile { path: path.clone(), source })?;
        match text.expose().trim() {
            "" => Err(VaultError::EmptyToken { path: path.clone() }),
            token if token.contains(char::is_whitespace) => Err(VaultError::TokenForm { path: path.clone() }),
            token => Ok(SecretString::new(token)),
        }
    }
}

/// Makes a header of a value that is never shown.
fn header(text: &str) -> Result<HeaderValue, VaultError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| VaultError::Header)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;

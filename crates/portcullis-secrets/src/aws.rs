//! AWS Secrets Manager: `GetSecretValue` of its JSON protocol
//! (docs.aws.amazon.com/secretsmanager/latest/apireference), signed with Signature Version 4.

mod credentials;
mod error;
mod signature;

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use portcullis_model::Clock;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use url::Url;

use crate::client::HttpClient;
use crate::{StoreError, StoredSecrets};
use credentials::Credentials;
pub use credentials::{CredentialSource, RoleCredentials};
pub use error::AwsError;
use signature::Signer;

/// Which secret is read, and with which credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsOptions {
    /// The region, such as `eu-central-1`.
    pub region: String,
    /// The name or the ARN of the secret.
    pub id: String,
    /// Another server than that of the region (`AWS_ENDPOINT_URL_SECRETS_MANAGER`).
    pub endpoint: Option<Url>,
    /// Where credentials come from.
    pub credentials: CredentialSource,
}

pub(crate) struct Aws {
    options: AwsOptions,
    endpoint: Url,
    client: HttpClient,
    clock: Clock,
    /// What messages call the secret.
    name: Arc<str>,
}

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const JSON_1_1: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
/// The stage of the version in force.
const CURRENT: &str = "AWSCURRENT";

impl Aws {
    pub(crate) fn new(options: &AwsOptions, clock: &Clock) -> Result<Self, StoreError> {
        let endpoint = options.endpoint.clone().map_or_else(|| endpoint("secretsmanager", &options.region), Ok)?;
        Ok(Self {
            endpoint,
            client: HttpClient::new(None)?,
            clock: clock.clone(),
            name: format!("AWS secret {}", options.id).into(),
            options: options.clone(),
        })
    }

    pub(crate) async fn read(&self) -> Result<StoredSecrets, StoreError> {
        let credentials = self.options.credentials.fetch(&self.client, &self.options.region).await?;
        let body = json!({ "SecretId": self.options.id, "VersionStage": CURRENT }).to_string();
        let answer = self.client.send(self.request(&credentials, body)?).await?;
        if !answer.status.is_success() {
            return Err(error::refusal(&answer, &self.options).into());
        }
        let secret = serde_json::from_slice::<Secret>(&answer.body);
        let secret = secret.map_err(|_| AwsError::NotAws { status: answer.status.as_u16() })?;
        let (version, values) = secret.values(&self.options.id)?;
        Ok(StoredSecrets::new(&self.name, version, values))
    }

    fn request(&self, credentials: &Credentials, body: String) -> Result<Request<Full<Bytes>>, AwsError> {
        let signer = Signer { region: &self.options.region, service: "secretsmanager", credentials };
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(self.endpoint.as_str())
            .header(CONTENT_TYPE, JSON_1_1)
            .header(HOST, host(&self.endpoint))
            .header(TARGET, "secretsmanager.GetSecretValue")
            .body(body)
            .map_err(|_| AwsError::Endpoint)?;
        signer.sign(&mut request, self.clock.now())?;
        Ok(request.map(|body| Full::new(Bytes::from(body))))
    }
}

/// The answer of `GetSecretValue`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Secret {
    version_id: String,
    secret_string: Option<String>,
}

impl Secret {
    fn values(self, id: &str) -> Result<(String, Map<String, Value>), AwsError> {
        let text = self.secret_string.ok_or_else(|| AwsError::Binary { id: id.to_owned() })?;
        match serde_json::from_str(&text) {
            Ok(Value::Object(values)) => Ok((self.version_id, values)),
            _ => Err(AwsError::NotAnObject { id: id.to_owned() }),
        }
    }
}

/// The public endpoint of a service in a region.
fn endpoint(service: &str, region: &str) -> Result<Url, AwsError> {
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    Url::parse(&format!("https://{service}.{region}.{suffix}/")).map_err(|_| AwsError::Endpoint)
}

/// The value of `Host`, without the port of the scheme.
fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests;

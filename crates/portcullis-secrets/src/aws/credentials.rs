//! Where credentials come from. They are fetched for each reading, so nothing has to know when they end.

use std::path::{Path, PathBuf};

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use portcullis_model::SecretString;
use serde::Deserialize;
use url::Url;

use super::{AwsError, endpoint};
use crate::StoreError;
use crate::client::{Answer, HttpClient};

/// Where credentials come from.
#[derive(Clone, Debug)]
pub enum CredentialSource {
    /// The environment: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`.
    Given {
        /// The id of the key, which is no secret.
        access_key_id: String,
        /// The key.
        secret_access_key: SecretString,
        /// Comes with temporary keys.
        session_token: Option<SecretString>,
    },
    /// A role that a token of another identity provider may take on, such as a service account's on EKS.
    WebIdentity {
        /// The role.
        role: RoleCredentials,
        /// The file that holds the token (`AWS_WEB_IDENTITY_TOKEN_FILE`).
        token_file: PathBuf,
        /// Another server than that of the region (`AWS_ENDPOINT_URL_STS`).
        endpoint: Option<Url>,
    },
    /// The server of credentials that a container has on ECS, or with Pod Identity on EKS.
    Container {
        /// The address (`AWS_CONTAINER_CREDENTIALS_FULL_URI`, or `_RELATIVE_URI`).
        url: Url,
        /// The value of `Authorization` (`AWS_CONTAINER_AUTHORIZATION_TOKEN`).
        token: Option<SecretString>,
        /// The file that holds that value.
        token_file: Option<PathBuf>,
    },
    /// The metadata service of an EC2 instance, version 2.
    Instance {
        /// The address of the service.
        endpoint: Url,
    },
}

/// A role, and what its session is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleCredentials {
    /// The ARN of the role (`AWS_ROLE_ARN`).
    pub arn: String,
    /// What the session is called in CloudTrail (`AWS_ROLE_SESSION_NAME`).
    pub session_name: String,
}

impl PartialEq for CredentialSource {
    fn eq(&self, other: &Self) -> bool {
        let exposed = |secret: &Option<SecretString>| secret.as_ref().map(|secret| secret.expose().to_owned());
        match (self, other) {
            (
                Self::Given { access_key_id, secret_access_key, session_token },
                Self::Given { access_key_id: id, secret_access_key: key, session_token: token },
            ) => {
                access_key_id == id
                    && secret_access_key.expose() == key.expose()
                    && exposed(session_token) == exposed(token)
            }
            (
                Self::WebIdentity { role, token_file, endpoint },
                Self::WebIdentity { role: other, token_file: file, endpoint: url },
            ) => role == other && token_file == file && endpoint == url,
            (
                Self::Container { url, token, token_file },
                Self::Container { url: other, token: secret, token_file: file },
            ) => url == other && exposed(token) == exposed(secret) && token_file == file,
            (Self::Instance { endpoint }, Self::Instance { endpoint: other }) => endpoint == other,
            _ => false,
        }
    }
}

impl Eq for CredentialSource {}

/// A key that signs requests.
pub(super) struct Credentials {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: SecretString,
    pub(super) session_token: Option<SecretString>,
}

/// How servers of credentials write them.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Served {
    access_key_id: String,
    secret_access_key: SecretString,
    token: SecretString,
}

const INSTANCE_TOKEN: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token");
const INSTANCE_TOKEN_TTL: HeaderName = HeaderName::from_static("x-aws-ec2-metadata-token-ttl-seconds");
/// The longest code of an error that a message repeats, in characters.
const MOST_SHOWN: usize = 60;
const ROLES: &str = "latest/meta-data/iam/security-credentials/";

impl CredentialSource {
    /// The name of the source in messages.
    fn name(&self) -> &'static str {
        match self {
            Self::Given { .. } => "the environment",
            Self::WebIdentity { .. } => "STS (web identity)",
            Self::Container { .. } => "the container's server of credentials",
            Self::Instance { .. } => "the metadata service of the instance",
        }
    }

    pub(super) async fn fetch(&self, client: &HttpClient, region: &str) -> Result<Credentials, StoreError> {
        match self {
            Self::Given { access_key_id, secret_access_key, session_token } => Ok(Credentials {
                access_key_id: access_key_id.clone(),
                secret_access_key: secret_access_key.clone(),
                session_token: session_token.clone(),
            }),
            Self::WebIdentity { role, token_file, endpoint: other } => {
                let url = other.clone().map_or_else(|| endpoint("sts", region), Ok)?;
                let answer = client.send(assume_role(&url, role, read_token(token_file)?.expose())?).await?;
                self.accept(&answer)?;
                Ok(assumed(&String::from_utf8_lossy(&answer.body)).ok_or_else(|| self.unusable(&answer))?)
            }
            Self::Container { url, token, token_file } => {
                let token = match token_file {
                    Some(file) => Some(read_token(file)?),
                    None => token.clone(),
                };
                let token = token.map(|token| (AUTHORIZATION, token));
                let answer = client.send(request(Method::GET, url, token)?).await?;
                self.served(&answer).map_err(Into::into)
            }
            Self::Instance { endpoint } => self.of_instance(client, endpoint).await,
        }
    }

    /// Takes the credentials of the instance's role (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html).
    async fn of_instance(&self, client: &HttpClient, endpoint: &Url) -> Result<Credentials, StoreError> {
        let at = |path: &str| endpoint.join(path).map_err(|_| AwsError::Endpoint);
        let ttl = SecretString::new("60");
        let asked = request(Method::PUT, &at("latest/api/token")?, Some((INSTANCE_TOKEN_TTL, ttl)))?;
        // Outside EC2 nobody answers there.
        let answer = client.send(asked).await.map_err(|_| AwsError::NoCredentials)?;
        self.accept(&answer)?;
        let token = SecretString::new(String::from_utf8_lossy(&answer.body).trim());
        let get = |url: Url| request(Method::GET, &url, Some((INSTANCE_TOKEN, token.clone())));
        let roles = client.send(get(at(ROLES)?)?).await?;
        self.accept(&roles)?;
        let roles = String::from_utf8_lossy(&roles.body).into_owned();
        let role =
            roles.lines().next().map(str::trim).filter(|role| !role.is_empty()).ok_or(AwsError::NoCredentials)?;
        let answer = client.send(get(at(&format!("{ROLES}{role}"))?)?).await?;
        self.served(&answer).map_err(Into::into)
    }

    fn served(&self, answer: &Answer) -> Result<Credentials, AwsError> {
        self.accept(answer)?;
        let served: Served = serde_json::from_slice(&answer.body).map_err(|_| self.unusable(answer))?;
        Ok(Credentials {
            access_key_id: served.access_key_id,
            secret_access_key: served.secret_access_key,
            session_token: Some(served.token),
        })
    }

    fn accept(&self, answer: &Answer) -> Result<(), AwsError> {
        match answer.status {
            StatusCode::OK => Ok(()),
            // A role that does not trust the token, or an instance without a role.
            status => {
                let body = String::from_utf8_lossy(&answer.body);
                let code = element(&body, "Code").unwrap_or_default().chars().take(MOST_SHOWN).collect();
                Err(AwsError::CredentialsRefused { from: self.name(), status: status.as_u16(), code })
            }
        }
    }

    fn unusable(&self, answer: &Answer) -> AwsError {
        let code = "with something else".to_owned();
        AwsError::CredentialsRefused { from: self.name(), status: answer.status.as_u16(), code }
    }
}

fn read_token(file: &Path) -> Result<SecretString, AwsError> {
    let text = std::fs::read_to_string(file).map_err(|source| AwsError::TokenFile { path: file.to_owned(), source })?;
    Ok(SecretString::new(text.trim()))
}

fn request(
    method: Method,
    url: &Url,
    secret: Option<(HeaderName, SecretString)>,
) -> Result<Request<Full<Bytes>>, AwsError> {
    let mut request = Request::builder().method(method).uri(url.as_str()).body(Full::default());
    if let (Ok(request), Some((name, secret))) = (&mut request, secret) {
        let mut value = HeaderValue::from_str(secret.expose()).map_err(|_| AwsError::CredentialForm)?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    request.map_err(|_| AwsError::Endpoint)
}

/// `AssumeRoleWithWebIdentity` (docs.aws.amazon.com/STS/latest/APIReference), which is not signed.
fn assume_role(url: &Url, role: &RoleCredentials, token: &str) -> Result<Request<Full<Bytes>>, AwsError> {
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("Action", "AssumeRoleWithWebIdentity")
        .append_pair("Version", "2011-06-15")
        .append_pair("RoleArn", &role.arn)
        .append_pair("RoleSessionName", &role.session_name)
        .append_pair("WebIdentityToken", token)
        .finish();
    Request::builder()
        .method(Method::POST)
        .uri(url.as_str())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form)))
        .map_err(|_| AwsError::Endpoint)
}

/// Reads the credentials from the XML of the answer. None of the three values has characters that XML escapes.
fn assumed(xml: &str) -> Option<Credentials> {
    let credentials = element(xml, "Credentials")?;
    Some(Credentials {
        access_key_id: element(credentials, "AccessKeyId")?.to_owned(),
        secret_access_key: SecretString::new(element(credentials, "SecretAccessKey")?),
        session_token: Some(SecretString::new(element(credentials, "SessionToken")?)),
    })
}

/// The text of the first element of this name.
pub(super) fn element<'t>(xml: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}

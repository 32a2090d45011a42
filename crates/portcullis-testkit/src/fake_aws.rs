//! A server that answers as AWS Secrets Manager does, and checks the signature of each request by itself. It also gives
//! credentials, as STS, the server of containers and the metadata service of instances do. `scripts/secrets.sh` runs the
//! gateway against moto, which other people wrote.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use portcullis_model::Clock;
use serde_json::{Value, json};

use crate::http_fake::{Answer, HttpFake, Request};

/// AWS with one secret, `gate/production`.
pub struct FakeAws {
    server: HttpFake,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    secret: Option<String>,
    version: u64,
    fixed: Option<Answer>,
    reads: u64,
}

const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// The key and the token of a role's session.
const ROLE_KEY: &str = "fJq7T3bN5mWc9Yx2Vd4Rk8Lz6Hs1Gp0Ua";
const SESSION_TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaDGV1LWNlbnRyYWwtMSJHMEUCIQD=";
const ROLE_KEY_ID: &str = "ASIAIOSFODNN7ROLE000";
const INSTANCE_TOKEN: &str = "AQAEAInstanceToken==";
/// How old a signature may be.
const SKEW: Duration = Duration::from_secs(300);

impl FakeAws {
    /// The id of the key that may read the secret.
    pub const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
    /// The region of the secret.
    pub const REGION: &str = "eu-central-1";
    /// The token of a service account that may take on the role.
    pub const IDENTITY_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.of-the-service-account";
    /// The value of `Authorization` for the server of the container.
    pub const CONTAINER_TOKEN: &str = "token-of-the-container";

    /// Starts it without a secret.
    pub fn start() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let answering = Arc::clone(&state);
        let server = HttpFake::start(move |request| locked(&answering).answer(request));
        Self { server, state }
    }

    /// The address, for `AWS_ENDPOINT_URL`.
    pub fn address(&self) -> String {
        self.server.url()
    }

    /// The key that may read the secret.
    pub fn key(&self) -> &'static str {
        KEY
    }

    /// Writes a version of the secret.
    pub fn put(&self, secret: &str) {
        let mut state = self.state();
        state.secret = Some(secret.to_owned());
        state.version += 1;
    }

    /// Answers every further request with this.
    pub fn answer_always(&self, status: u16, body: &str) {
        self.state().fixed = Some((status, body.to_owned()));
    }

    /// How often the secret was asked for.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refusal(code: &str, message: &str) -> Answer {
    (400, json!({ "__type": code, "message": message }).to_string())
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/") if request.body.contains("Action=AssumeRoleWithWebIdentity") => assume_role(request),
            ("GET", "/container") if request.header("authorization") == FakeAws::CONTAINER_TOKEN => (200, role()),
            ("PUT", "/latest/api/token") if !request.header("x-aws-ec2-metadata-token-ttl-seconds").is_empty() => {
                (200, INSTANCE_TOKEN.to_owned())
            }
            ("GET", path) if request.header("x-aws-ec2-metadata-token") == INSTANCE_TOKEN => {
                match path.strip_prefix("/latest/meta-data/iam/security-credentials/") {
                    Some("") => (200, "gate-role".to_owned()),
                    Some("gate-role") => (200, role()),
                    _ => (404, String::new()),
                }
            }
            ("POST", "/") => self.get_secret_value(request),
            _ => (403, String::new()),
        }
    }

    fn get_secret_value(&mut self, request: &Request) -> Answer {
        self.reads += 1;
        if let Some(fixed) = &self.fixed {
            return fixed.clone();
        }
        if let Err(refused) = check_signature(request) {
            return refused;
        }
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let is_asked = request.header("x-amz-target") == "secretsmanager.GetSecretValue"
            && request.header("content-type") == "application/x-amz-json-1.1"
            && body["VersionStage"] == "AWSCURRENT";
        match &self.secret {
            _ if !is_asked => refusal("InvalidParameterException", "the request is another one"),
            Some(secret) if body["SecretId"] == "gate/production" => {
                let version = format!("version-{}", self.version);
                (200, json!({ "Name": "gate/production", "SecretString": secret, "VersionId": version }).to_string())
            }
            _ => refusal("ResourceNotFoundException", "Secrets Manager can't find the specified secret."),
        }
    }
}

/// Checks a signature as the receiver: the signed headers and the scope are what `Authorization` says they are.
fn check_signature(request: &Request) -> Result<(), Answer> {
    let invalid = || refusal("InvalidSignatureException", "The request signature we calculated does not match");
    let authorization = request.header("authorization").strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(invalid)?;
    let part = |name: &str| {
        let parts = authorization.split(", ");
        parts.filter_map(|part| part.strip_prefix(name)).next().ok_or_else(invalid)
    };
    let (credential, signed, signature) = (part("Credential=")?, part("SignedHeaders=")?, part("Signature=")?);
    let (id, scope) = credential.split_once('/').ok_or_else(invalid)?;
    let key = match (id, request.header("x-amz-security-token")) {
        (FakeAws::KEY_ID, "") => KEY,
        (ROLE_KEY_ID, SESSION_TOKEN) => ROLE_KEY,
        _ => {
            return Err(refusal(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ));
        }
    };
    let date = request.header("x-amz-date");
    check_date(date)?;
    let hash = |text: &str| hex::encode(digest::digest(&digest::SHA256, text.as_bytes()));
    let headers: String = signed.split(';').map(|name| format!("{name}:{}\n", request.header(name))).collect();
    let canonical = format!("{}\n{}\n\n{headers}\n{signed}\n{}", request.method, request.path, hash(&request.body));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(&canonical));
    let mut secret = format!("AWS4{key}").into_bytes();
    for part in [&date[..8], FakeAws::REGION, "secretsmanager", "aws4_request"] {
        secret = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), part.as_bytes()).as_ref().to_vec();
    }
    let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), text.as_bytes());
    let is_signed = |name: &str| signed.split(';').any(|known| known == name);
    match hex::encode(expected) == signature && ["host", "x-amz-date", "x-amz-target"].into_iter().all(is_signed) {
        true => Ok(()),
        false => Err(invalid()),
    }
}

fn check_date(date: &str) -> Result<(), Answer> {
    let now = Clock::system().now();
    let at = |time: portcullis_model::Timestamp| time.format("%Y%m%dT%H%M%SZ").to_string();
    let (earliest, latest) = (at(now - SKEW), at(now + SKEW));
    let words = match () {
        () if date.len() != earliest.len() => {
            return Err(refusal("IncompleteSignatureException", "Date must be ISO 8601"));
        }
        () if date < earliest.as_str() => format!("Signature expired: {date} is now earlier than {earliest}"),
        () if date > latest.as_str() => format!("Signature not yet current: {date} is still later than {latest}"),
        () => return Ok(()),
    };
    Err(refusal("InvalidSignatureException", &words))
}

/// The credentials of a role, as the servers of containers and instances write them.
fn role() -> String {
    json!({ "AccessKeyId": ROLE_KEY_ID, "SecretAccessKey": ROLE_KEY, "Token": SESSION_TOKEN,
        "Expiration": "2030-01-01T00:00:00Z" })
    .to_string()
}

/// docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html
fn assume_role(request: &Request) -> Answer {
    let has = |pair: &str| request.body.split('&').any(|known| known == pair);
    if !has(&format!("WebIdentityToken={}", FakeAws::IDENTITY_TOKEN)) {
        let error =
            "<ErrorResponse><Error><Type>Sender</Type><Code>InvalidIdentityToken</Code></Error></ErrorResponse>";
        return (400, error.to_owned());
    }
    let xml = format!(
        "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\n  \
         <SessionToken>{SESSION_TOKEN}</SessionToken><SecretAccessKey>{ROLE_KEY}</SecretAccessKey>\n  \
         <Expiration>2030-01-01T00:00:00Z</Expiration><AccessKeyId>{ROLE_KEY_ID}</AccessKeyId></Credentials>\n\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    (200, xml)
}

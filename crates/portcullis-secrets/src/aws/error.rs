//! Why AWS gave no secret.

use std::path::PathBuf;

use serde_json::Value;

use super::AwsOptions;
use super::credentials::element;
use crate::client::Answer;

/// Why AWS gave no secret.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each says what it means")]
pub enum AwsError {
    #[error("there are no credentials for AWS")]
    NoCredentials,
    #[error("{from} gave no credentials for AWS: it answered {status} {code}")]
    CredentialsRefused { from: &'static str, status: u16, code: String },
    #[error("the file of the token for AWS, {}, cannot be read: {source}", path.display())]
    TokenFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the credentials for AWS have characters that no header can carry")]
    CredentialForm,
    #[error("the address of AWS is not one that a request can be sent to")]
    Endpoint,
    #[error("AWS refuses to give {id}: {code}")]
    Forbidden { id: String, code: String },
    #[error("AWS does not accept the credentials: {code}")]
    Credentials { code: String },
    #[error("AWS finds that this machine's clock is wrong: {reason}")]
    Clock { reason: String },
    #[error("AWS has no secret {id} in {region}")]
    NotFound { id: String, region: String },
    #[error("the secret {id} in AWS cannot be used: {reason}")]
    Unusable { id: String, reason: String },
    #[error("AWS cannot decrypt {id}: {code}")]
    Decryption { id: String, code: String },
    #[error("the secret {id} in AWS is binary")]
    Binary { id: String },
    #[error("the secret {id} in AWS is not a JSON object of names and values")]
    NotAnObject { id: String },
    #[error("AWS answered {status} {code}")]
    Unwilling { status: u16, code: String },
    #[error("the server at the address of AWS answered {status} with something that is not AWS's")]
    NotAws { status: u16 },
}

impl AwsError {
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NoCredentials => "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the container or the instance a role; profiles in files are not read".to_owned(),
            Self::CredentialsRefused { .. } => "check that the role exists, trusts this workload, and is attached to it".to_owned(),
            Self::TokenFile { .. } => "make the file readable for the user that runs the gateway".to_owned(),
            Self::CredentialForm | Self::Credentials { .. } => {
                "set a key that is active, with its AWS_SESSION_TOKEN if it is a temporary one that has not ended".to_owned()
            }
            Self::Endpoint => "check secrets.aws.region, and the variables AWS_ENDPOINT_URL…".to_owned(),
            Self::Forbidden { id, .. } => format!("allow secretsmanager:GetSecretValue on {id} to this role or user"),
            Self::Clock { .. } => "set the clock of this machine, and keep it right with NTP (chrony, systemd-timesyncd)".to_owned(),
            Self::NotFound { .. } => "check secrets.aws.id and secrets.aws.region; a secret of another account is named by its ARN".to_owned(),
            Self::Unusable { id, .. } => format!("a secret that is being deleted comes back with `aws secretsmanager restore-secret --secret-id {id}`"),
            Self::Decryption { .. } => "allow kms:Decrypt on the key of the secret to this role or user, and check that the key is enabled".to_owned(),
            Self::Binary { .. } | Self::NotAnObject { .. } => {
                "store names and values: {\"CSRF_SECRET\": \"…\", \"ENCRYPTION_KEY\": \"…\"}".to_owned()
            }
            Self::Unwilling { .. } => "see the AWS Health Dashboard, and the limits of the account".to_owned(),
            Self::NotAws { .. } => "check secrets.aws.region, and AWS_ENDPOINT_URL_SECRETS_MANAGER and AWS_ENDPOINT_URL".to_owned(),
        }
    }

    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unwilling { status, code } => *status >= 500 || *status == 429 || code.contains("Throttl"),
            Self::CredentialsRefused { status, .. } | Self::NotAws { status } => *status >= 500 || *status == 429,
            _ => false,
        }
    }
}

/// The longest part of a message of AWS that is repeated, in characters.
const MOST_SHOWN: usize = 200;

/// Reads an answer that refuses: `{"__type": "ResourceNotFoundException", "Message": "…"}`, or the XML that services of the other
/// protocol write, and servers in front of the service.
pub(super) fn refusal(answer: &Answer, options: &AwsOptions) -> AwsError {
    let status = answer.status.as_u16();
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let xml = String::from_utf8_lossy(&answer.body);
    let code = body.get("__type").and_then(Value::as_str).or_else(|| element(&xml, "Code"));
    let Some(code) = code else { return AwsError::NotAws { status } };
    // A service may write its namespace in front.
    let code: String = code.rsplit('#').next().unwrap_or(code).chars().take(MOST_SHOWN).collect();
    let reason = || {
        let message = body.get("Message").or_else(|| body.get("message")).and_then(Value::as_str);
        message.unwrap_or("it says no more").chars().filter(|c| !c.is_control()).take(MOST_SHOWN).collect::<String>()
    };
    let id = options.id.clone();
    match code.as_str() {
        "ResourceNotFoundException" => AwsError::NotFound { id, region: options.region.clone() },
        "AccessDeniedException" | "AccessDenied" => AwsError::Forbidden { id, code },
        "InvalidRequestException" => AwsError::Unusable { id, reason: reason() },
        "DecryptionFailure" | "DecryptionFailureException" => AwsError::Decryption { id, code },
        "RequestExpired" | "RequestTimeTooSkewed" => AwsError::Clock { reason: reason() },
        // The same code as for a wrong key; only the words tell them apart.
        "InvalidSignatureException"
            if reason().starts_with("Signature expired") || reason().starts_with("Signature not yet current") =>
        {
            AwsError::Clock { reason: reason() }
        }
        "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignatureException"
        | "IncompleteSignature" => AwsError::Credentials { code },
        _ => AwsError::Unwilling { status, code },
    }
}

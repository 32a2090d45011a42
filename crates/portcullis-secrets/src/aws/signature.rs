//! Signature Version 4 (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html), for requests
//! without a query.

use aws_lc_rs::hmac;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request};
use portcullis_model::Timestamp;
use portcullis_model::secret::sha256;

use super::{AwsError, Credentials};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SESSION_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Signs requests to a service.
pub(super) struct Signer<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) credentials: &'a Credentials,
}

impl Signer<'_> {
    /// Adds the date, the session token and the signature. Every header that the request has is signed.
    pub(super) fn sign(&self, request: &mut Request<String>, now: Timestamp) -> Result<(), AwsError> {
        let time = now.format("%Y%m%dT%H%M%SZ").to_string();
        let headers = request.headers_mut();
        headers.insert(DATE, HeaderValue::from_str(&time).map_err(|_| AwsError::CredentialForm)?);
        if let Some(token) = &self.credentials.session_token {
            headers.insert(SESSION_TOKEN, secret_header(token.expose())?);
        }
        let (canonical, signed_headers) = canonical_request(request)?;
        let scope = format!("{}/{}/{}/aws4_request", &time[..8], self.region, self.service);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex::encode(sha256(canonical.as_bytes())));
        let signature = hex::encode(hmac::sign(&self.key(&time[..8]), text.as_bytes()));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed_headers}, Signature={signature}",
            self.credentials.access_key_id
        );
        request.headers_mut().insert(AUTHORIZATION, secret_header(&authorization)?);
        Ok(())
    }

    /// The key of one day, region and service.
    fn key(&self, day: &str) -> hmac::Key {
        let secret = format!("AWS4{}", self.credentials.secret_access_key.expose());
        let first = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        [day, self.region, self.service, "aws4_request"]
            .into_iter()
            .fold(first, |key, part| hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref()))
    }
}

/// The request in the one form that both sides hash, and the names of the headers in it.
fn canonical_request(request: &Request<String>) -> Result<(String, String), AwsError> {
    let mut headers = Vec::new();
    for (name, value) in request.headers() {
        let value = value.to_str().map_err(|_| AwsError::CredentialForm)?;
        headers.push((name.as_str(), value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")));
    }
    headers.sort();
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let (method, path) = (request.method(), request.uri().path());
    let hash = hex::encode(sha256(request.body().as_bytes()));
    Ok((format!("{method}\n{path}\n\n{lines}\n{names}\n{hash}"), names))
}

fn secret_header(text: &str) -> Result<HeaderValue, AwsError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| AwsError::CredentialForm)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_TYPE, HOST};
    use portcullis_model::SecretString;

    use super::*;

    /// The session token of the vectors `post-sts-header-*`.
    const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

    /// Signs a request of AWS's test suite (awslabs/aws-c-auth, tests/aws-signing-test-suite/v4).
    fn authorization(method: &str, headers: &[(HeaderName, &str)], token: Option<&str>, body: &str) -> String {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: SecretString::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(SecretString::new),
        };
        let mut request = Request::builder().method(method).uri("https://example.amazonaws.com/");
        request = request.header(HOST, "example.amazonaws.com");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let mut request = request.body(body.to_owned()).expect("a request");
        let signer = Signer { region: "us-east-1", service: "service", credentials: &credentials };
        // 2015-08-30T12:36:00Z
        let now = Timestamp::from_timestamp(1_440_938_160, 0).expect("a time");
        signer.sign(&mut request, now).expect("it can be signed");
        request.headers()[AUTHORIZATION].to_str().expect("text").to_owned()
    }

    #[test]
    fn signatures_are_those_of_the_suite_of_aws() {
        let value = HeaderName::from_static("my-header1");
        for (name, signature, found) in [
            (
                "get-vanilla",
                "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
                authorization("GET", &[], None, ""),
            ),
            (
                "post-header-value-case",
                "SignedHeaders=host;my-header1;x-amz-date, Signature=cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
                authorization("POST", &[(value, "VALUE1")], None, ""),
            ),
            (
                "post-x-www-form-urlencoded",
                "SignedHeaders=content-type;host;x-amz-date, Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
                authorization("POST", &[(CONTENT_TYPE, "application/x-www-form-urlencoded")], None, "Param1=value1"),
            ),
            (
                "post-sts-header-before",
                "SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
                authorization("POST", &[], Some(TOKEN), ""),
            ),
        ] {
            let credential = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, ";
            assert_eq!(found, format!("{credential}{signature}"), "{name}");
        }
    }
}

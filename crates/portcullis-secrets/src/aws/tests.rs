use std::time::Duration;

use portcullis_model::SecretString;
use portcullis_testkit::FakeAws;

use super::*;
use crate::testing::{file, text};

fn given(aws: &FakeAws) -> CredentialSource {
    CredentialSource::Given {
        access_key_id: FakeAws::KEY_ID.to_owned(),
        secret_access_key: SecretString::new(aws.key()),
        session_token: None,
    }
}

fn options(aws: &FakeAws, credentials: CredentialSource) -> AwsOptions {
    AwsOptions {
        region: FakeAws::REGION.to_owned(),
        id: "gate/production".to_owned(),
        endpoint: Some(url(&aws.address())),
        credentials,
    }
}

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

async fn read(options: &AwsOptions) -> Result<StoredSecrets, StoreError> {
    Aws::new(options, &Clock::system()).expect("a client").read().await
}

/// The message and the hint of a failed read, and whether another try may help.
async fn refused(options: &AwsOptions) -> (String, String, bool) {
    let error = read(options).await.expect_err("it should be refused");
    (error.to_string(), error.hint(), error.may_pass())
}

#[tokio::test]
async fn a_secret_is_read_with_a_signed_request() {
    let aws = FakeAws::start();
    aws.put("{\"CSRF_SECRET\": \"one\"}");
    let stored = read(&options(&aws, given(&aws))).await.expect("the signature is right");
    assert_eq!((&*stored.store, stored.version.as_str()), ("AWS secret gate/production", "version-1"));
    assert_eq!(text(&stored, "CSRF_SECRET"), "one");
}

#[tokio::test]
async fn what_aws_refuses_is_told_with_its_fix() {
    let aws = FakeAws::start();
    let good = options(&aws, given(&aws));
    let (message, hint, _) = refused(&good).await;
    assert_eq!(message, format!("AWS has no secret gate/production in {}", FakeAws::REGION));
    assert!(hint.contains("secrets.aws.id"), "{hint}");
    aws.put("{}");
    let wrong = CredentialSource::Given {
        access_key_id: FakeAws::KEY_ID.to_owned(),
        secret_access_key: SecretString::new("another key"),
        session_token: None,
    };
    let (message, _, may_pass) = refused(&options(&aws, wrong)).await;
    assert!(message.contains("does not accept the credentials: InvalidSignatureException") && !may_pass, "{message}");
    for (secret, part) in [("plain text", "is not a JSON object"), ("[1]", "is not a JSON object")] {
        aws.put(secret);
        assert!(refused(&good).await.0.contains(part));
    }
    for (status, body, part, passes) in [
        (
            400,
            "{\"__type\":\"AccessDeniedException\",\"Message\":\"User is not authorized\"}",
            "refuses to give",
            false,
        ),
        (
            400,
            "{\"__type\":\"ExpiredTokenException\",\"message\":\"The security token\"}",
            "ExpiredTokenException",
            false,
        ),
        (
            400,
            "{\"__type\":\"com.amazonaws.x#InvalidRequestException\",\"Message\":\"marked for deletion\"}",
            "marked for deletion",
            false,
        ),
        (400, "{\"__type\":\"DecryptionFailure\",\"Message\":\"x\"}", "cannot decrypt", false),
        (400, "{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}", "400 ThrottlingException", true),
        (
            403,
            "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code></Error></ErrorResponse>",
            "SignatureDoesNotMatch",
            false,
        ),
        (500, "{\"__type\":\"InternalServiceError\"}", "500 InternalServiceError", true),
        (200, "<html>Sign in</html>", "is not AWS's", false),
        (503, "<html></html>", "is not AWS's", true),
        (200, "{\"VersionId\": \"1\", \"SecretBinary\": \"AAAA\"}", "is binary", false),
    ] {
        aws.answer_always(status, body);
        let (message, hint, may_pass) = refused(&good).await;
        assert!(message.contains(part) && !hint.is_empty() && may_pass == passes, "{body}: {message}");
    }
}

#[tokio::test]
async fn a_wrong_clock_is_told_as_one() {
    let aws = FakeAws::start();
    aws.put("{}");
    let hour = i64::try_from(Duration::from_secs(3600).as_micros()).expect("a number");
    for ahead in [-hour, hour] {
        let clock = Clock::system().on_a_machine_ahead_by(ahead);
        let client = Aws::new(&options(&aws, given(&aws)), &clock).expect("a client");
        let error = client.read().await.expect_err("the clock is wrong");
        assert!(error.to_string().contains("clock is wrong") && error.hint().contains("NTP"), "{error}");
    }
}

#[tokio::test]
async fn credentials_come_from_roles() {
    let aws = FakeAws::start();
    aws.put("{}");
    let (_folder, token_file) = file(&format!("{}\n", FakeAws::IDENTITY_TOKEN));
    let role = RoleCredentials { arn: "arn:aws:iam::1:role/gate".to_owned(), session_name: "gate".to_owned() };
    let web = CredentialSource::WebIdentity { role, token_file, endpoint: Some(url(&aws.address())) };
    let (_other_folder, container_token) = file(FakeAws::CONTAINER_TOKEN);
    let container = |token, token_file| CredentialSource::Container {
        url: url(&format!("{}/container", aws.address())),
        token,
        token_file,
    };
    for source in [
        web,
        container(Some(SecretString::new(FakeAws::CONTAINER_TOKEN)), None),
        container(None, Some(container_token)),
        CredentialSource::Instance { endpoint: url(&aws.address()) },
    ] {
        read(&options(&aws, source.clone())).await.unwrap_or_else(|error| panic!("{source:?}: {error}"));
    }
    let (message, hint, _) = refused(&options(&aws, container(None, None))).await;
    assert!(
        message.contains("container's server of credentials gave no credentials") && hint.contains("role"),
        "{message}"
    );
    let (_folder, other) = file("another token");
    let role = RoleCredentials { arn: "arn:aws:iam::1:role/gate".to_owned(), session_name: "gate".to_owned() };
    let web = CredentialSource::WebIdentity { role, token_file: other, endpoint: Some(url(&aws.address())) };
    let (message, _, _) = refused(&options(&aws, web)).await;
    assert!(message.ends_with("it answered 400 InvalidIdentityToken"), "{message}");
    let nowhere = CredentialSource::Instance { endpoint: url("http://127.0.0.1:1") };
    let (message, hint, _) = refused(&options(&aws, nowhere)).await;
    assert!(message == "there are no credentials for AWS" && hint.contains("AWS_ACCESS_KEY_ID"), "{message}");
}

#[test]
fn each_region_has_its_server() {
    assert_eq!(
        endpoint("secretsmanager", "eu-central-1").expect("a URL").as_str(),
        "https://secretsmanager.eu-central-1.amazonaws.com/"
    );
    assert_eq!(endpoint("sts", "cn-north-1").expect("a URL").as_str(), "https://sts.cn-north-1.amazonaws.com.cn/");
}

//! Keys and secrets change, and no token that is good is refused.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis_identity::{
    Caller, Identity, IdentityOptions, IdentityParts, KeyPhase, RotationError, SigningAlgorithm,
};
use portcullis_model::{Random, SecretRing, SecretString, TokenError};
use serde_json::{Value, json};

use crate::test_identity::{DAY, PASSWORD, TestIdentity, caller, options, test_identity, test_identity_with};

const MINUTE: Duration = Duration::from_secs(61);

fn ring(secrets: &[&str]) -> SecretRing {
    SecretRing::new(secrets.iter().map(|secret| SecretString::new(*secret)).collect()).expect("at least one")
}

fn header(token: &SecretString) -> Value {
    let text = token.expose().split('.').next().expect("a part");
    serde_json::from_slice(&B64.decode(text).expect("base64url")).expect("JSON")
}

async fn token(test: &TestIdentity) -> SecretString {
    test.login("ada@example.com", PASSWORD).await.expect("signed in").tokens.access
}

fn verify(identity: &Identity, test: &TestIdentity, token: &SecretString) -> Result<(), TokenError> {
    identity.signing_keys.access_tokens().verify(token.expose(), test.clock.unix_seconds()).map(|_| ())
}

/// Another replica on the same database.
async fn replica(test: &TestIdentity, options: IdentityOptions) -> Result<Identity, portcullis_identity::StartError> {
    let parts = IdentityParts {
        store: test.store.clone(),
        sessions: std::sync::Arc::clone(&test.sessions),
        clock: test.clock.clone(),
        random: Random::system(),
        metrics: test.metrics.clone(),
    };
    Identity::start(parts, options).await
}

async fn phases(test: &TestIdentity) -> Vec<KeyPhase> {
    test.identity.signing_keys.list().await.expect("reads").iter().map(|key| key.phase).collect()
}

#[tokio::test]
async fn a_new_key_is_published_early_and_the_old_one_still_verifies() {
    let test = test_identity().await;
    test.register("ada").await;
    let other = replica(&test, options()).await.expect("starts");
    let first = token(&test).await;
    let shell = Caller::shell();
    let next = test.identity.signing_keys.rotate(SigningAlgorithm::EdDsa, &shell).await.expect("rotated");
    assert_eq!(phases(&test).await, [KeyPhase::Next, KeyPhase::Signing]);
    assert_eq!(test.identity.signing_keys.jwks()["keys"].as_array().map(Vec::len), Some(2), "published at once");
    let second = token(&test).await;
    assert_eq!(header(&second)["kid"], header(&first)["kid"], "not yet");
    let early = test.identity.signing_keys.retire(header(&first)["kid"].as_str().expect("a kid"), false, &shell).await;
    assert!(matches!(early, Err(RotationError::Signing(_))), "{early:?}");

    other.signing_keys.reload().await.expect("the other replica looks");
    test.clock.advance(MINUTE);
    let third = token(&test).await;
    assert_eq!(header(&third)["kid"], json!(next.kid));
    for (name, token) in [("first", &first), ("second", &second), ("third", &third)] {
        for identity in [&test.identity, &other] {
            assert_eq!(verify(identity, &test, token), Ok(()), "{name}");
        }
    }
    assert_eq!(phases(&test).await, [KeyPhase::Signing, KeyPhase::Checking]);
}

#[tokio::test]
async fn a_key_is_retired_when_its_last_token_has_expired() {
    let test = test_identity().await;
    test.register("ada").await;
    let (first, shell) = (token(&test).await, Caller::shell());
    test.identity.signing_keys.rotate(SigningAlgorithm::EdDsa, &shell).await.expect("rotated");
    test.clock.advance(MINUTE);
    let old = header(&first)["kid"].as_str().expect("a kid").to_owned();
    let early = test.identity.signing_keys.retire(&old, false, &shell).await.expect_err("its tokens are good");
    assert!(matches!(early, RotationError::Early { .. }) && early.hint().is_some(), "{early:?}");
    test.clock.advance(DAY);
    assert_eq!(phases(&test).await, [KeyPhase::Signing, KeyPhase::Spent]);
    test.identity.signing_keys.retire(&old, false, &shell).await.expect("retired");
    assert_eq!(phases(&test).await, [KeyPhase::Signing, KeyPhase::Retired]);
    assert_eq!(test.identity.signing_keys.jwks()["keys"].as_array().map(Vec::len), Some(1));
    let unknown = test.identity.signing_keys.retire(&old, false, &shell).await;
    assert!(matches!(unknown, Err(RotationError::Unknown(_))), "{unknown:?}");
    let log = test.audit().await;
    for action in ["keys.rotate", "keys.retire"] {
        assert!(log.iter().any(|(done, _)| done == action), "{action}: {log:?}");
    }
}

#[tokio::test]
async fn sr_41_tokens_of_a_retired_key_are_refused_at_once() {
    let test = test_identity().await;
    test.register("ada").await;
    let leaked = token(&test).await;
    let tokens = test.identity.signing_keys.access_tokens();
    let trust = tokens.trust();
    let shell = Caller::shell();
    test.identity.signing_keys.rotate(SigningAlgorithm::EdDsa, &shell).await.expect("rotated");
    test.clock.advance(MINUTE);
    let kid = header(&leaked)["kid"].as_str().expect("a kid").to_owned();
    test.identity.signing_keys.retire(&kid, true, &shell).await.expect("by force");
    assert_eq!(verify(&test.identity, &test, &leaked), Err(TokenError::Foreign));
    assert_ne!(tokens.trust(), trust, "remembered tokens are verified anew");
    assert_eq!(verify(&test.identity, &test, &token(&test).await), Ok(()));
}

#[tokio::test]
async fn sr_30_a_key_on_p_256_is_checked_by_anybody_with_the_jwks() {
    let test = test_identity_with(IdentityOptions { signing_algorithm: SigningAlgorithm::Es256, ..options() }).await;
    test.register("ada").await;
    let first = token(&test).await;
    assert_eq!(header(&first)["alg"], "ES256");
    assert_eq!(verify(&test.identity, &test, &first), Ok(()));
    let key = test.identity.signing_keys.jwks()["keys"][0].clone();
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("EC"), &json!("P-256"), &json!("ES256")));
    // Anybody with the JWKS can check it.
    let public =
        jsonwebtoken::DecodingKey::from_ec_components(key["x"].as_str().expect("x"), key["y"].as_str().expect("y"));
    let mut validation = jsonwebtoken::Validation::new(Algorithm::ES256);
    validation.set_audience(&["portcullis"]);
    jsonwebtoken::decode::<Value>(first.expose(), &public.expect("a point"), &validation).expect("it checks");
}

#[tokio::test]
async fn sr_30_each_key_verifies_its_own_algorithm_only() {
    let test = test_identity_with(IdentityOptions { signing_algorithm: SigningAlgorithm::Es256, ..options() }).await;
    test.register("ada").await;
    let first = token(&test).await;
    test.identity.signing_keys.rotate(SigningAlgorithm::EdDsa, &Caller::shell()).await.expect("rotated");
    test.clock.advance(MINUTE);
    let second = token(&test).await;
    assert_eq!(header(&second)["alg"], "EdDSA");
    for good in [&first, &second] {
        assert_eq!(verify(&test.identity, &test, good), Ok(()));
    }
    // A key of one's own under the other's name and algorithm.
    let mine = aws_lc_rs::signature::Ed25519KeyPair::generate().expect("a key").to_pkcs8v1().expect("encoded");
    let mut forged = Header::new(Algorithm::EdDSA);
    (forged.typ, forged.kid) = (Some("at+jwt".to_owned()), header(&first)["kid"].as_str().map(str::to_owned));
    let claims = serde_json::from_slice::<Value>(
        &B64.decode(first.expose().split('.').nth(1).expect("claims")).expect("base64url"),
    );
    let forged = jsonwebtoken::encode(&forged, &claims.expect("JSON"), &EncodingKey::from_ed_der(mine.as_ref()));
    let forged = SecretString::new(forged.expect("signed"));
    assert_eq!(verify(&test.identity, &test, &forged), Err(TokenError::Foreign));
}

/// CVE-2022-21449: r = s = 0 satisfies the equation of ECDSA for every key and message.
#[tokio::test]
async fn sr_30_a_signature_of_zeros_is_refused() {
    for signing_algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::EdDsa] {
        let test = test_identity_with(IdentityOptions { signing_algorithm, ..options() }).await;
        test.register("ada").await;
        let good = token(&test).await;
        let (signed, _) = good.expose().rsplit_once('.').expect("three parts");
        for signature in [vec![0; 64], [vec![0; 63], vec![1]].concat(), vec![0xff; 64]] {
            let forged = SecretString::new(format!("{signed}.{}", B64.encode(signature)));
            assert!(verify(&test.identity, &test, &forged).is_err(), "{signing_algorithm:?}");
        }
    }
}

#[tokio::test]
async fn encryption_keys_are_replaced_by_a_list_and_sealed_anew() {
    let old = "an encryption key of more than 32 bytes";
    let new = "another encryption key of 32 bytes or so";
    let with = |keys: &[&str]| IdentityOptions { encryption_keys: ring(keys), ..options() };
    let test = test_identity().await;
    test.register("ada").await;
    let before = test.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    assert!(replica(&test, with(&[new])).await.is_err(), "it opens nothing");
    test.identity.signing_keys.replace_secrets(ring(&[new, old]), None).await.expect("read anew");
    let refreshed =
        test.identity.sign_in.refresh(before.refresh.expose(), &caller()).await.expect("made with the old one");
    assert_eq!(verify(&test.identity, &test, &before.access), Ok(()));
    assert!(replica(&test, with(&[new])).await.is_err(), "the signing key is still sealed with the old one");
    assert_eq!(test.identity.signing_keys.reseal(&Caller::shell()).await.expect("sealed"), 1);
    let alone = replica(&test, with(&[new])).await.expect("the old one can go");
    assert_eq!(verify(&alone, &test, &refreshed.access), Ok(()));
    alone.sign_in.refresh(refreshed.refresh.expose(), &caller()).await.expect("made with the new one");
    let wrong =
        test.identity.signing_keys.replace_secrets(ring(&["a third key that sealed nothing at all"]), None).await;
    assert!(wrong.is_err());
    assert_eq!(verify(&test.identity, &test, &token(&test).await), Ok(()), "what was in force stays");
}

#[tokio::test]
async fn jwt_secrets_are_replaced_by_a_list_too() {
    let (old, new) = ("a jwt secret of at least thirty-two bytes", "another jwt secret of thirty-two bytes");
    let test = test_identity_with(IdentityOptions { jwt_secret: Some(ring(&[old])), ..options() }).await;
    test.register("ada").await;
    let before = token(&test).await;
    let encryption = || ring(&["an encryption key of more than 32 bytes"]);
    test.identity.signing_keys.replace_secrets(encryption(), Some(&ring(&[new, old]))).await.expect("read anew");
    let after = token(&test).await;
    assert_ne!(header(&before)["kid"], header(&after)["kid"]);
    for good in [&before, &after] {
        assert_eq!(verify(&test.identity, &test, good), Ok(()));
    }
    test.identity.signing_keys.replace_secrets(encryption(), Some(&ring(&[new]))).await.expect("read anew");
    assert_eq!(verify(&test.identity, &test, &before), Err(TokenError::Foreign));
    let gone = test.identity.signing_keys.replace_secrets(encryption(), None).await;
    assert!(gone.is_err(), "another kind of key needs a restart");
    assert!(matches!(
        test.identity.signing_keys.rotate(SigningAlgorithm::EdDsa, &Caller::shell()).await,
        Err(RotationError::SharedSecret)
    ));
}

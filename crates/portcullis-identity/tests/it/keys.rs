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

use crate::house::{DAY, House, PASSWORD, caller, house, house_with, options};

const MINUTE: Duration = Duration::from_secs(61);

fn ring(secrets: &[&str]) -> SecretRing {
    SecretRing::new(secrets.iter().map(|secret| SecretString::new(*secret)).collect()).expect("at least one")
}

fn header(token: &SecretString) -> Value {
    let text = token.expose().split('.').next().expect("a part");
    serde_json::from_slice(&B64.decode(text).expect("base64url")).expect("JSON")
}

async fn token(house: &House) -> SecretString {
    house.login("ada@example.com", PASSWORD).await.expect("signed in").tokens.access
}

fn verify(identity: &Identity, house: &House, token: &SecretString) -> Result<(), TokenError> {
    identity.signing_keys.access_tokens().verify(token.expose(), house.clock.unix_seconds()).map(|_| ())
}

/// Another replica on the same database.
async fn replica(house: &House, options: IdentityOptions) -> Result<Identity, portcullis_identity::StartError> {
    let parts = IdentityParts {
        store: house.store.clone(),
        sessions: std::sync::Arc::clone(&house.sessions),
        clock: house.clock.clone(),
        random: Random::system(),
        metrics: house.metrics.clone(),
    };
    Identity::start(parts, options).await
}

async fn phases(house: &House) -> Vec<KeyPhase> {
    house.identity.signing_keys.list().await.expect("reads").iter().map(|key| key.phase).collect()
}

#[tokio::test]
async fn a_rotated_key_is_published_before_it_signs_and_the_old_one_checks_until_it_is_spent() {
    let house = house().await;
    house.register("ada").await;
    let other = replica(&house, options()).await.expect("starts");
    let first = token(&house).await;
    let shell = Caller::shell();
    let next = house.identity.signing_keys.rotate(SigningAlgorithm::EdDsa, &shell).await.expect("rotated");
    assert_eq!(phases(&house).await, [KeyPhase::Next, KeyPhase::Signing]);
    assert_eq!(house.identity.signing_keys.jwks()["keys"].as_array().map(Vec::len), Some(2), "published at once");
    let second = token(&house).await;
    assert_eq!(header(&second)["kid"], header(&first)["kid"], "not yet");
    let early = house.identity.signing_keys.retire(header(&first)["kid"].as_str().expect("a kid"), false, &shell).await;
    assert!(matches!(early, Err(RotationError::Signing(_))), "{early:?}");

    other.signing_keys.reload().await.expect("the other replica looks");
    house.clock.advance(MINUTE);
    let third = token(&house).await;
    assert_eq!(header(&third)["kid"], json!(next.kid));
    for (name, token) in [("first", &first), ("second", &second), ("third", &third)] {
        for identity in [&house.identity, &other] {
            assert_eq!(verify(identity, &house, token), Ok(()), "{name}");
        }
    }
    assert_eq!(phases(&house).await, [KeyPhase::Signing, KeyPhase::Checking]);
    let old = header(&first)["kid"].as_str().expect("a kid").to_owned();
    let early = house.identity.signing_keys.retire(&old, false, &shell).await.expect_err("its tokens are good");
    assert!(matches!(early, RotationError::Early { .. }) && early.hint().is_some(), "{early:?}");
    house.clock.advance(DAY);
    assert_eq!(phases(&house).await, [KeyPhase::Signing, KeyPhase::Spent]);
    house.identity.signing_keys.retire(&old, false, &shell).await.expect("retired");
    assert_eq!(phases(&house).await, [KeyPhase::Signing, KeyPhase::Retired]);
    assert_eq!(house.identity.signing_keys.jwks()["keys"].as_array().map(Vec::len), Some(1));
    let unknown = house.identity.signing_keys.retire(&old, false, &shell).await;
    assert!(matches!(unknown, Err(RotationError::Unknown(_))), "{unknown:?}");
    let log = house.audit().await;
    for action in ["keys.rotate", "keys.retire"] {
        assert!(log.iter().any(|(done, _)| done == action), "{action}: {log:?}");
    }
}

#[tokio::test]
async fn sr_41_what_a_leaked_key_signed_is_refused_once_it_is_retired_also_when_it_was_remembered() {
    let house = house().await;
    house.register("ada").await;
    let leaked = token(&house).await;
    let tokens = house.identity.signing_keys.access_tokens();
    let trust = tokens.trust();
    let shell = Caller::shell();
    house.identity.signing_keys.rotate(SigningAlgorithm::EdDsa, &shell).await.expect("rotated");
    house.clock.advance(MINUTE);
    let kid = header(&leaked)["kid"].as_str().expect("a kid").to_owned();
    house.identity.signing_keys.retire(&kid, true, &shell).await.expect("by force");
    assert_eq!(verify(&house.identity, &house, &leaked), Err(TokenError::Foreign));
    assert_ne!(tokens.trust(), trust, "remembered tokens are verified anew");
    assert_eq!(verify(&house.identity, &house, &token(&house).await), Ok(()));
}

#[tokio::test]
async fn sr_30_es256_by_choice_beside_ed25519_and_each_key_checks_its_own_algorithm_only() {
    let house = house_with(IdentityOptions { signing_algorithm: SigningAlgorithm::Es256, ..options() }).await;
    house.register("ada").await;
    let first = token(&house).await;
    assert_eq!(header(&first)["alg"], "ES256");
    assert_eq!(verify(&house.identity, &house, &first), Ok(()));
    let key = house.identity.signing_keys.jwks()["keys"][0].clone();
    assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("EC"), &json!("P-256"), &json!("ES256")));
    // Anybody with the JWKS can check it.
    let public =
        jsonwebtoken::DecodingKey::from_ec_components(key["x"].as_str().expect("x"), key["y"].as_str().expect("y"));
    let mut validation = jsonwebtoken::Validation::new(Algorithm::ES256);
    validation.set_audience(&["portcullis"]);
    jsonwebtoken::decode::<Value>(first.expose(), &public.expect("a point"), &validation).expect("it checks");

    house.identity.signing_keys.rotate(SigningAlgorithm::EdDsa, &Caller::shell()).await.expect("rotated");
    house.clock.advance(MINUTE);
    let second = token(&house).await;
    assert_eq!(header(&second)["alg"], "EdDSA");
    for good in [&first, &second] {
        assert_eq!(verify(&house.identity, &house, good), Ok(()));
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
    assert_eq!(verify(&house.identity, &house, &forged), Err(TokenError::Foreign));
}

#[tokio::test]
async fn encryption_keys_are_replaced_by_a_list_and_sealed_anew() {
    let old = "an encryption key of more than 32 bytes";
    let new = "another encryption key of 32 bytes or so";
    let with = |keys: &[&str]| IdentityOptions { encryption_keys: ring(keys), ..options() };
    let house = house().await;
    house.register("ada").await;
    let before = house.login("ada@example.com", PASSWORD).await.expect("signed in").tokens;
    assert!(replica(&house, with(&[new])).await.is_err(), "it opens nothing");
    house.identity.signing_keys.replace_secrets(ring(&[new, old]), None).await.expect("read anew");
    let refreshed =
        house.identity.sign_in.refresh(before.refresh.expose(), &caller()).await.expect("made with the old one");
    assert_eq!(verify(&house.identity, &house, &before.access), Ok(()));
    assert!(replica(&house, with(&[new])).await.is_err(), "the signing key is still sealed with the old one");
    assert_eq!(house.identity.signing_keys.reseal(&Caller::shell()).await.expect("sealed"), 1);
    let alone = replica(&house, with(&[new])).await.expect("the old one can go");
    assert_eq!(verify(&alone, &house, &refreshed.access), Ok(()));
    alone.sign_in.refresh(refreshed.refresh.expose(), &caller()).await.expect("made with the new one");
    let wrong =
        house.identity.signing_keys.replace_secrets(ring(&["a third key that sealed nothing at all"]), None).await;
    assert!(wrong.is_err());
    assert_eq!(verify(&house.identity, &house, &token(&house).await), Ok(()), "what was in force stays");
}

#[tokio::test]
async fn jwt_secrets_are_replaced_by_a_list_too() {
    let (old, new) = ("a jwt secret of at least thirty-two bytes", "another jwt secret of thirty-two bytes");
    let house = house_with(IdentityOptions { jwt_secret: Some(ring(&[old])), ..options() }).await;
    house.register("ada").await;
    let before = token(&house).await;
    let encryption = || ring(&["an encryption key of more than 32 bytes"]);
    house.identity.signing_keys.replace_secrets(encryption(), Some(&ring(&[new, old]))).await.expect("read anew");
    let after = token(&house).await;
    assert_ne!(header(&before)["kid"], header(&after)["kid"]);
    for good in [&before, &after] {
        assert_eq!(verify(&house.identity, &house, good), Ok(()));
    }
    house.identity.signing_keys.replace_secrets(encryption(), Some(&ring(&[new]))).await.expect("read anew");
    assert_eq!(verify(&house.identity, &house, &before), Err(TokenError::Foreign));
    let gone = house.identity.signing_keys.replace_secrets(encryption(), None).await;
    assert!(gone.is_err(), "another kind of key needs a restart");
    assert!(matches!(
        house.identity.signing_keys.rotate(SigningAlgorithm::EdDsa, &Caller::shell()).await,
        Err(RotationError::SharedSecret)
    ));
}

//! Access tokens under attack (requirements 30 and 31).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis_identity::IdentityOptions;
use portcullis_model::{SecretString, TokenError};
use serde_json::{Value, json};

use crate::test_identity::{TestIdentity, options, test_identity, test_identity_in, test_identity_with};

async fn token(test: &TestIdentity) -> String {
    test.register("ada").await.tokens.expect("signed in").access.expose().to_owned()
}

fn part(token: &str, index: usize) -> Value {
    let text = token.split('.').nth(index).expect("three parts");
    serde_json::from_slice(&B64.decode(text).expect("base64url")).expect("JSON")
}

fn encode(value: &Value) -> String {
    B64.encode(value.to_string())
}

fn verify(test: &TestIdentity, token: &str) -> Result<(), TokenError> {
    test.identity.signing_keys.access_tokens().verify(token, test.clock.unix_seconds()).map(|_| ())
}

#[tokio::test]
async fn a_token_has_the_claims_of_the_contract() {
    let test = test_identity().await;
    let token = token(&test).await;
    let (header, claims) = (part(&token, 0), part(&token, 1));
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("EdDSA")));
    for name in ["iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp", "ver", "amr", "role", "userId", "email"] {
        assert!(!claims[name].is_null(), "{name} in {claims}");
    }
    assert_eq!((&claims["amr"], &claims["role"]), (&json!(["pwd"]), &json!("DEVELOPER")));
    assert!(claims["demo"].is_null());
    let keys = test.identity.signing_keys.jwks();
    assert_eq!(keys["keys"][0]["kid"], header["kid"]);
    assert!(keys["keys"][0]["d"].is_null());
}

#[tokio::test]
async fn sr_30_cut_swapped_and_unsigned_tokens_are_refused() {
    let test = test_identity().await;
    let good = token(&test).await;
    assert_eq!(verify(&test, &good), Ok(()));
    let parts: Vec<&str> = good.split('.').collect();
    let mut claims = part(&good, 1);
    claims["role"] = json!("ADMIN");
    let none = |alg: &str| format!("{}.{}.", encode(&json!({"typ": "at+jwt", "alg": alg})), parts[1]);
    for bad in [
        good[..good.len() - 1].to_owned(),
        format!("{}.{}", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], encode(&claims), parts[2]),
        format!("{}.{}.{}", parts[1], parts[0], parts[2]),
        format!("{good}.x"),
        none("none"),
        none("None"),
        none("nOnE"),
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(100_000),
    ] {
        assert!(verify(&test, &bad).is_err(), "{bad:.60}");
    }
}

/// CVE-2022-39227: a JWS in JSON whose claims are read elsewhere than they are signed.
#[tokio::test]
async fn sr_30_a_token_in_json_is_refused() {
    let test = test_identity().await;
    let good = token(&test).await;
    let parts: Vec<&str> = good.split('.').collect();
    let mut claims = part(&good, 1);
    claims["role"] = json!("ADMIN");
    let forged = encode(&claims);
    let json = json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string();
    let polyglot = format!(
        "{{\"  {}.{forged}.\":\"\",\"protected\":\"{}\",\"payload\":\"{}\",\"signature\":\"{}\"}}",
        parts[0], parts[0], parts[1], parts[2]
    );
    for bad in [json, polyglot, format!("{}.{forged}.{}.{}.{}", parts[0], parts[0], parts[1], parts[2])] {
        assert!(verify(&test, &bad).is_err(), "{bad:.60}");
    }
}

#[tokio::test]
async fn sr_30_hs256_over_the_public_key_is_refused() {
    let test = test_identity().await;
    let good = token(&test).await;
    let public = test.identity.signing_keys.jwks()["keys"][0]["x"].as_str().expect("a key").to_owned();
    let raw = B64.decode(&public).expect("base64url");
    for secret in [raw.as_slice(), public.as_bytes()] {
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = part(&good, 0)["kid"].as_str().map(str::to_owned);
        let forged = jsonwebtoken::encode(&header, &part(&good, 1), &EncodingKey::from_secret(secret)).expect("signed");
        assert_eq!(verify(&test, &forged), Err(TokenError::Foreign));
    }
}

#[tokio::test]
async fn sr_30_keys_that_a_token_brings_along_are_never_used() {
    let test = test_identity().await;
    let good = token(&test).await;
    let mine = aws_lc_rs::signature::Ed25519KeyPair::generate().expect("a key");
    let pkcs8 = mine.to_pkcs8v1().expect("encoded");
    let x = B64.encode(aws_lc_rs::signature::KeyPair::public_key(&mine).as_ref());
    let signer = EncodingKey::from_ed_der(pkcs8.as_ref());
    for kid in [part(&good, 0)["kid"].as_str(), Some("mine"), None] {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = kid.map(str::to_owned);
        header.jku = Some("https://evil.example/jwks.json".to_owned());
        header.x5u = Some("https://evil.example/x5u".to_owned());
        header.jwk = serde_json::from_value(json!({"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA"})).ok();
        let forged = jsonwebtoken::encode(&header, &part(&good, 1), &signer).expect("signed");
        assert!(verify(&test, &forged).is_err(), "{kid:?}");
    }
}

/// Signs claims with the test's own HMAC key, so that only the claims are wrong.
async fn hmac_house() -> (TestIdentity, impl Fn(&str, Value) -> String) {
    let secret = "a jwt secret of at least thirty-two bytes";
    let test =
        test_identity_with(IdentityOptions { jwt_secret: Some(SecretString::new(secret).into()), ..options() }).await;
    let good = token(&test).await;
    let (kid, claims) = (part(&good, 0)["kid"].as_str().map(str::to_owned), part(&good, 1));
    let sign = move |typ: &str, changes: Value| {
        let mut header = Header::new(Algorithm::HS256);
        (header.typ, header.kid) = (Some(typ.to_owned()), kid.clone());
        let mut claims = claims.clone();
        for (name, value) in changes.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(secret.as_bytes())).expect("signed")
    };
    (test, sign)
}

#[tokio::test]
async fn sr_31_another_type_issuer_audience_or_claim_is_refused() {
    let (test, sign) = hmac_house().await;
    assert_eq!(verify(&test, &sign("at+jwt", json!({}))), Ok(()));
    for typ in ["JWT", "jwt", "refresh+jwt", "AT+JWT", "application/at+jwt"] {
        assert_eq!(verify(&test, &sign(typ, json!({}))), Err(TokenError::Foreign), "{typ}");
    }
    for wrong in [
        json!({"iss": "somebody else"}),
        json!({"aud": "another service"}),
        json!({"aud": null}),
        json!({"sub": "not an id"}),
        json!({"sub": "018f0000-0000-7000-8000-000000000000"}),
        json!({"sid": 5}),
        json!({"exp": "soon"}),
        json!({"exp": null}),
        json!({"nbf": null}),
        json!({"ver": "1"}),
    ] {
        assert!(verify(&test, &sign("at+jwt", wrong.clone())).is_err(), "{wrong}");
    }
    assert!(
        test.identity.signing_keys.jwks()["keys"].as_array().is_some_and(Vec::is_empty),
        "an HMAC key has no public half"
    );
}

#[tokio::test]
async fn sr_30_a_token_lives_from_a_minute_before_nbf_until_exp() {
    let test = test_identity().await;
    let good = token(&test).await;
    let claims = part(&good, 1);
    let (nbf, exp) = (claims["nbf"].as_i64().expect("nbf"), claims["exp"].as_i64().expect("exp"));
    let at = |now: i64| test.identity.signing_keys.access_tokens().verify(&good, now).map(|_| ());
    assert_eq!(at(nbf - 60), Ok(()), "made by a replica whose clock is ahead");
    assert_eq!(at(nbf - 61), Err(TokenError::Lifetime), "from the future");
    assert_eq!(at(exp - 1), Ok(()));
    assert_eq!(at(exp), Err(TokenError::Lifetime), "expired by a second");
}

#[tokio::test]
async fn sr_30_an_iat_more_than_a_minute_ahead_is_refused() {
    let (test, sign) = hmac_house().await;
    let now = test.clock.unix_seconds();
    assert_eq!(verify(&test, &sign("at+jwt", json!({"iat": now + 50}))), Ok(()));
    assert_eq!(verify(&test, &sign("at+jwt", json!({"iat": now + 90}))), Err(TokenError::Lifetime));
}

#[tokio::test]
async fn another_clock_leeway_is_in_force_at_once() {
    let test = test_identity().await;
    let good = token(&test).await;
    let nbf = part(&good, 1)["nbf"].as_i64().expect("nbf");
    let tokens = test.identity.signing_keys.access_tokens();
    let remembered = tokens.verify(&good, nbf).expect("valid");
    assert_eq!((remembered.trust, remembered.not_before), (tokens.trust(), nbf - 60));
    test.identity.signing_keys.set_clock_leeway(std::time::Duration::from_secs(5));
    assert_ne!(remembered.trust, tokens.trust(), "a remembered token keeps the former leeway");
    assert_eq!(tokens.verify(&good, nbf - 6).map(|_| ()), Err(TokenError::Lifetime));
    assert!(tokens.verify(&good, nbf - 5).is_ok());
}

/// RFC 7515 §4.1.11: a recipient that does not understand a critical field must refuse the token.
#[tokio::test]
async fn sr_30_a_token_with_a_critical_header_is_refused() {
    let secret = b"a jwt secret of at least thirty-two bytes";
    let (test, sign) = hmac_house().await;
    let good = sign("at+jwt", json!({}));
    assert_eq!(verify(&test, &good), Ok(()));
    let claims = good.split('.').nth(1).expect("claims").to_owned();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    for crit in [json!(["exp"]), json!(["b64"]), json!(["anything"]), json!([]), json!(null), json!("exp")] {
        let mut header = part(&good, 0);
        header["crit"] = crit.clone();
        let signed = format!("{}.{claims}", B64.encode(header.to_string()));
        let signature = B64.encode(aws_lc_rs::hmac::sign(&key, signed.as_bytes()));
        assert!(verify(&test, &format!("{signed}.{signature}")).is_err(), "crit = {crit}");
    }
}

#[tokio::test]
async fn sr_31_a_refresh_token_is_no_access_token() {
    let test = test_identity().await;
    let tokens = test.register("ada").await.tokens.expect("signed in");
    assert!(verify(&test, tokens.refresh.expose()).is_err());
}

#[tokio::test]
async fn keys_survive_a_restart_with_their_encryption_key_only() {
    let first = test_identity().await;
    let good = token(&first).await;
    let TestIdentity { folder, clock, store, .. } = first;
    store.close().await;
    let second = test_identity_in(folder, clock, options()).await;
    assert_eq!(verify(&second, &good), Ok(()));
    let TestIdentity { store, sessions, clock, metrics, .. } = &second;
    let parts = portcullis_identity::IdentityParts {
        store: store.clone(),
        sessions: std::sync::Arc::clone(sessions),
        clock: clock.clone(),
        random: portcullis_model::Random::system(),
        metrics: metrics.clone(),
    };
    let other = IdentityOptions {
        encryption_keys: SecretString::new("a different key of more than 32 bytes").into(),
        ..options()
    };
    let error = portcullis_identity::Identity::start(parts, other).await.err().expect("refused");
    assert!(error.hint().is_some_and(|hint| hint.contains("ENCRYPTION_KEY")), "{error}");
}

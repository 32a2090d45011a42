//! Tokens in the body of a response.

use portcullis_identity::IssuedTokens;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::operation::{Example, example_of};

/// With `transport: cookie` the two tokens are in cookies instead of here.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tokens {
    /// A JWT of the type `at+jwt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    access_token: Option<String>,
    /// Opaque; can be used once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    refresh_token: Option<String>,
    /// Lifetime of the access token in seconds.
    expires_in: u64,
    #[schemars(extend("const" = "Bearer"))]
    token_type: &'static str,
}

impl Tokens {
    /// Puts both tokens into the body.
    pub(crate) fn in_body(tokens: &IssuedTokens) -> Self {
        Self {
            access_token: Some(tokens.access.expose().to_owned()),
            refresh_token: Some(tokens.refresh.expose().to_owned()),
            ..Self::in_cookies(tokens)
        }
    }

    /// Leaves both tokens out, so that scripts of the page never see them.
    pub(crate) fn in_cookies(tokens: &IssuedTokens) -> Self {
        Self { access_token: None, refresh_token: None, expires_in: tokens.expires_in, token_type: "Bearer" }
    }
}

impl Example for Tokens {
    fn example() -> Value {
        example_of(&Self {
            access_token: Some("eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl".to_owned()),
            refresh_token: Some("cnQtZXhhbXBsZS1vcGFxdWUtdG9rZW4".to_owned()),
            expires_in: 86_400,
            token_type: "Bearer",
        })
    }
}

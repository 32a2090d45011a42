//! Registration.

use http::StatusCode;
use portcullis_identity::RegisterOutcome;
use portcullis_model::User;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::tokens::Tokens;
use crate::input::Body;
use crate::operation::{Example, Operation, OtherResponse, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const REGISTER: Operation =
    Operation::new("register", Tag::Auth, "Register", "User registered successfully")
        .created()
        .description("Answers 202 without a user where the operator hides which addresses are registered.")
        .others(&[OtherResponse::enveloped::<RegistrationReceived>(StatusCode::ACCEPTED, RECEIVED)])
        .errors(&[
            (403, "Registration is closed, or by invitation only."),
            (409, "The e-mail address or the username is taken."),
        ]);

const RECEIVED: &str = "Registration received. Check your email.";

/// Declares a request that registers a user: fields of its own, then the fields that every registration has.
macro_rules! registration_request {
    ($(#[$($about:tt)*])* $name:ident { $($(#[$($field_about:tt)*])* $field:ident: $type:ty,)* }) => {
        $crate::input::account_request! {
            $(#[$($about)*])* $name { $($(#[$($field_about)*])* $field: $type,)* } and {
            /// 8 to 128 characters of any kind; the operator may ask for more. Common passwords are refused.
            #[schemars(with = "String", length(min = 8, max = 128), extend("format" = "password"))]
            password: ::portcullis_model::SecretString,
            /// The same password again.
            #[schemars(with = "String", length(min = 8, max = 128), extend("format" = "password"))]
            confirm_password: ::portcullis_model::SecretString,
            }
        }

        impl $name {
            /// Returns the fields of its own, and the registration.
            fn into_parts(self) -> (($($type,)*), ::portcullis_identity::RegisterInput) {
                let Self { $($field,)* email, username, first_name, last_name, password, confirm_password } = self;
                let input = ::portcullis_identity::RegisterInput {
                    email,
                    username,
                    first_name,
                    last_name,
                    password,
                    confirm_password,
                };
                (($($field,)*), input)
            }
        }
    };
}

pub(crate) use registration_request;

registration_request! {
    /// The account that a new user wants.
    RegisterRequest {}
}

impl Example for RegisterRequest {
    fn example() -> Value {
        json!({
            "email": "ada@example.com",
            "username": "ada",
            "firstName": "Ada",
            "lastName": "Lovelace",
            "password": "correct horse battery staple",
            "confirmPassword": "correct horse battery staple",
        })
    }
}

/// A new account.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Registered {
    user: User,
    /// Null while the e-mail address must be confirmed first.
    tokens: Option<Tokens>,
    requires_email_verification: bool,
}

impl Example for Registered {
    fn example() -> Value {
        json!({ "user": User::example(), "tokens": Tokens::example(), "requiresEmailVerification": false })
    }
}

/// A registration that was received, whether or not the address was free.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegistrationReceived {
    #[schemars(extend("const" = true))]
    requires_email_verification: bool,
}

impl Example for RegistrationReceived {
    fn example() -> Value {
        json!({ "requiresEmailVerification": true })
    }
}

/// `POST /api/v1/auth/register`
pub(crate) async fn register(call: Call, Body(request): Body<RegisterRequest>) -> Result<Reply<Registered>, ApiError> {
    let ((), input) = request.into_parts();
    let outcome = call.services.identity.registration.register(input, &call.caller()).await?;
    let RegisterOutcome::Registered(registered) = outcome else {
        let received = RegistrationReceived { requires_email_verification: true };
        return Ok(Reply::enveloped(StatusCode::ACCEPTED, RECEIVED, &received).into_other());
    };
    let registered = Registered {
        user: registered.user,
        tokens: registered.tokens.as_ref().map(Tokens::in_body),
        requires_email_verification: registered.requires_email_verification,
    };
    Ok(REGISTER.reply(&registered).private())
}

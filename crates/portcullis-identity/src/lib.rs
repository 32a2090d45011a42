//! Identity: the use cases around users, sessions, passwords and keys. They know neither HTTP nor SQL.
//!
//! A caller holds one [`Identity`] and calls a use case of one of its services, such as `identity.sign_in.login(…)`.
//! A use case does all of its work in one transaction and returns what happened.

mod administration;
mod api_keys;
mod audit;
mod demo_account;
mod error;
mod hashing;
mod idempotency;
mod identity;
mod import;
mod mail_links;
mod mail_requests;
mod mailer;
mod one_time_token;
mod outliving;
mod password_policy;
mod passwords;
mod principal;
mod refresh_token;
mod registration;
mod rescue;
mod sealing;
mod session_issuer;
mod sessions;
mod sign_in;
mod signing_keys;
mod throttle;
mod user_fields;
mod users;

pub use administration::{
    Actor, Administration, Invitation, NewAccount, PermissionChange, UserDetails, UserProfileInput,
};
pub use api_keys::{ApiKeyInput, ApiKeys, IssuedApiKey};
pub use audit::Caller;
pub use demo_account::{DemoAccount, DemoOptions};
pub use error::{IdentityError, StartError};
pub use hashing::notation::HashRefused;
pub use hashing::stored::check_stored_hash;
pub use hashing::{HashingOptions, PasswordHasher};
pub use idempotency::IdempotentOutcome;
pub use identity::{Identity, IdentityOptions, IdentityParts};
pub use import::{Import, ImportRow, RowOutcome};
pub use mailer::Mailer;
pub use password_policy::deny_list::{DenyList, DenyListError};
pub use passwords::{ChangePasswordInput, Passwords, ResetPasswordInput};
pub use registration::{RegisterOutcome, Registered, Registration, RegistrationMode, RegistrationOptions};
pub use session_issuer::{IssuedTokens, SessionLifetimes};
pub use sessions::{SessionDetails, Sessions};
pub use sign_in::{LoginInput, LoginOutcome, Logout, SignIn, SignedIn};
pub use signing_keys::key_set::{SigningAlgorithm, UnknownAlgorithm};
pub use signing_keys::{KeyDetails, KeyPhase, RotationError, SigningKeys};
pub use user_fields::{ProfileInput, RegisterInput};
pub use users::Users;

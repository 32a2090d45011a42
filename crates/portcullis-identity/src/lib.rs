//! Identity: the use cases of signing up, in and out, as functions that know
//! neither HTTP nor SQL. A handler calls one of them; it does the whole of it
//! in one transaction and returns what happened.

mod access_token;
mod account;
mod administrators;
mod api_keys;
mod audit;
mod change_password;
mod demo;
mod demo_sessions;
mod error;
mod hashing;
mod identity;
mod import;
mod invitation;
mod key_rotation;
mod login;
mod logout;
mod mail;
mod once;
mod one_time;
mod operators;
mod password_policy;
mod people;
mod refresh;
mod refresh_token;
mod register;
mod reset_password;
mod seal;
mod signing_keys;
mod throttle;
mod tokens;

pub use account::{ProfileInput, SessionView};
pub use administrators::NewAccount;
pub use api_keys::{ApiKeyInput, IssuedApiKey};
pub use audit::Caller;
pub use change_password::ChangePasswordInput;
pub use demo::DemoOptions;
pub use error::{IdentityError, StartError};
pub use hashing::stored::{HashRefused, check_stored_hash};
pub use hashing::{HashingOptions, HashingRoom};
pub use identity::{Identity, IdentityOptions, IdentityParts, Registration, RegistrationMode};
pub use import::{ImportRow, RowOutcome};
pub use invitation::Invitation;
pub use key_rotation::{KeyPhase, KeyView, RotationError};
pub use login::{LoginInput, LoginOutcome, SignIn};
pub use logout::Logout;
pub use once::Done;
pub use password_policy::deny_list::{DenyList, DenyListError};
pub use people::{Actor, PermissionChange, PersonInput, PersonView};
pub use register::{RegisterInput, RegisterOutcome, Registered};
pub use reset_password::ResetPasswordInput;
pub use signing_keys::{SigningAlgorithm, UnknownAlgorithm};
pub use tokens::IssuedTokens;

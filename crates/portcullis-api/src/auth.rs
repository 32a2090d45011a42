//! Sign-in, and the caller's own account (`docs/contract.md`, "Identity").

pub(crate) mod cookies;
pub(crate) mod email;
pub(crate) mod logout;
pub(crate) mod password;
pub(crate) mod profile;
pub(crate) mod refresh;
pub(crate) mod registration;
pub(crate) mod sessions;
pub(crate) mod sign_in;
pub(crate) mod tokens;

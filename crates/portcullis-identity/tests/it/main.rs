//! The use cases on a real SQLite database, with a clock that tests set.

mod access_tokens;
mod account_rescue;
mod api_keys;
mod audit;
mod bounds;
mod change_password;
mod clocks;
mod demo;
mod fair_hashing;
mod idempotency;
mod imports;
mod invitation;
mod lasting_effects;
mod login;
mod password_policy;
mod refresh;
mod refresh_explorer;
mod register;
mod rehash;
mod reset_password;
mod signing_keys;
mod test_identity;
mod throttle;
mod user_administration;

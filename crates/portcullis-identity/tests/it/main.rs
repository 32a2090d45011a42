//! The use cases on a real SQLite database, with a clock that tests set.

mod accounting;
mod api_keys;
mod change_password;
mod demo;
mod house;
mod invitation;
mod keys;
mod login;
mod once;
mod people;
mod policy;
mod refresh;
mod register;
mod rehash;
mod reset_password;
mod throttle;
mod tokens;

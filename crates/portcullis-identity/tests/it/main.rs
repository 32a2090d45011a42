//! The use cases on a real SQLite database, with a clock that tests set.

mod accounting;
mod demo;
mod house;
mod login;
mod refresh;
mod register;
mod rehash;
mod tokens;

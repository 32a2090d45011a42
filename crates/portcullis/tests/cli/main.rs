//! The commands as a shell runs them: their output and their exit codes.

mod backup;
mod check;
mod completions;
mod doctor;
mod healthcheck;
mod help;
mod import;
mod import_columns;
mod keys;
mod man;
mod migrate;
mod routes;
mod shell;
mod transfer;
mod upgrade_check;
mod users;

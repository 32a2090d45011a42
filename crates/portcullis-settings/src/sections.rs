//! One file for each section of the settings file: its keys with their documentation, and how they are read.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod cors;
pub(crate) mod csrf;
pub(crate) mod database;
pub(crate) mod demo;
pub(crate) mod headers;
pub(crate) mod limits;
pub(crate) mod listen;
pub(crate) mod log;
pub(crate) mod mail;
pub(crate) mod metrics;
pub(crate) mod password;
pub(crate) mod redis;
pub(crate) mod registration;
pub(crate) mod roles;
pub(crate) mod route_cors;
pub(crate) mod route_path;
pub(crate) mod route_policy;
pub(crate) mod routes;
pub(crate) mod secret_store;
pub(crate) mod secrets;
pub(crate) mod sentry;
pub(crate) mod server;
pub(crate) mod session;
pub(crate) mod tracing;
pub(crate) mod upstreams;
pub(crate) mod versions;

use crate::engine::key::Section;

/// Every section, in the order of `docs/settings.md`.
pub(crate) static SECTIONS: &[&Section] = &[
    &server::SECTION,
    &database::SECTION,
    &redis::SECTION,
    &mail::SECTION,
    &audit::SECTION,
    &backup::SECTION,
    &secrets::SECTION,
    &session::SECTION,
    &registration::SECTION,
    &password::SECTION,
    &csrf::SECTION,
    &cors::SECTION,
    &headers::SECTION,
    &limits::SECTION,
    &versions::DEFAULT_SECTION,
    &versions::SECTION,
    &roles::SECTION,
    &metrics::SECTION,
    &log::SECTION,
    &tracing::SECTION,
    &sentry::SECTION,
    &demo::SECTION,
    &upstreams::SECTION,
    &routes::SECTION,
];

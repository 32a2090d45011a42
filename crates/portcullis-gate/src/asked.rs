//! What a request asks for: the canonical path of `/api/x`, and which version of it (contract §2).

use std::borrow::Cow;

use http::header::HeaderMap;
use portcullis_model::Clock;

use crate::config::GateConfig;
use crate::context::Context;
use crate::refusal::Refusal;
use crate::versions::{self, ApiPath, VersionFault};

/// The canonical path of a request and what it asked for beside it.
pub(crate) struct Asked<'a> {
    pub(crate) path: Cow<'a, str>,
    version: Option<usize>,
    fault: Option<VersionFault>,
}

/// `/api/x` means `/api/v1/x`; which version is found as the contract orders.
pub(crate) fn locate<'a>(
    config: &GateConfig,
    path: &'a str,
    headers: &HeaderMap,
    query: Option<&str>,
    context: &mut Context,
) -> Result<Asked<'a>, Refusal> {
    let versions = &config.versions;
    match versions::split(path) {
        ApiPath::Other => {
            context.version = is_api(path).then(|| versions.default_index());
            Ok(Asked { path: Cow::Borrowed(path), version: None, fault: None })
        }
        ApiPath::Invalid => {
            context.version = Some(versions.default_index());
            Err(Refusal::InvalidVersion)
        }
        ApiPath::Versioned { version } => {
            let version = versions.find(version);
            context.version = Some(version.unwrap_or(versions.default_index()));
            // A version that is not served has no routes.
            if version.is_none() {
                return Err(Refusal::NotFound);
            }
            Ok(Asked { path: Cow::Borrowed(path), version, fault: None })
        }
        ApiPath::Alias { rest } => {
            let (version, fault) = match versions.asked(headers, query) {
                Ok(asked) => (asked.unwrap_or(versions.default_index()), None),
                Err(fault) => (versions.default_index(), Some(fault)),
            };
            context.version = Some(version);
            let path = format!("/api/{}/{rest}", versions.get(version).name);
            Ok(Asked { path: Cow::Owned(path), version: Some(version), fault })
        }
    }
}

pub(crate) fn check_version(config: &GateConfig, asked: &Asked<'_>, clock: &Clock) -> Result<(), Refusal> {
    match asked.fault {
        Some(VersionFault::Invalid) => return Err(Refusal::InvalidVersion),
        Some(VersionFault::Unsupported) => {
            let supported = config.versions.served_at(clock.now()).map(str::to_owned).collect();
            return Err(Refusal::UnsupportedVersion { supported });
        }
        None => {}
    }
    let version = asked.version.map(|index| config.versions.get(index));
    match version {
        Some(version) if version.sunset_at.is_some_and(|at| at <= clock.now()) => {
            Err(Refusal::VersionSunset { successor: version.successor.clone() })
        }
        _ => Ok(()),
    }
}

/// Whether a path as the client wrote it is under `/api`.
pub(crate) fn is_api(path: &str) -> bool {
    path.strip_prefix("/api").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

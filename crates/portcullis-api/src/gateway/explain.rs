//! How the gate would decide on a request.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use portcullis_gate::{DryRun, DryRunCaller, Explanation as Explained, Verdict as Decided};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::input::{Parsed, Query};
use crate::operation::{Example, Operation, Tag};
use crate::{ApiError, Call, Reply};

pub(crate) const EXPLAIN: Operation = Operation::new(
    "explain",
    Tag::Gateway,
    "Explain how the gate would decide on a request",
    "Explained; nothing was counted and nothing was called",
);

/// The name of a caller without a credential.
pub const NOBODY: &str = "nobody";

/// The client address of a dry run that names none: this machine.
pub const THIS_MACHINE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The most headers that a dry run may name.
const MAX_HEADERS: usize = 100;

/// The request to explain.
#[derive(Deserialize, JsonSchema)]
pub(crate) struct ExplainQuery {
    /// The path or the address of the request.
    url: String,
    /// The method of the request.
    #[schemars(extend("default" = "GET"))]
    method: Option<String>,
    /// The caller: the id or e-mail address of a user, or `nobody`.
    r#as: Option<String>,
    /// A header, `Name: value`; give it several times for more. Header values are never repeated in the response.
    header: Option<Vec<String>>,
    /// The IP address that would connect.
    address: Option<Parsed<IpAddr>>,
}

/// An explanation.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ExplanationData {
    explanation: Explanation,
}

impl Example for ExplanationData {
    fn example() -> Value {
        json!({
            "explanation": {
                "method": "GET",
                "path": "/api/v1/users",
                "address": "203.0.113.7",
                "route": "/api/v1/users",
                "destination": "a built-in endpoint",
                "version": "v1",
                "verdict": "refused",
                "status": 401,
                "code": "auth.token_required",
                "message": "Sign in and send the access token.",
                "phases": [
                    { "phase": "authorise", "outcome": "refused", "notes": ["a valid credential is needed; USER_VIEW"] },
                ],
            },
        })
    }
}

/// How the gate decides on a request, phase by phase.
#[derive(Serialize, JsonSchema)]
pub struct Explanation {
    method: String,
    path: String,
    address: String,
    /// The template of the route; null when none matches.
    route: Option<String>,
    destination: Option<String>,
    version: Option<String>,
    verdict: Verdict,
    /// The status code of the refusal, or 204 for a preflight.
    status: Option<u16>,
    /// The code of the refusal.
    code: Option<&'static str>,
    /// The message of the refusal.
    message: Option<String>,
    phases: Vec<PhaseReport>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum Verdict {
    Permitted,
    // A CORS preflight, which the gate answers itself. A doc comment would turn the schema into a `oneOf`.
    Preflight,
    Refused,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
enum PhaseOutcome {
    Passed,
    Refused,
}

/// One phase of the gate.
#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct PhaseReport {
    phase: &'static str,
    outcome: PhaseOutcome,
    notes: Vec<String>,
}

impl Explanation {
    /// Writes down what the gate found about `dry_run`. A refusal belongs to the last phase.
    pub fn new(dry_run: &DryRun, explained: &Explained) -> Self {
        let (verdict, refusal) = match &explained.verdict {
            Decided::Permitted(()) => (Verdict::Permitted, None),
            Decided::Preflight => (Verdict::Preflight, None),
            Decided::Refused(refusal) => (Verdict::Refused, Some(ApiError::from(refusal.clone()))),
        };
        let preflight_status = matches!(verdict, Verdict::Preflight).then_some(StatusCode::NO_CONTENT.as_u16());
        let last = explained.steps.len().saturating_sub(1);
        let phases = explained.steps.iter().enumerate().map(|(number, step)| {
            let refused = refusal.is_some() && number == last;
            PhaseReport {
                phase: step.phase.as_str(),
                outcome: if refused { PhaseOutcome::Refused } else { PhaseOutcome::Passed },
                notes: step.notes.clone(),
            }
        });
        let route = explained.route.as_deref();
        Self {
            method: dry_run.method.to_string(),
            path: dry_run.uri.path().to_owned(),
            address: dry_run.peer.to_string(),
            route: route.map(|route| route.template.to_string()),
            destination: route.map(|route| route.destination.to_string()),
            version: explained.version.clone(),
            verdict,
            status: refusal.as_ref().map(|error| error.status().as_u16()).or(preflight_status),
            code: refusal.as_ref().map(ApiError::code),
            message: refusal.as_ref().map(|error| error.message().to_owned()),
            phases: phases.collect(),
        }
    }
}

/// `GET /api/v1/gateway/explain`
pub(crate) async fn explain(call: Call, Query(query): Query<ExplainQuery>) -> Result<Reply<ExplanationData>, ApiError> {
    let address = query.address.map_or_else(|| call.permit.client_ip(), |address| address.0);
    let method = query.method.as_deref().unwrap_or("GET");
    let mut dry_run = parse_dry_run(method, &query.url, &query.header.unwrap_or_default(), address)
        .map_err(ApiError::invalid_query)?;
    if let Some(user) = &query.r#as {
        dry_run.caller = caller(&call, user).await?;
    }
    let explained = call.services.gate.explain(&dry_run).await;
    let explanation = Explanation::new(&dry_run, &explained);
    Ok(EXPLAIN.reply(&ExplanationData { explanation }).private())
}

async fn caller(call: &Call, user: &str) -> Result<DryRunCaller, ApiError> {
    if user == NOBODY {
        return Ok(DryRunCaller::Anonymous);
    }
    let session = call.services.identity.administration.hypothetical_session(user).await?;
    let session = session.ok_or_else(|| {
        ApiError::invalid_query(vec![format!(
            "as must be the id or e-mail address of a user that may sign in, or {NOBODY}"
        )])
    })?;
    Ok(DryRunCaller::SignedIn(Arc::new(session)))
}

/// Parses a request as users write it: a method, a path or URL, and headers as `Name: value`. Its caller is the
/// principal that the headers name.
///
/// # Errors
/// One sentence for each problem.
pub fn parse_dry_run(method: &str, url: &str, headers: &[String], peer: IpAddr) -> Result<DryRun, Vec<String>> {
    let mut problems = Vec::new();
    let method = Method::from_bytes(method.as_bytes())
        .inspect_err(|_| problems.push("method must be a method, such as GET".to_owned()));
    let uri = url.parse::<Uri>().ok().filter(|uri| uri.path().starts_with('/'));
    if uri.is_none() {
        problems.push("url must be a path or an address, such as /api/v1/users?page=2".to_owned());
    }
    let mut map = HeaderMap::new();
    if headers.len() > MAX_HEADERS {
        problems.push(format!("header may be given at most {MAX_HEADERS} times"));
    }
    for header in headers.iter().take(MAX_HEADERS) {
        let parsed = header.split_once(':').and_then(|(name, value)| {
            let name = HeaderName::try_from(name.trim()).ok()?;
            Some((name, HeaderValue::try_from(value.trim()).ok()?))
        });
        match parsed {
            Some((name, value)) => drop(map.append(name, value)),
            // The sentence does not repeat the header, which may hold a credential.
            None => problems.push("header must be written \"Name: value\"".to_owned()),
        }
    }
    match (method, uri) {
        (Ok(method), Some(uri)) if problems.is_empty() => {
            Ok(DryRun { method, uri, headers: map, peer, caller: DryRunCaller::FromHeaders })
        }
        _ => Err(problems),
    }
}

//! What the gateway tells its operators: why a request is let through or turned away, and how somebody stands with
//! the limits.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use portcullis_gate::{Explanation, Gate, LimitStanding, RefusalRecord, Rehearsal, RehearsedCaller, Route, Whom};
use portcullis_model::user::rfc3339_millis;
use portcullis_model::{Limit, SessionId, UserId};
use serde_json::{Value, json};

use crate::query::Query;
use crate::{Call, Fault, Reply};

/// The most headers that a question may name.
const MAX_HEADERS: usize = 100;

/// `GET /api/v1/gateway/explain`
pub(crate) async fn explain(call: Call) -> Result<Reply, Fault> {
    let mut query = Query::of(&call);
    let method = query.text("method").unwrap_or_else(|| "GET".to_owned());
    let url = query.required("url");
    let address = query.parsed::<IpAddr>("address", "an IP address");
    let headers = query.all("header");
    let rehearsal = rehearsal(&method, &url, &headers, address.unwrap_or(call.permit.client_ip()));
    let mut rehearsal = query.check(rehearsal);
    if let (Some(rehearsal), Some(person)) = (&mut rehearsal, query.text("as")) {
        rehearsal.caller = match person.as_str() {
            NOBODY => RehearsedCaller::Nobody,
            person => match call.services.identity.stand_in(person).await? {
                Some(session) => RehearsedCaller::SignedIn(Arc::new(session)),
                None => {
                    query.refuse(format!(
                        "as must be the id or e-mail address of an account that may sign in, or {NOBODY}"
                    ));
                    RehearsedCaller::Nobody
                }
            },
        };
    }
    query.finish()?;
    let rehearsal = rehearsal.expect("else there was a problem");
    let explanation = call.services.gate.explain(&rehearsal).await;
    let data = json!({ "explanation": explanation_json(&rehearsal, &explanation) });
    Ok(Reply::ok("Explained; nothing was counted and nothing was called", data).private())
}

/// The word for a caller without a credential.
pub const NOBODY: &str = "nobody";

/// A question as people write it: a method, a path or URL, and headers as `Name: value`.
///
/// # Errors
/// What is wrong with it, one sentence each.
pub fn rehearsal(method: &str, url: &str, headers: &[String], peer: IpAddr) -> Result<Rehearsal, Vec<String>> {
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
            // Not repeated: it may hold a credential.
            None => problems.push("header must be written \"Name: value\"".to_owned()),
        }
    }
    match (method, uri) {
        (Ok(method), Some(uri)) if problems.is_empty() => {
            Ok(Rehearsal { method, uri, headers: map, peer, caller: RehearsedCaller::FromHeaders })
        }
        _ => Err(problems),
    }
}

/// An explanation for programs.
pub fn explanation_json(rehearsal: &Rehearsal, explanation: &Explanation) -> Value {
    let refusal = explanation.verdict.as_ref().err();
    let last = explanation.steps.len().saturating_sub(1);
    let steps: Vec<Value> = explanation
        .steps
        .iter()
        .enumerate()
        .map(|(number, step)| {
            let refused = refusal.is_some() && number == last;
            json!({
                "phase": step.phase.as_str(),
                "outcome": if refused { "refused" } else { "passed" },
                "notes": step.notes,
            })
        })
        .collect();
    let answer = refusal.map(|refusal| Fault::from(refusal.clone()));
    json!({
        "method": rehearsal.method.as_str(),
        "path": rehearsal.uri.path(),
        "address": rehearsal.peer.to_string(),
        "route": explanation.route.as_ref().map(|route| &*route.template),
        "destination": explanation.route.as_deref().map(destination),
        "version": explanation.version,
        "verdict": if refusal.is_some() { "refused" } else { "permitted" },
        "status": answer.as_ref().map(|fault| fault.status().as_u16()),
        "code": answer.as_ref().map(Fault::code),
        "message": answer.as_ref().map(Fault::message),
        "phases": steps,
    })
}

fn destination(route: &Route) -> String {
    route.destination.to_string()
}

/// `GET /api/v1/gateway/refusals`: the latest of this process.
pub(crate) async fn refusals(call: Call) -> Result<Reply, Fault> {
    let mut query = Query::of(&call);
    let page = query.page();
    query.finish()?;
    let latest = call.services.gate.latest_refusals(usize::try_from(page.limit).unwrap_or(usize::MAX));
    let data = json!({ "refusals": latest.iter().map(refusal_json).collect::<Vec<_>>() });
    Ok(Reply::ok("The latest refusals of this process", data).private())
}

/// `GET /api/v1/gateway/refusals/{requestId}`
pub(crate) async fn refusal(call: Call) -> Result<Reply, Fault> {
    let id = call.permit.parameter("requestId").unwrap_or_default();
    // Another replica may know it, or it is too long ago.
    let record = call.services.gate.refusal_of(id);
    let record = record.ok_or_else(|| Fault::not_found("A refusal of this request in this process's memory"))?;
    Ok(Reply::ok("Why the request was turned away", json!({ "refusal": refusal_json(&record) })).private())
}

fn refusal_json(record: &RefusalRecord) -> Value {
    let answer = Fault::from(record.refusal.clone());
    json!({
        "requestId": record.request_id.as_str(),
        "timestamp": rfc3339_millis(record.at),
        "method": record.method.as_str(),
        "path": record.path,
        "route": record.route,
        "address": record.client.to_string(),
        "userId": record.user,
        "phase": record.phase.as_str(),
        "status": answer.status().as_u16(),
        "code": answer.code(),
        "message": answer.message(),
        "details": answer.details_json(),
    })
}

/// `GET /api/v1/gateway/limits`: the limits in force; with somebody named, how they stand.
pub(crate) async fn limits(call: Call) -> Result<Reply, Fault> {
    let mut query = Query::of(&call);
    let whom = whom(&mut query);
    query.finish()?;
    Ok(Reply::ok("Limits in force", limits_json(&call.services.gate, whom).await).private())
}

/// `DELETE /api/v1/gateway/limits`: forgets what somebody has spent.
pub(crate) async fn reset_limits(call: Call) -> Result<Reply, Fault> {
    let mut query = Query::of(&call);
    let whom = whom(&mut query);
    if whom.is_none() {
        query.refuse("address, userId or apiKeyId must say whose limits".to_owned());
    }
    let name = query.text("name");
    query.finish()?;
    let whom = whom.expect("else there was a problem");
    let reset = call.services.gate.reset_limits(whom, name.as_deref()).await;
    let details = json!({ "whom": whom.to_string(), "name": name });
    let by = Some(call.principal().session.user_id);
    call.services.identity.note_operation(LIMITS_RESET, by, details, &call.caller()).await?;
    Ok(Reply::ok("Limits were reset", reset_json(reset)).private())
}

/// The action in the audit log.
pub const LIMITS_RESET: &str = "limits.reset";

/// What a reset did, for programs.
pub fn reset_json((limits, everywhere): (usize, bool)) -> Value {
    json!({ "limits": limits, "everywhere": everywhere })
}

/// The limits in force and how somebody stands with them, for programs.
pub async fn limits_json(gate: &Gate, whom: Option<Whom>) -> Value {
    let config = gate.config();
    let limits: Vec<Value> = config.limits().iter().map(|(route, limit)| limit_json(route.as_deref(), limit)).collect();
    let standings = match whom {
        None => None,
        Some(whom) => Some(gate.standings(whom).await.iter().map(standing_json).collect::<Vec<_>>()),
    };
    json!({ "limits": limits, "whom": whom.map(|whom| whom.to_string()), "standings": standings })
}

fn limit_json(route: Option<&str>, limit: &Limit) -> Value {
    let multipliers = limit.multipliers.iter().map(|(role, times)| (role.to_string(), Value::from(times)));
    json!({
        "name": limit.name,
        "route": route,
        "rate": limit.rate.to_string(),
        "by": limit.by.to_string(),
        "multipliers": multipliers.collect::<serde_json::Map<_, _>>(),
    })
}

fn standing_json(standing: &LimitStanding) -> Value {
    json!({
        "name": standing.limit.name,
        "route": standing.route,
        "rate": standing.limit.rate.to_string(),
        "remaining": standing.remaining,
        "resetSeconds": standing.reset.as_secs_f64(),
    })
}

/// The one whose limits are asked for.
fn whom(query: &mut Query) -> Option<Whom> {
    let found = [
        query.parsed::<IpAddr>("address", "an IP address").map(Whom::Address),
        query.parsed::<UserId>("userId", "the id of a user").map(Whom::User),
        query.parsed::<SessionId>("apiKeyId", "the id of an API key").map(Whom::ApiKey),
    ];
    if found.iter().flatten().count() > 1 {
        query.refuse("of address, userId and apiKeyId only one can be given".to_owned());
    }
    found.into_iter().flatten().next()
}

/// Who asks when nobody says from where: this machine.
pub const THIS_MACHINE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

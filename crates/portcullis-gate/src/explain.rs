//! Why a request would be let through or turned away (requirement 46): the same phases, taken in rehearsal. Nothing is
//! counted or touched, no permit is made, and no credential is repeated.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::HeaderMap;
use http::{Method, Uri};
use portcullis_model::policy::{AuthRequirement, RoutePolicy};
use portcullis_model::{ApiKeyScopes, Rate, Role, SessionState};

use crate::authorise::needed;
use crate::context::Context;
use crate::credential::{Credential, Principal, Via};
use crate::gate::Gate;
use crate::limits::{Count, Standing};
use crate::phase::{Phase, Watch};
use crate::phases::Head;
use crate::refusal::Refusal;
use crate::route_table::Route;

/// A request that somebody asks about.
#[derive(Debug)]
pub struct Rehearsal {
    /// Its method.
    pub method: Method,
    /// Its target: path and query count.
    pub uri: Uri,
    /// Its headers; it has no body.
    pub headers: HeaderMap,
    /// Who would connect to us.
    pub peer: IpAddr,
    /// As whom.
    pub caller: RehearsedCaller,
}

/// Who would call.
#[derive(Clone, Debug)]
pub enum RehearsedCaller {
    /// Whoever the headers say.
    FromHeaders,
    /// Nobody, whatever the headers say.
    Nobody,
    /// Somebody who has just signed in and sends a bearer token.
    SignedIn(Arc<SessionState>),
}

/// What would become of it.
#[derive(Debug)]
pub struct Explanation {
    /// The route it matched.
    pub route: Option<Arc<Route>>,
    /// The version of the API.
    pub version: Option<String>,
    /// What each phase found, as far as it got. A refusal is the last one's.
    pub steps: Vec<Step>,
    /// The verdict, the same as the request itself would get.
    pub verdict: Result<(), Refusal>,
}

/// One phase.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub phase: Phase,
    /// What it found.
    pub notes: Vec<String>,
}

impl Gate {
    /// Takes a request through all phases without serving it.
    pub async fn explain(&self, rehearsal: &Rehearsal) -> Explanation {
        let config = self.config();
        let mut context = Context::rehearsed(self.ids.next(), rehearsal, config);
        let head = Head {
            peer: rehearsal.peer,
            method: &rehearsal.method,
            uri: &rehearsal.uri,
            headers: &rehearsal.headers,
            bad: None,
            needs_host: false,
        };
        let caller = match &rehearsal.caller {
            RehearsedCaller::FromHeaders => None,
            RehearsedCaller::Nobody => Some(Credential::None),
            RehearsedCaller::SignedIn(session) => {
                Some(Credential::Good(Principal { session: Arc::clone(session), via: Via::Bearer }))
            }
        };
        let mut notebook = Notebook::default();
        let judged = self.judge(&mut context, &head, None, caller, &mut notebook).await;
        Explanation {
            route: notebook.route,
            version: context.version_name().map(str::to_owned),
            steps: notebook.steps,
            verdict: judged.map(drop),
        }
    }
}

/// Writes down what the phases find.
#[derive(Default)]
struct Notebook {
    route: Option<Arc<Route>>,
    steps: Vec<Step>,
}

impl Watch for Notebook {
    const REHEARSAL: bool = true;

    fn enter(&mut self, phase: Phase) {
        self.steps.push(Step { phase, notes: Vec::new() });
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(step) = self.steps.last_mut() {
            step.notes.push(text());
        }
    }

    fn matched(&mut self, route: &Arc<Route>) {
        self.route = Some(Arc::clone(route));
        self.note(|| format!("{} leads to {}", route.template, route.destination));
    }
}

/// What a route asks for, in words.
pub(crate) fn describe_policy(policy: &RoutePolicy, method: &Method) -> String {
    let mut asks = vec![match policy.auth {
        AuthRequirement::None => "no credential is looked at".to_owned(),
        AuthRequirement::Optional => "a credential that is sent must be good".to_owned(),
        AuthRequirement::Required => "a good credential is needed".to_owned(),
    }];
    if policy.signed_in_only {
        asks.push("not an API key".to_owned());
    }
    if let Some(most) = policy.max_session_age {
        asks.push(format!("signed in at most {} s ago", most.as_secs()));
    }
    if !policy.networks.is_empty() {
        let networks: Vec<String> = policy.networks.iter().map(ToString::to_string).collect();
        asks.push(format!("from {}", networks.join(", ")));
    }
    asks.extend(policy.minimum_role.map(|role| format!("at least {role}")));
    let permissions: Vec<&str> = needed(policy, method).map(portcullis_model::Permission::as_str).collect();
    if !permissions.is_empty() {
        asks.push(permissions.join(", "));
    }
    if policy.verified_email {
        asks.push("a confirmed e-mail address".to_owned());
    }
    if policy.needs_database {
        asks.push("the database".to_owned());
    }
    asks.join("; ")
}

/// How a request fares against a limit, in words.
pub(crate) fn describe_count(count: &Count) -> String {
    match count {
        Count::Counted(Standing { counted, rate, remaining, retry, .. }) => {
            let said = describe_limit(&counted.limit.name, *rate, &counted.limit.by);
            match retry {
                None => format!("{said}: {remaining} left after this one"),
                Some(retry) => format!("{said}: none left for {} ms", retry.as_millis()),
            }
        }
        Count::Open => "replicas cannot count together, and this limit lets everything through then".to_owned(),
        Count::Closed(counted) => {
            format!("{}: replicas cannot count together, and this limit lets nothing through then", counted.limit.name)
        }
    }
}

fn describe_limit(name: &str, rate: Rate, by: &portcullis_model::LimitBy) -> String {
    format!("{name}, {rate} by {by}")
}

impl Credential {
    /// Whose credential it is; never the credential.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::None => "no credential".to_owned(),
            Self::Two => "two kinds of credential".to_owned(),
            Self::Bad => "a credential that is not good".to_owned(),
            Self::Unknown => "a credential that nobody can judge now: the database cannot be reached".to_owned(),
            Self::Good(Principal { session, via }) => {
                let via = match via {
                    Via::Bearer => "a bearer token",
                    Via::Cookie => "the session cookie",
                    Via::ApiKey => "an API key",
                };
                let reach = match &session.api_key {
                    Some(ApiKeyScopes::Only(_)) => ", held to its scopes".to_owned(),
                    Some(ApiKeyScopes::All) | None => session.role_in_force().map_or_else(String::new, role),
                };
                format!("{via} of user {}{reach}", session.user_id)
            }
        }
    }
}

fn role(role: Role) -> String {
    format!(", {role}")
}

//! API keys: created by a signed-in user, shown once, stored as a hash.

use std::sync::Arc;
use std::time::Duration;

use portcullis_model::api_key::{self, ApiKey};
use portcullis_model::mail::MailKind;
use portcullis_model::{
    Clock, InvalidInput, Permission, PermissionSet, Random, SecretString, SessionId, SessionState, Timestamp,
};
use portcullis_sessions::SessionCache;
use portcullis_storage::{IdempotencyKey, NewApiKey, Store};
use serde_json::json;

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::idempotency::{IdempotentOutcome, IdempotentOutcomes};
use crate::principal;

/// The form that creates an API key.
#[derive(Clone, Debug)]
pub struct ApiKeyInput {
    /// A name that tells its owner what the key is for.
    pub name: String,
    /// The permissions of the key among those of its owner; `None` for all.
    pub scopes: Option<Vec<String>>,
    /// When the key expires; `None` for never.
    pub expires_at: Option<Timestamp>,
}

/// A new API key with its secret, which is shown this once.
#[derive(Debug)]
pub struct IssuedApiKey {
    /// The key without its secret.
    pub key: ApiKey,
    /// The secret that authenticates requests.
    pub secret: SecretString,
}

/// The longest name, in code points.
const LONGEST_NAME: usize = 100;
/// The most keys of one user.
const MOST: u64 = 100;
/// The most keys that one user makes in a day, revoked ones included: their rows are kept for a month.
const MOST_IN_A_DAY: u64 = 200;
const DAY: Duration = Duration::from_secs(86_400);

/// Creates, lists and revokes the caller's API keys.
pub struct ApiKeys {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) random: Random,
    pub(crate) outcomes: IdempotentOutcomes,
    /// Knows the permissions of roles.
    pub(crate) cache: Arc<SessionCache>,
}

impl ApiKeys {
    /// Creates a key for the caller, whose e-mail address must be verified (SR-51). A repetition under the same
    /// idempotency key creates none and returns no secret.
    pub async fn create(
        &self,
        session: &SessionState,
        input: ApiKeyInput,
        caller: &Caller,
        idempotency_key: Option<&IdempotencyKey>,
    ) -> Result<IdempotentOutcome<IssuedApiKey>, IdentityError> {
        if session.is_demo() {
            return Err(IdentityError::DemoReadOnly);
        }
        if let Some(before) = self.outcomes.stored(idempotency_key).await? {
            return Ok(IdempotentOutcome::Replayed(before));
        }
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        let known = principal::read_again(&mut tx, session).await?;
        if !known.user.is_email_verified() {
            return Err(IdentityError::KeyNeedsVerifiedEmail);
        }
        let held = principal::permissions(session, &known, &self.cache.roles());
        let (name, scopes) = check_key(&held, &input, now)?;
        let secret = api_key::generate(&self.random);
        let hash = api_key::digest(secret.expose()).expect("a key that was just made is well-formed");
        let key = ApiKey {
            id: SessionId::new(&self.clock, &self.random),
            name,
            prefix: api_key::visible_prefix(secret.expose()).to_owned(),
            scopes,
            expires_at: input.expires_at,
            last_used_at: None,
            created_at: now,
        };
        if let Some(before) = self.outcomes.record(&mut tx, idempotency_key, &key).await? {
            return Ok(IdempotentOutcome::Replayed(before));
        }
        if tx.count_api_keys(session.user_id).await? >= MOST {
            return Err(IdentityError::TooManyKeys);
        }
        if let Some(first) = tx.nth_newest_api_key(session.user_id, now - DAY, MOST_IN_A_DAY).await? {
            let retry = (first + DAY - now).to_std().unwrap_or_default();
            return Err(IdentityError::TooManyKeysMade { retry });
        }
        tx.insert_api_key(&NewApiKey { key: key.clone(), user_id: session.user_id, hash }).await?;
        tx.enqueue_mail(MailKind::ApiKeyCreated, session.user_id, now).await?;
        let mut event = caller.success("api_key.create", now, session.user_id, Some(session.id));
        event.details = Some(json!({ "key": key.id, "prefix": key.prefix }));
        tx.append_audit(&event).await?;
        tx.commit().await?;
        Ok(IdempotentOutcome::Fresh(IssuedApiKey { key, secret }))
    }

    /// The caller's keys, newest first.
    pub async fn list(&self, session: &SessionState) -> Result<Vec<ApiKey>, IdentityError> {
        Ok(self.store.api_keys(session.user_id).await?)
    }

    /// Revokes one of the caller's keys. The key is refused at once.
    pub async fn revoke(&self, session: &SessionState, id: SessionId, caller: &Caller) -> Result<(), IdentityError> {
        let now = self.clock.now();
        let mut tx = self.store.begin().await?;
        principal::read_again(&mut tx, session).await?;
        if !tx.revoke_api_key(session.user_id, id, now).await? {
            return Err(IdentityError::NotFound);
        }
        let mut event = caller.success("api_key.revoke", now, session.user_id, Some(session.id));
        event.details = Some(json!({ "key": id }));
        tx.append_audit(&event).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// Checks the form that creates a key of a user who holds these permissions.
fn check_key(
    held: &PermissionSet,
    input: &ApiKeyInput,
    now: Timestamp,
) -> Result<(String, Option<Vec<Permission>>), IdentityError> {
    let mut problems = Vec::new();
    let name = input.name.trim();
    let length = name.chars().count();
    if length == 0 || length > LONGEST_NAME || name.chars().any(char::is_control) {
        problems.push(format!("Name must be 1 to {LONGEST_NAME} characters, without control characters"));
    }
    if input.expires_at.is_some_and(|at| at <= now) {
        problems.push("expiresAt must be in the future".to_owned());
    }
    let mut scopes: Vec<Permission> = Vec::new();
    for scope in input.scopes.iter().flatten() {
        match Permission::parse(scope) {
            Ok(scope) if held.contains(&scope) => scopes.push(scope),
            Ok(scope) => problems.push(format!("You do not hold {scope}, so your API keys cannot have it")),
            Err(InvalidInput(problem)) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(IdentityError::Validation(problems));
    }
    scopes.sort_unstable();
    scopes.dedup();
    Ok((name.to_owned(), input.scopes.is_some().then_some(scopes)))
}

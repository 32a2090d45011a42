//! Signing users in to a test's gate.

use std::sync::Arc;

use portcullis_model::{ApiKeyScopes, Role, SessionState};
use portcullis_testkit::{SessionBuilder, session};

use crate::test_gate::TestGate;

impl TestGate {
    /// Signs a new user in: `token` is a valid access token of the returned session for an hour.
    pub(crate) fn sign_in(&self, token: &str, role: Role) -> Arc<SessionState> {
        self.sign_in_as(token, session().role(role))
    }

    /// Makes `token` a valid access token of a session for an hour.
    pub(crate) fn sign_in_as(&self, token: &str, session: SessionBuilder) -> Arc<SessionState> {
        let session = self.sessions.put(session.expires_at(i64::MAX).build());
        self.sessions.issue(token, &session, 0..self.clock.unix_seconds() + 3600);
        session
    }

    /// Returns an API key of a new administrator.
    pub(crate) fn api_key(&self, scopes: ApiKeyScopes) -> String {
        self.api_key_of(session().role(Role::Admin), scopes)
    }

    /// Returns an API key of the user of a session.
    pub(crate) fn api_key_of(&self, owner: SessionBuilder, scopes: ApiKeyScopes) -> String {
        self.sessions.add_api_key(owner.api_key(scopes).expires_at(i64::MAX))
    }
}

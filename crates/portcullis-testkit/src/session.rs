//! The builder of sessions.

use portcullis_model::{
    Amr, ApiKeyScopes, Clock, Email, Permission, Random, Role, RolePermissions, SessionCopy, SessionId, SessionState,
    Timestamp, UserId,
};

/// Begins a session of a new user: a developer with a confirmed address, signed in by password a moment ago, for an hour.
pub fn session() -> SessionBuilder {
    let (clock, random) = (Clock::system(), Random::system());
    let now = clock.unix_seconds();
    SessionBuilder {
        copy: SessionCopy {
            id: SessionId::new(&clock, &random),
            user_id: UserId::new(&clock, &random),
            role: Role::Developer,
            extra_permissions: Vec::new(),
            email: Email::parse("ada@example.com").expect("it is valid"),
            email_verified: true,
            amr: vec![Amr::Password],
            authenticated_at: now,
            session_epoch: 1,
            user_epoch: 1,
            token_epoch: 1,
            expires_at: now + 3600,
            last_seen: now,
            api_key: None,
            read_at: clock.now(),
        },
    }
}

/// A session that a test changes before it is built.
#[derive(Clone, Debug)]
pub struct SessionBuilder {
    copy: SessionCopy,
}

impl SessionBuilder {
    /// Sets the user's role, and with it the permissions.
    pub fn role(mut self, role: Role) -> Self {
        self.copy.role = role;
        self
    }

    /// Adds a permission that the role does not give.
    pub fn permission(mut self, name: &str) -> Self {
        self.copy.extra_permissions.push(Permission::parse(name).expect("it is valid"));
        self
    }

    /// Sets the session's id.
    pub fn id(mut self, id: SessionId) -> Self {
        self.copy.id = id;
        self
    }

    /// Makes it a session of this user.
    pub fn user(mut self, user: UserId) -> Self {
        self.copy.user_id = user;
        self
    }

    /// Sets the end of the session, in Unix seconds.
    pub fn expires_at(mut self, seconds: i64) -> Self {
        self.copy.expires_at = seconds;
        self
    }

    /// Makes it a session that has ended by its idle timeout.
    pub fn expired(self) -> Self {
        self.expires_at(0)
    }

    /// Sets the time of the sign-in, in Unix seconds.
    pub fn authenticated_at(mut self, seconds: i64) -> Self {
        self.copy.authenticated_at = seconds;
        self
    }

    /// Makes the user's e-mail address an unconfirmed one.
    pub fn unconfirmed_email(mut self) -> Self {
        self.copy.email_verified = false;
        self
    }

    /// Makes it an API key with these scopes.
    pub fn api_key(mut self, scopes: ApiKeyScopes) -> Self {
        self.copy.api_key = Some(scopes);
        self
    }

    /// Sets the epochs of the session and of its user.
    pub fn epochs(mut self, session: i64, user: i64) -> Self {
        (self.copy.session_epoch, self.copy.user_epoch) = (session, user);
        self
    }

    /// Sets the time at which the database read the session.
    pub fn read_at(mut self, at: Timestamp) -> Self {
        self.copy.read_at = at;
        self
    }

    /// Sets the lowest epoch of the user whose access tokens are valid.
    pub fn token_epoch(mut self, epoch: i64) -> Self {
        self.copy.token_epoch = epoch;
        self
    }

    /// Sets the time of the last request, in Unix seconds.
    pub fn last_seen(mut self, seconds: i64) -> Self {
        self.copy.last_seen = seconds;
        self
    }

    /// The session as replicas share it.
    pub fn copy(self) -> SessionCopy {
        self.copy
    }

    /// The session as the gate sees it, with the default permissions of its role.
    pub fn build(self) -> SessionState {
        self.copy.into_state(&RolePermissions::default())
    }
}

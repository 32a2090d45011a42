//! Builders of rows, so that a test shows only the fields that it is about.

use std::time::Duration;

use portcullis_model::{
    Amr, Email, ProfileName, Role, SecretString, SessionId, Timestamp, Transport, User, UserId, Username,
};
use portcullis_storage::{NewOneTimeToken, NewSession, NewUser, SigningKey, Store, TokenPurpose};

use crate::test_database::{TestDatabase, commit, days, seconds};

pub(crate) const PASSWORD_HASH: &str = "$argon2id$stand-in";

pub(crate) fn email(text: &str) -> Email {
    Email::parse(text).expect("a valid address")
}

pub(crate) fn first_name(text: &str) -> ProfileName {
    ProfileName::parse("First name", text).expect("a valid name")
}

pub(crate) struct UserBuilder(NewUser);

impl UserBuilder {
    pub(crate) fn new(db: &TestDatabase, name: &str) -> Self {
        let user = User {
            id: UserId::new(&db.clock, &db.random),
            email: email(&format!("{name}@example.com")),
            username: Username::parse(name).expect("a valid username"),
            first_name: first_name("Ada"),
            last_name: ProfileName::parse("Last name", "Lovelace").expect("a valid name"),
            avatar: None,
            role: Role::Developer,
            is_active: true,
            email_verified_at: None,
            last_login_at: None,
            created_at: db.now(),
            updated_at: db.now(),
        };
        Self(NewUser { user, password_hash: Some(SecretString::new(PASSWORD_HASH)) })
    }

    pub(crate) fn email(mut self, text: &str) -> Self {
        self.0.user.email = email(text);
        self
    }

    pub(crate) fn username(mut self, text: &str) -> Self {
        self.0.user.username = Username::parse(text).expect("a valid username");
        self
    }

    pub(crate) fn first_name(mut self, text: &str) -> Self {
        self.0.user.first_name = first_name(text);
        self
    }

    pub(crate) fn avatar(mut self, text: &str) -> Self {
        self.0.user.avatar = Some(text.to_owned());
        self
    }

    pub(crate) fn role(mut self, role: Role) -> Self {
        self.0.user.role = role;
        self
    }

    pub(crate) fn inactive(mut self) -> Self {
        self.0.user.is_active = false;
        self
    }

    pub(crate) fn verified_and_seen_at(mut self, at: Timestamp) -> Self {
        self.0.user.email_verified_at = Some(at);
        self.0.user.last_login_at = Some(at);
        self
    }

    pub(crate) fn build(self) -> NewUser {
        self.0
    }

    pub(crate) async fn insert(self, store: &Store) -> User {
        commit(store, async |tx| tx.insert_user(&self.0).await).await;
        self.0.user
    }
}

pub(crate) struct SessionBuilder(NewSession);

impl SessionBuilder {
    pub(crate) fn new(db: &TestDatabase, user_id: UserId) -> Self {
        let now = db.now();
        Self(NewSession {
            id: SessionId::new(&db.clock, &db.random),
            user_id,
            refresh_hash: db.random_hash(),
            created_at: now,
            idle_expires_at: now + days(7),
            absolute_expires_at: now + days(30),
            remember: true,
            transport: Transport::Cookie,
            ip: Some("2001:db8::1".parse().expect("an address")),
            user_agent: Some("Mozilla/5.0".to_owned()),
            amr: vec![Amr::Password, Amr::OneTimePassword],
            user_epoch: 1,
        })
    }

    /// Sets the idle limit.
    pub(crate) fn idle_for(mut self, limit: Duration) -> Self {
        self.0.idle_expires_at = self.0.created_at + limit;
        self
    }

    /// Sets both limits to one instant.
    pub(crate) fn ends_at(mut self, at: Timestamp) -> Self {
        self.0.idle_expires_at = at;
        self.0.absolute_expires_at = at;
        self
    }

    pub(crate) fn user_agent(mut self, text: &str) -> Self {
        self.0.user_agent = Some(text.to_owned());
        self
    }

    pub(crate) fn build(self) -> NewSession {
        self.0
    }

    pub(crate) async fn insert(self, store: &Store) -> NewSession {
        commit(store, async |tx| tx.insert_session(&self.0).await).await;
        self.0
    }
}

/// Returns a token for nobody that is good for half an hour.
pub(crate) fn one_time_token(db: &TestDatabase, purpose: TokenPurpose) -> NewOneTimeToken {
    let now = db.now();
    let (hash, expires_at) = (db.random_hash(), now + seconds(1800));
    NewOneTimeToken { hash, purpose, user_id: None, created_at: now, expires_at }
}

/// Returns a key that signs from now on.
pub(crate) fn signing_key(db: &TestDatabase, kid: &str) -> SigningKey {
    SigningKey {
        kid: kid.to_owned(),
        algorithm: "EdDSA".to_owned(),
        public_key: db.random_hash().to_vec(),
        sealed_private: vec![0, 1, 255],
        created_at: db.now(),
        signs_from: db.now(),
        retired_at: None,
    }
}

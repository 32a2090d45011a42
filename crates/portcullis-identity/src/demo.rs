//! The demo account (contract §3): an ADMIN that no table knows, for trying
//! things out in development.

use std::collections::HashMap;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_model::policy::Environment;
use portcullis_model::secret::constant_time_eq;
use portcullis_model::{
    Email, PersonName, Role, SecretString, SessionId, SessionState, Timestamp, User, UserId, Username,
};
use uuid::Uuid;

use crate::account::SessionView;
use crate::audit::Caller;
use crate::error::IdentityError;
use crate::identity::Identity;
use crate::login::{LoginInput, SignIn};
use crate::refresh_token::Presented;
use crate::tokens::{IssuedTokens, Subject};

/// The demo account's id, the same everywhere.
const DEMO_USER: Uuid = Uuid::from_u128(0x00000000_0000_7000_8000_00000000de40);

/// `DEMO_USER_EMAIL` and `DEMO_USER_PASSWORD`.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The address, exactly as it must be typed.
    pub email: String,
    /// The password, exactly as it must be typed.
    pub password: SecretString,
}

pub(crate) struct Demo {
    options: DemoOptions,
    environment: Environment,
    /// Live demo sessions and the refresh token each expects.
    sessions: Mutex<HashMap<SessionId, [u8; 32]>>,
}

impl Demo {
    pub(crate) fn new(options: DemoOptions, environment: Environment) -> Self {
        Self { options, environment, sessions: Mutex::default() }
    }

    /// In production the pair is known, so that it can be refused by its own name.
    pub(crate) fn is_refused(&self) -> bool {
        self.environment == Environment::Production
    }

    pub(crate) fn is_for(&self, input: &LoginInput) -> bool {
        let email = constant_time_eq(self.options.email.as_bytes(), input.email.as_bytes());
        let password = constant_time_eq(self.options.password.expose().as_bytes(), input.password.expose().as_bytes());
        email && password
    }

    pub(crate) fn holds(&self, session: SessionId) -> bool {
        self.lock().contains_key(&session)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, [u8; 32]>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn user(&self, now: Timestamp) -> User {
        let name = |text: &str| PersonName::from_stored(text.to_owned());
        User {
            id: UserId(DEMO_USER),
            email: Email::from_stored(self.options.email.clone()),
            username: Username::from_stored("demo".to_owned()),
            first_name: name("Demo"),
            last_name: name("User"),
            avatar: None,
            role: Role::Admin,
            is_active: true,
            email_verified_at: Some(now),
            last_login_at: Some(now),
            created_at: now,
            updated_at: now,
        }
    }
}

impl Identity {
    pub(crate) fn demo_login(&self, demo: &Demo, _caller: &Caller) -> Result<SignIn, IdentityError> {
        if demo.is_refused() {
            return Err(IdentityError::DemoInProduction);
        }
        let now = self.clock.now();
        let user = demo.user(now);
        let id = SessionId::new(&self.clock, &self.random);
        let (refresh, hash) = self.refresh_tokens.make(id);
        let amr: Arc<[String]> = Arc::from(["pwd".to_owned()]);
        let expires = now + self.options.absolute;
        self.sessions.insert_demo(SessionState {
            id,
            user_id: user.id,
            role: user.role,
            permissions: Arc::clone(self.sessions.roles().of(user.role)),
            email: user.email.clone(),
            email_verified: true,
            amr: Arc::clone(&amr),
            authenticated_at: now.timestamp(),
            session_epoch: 1,
            user_epoch: 1,
            token_epoch: 1,
            expires_at: expires.timestamp(),
            demo: true,
            last_seen: AtomicI64::new(now.timestamp()),
        });
        demo.lock().insert(id, hash);
        let subject = Subject { user: &user, role: user.role, session: id, ver: 1, amr: &amr, demo: true };
        let tokens = self.issue(&subject, refresh);
        Ok(SignIn { user, tokens })
    }

    pub(crate) fn demo_refresh(&self, demo: &Demo, presented: &Presented) -> Result<IssuedTokens, IdentityError> {
        let (refresh, hash) = self.refresh_tokens.make(presented.session);
        match demo.lock().get_mut(&presented.session) {
            Some(current) if *current == presented.hash => *current = hash,
            _ => return Err(IdentityError::InvalidRefreshToken),
        }
        let user = demo.user(self.clock.now());
        let amr = ["pwd".to_owned()];
        let subject =
            Subject { user: &user, role: user.role, session: presented.session, ver: 1, amr: &amr, demo: true };
        Ok(self.issue(&subject, refresh))
    }

    pub(crate) fn demo_logout(&self, session: SessionId) -> Result<(), IdentityError> {
        self.sessions.remove_demo(session);
        if let Some(demo) = &self.demo {
            demo.lock().remove(&session);
        }
        Ok(())
    }

    pub(crate) fn demo_user(&self) -> Result<User, IdentityError> {
        let demo = self.demo.as_ref().ok_or(IdentityError::NotFound)?;
        Ok(demo.user(self.clock.now()))
    }

    pub(crate) fn demo_sessions(&self, session: &SessionState) -> Vec<SessionView> {
        let at = |seconds: i64| Timestamp::from_timestamp(seconds, 0).unwrap_or(Timestamp::UNIX_EPOCH);
        vec![SessionView {
            id: session.id,
            created_at: at(session.authenticated_at),
            last_seen_at: self.clock.now(),
            expires_at: at(session.expires_at),
            ip: None,
            user_agent: None,
        }]
    }
}

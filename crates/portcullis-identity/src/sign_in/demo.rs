//! The demo account (contract §3): an ADMIN that no table knows, for trying
//! things out in development.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use portcullis_model::policy::Environment;
use portcullis_model::secret::constant_time_eq;
use portcullis_model::{
    Email, ProfileName, Role, SecretString, SessionId, SessionState, Timestamp, User, UserId, Username,
};
use uuid::Uuid;

use crate::audit::Caller;
use crate::error::IdentityError;
use crate::refresh_token::PresentedToken;
use crate::session_issuer::{IssuedTokens, PASSWORD_METHOD, TokenSubject};
use crate::sign_in::demo_sessions::{DemoSessions, Exchange, Live, exchange};
use crate::sign_in::{LoginInput, SignIn, SignedIn};

/// The demo account's id, the same everywhere.
const DEMO_USER: Uuid = Uuid::from_u128(0x00000000_0000_7000_8000_00000000de40);
/// It never changes, so neither does its epoch.
const DEMO_EPOCH: i64 = 1;

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
    sessions: DemoSessions,
}

impl Demo {
    pub(crate) fn new(options: DemoOptions, environment: Environment) -> Self {
        Self { options, environment, sessions: DemoSessions::default() }
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

    pub(crate) fn holds(&self, session: SessionId, now: Timestamp) -> bool {
        self.sessions.live(now).contains_key(&session)
    }

    pub(crate) fn user(&self, now: Timestamp) -> User {
        let name = |text: &str| ProfileName::from_stored(text.to_owned());
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

impl SignIn {
    pub(crate) async fn demo_login(&self, demo: &Demo, caller: &Caller) -> Result<SignedIn, IdentityError> {
        let now = self.clock.now();
        if demo.is_refused() {
            let event = caller.failure("auth.login", now, None, "the demo account in production");
            self.store.append_audit(&event).await?;
            return Err(IdentityError::DemoInProduction);
        }
        let user = demo.user(now);
        let id = SessionId::new(&self.clock, &self.issuer.random);
        let (refresh, refresh_hash) = self.issuer.refresh_tokens.make(id);
        let live = Live {
            refresh_hash,
            began: now,
            idle_until: now + self.issuer.lifetimes.refresh_idle,
            until: now + self.issuer.lifetimes.absolute,
            rotated: Vec::new(),
        };
        self.store.append_audit(&caller.success("auth.login", now, user.id, Some(id))).await?;
        let mut sessions = demo.sessions.live(now);
        self.show_demo_session(&user, id, &live);
        sessions.insert(id, live);
        drop(sessions);
        let tokens = self.demo_tokens(&user, id, refresh);
        Ok(SignedIn { user, tokens })
    }

    pub(crate) async fn demo_refresh(
        &self,
        demo: &Demo,
        presented: &PresentedToken,
        caller: &Caller,
    ) -> Result<IssuedTokens, IdentityError> {
        let (id, now) = (presented.session, self.clock.now());
        let user = demo.user(now);
        let limits = (self.issuer.lifetimes.refresh_idle, self.grace);
        let exchanged = {
            let mut sessions = demo.sessions.live(now);
            let exchanged = sessions
                .get_mut(&id)
                .map_or(Exchange::Unknown, |live| exchange(live, presented, &self.issuer.refresh_tokens, now, limits));
            match (&exchanged, sessions.get(&id)) {
                (Exchange::Successor(_), Some(live)) => self.show_demo_session(&user, id, live),
                (Exchange::Reused, _) => {
                    sessions.remove(&id);
                    self.cache.remove_demo(id);
                }
                _ => {}
            }
            exchanged
        };
        let (event, answer) = match exchanged {
            Exchange::Successor(refresh) => {
                (caller.success("auth.refresh", now, user.id, Some(id)), Ok(self.demo_tokens(&user, id, refresh)))
            }
            Exchange::Reused => {
                let reason = "a rotated refresh token was used again";
                let mut event = caller.failure("auth.refresh_reuse", now, Some(user.id), reason);
                event.session_id = Some(id);
                (event, Err(IdentityError::InvalidRefreshToken))
            }
            Exchange::Unknown => (
                caller.failure("auth.refresh", now, None, "not a live session's token"),
                Err(IdentityError::InvalidRefreshToken),
            ),
        };
        self.store.append_audit(&event).await?;
        answer
    }

    /// Ends a demo session, or all of them.
    pub(crate) async fn demo_logout(
        &self,
        demo: &Demo,
        id: SessionId,
        all: bool,
        caller: &Caller,
    ) -> Result<(), IdentityError> {
        let now = self.clock.now();
        demo.sessions.live(now).retain(|other, _| {
            let stays = !all && *other != id;
            if !stays {
                self.cache.remove_demo(*other);
            }
            stays
        });
        let action = if all { "auth.logout_all" } else { "auth.logout" };
        self.store.append_audit(&caller.success(action, now, UserId(DEMO_USER), Some(id))).await?;
        Ok(())
    }

    /// Whether the token opens a live demo session, or opened it a moment ago.
    pub(crate) fn demo_session_of(&self, demo: &Demo, presented: &PresentedToken) -> bool {
        let now = self.clock.now();
        let sessions = demo.sessions.live(now);
        sessions.get(&presented.session).is_some_and(|live| live.knows(presented, now, self.grace))
    }

    /// Lets the gate find the session, with the end it has now.
    fn show_demo_session(&self, user: &User, id: SessionId, live: &Live) {
        self.cache.insert_demo(SessionState {
            id,
            user_id: user.id,
            role: user.role,
            permissions: Arc::clone(self.cache.roles().of(user.role)),
            email: user.email.clone(),
            email_verified: true,
            amr: Arc::from([PASSWORD_METHOD.to_owned()]),
            authenticated_at: live.began.timestamp(),
            session_epoch: DEMO_EPOCH,
            user_epoch: DEMO_EPOCH,
            token_epoch: DEMO_EPOCH,
            expires_at: live.ends().timestamp(),
            demo: true,
            api_key: None,
            last_seen: AtomicI64::new(self.clock.unix_seconds()),
        });
    }

    fn demo_tokens(&self, user: &User, session: SessionId, refresh: SecretString) -> IssuedTokens {
        let amr = [PASSWORD_METHOD.to_owned()];
        let subject = TokenSubject { user, session, epoch: DEMO_EPOCH, amr: &amr, demo: true };
        self.issuer.tokens(&subject, refresh)
    }
}

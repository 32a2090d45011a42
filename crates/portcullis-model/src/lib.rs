//! The types and rules that every crate shares: users, sessions, routes, policies, limits. Nothing here reads a file or a
//! socket, and only [`Clock`] reads the system's time.

pub mod amr;
pub mod api_key;
pub mod api_time;
pub mod client_network;
pub mod clock;
pub mod duration;
pub mod email;
pub mod finding;
pub mod ids;
pub mod input;
pub mod limit;
pub mod mail;
pub mod name;
pub mod password;
pub mod permission;
pub mod policy;
pub mod random;
pub mod rate;
pub mod role;
pub mod secret;
pub mod session;
pub mod shared;
pub mod size;
pub mod token;
pub mod user;
pub mod username;

pub use amr::Amr;
pub use api_key::ApiKey;
pub use api_time::ApiTime;
pub use client_network::ClientNetwork;
pub use clock::{Clock, Timestamp};
pub use email::Email;
pub use finding::Finding;
pub use ids::{SessionId, UserId};
pub use input::InvalidInput;
pub use limit::{Limit, LimitBy, Multipliers, WithoutRedis};
pub use name::ProfileName;
pub use password::{NewPassword, PresentedPassword};
pub use permission::{Permission, PermissionSet};
pub use policy::{
    AuthRequirement, BodyLimit, CorsPolicy, CsrfPolicy, LimitClass, MethodPermissions, Methods, RoutePolicy,
    STANDARD_METHODS,
};
pub use random::Random;
pub use rate::Rate;
pub use role::{Role, RolePermissions};
pub use secret::{SecretBytes, SecretRing, SecretString};
pub use session::{
    ApiKeyScopes, Revocation, RevocationListener, SessionEnd, SessionSource, SessionState, SessionsUnavailable,
    Transport, UnknownTransport,
};
pub use shared::{GcraOutcome, ReplicaNotifier, SessionCopy, SharedLimits, SharedSessions, SharedUnavailable};
pub use token::{AccessTokenVerifier, TokenError, VerifiedToken};
pub use user::User;
pub use username::Username;

//! Sessions held in this process, the revocation feed that keeps them true, and the copies that replicas share.
//!
//! The gate looks a session up in the [`SessionCache`] on every request. A hit costs no statement and no waiting. A
//! [`RevocationFeed`] reads the revocation log twice a second, so that the end of a session on one replica ends its
//! copies on all of them. The SQL behind both is in `portcullis-storage`.

mod cache;
mod cached_session;
mod epoch_floors;
mod feed;
mod feed_age;
mod single_flight;
mod unknown_keys;

pub use cache::{SessionCache, SessionCacheOptions};
pub use feed::RevocationFeed;

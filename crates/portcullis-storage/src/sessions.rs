//! Sessions: their rows, their end, and the rotation of their refresh tokens.

mod ending;
mod record;
mod refresh;

pub use ending::EndReason;
pub use record::{NewSession, SessionRecord};
pub use refresh::{Grace, RefreshView, Rotation};

//! Sessions: inserting, reading and ending them, and rotating their refresh tokens.

mod ending;
mod record;
mod refresh;
mod state;

pub use ending::EndReason;
pub use record::{NewSession, SessionRecord};
pub use refresh::{GraceWindow, RefreshView, Rotation};

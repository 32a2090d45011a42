//! The part of loading that knows nothing of a particular section: layers of sources, typed reading of declared keys,
//! messages with a place and a hint, and the reference page.

pub(crate) mod changed_keys;
pub(crate) mod dotenv;
pub(crate) mod effective;
pub(crate) mod file_permissions;
pub(crate) mod key;
pub(crate) mod layers;
pub(crate) mod notice;
pub(crate) mod reader;
pub(crate) mod reference;
pub(crate) mod sources;
pub(crate) mod stored;
pub(crate) mod tree;
pub(crate) mod values;
pub(crate) mod variables;

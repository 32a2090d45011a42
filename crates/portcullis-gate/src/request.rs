//! What the gate reads from a request before it decides: its id, path, client, cookies, origin and body.

pub(crate) mod body;
pub(crate) mod client_address;
pub(crate) mod cookies;
pub(crate) mod head;
pub(crate) mod head_fault;
pub(crate) mod host;
pub(crate) mod origin;
pub(crate) mod path;
pub(crate) mod propagation;
pub(crate) mod query;
pub(crate) mod request_id;
pub(crate) mod server_span;
pub(crate) mod trace_context;
pub(crate) mod untrusted_forwarder;
pub(crate) mod upgrade;

//! A server that answers as HashiCorp Vault does, as far as the gateway asks it. Vault itself cannot be installed from the
//! registries of Debian, PyPI, npm and crates.io. Each answer names the page of Vault's documentation that has it
//! (developer.hashicorp.com/vault/api-docs, version 1.21); what only the sources of Vault show is named so.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::http_fake::{Answer, HttpFake, Request};

/// A Vault with one secret of KV version 2 at `secret/gate`.
pub struct FakeVault {
    server: HttpFake,
    state: Arc<Mutex<State>>,
}

struct State {
    is_sealed: bool,
    namespace: Option<String>,
    /// The secret as JSON; `None` before the first version.
    secret: Option<Value>,
    version: u64,
    is_deleted: bool,
    ttl: u64,
    creation_ttl: u64,
    is_renewable: bool,
    fixed: Option<Answer>,
    requests: Vec<String>,
}

const TOKEN: &str = "hvs.CAESIGoodTokenOfTheTest";

impl FakeVault {
    /// Starts an unsealed Vault with one token, whose policy may read the secret.
    pub fn start() -> Self {
        let state = State {
            is_sealed: false,
            namespace: None,
            secret: None,
            version: 0,
            is_deleted: false,
            ttl: 2_764_800,
            creation_ttl: 2_764_800,
            is_renewable: true,
            fixed: None,
            requests: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let answering = Arc::clone(&state);
        let server = HttpFake::start(move |request| locked(&answering).answer(request));
        Self { server, state }
    }

    /// Moves the secret into a namespace.
    pub fn in_namespace(self, namespace: &str) -> Self {
        self.state().namespace = Some(namespace.to_owned());
        self
    }

    /// The address, for `secrets.vault.address`.
    pub fn address(&self) -> String {
        self.server.url()
    }

    /// The token that may read the secret.
    pub fn token(&self) -> &'static str {
        TOKEN
    }

    /// Writes a version of the secret, a JSON object.
    pub fn put(&self, secret: &str) {
        let mut state = self.state();
        state.secret = Some(serde_json::from_str(secret).expect("a secret is JSON"));
        state.version += 1;
        state.is_deleted = false;
    }

    /// Deletes the newest version of the secret.
    pub fn delete(&self) {
        self.state().is_deleted = true;
    }

    /// Seals it: every request is refused.
    pub fn seal(&self) {
        self.state().is_sealed = true;
    }

    /// Unseals it.
    pub fn unseal(&self) {
        self.state().is_sealed = false;
    }

    /// Sets how many seconds the token has left and had at first, and whether it can be renewed.
    pub fn set_token_life(&self, ttl: u64, creation_ttl: u64, is_renewable: bool) {
        let mut state = self.state();
        (state.ttl, state.creation_ttl, state.is_renewable) = (ttl, creation_ttl, is_renewable);
    }

    /// Answers every further request with this.
    pub fn answer_always(&self, status: u16, body: &str) {
        self.state().fixed = Some((status, body.to_owned()));
    }

    /// The method and the path of every request so far.
    pub fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn errors(status: u16, errors: &[&str]) -> Answer {
    (status, json!({ "errors": errors }).to_string())
}

impl State {
    fn answer(&mut self, request: &Request) -> Answer {
        self.requests.push(format!("{} {}", request.method, request.path));
        if let Some(fixed) = &self.fixed {
            return fixed.clone();
        }
        // api-docs, "HTTP status codes": 503, Vault is down for maintenance or is currently sealed.
        if self.is_sealed {
            return errors(503, &["Vault is sealed"]);
        }
        // api-docs/index, "Namespaces": the same path in another namespace is another path, for which the token has no right.
        let namespace = request.header("x-vault-namespace");
        let is_here = namespace.trim_matches('/') == self.namespace.as_deref().unwrap_or_default();
        // api-docs, "HTTP status codes": 403, the authentication details are incorrect, or you have no access.
        if request.header("x-vault-token") != TOKEN || !is_here {
            return errors(403, &["permission denied"]);
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/v1/secret/data/gate") => self.read(),
            ("GET", "/v1/auth/token/lookup-self") => self.lookup(),
            ("POST" | "PUT", "/v1/auth/token/renew-self") => self.renew(),
            // vault/request_handling.go: the wording.
            (_, path) => errors(404, &[&format!("no handler for route {:?}. route entry not found.", &path[4..])]),
        }
    }

    /// api-docs/secret/kv/kv-v2, "Read secret version".
    fn read(&self) -> Answer {
        let metadata = |deletion_time: &str| {
            json!({ "created_time": "2026-03-22T02:24:06.945319214Z", "custom_metadata": null,
                "deletion_time": deletion_time, "destroyed": false, "version": self.version })
        };
        let body = |data: &Value, metadata: Value| {
            json!({ "request_id": "be35cd38", "lease_id": "", "renewable": false, "lease_duration": 0,
                "data": { "data": data, "metadata": metadata }, "wrap_info": null, "warnings": null, "auth": null })
            .to_string()
        };
        match &self.secret {
            // The same page, "Delete latest version of secret", and path_data.go: the answer is 404 with the metadata.
            Some(_) if self.is_deleted => (404, body(&Value::Null, metadata("2026-03-22T02:36:43.986212308Z"))),
            Some(secret) => (200, body(secret, metadata(""))),
            // api-docs, "Error response": an error without text.
            None => errors(404, &[]),
        }
    }

    /// api-docs/auth/token, "Lookup a token (self)".
    fn lookup(&self) -> Answer {
        let data = json!({ "accessor": "8609694a", "creation_time": 1_523_979_354, "creation_ttl": self.creation_ttl,
            "display_name": "token", "explicit_max_ttl": 0, "id": TOKEN, "num_uses": 0, "orphan": false,
            "path": "auth/token/create", "policies": ["default", "gate"], "renewable": self.is_renewable,
            "ttl": self.ttl, "type": "service" });
        (200, json!({ "request_id": "be35cd38", "data": data, "auth": null }).to_string())
    }

    /// api-docs/auth/token, "Renew a token (self)".
    fn renew(&mut self) -> Answer {
        if !self.is_renewable {
            // vault/expiration.go: the wording.
            return errors(400, &["lease is not renewable"]);
        }
        self.ttl = self.creation_ttl;
        let auth = json!({ "client_token": TOKEN, "accessor": "8609694a", "policies": ["default", "gate"],
            "lease_duration": self.ttl, "renewable": true });
        (200, json!({ "request_id": "be35cd38", "data": null, "auth": auth }).to_string())
    }
}

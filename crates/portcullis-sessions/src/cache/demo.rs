//! Demo sessions, which the database does not know.

use std::collections::HashMap;
use std::sync::Arc;

use portcullis_model::{Revocation, RolePermissions, SessionId, SessionState};

use super::{SessionCache, with_roles};

impl SessionCache {
    /// Holds a demo session until it expires or is removed.
    pub fn insert_demo(&self, state: SessionState) {
        let state = Arc::new(state);
        let now = self.store.clock().unix_seconds();
        self.demo.rcu(|demo| {
            let mut demo = HashMap::clone(demo);
            demo.retain(|_, other| now < other.expires_at);
            demo.insert(state.id, Arc::clone(&state));
            demo
        });
    }

    /// Ends a demo session and notifies the listeners; `false` when there is no such session.
    pub fn remove_demo(&self, id: SessionId) -> bool {
        let before = self.demo.rcu(|demo| {
            let mut demo = HashMap::clone(demo);
            demo.remove(&id);
            demo
        });
        let Some(state) = before.get(&id) else { return false };
        self.store.announce(Revocation {
            user_id: state.user_id,
            session_id: Some(id),
            epoch: state.session_epoch.saturating_add(1),
            ends: true,
        });
        true
    }

    pub(super) fn set_demo_roles(&self, roles: &RolePermissions) {
        self.demo.rcu(|demo| {
            demo.iter().map(|(id, state)| (*id, Arc::new(with_roles(state, roles)))).collect::<HashMap<_, _>>()
        });
    }
}

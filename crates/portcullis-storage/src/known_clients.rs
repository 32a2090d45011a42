//! The clients where a user signed in (SR-09, SR-62). Failures of others never lock a user out of a known client.

use portcullis_model::{Timestamp, UserId};

use crate::engine::error::StoreError;
use crate::engine::statement::{Executor, Sql};
use crate::store::Tx;

static REMEMBER: Sql = Sql::insert(
    "known_clients",
    "INSERT INTO known_clients (user_id, client, known_until) VALUES ($1, $2, $3) \
     ON CONFLICT (user_id, client) DO UPDATE SET known_until = \
     CASE WHEN known_clients.known_until > excluded.known_until THEN known_clients.known_until \
     ELSE excluded.known_until END",
);
/// Keeps the hundred clients of a user that stay known for longest.
static FORGET_OLDEST: Sql = Sql::delete(
    "known_clients",
    "DELETE FROM known_clients WHERE user_id = $1 AND known_until < (SELECT MIN(newest.known_until) FROM \
     (SELECT known_until FROM known_clients WHERE user_id = $1 ORDER BY known_until DESC LIMIT 100) AS newest)",
);

impl Tx {
    /// Records that a user was at a client, given by the SHA-256 of its network.
    pub async fn remember_client(
        &mut self,
        user: UserId,
        client: [u8; 32],
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(&REMEMBER, vec![user.into(), client.into(), until.into()]).await.map(|_| ())
    }

    /// Forgets the clients of a user beyond the hundred that stay known for longest.
    pub async fn forget_oldest_clients(&mut self, user: UserId) -> Result<(), StoreError> {
        self.execute(&FORGET_OLDEST, vec![user.into()]).await.map(|_| ())
    }
}

//! The revocation log: how entries are written, and who in this process is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use crate::value::Value;
use portcullis_model::{ReplicaNotifier, Revocation, RevocationListener, SessionId, UserId};

use crate::error::StoreError;
use crate::listen::CHANNEL;
use crate::statement::{Runs, Sql};
use crate::tx::Tx;

/// An entry that its transaction's commit will write.
pub(crate) type Pending = Revocation;

/// How long a told entry is remembered: longer than the feed's overlap shows it again.
const TOLD_FOR: Duration = Duration::from_secs(60);
/// Entries in one INSERT: five parameters each, far below either engine's bound.
const BATCH: usize = 200;

static APPEND: Sql = Sql::insert("revocations", "");

/// Writes the entries and gives their numbers.
pub(crate) async fn append(tx: &Tx, entries: &[Pending]) -> Result<Vec<i64>, StoreError> {
    let mut written = Vec::with_capacity(entries.len());
    for batch in entries.chunks(BATCH) {
        let mut rows = String::new();
        let mut values: Vec<Value> = vec![tx.now_value()];
        let now = tx.dialect().now("$1");
        for entry in batch {
            let n = values.len();
            let comma = if rows.is_empty() { "" } else { ", " };
            rows.push_str(&format!("{comma}({now}, ${}, ${}, ${}, ${})", n + 1, n + 2, n + 3, n + 4));
            values.push(entry.user_id.0.into());
            values.push(entry.session_id.map(|id| id.0).into());
            values.push(entry.epoch.into());
            values.push(entry.ends.into());
        }
        let told = tx.notification();
        let text =
            format!("INSERT INTO revocations (at, user_id, session_id, epoch, ends) VALUES {rows} RETURNING seq{told}");
        for row in tx.all(&APPEND.with_text(text), values).await? {
            written.push(row.get("seq")?);
        }
    }
    Ok(written)
}

impl Tx {
    /// What makes PostgreSQL notify the other replicas at the commit, once however often it is said.
    fn notification(&self) -> String {
        match self.store.inner.engine.listening {
            Some(_) => format!(", CAST(pg_notify('{CHANNEL}', '{}') AS TEXT) AS told", self.store.inner.replica),
            None => String::new(),
        }
    }

    /// Notes that a session has ended.
    pub(crate) fn session_ended(&mut self, user_id: UserId, session_id: SessionId, epoch: i64) {
        self.pending.push(Revocation { user_id, session_id: Some(session_id), epoch, ends: true });
    }

    /// Notes that every copy of a user's sessions is stale, or that all of them have ended.
    pub(crate) fn user_changed(&mut self, user_id: UserId, epoch: i64, ends: bool) {
        self.pending.push(Revocation { user_id, session_id: None, epoch, ends });
    }
}

/// Tells the listeners of this process, each entry once as far as one can know.
#[derive(Default)]
pub(crate) struct Announcer {
    listeners: RwLock<Vec<Weak<dyn RevocationListener>>>,
    /// Numbers of entries already told, and when.
    told: Mutex<HashMap<i64, Instant>>,
    notifier: OnceLock<Arc<dyn ReplicaNotifier>>,
}

impl Announcer {
    pub(crate) fn set_notifier(&self, notifier: Arc<dyn ReplicaNotifier>) {
        // The first notifier stays: a second one would reach the same replicas twice.
        let _ = self.notifier.set(notifier);
    }

    pub(crate) fn subscribe<L: RevocationListener>(&self, listener: &Arc<L>) {
        let listener: Arc<dyn RevocationListener> = Arc::<L>::clone(listener);
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|known| known.strong_count() > 0);
        listeners.push(Arc::downgrade(&listener));
    }

    /// Tells what a transaction of ours has just committed. Only now are the numbers noted as told: had the
    /// commit failed half-way, the feed would still have to tell them.
    pub(crate) fn committed(&self, written: &[i64], entries: Vec<Pending>) {
        if entries.is_empty() {
            return;
        }
        {
            let now = Instant::now();
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.extend(written.iter().map(|seq| (*seq, now)));
        }
        for entry in entries {
            self.tell(&entry);
        }
        if let Some(notifier) = self.notifier.get().filter(|_| !written.is_empty()) {
            notifier.notify();
        }
    }

    /// Tells what the feed has read, but for entries that were told before.
    pub(crate) fn read(&self, entries: &[(i64, Revocation)]) {
        let now = Instant::now();
        let fresh: Vec<&Revocation> = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            told.retain(|_, at| now.duration_since(*at) < TOLD_FOR);
            entries.iter().filter(|(seq, _)| told.insert(*seq, now).is_none()).map(|(_, entry)| entry).collect()
        };
        for entry in fresh {
            self.tell(entry);
        }
    }

    fn tell(&self, entry: &Revocation) {
        let listeners: Vec<Arc<dyn RevocationListener>> = {
            let known = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
            known.iter().filter_map(Weak::upgrade).collect()
        };
        for listener in listeners {
            listener.revoked(entry);
        }
    }
}

//! The hashing room: argon2id on its own bounded threads with reused memory,
//! behind a queue with a length, so that sign-ins never starve the gate
//! (requirement 6; OWASP Password Storage).

mod argon2;
mod bcrypt;
mod pbkdf2;
mod scrypt;
pub(crate) mod stored;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_model::{Random, SecretString};
use tokio::sync::oneshot;

use crate::hashing::argon2::{Memory, SALT_BYTES, phc};
use crate::hashing::stored::StoredHash;

/// How much nicer than the rest of the process these threads are: with all of
/// them busy, a request for the gate is still scheduled first.
const NICENESS: i32 = 10;

/// How large the room is.
#[derive(Clone, Copy, Debug)]
pub struct HashingOptions {
    /// Threads, 19 MiB each once they have hashed.
    pub threads: usize,
    /// Passwords that may wait for a thread.
    pub queue: usize,
}

impl Default for HashingOptions {
    /// A thread for each core, 64 waiting.
    fn default() -> Self {
        Self { threads: std::thread::available_parallelism().map_or(1, usize::from), queue: 64 }
    }
}

/// Hashes and compares passwords.
pub struct HashingRoom {
    jobs: SyncSender<Job>,
    random: Random,
    done: Arc<AtomicU64>,
}

/// The queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are waiting to be hashed")]
pub(crate) struct Busy;

/// What comparing a password found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) matches: bool,
    /// The stored hash was made with another algorithm or cost (requirement 7).
    pub(crate) outdated: bool,
}

struct Job {
    password: SecretString,
    work: Work,
}

enum Work {
    Make { salt: [u8; SALT_BYTES], reply: oneshot::Sender<SecretString> },
    Compare { stored: Option<SecretString>, salt: [u8; SALT_BYTES], reply: oneshot::Sender<Compared> },
}

impl HashingRoom {
    /// Starts the threads. Memory is taken at the first hash, not before.
    pub fn start(options: HashingOptions, random: Random) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel::<Job>(options.queue);
        let queue = Arc::new(Mutex::new(queue));
        let done = Arc::new(AtomicU64::new(0));
        for n in 0..options.threads.max(1) {
            let (queue, done) = (Arc::clone(&queue), Arc::clone(&done));
            std::thread::Builder::new().name(format!("hashing-{n}")).spawn(move || work(&queue, &done))?;
        }
        Ok(Self { jobs, random, done })
    }

    /// The PHC string of a new password.
    pub(crate) async fn make(&self, password: SecretString) -> Result<SecretString, Busy> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job { password, work: Work::Make { salt: self.random.bytes(), reply } })?;
        Ok(answer.await.expect("a hashing thread answers every job it takes"))
    }

    /// Compares a password. Without a stored hash it does the same work and finds no match (requirement 10).
    pub(crate) async fn compare(&self, password: SecretString, stored: Option<SecretString>) -> Result<Compared, Busy> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job { password, work: Work::Compare { stored, salt: self.random.bytes(), reply } })?;
        Ok(answer.await.expect("a hashing thread answers every job it takes"))
    }

    /// How many hashes were computed so far.
    pub fn hashes(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn submit(&self, job: Job) -> Result<(), Busy> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Busy,
            TrySendError::Disconnected(_) => unreachable!("the threads live as long as the room"),
        })
    }
}

fn work(queue: &Mutex<Receiver<Job>>, done: &AtomicU64) {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
        tracing::debug!(%error, "a hashing thread could not be made nicer");
    }
    let mut memory = Memory::default();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { password, work }) = job else { return };
        match work {
            Work::Make { salt, reply } => {
                let hash = memory.hash(password.expose(), &salt);
                done.fetch_add(1, Ordering::Relaxed);
                // A client that went away needs no answer.
                let _ = reply.send(phc(&salt, &hash));
            }
            Work::Compare { stored, salt, reply } => {
                let compared = compare(&mut memory, password.expose(), stored.as_ref(), &salt);
                done.fetch_add(1, Ordering::Relaxed);
                let _ = reply.send(compared);
            }
        }
    }
}

/// What is known of a password against a stored hash.
fn compare(memory: &mut Memory, password: &str, stored: Option<&SecretString>, salt: &[u8]) -> Compared {
    let Some(stored) = stored.and_then(|stored| StoredHash::parse(stored.expose()).ok()) else {
        memory.hash(password, salt);
        return Compared { matches: false, outdated: false };
    };
    Compared { matches: stored.matches(password, memory), outdated: stored.is_outdated_for(password) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(queue: usize) -> HashingRoom {
        HashingRoom::start(HashingOptions { threads: 1, queue }, Random::system()).expect("a thread")
    }

    fn secret(text: &str) -> SecretString {
        SecretString::new(text)
    }

    #[tokio::test]
    async fn sr_06_the_stored_string_shows_the_cost_and_matches_its_password_only() {
        let room = room(64);
        let stored = room.make(secret("correct horse")).await.expect("room");
        assert!(stored.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.expose());
        let compared = room.compare(secret("correct horse"), Some(stored.clone())).await.expect("room");
        assert_eq!(compared, Compared { matches: true, outdated: false });
        assert!(!room.compare(secret("wrong"), Some(stored.clone())).await.expect("room").matches);
        assert_ne!(room.make(secret("correct horse")).await.expect("room").expose(), stored.expose(), "a salt each");
    }

    #[tokio::test]
    async fn without_a_stored_hash_the_work_is_the_same() {
        let room = room(64);
        assert!(!room.compare(secret("x"), None).await.expect("room").matches);
        assert!(!room.compare(secret("x"), Some(secret("not a hash"))).await.expect("room").matches);
        assert_eq!(room.hashes(), 2);
    }

    #[tokio::test]
    async fn past_the_queue_it_is_busy() {
        let room = room(2);
        let all = futures_util::future::join_all((0..20).map(|_| room.make(secret("x")))).await;
        assert!(all.iter().any(Result::is_err) && all.iter().any(Result::is_ok));
    }
}

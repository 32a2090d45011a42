//! Hashing and comparing passwords: argon2id on a bounded pool of threads with reused memory, behind a bounded queue,
//! so that sign-ins do not take the processor from other requests (SR-06; OWASP Password Storage).

mod argon2;
mod bcrypt;
mod pbkdf2;
mod scrypt;
pub(crate) mod stored;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_model::{PresentedPassword, Random, SecretString};
use portcullis_telemetry::RequestScope;
use tokio::sync::oneshot;

use crate::hashing::argon2::{Memory, SALT_BYTES, phc};
use crate::hashing::stored::StoredHash;

/// Niceness of the hashing threads: when all of them are busy, other requests are still scheduled first.
const NICENESS: i32 = 10;

/// Size of the hashing pool.
#[derive(Clone, Copy, Debug)]
pub struct HashingOptions {
    /// Number of threads; each holds 19 MiB of memory after its first hash.
    pub threads: usize,
    /// The most passwords that wait for a thread.
    pub queue: usize,
}

impl Default for HashingOptions {
    /// One thread per core and 64 waiting passwords.
    fn default() -> Self {
        Self { threads: std::thread::available_parallelism().map_or(1, usize::from), queue: 64 }
    }
}

/// The pool that hashes and compares passwords.
pub struct PasswordHasher {
    jobs: SyncSender<Job>,
    random: Random,
    done: Arc<AtomicU64>,
}

/// The hashing queue is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many passwords are waiting to be hashed")]
pub(crate) struct Busy;

/// The result of comparing a password with a stored hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compared {
    pub(crate) matches: bool,
    /// Whether the stored hash has another algorithm or cost than today's (SR-07).
    pub(crate) outdated: bool,
}

struct Job {
    scope: RequestScope,
    password: SecretString,
    work: Work,
}

enum Work {
    Make { salt: [u8; SALT_BYTES], reply: oneshot::Sender<SecretString> },
    Compare { stored: Option<SecretString>, salt: [u8; SALT_BYTES], reply: oneshot::Sender<Compared> },
}

impl PasswordHasher {
    /// Starts the threads. A thread takes its memory at its first hash.
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

    /// Hashes a password at today's cost and returns the PHC string to store.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<SecretString, Busy> {
        let (reply, answer) = oneshot::channel();
        self.submit(Job {
            scope: RequestScope::current(),
            password,
            work: Work::Make { salt: self.random.bytes(), reply },
        })?;
        Ok(answer.await.expect("a hashing thread answers every job it takes"))
    }

    /// Compares a password with a stored hash. Without a stored hash it does the same work and never matches (SR-10).
    pub(crate) async fn compare(
        &self,
        password: &PresentedPassword,
        stored: Option<SecretString>,
    ) -> Result<Compared, Busy> {
        let (reply, answer) = oneshot::channel();
        let password = SecretString::new(password.expose());
        let work = Work::Compare { stored, salt: self.random.bytes(), reply };
        self.submit(Job { scope: RequestScope::current(), password, work })?;
        Ok(answer.await.expect("a hashing thread answers every job it takes"))
    }

    /// Number of hashes computed since the start.
    pub fn hashes(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn submit(&self, job: Job) -> Result<(), Busy> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Busy,
            TrySendError::Disconnected(_) => unreachable!("the threads live as long as the pool"),
        })
    }
}

fn work(queue: &Mutex<Receiver<Job>>, done: &AtomicU64) {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
        tracing::debug!(%error, "the niceness of a hashing thread could not be set");
    }
    let mut memory = Memory::default();
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { scope, password, work }) = job else { return };
        let _entered = scope.enter();
        match work {
            Work::Make { salt, reply } => {
                let hash = memory.hash(password.expose(), &salt);
                done.fetch_add(1, Ordering::Relaxed);
                // The receiver is gone when the client went away.
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

    fn hasher(queue: usize) -> PasswordHasher {
        PasswordHasher::start(HashingOptions { threads: 1, queue }, Random::system()).expect("a thread")
    }

    fn presented(text: &str) -> PresentedPassword {
        PresentedPassword::new(text)
    }

    fn secret(text: &str) -> SecretString {
        SecretString::new(text)
    }

    #[tokio::test]
    async fn sr_06_a_hash_states_its_cost_and_matches_one_password() {
        let hasher = hasher(64);
        let stored = hasher.hash(secret("correct horse")).await.expect("the queue has room");
        assert!(stored.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", stored.expose());
        let compared =
            hasher.compare(&presented("correct horse"), Some(stored.clone())).await.expect("the queue has room");
        assert_eq!(compared, Compared { matches: true, outdated: false });
        assert!(!hasher.compare(&presented("wrong"), Some(stored.clone())).await.expect("the queue has room").matches);
        assert_ne!(
            hasher.hash(secret("correct horse")).await.expect("the queue has room").expose(),
            stored.expose(),
            "two hashes share a salt"
        );
    }

    #[tokio::test]
    async fn comparing_without_a_stored_hash_costs_one_hash() {
        let hasher = hasher(64);
        assert!(!hasher.compare(&presented("x"), None).await.expect("the queue has room").matches);
        assert!(
            !hasher.compare(&presented("x"), Some(secret("not a hash"))).await.expect("the queue has room").matches
        );
        assert_eq!(hasher.hashes(), 2);
    }

    #[tokio::test]
    async fn a_full_queue_refuses_passwords() {
        let hasher = hasher(2);
        let all = futures_util::future::join_all((0..20).map(|_| hasher.hash(secret("x")))).await;
        assert!(all.iter().any(Result::is_err) && all.iter().any(Result::is_ok));
    }
}

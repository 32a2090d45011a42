//! The hashing room: argon2id on its own bounded threads with reused memory,
//! behind a queue with a length, so that sign-ins never starve the gate
//! (requirement 6; OWASP Password Storage).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use portcullis_model::secret::constant_time_eq;
use portcullis_model::{Random, SecretString};
use tokio::sync::oneshot;

/// Memory of one hash, in KiB.
const MEMORY_KIB: u32 = 19_456;
const ITERATIONS: u32 = 2;
const LANES: u32 = 1;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// The most an imported hash may cost (requirement 8).
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_ITERATIONS: u32 = 10;
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
    let mut memory = Memory(Vec::new());
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { password, work }) = job else { return };
        match work {
            Work::Make { salt, reply } => {
                let hash = memory.hash(password.expose(), &salt, &params());
                done.fetch_add(1, Ordering::Relaxed);
                // A client that went away needs no answer.
                let _ = reply.send(phc(&salt, &hash));
            }
            Work::Compare { stored, salt, reply } => {
                let compared = memory.compare(password.expose(), stored.as_ref(), &salt);
                done.fetch_add(1, Ordering::Relaxed);
                let _ = reply.send(compared);
            }
        }
    }
}

/// One thread's working memory, kept between hashes.
struct Memory(Vec<Block>);

impl Memory {
    fn hash(&mut self, password: &str, salt: &[u8], params: &Params) -> [u8; HASH_BYTES] {
        let blocks = params.block_count();
        if self.0.len() < blocks {
            self.0.resize(blocks, Block::default());
        }
        let mut out = [0u8; HASH_BYTES];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone())
            .hash_password_into_with_memory(password.as_bytes(), salt, &mut out, &mut self.0[..blocks])
            .expect("lengths and cost were checked");
        // An expensive imported hash must not hold its memory for good.
        if blocks > params_blocks() {
            self.0 = Vec::new();
        }
        out
    }

    fn compare(&mut self, password: &str, stored: Option<&SecretString>, salt: &[u8]) -> Compared {
        let Some(parsed) = stored.and_then(|stored| parse(stored.expose())) else {
            self.hash(password, salt, &params());
            return Compared { matches: false, outdated: false };
        };
        let hash = self.hash(password, &parsed.salt, &parsed.params);
        let outdated =
            (parsed.params.m_cost(), parsed.params.t_cost(), parsed.params.p_cost()) != (MEMORY_KIB, ITERATIONS, LANES);
        Compared { matches: constant_time_eq(&hash, &parsed.hash), outdated }
    }
}

struct Stored {
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// Reads an argon2id PHC string within the cost that is accepted.
fn parse(stored: &str) -> Option<Stored> {
    let phc = PasswordHash::new(stored).ok()?;
    if phc.algorithm.as_str() != "argon2id" || phc.version != Some(Version::V0x13.into()) {
        return None;
    }
    let params = Params::try_from(&phc).ok()?;
    let hash = phc.hash?.as_bytes().to_vec();
    let affordable = params.m_cost() <= MAX_MEMORY_KIB && params.t_cost() <= MAX_ITERATIONS;
    (affordable && hash.len() == HASH_BYTES).then(|| Stored {
        params,
        salt: phc.salt.map_or_else(Vec::new, |salt| salt.as_ref().to_vec()),
        hash,
    })
}

fn params() -> Params {
    Params::new(MEMORY_KIB, ITERATIONS, LANES, Some(HASH_BYTES)).expect("the cost is within argon2's limits")
}

fn params_blocks() -> usize {
    MEMORY_KIB as usize
}

fn phc(salt: &[u8], hash: &[u8]) -> SecretString {
    SecretString::new(format!(
        "$argon2id$v=19$m={MEMORY_KIB},t={ITERATIONS},p={LANES}${}${}",
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hash)
    ))
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
    async fn sr_07_another_cost_is_told_as_outdated() {
        let params = Params::new(8192, 1, 1, Some(HASH_BYTES)).expect("valid");
        let hash = Memory(Vec::new()).hash("old", b"0123456789abcdef", &params);
        let encode = |bytes: &[u8]| STANDARD_NO_PAD.encode(bytes);
        let stored = format!("$argon2id$v=19$m=8192,t=1,p=1${}${}", encode(b"0123456789abcdef"), encode(&hash));
        let compared = room(64).compare(secret("old"), Some(secret(&stored))).await.expect("room");
        assert_eq!(compared, Compared { matches: true, outdated: true });
    }

    #[tokio::test]
    async fn sr_08_a_hash_beyond_the_accepted_cost_is_never_computed() {
        for cost in ["m=2097152,t=1", "m=19456,t=11"] {
            let stored =
                format!("$argon2id$v=19${cost},p=1$MDEyMzQ1Njc4OWFiY2RlZg$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY");
            assert!(parse(&stored).is_none(), "{cost}");
        }
    }

    #[tokio::test]
    async fn without_a_stored_hash_the_work_is_the_same() {
        let room = room(64);
        assert!(!room.compare(secret("x"), None).await.expect("room").matches);
        assert!(!room.compare(secret("x"), Some(secret("not a hash"))).await.expect("room").matches);
        assert_eq!(room.hashes(), 2);
    }

    #[test]
    fn memory_is_taken_at_the_first_hash_kept_for_the_next_and_given_back_after_an_expensive_one() {
        let mut memory = Memory(Vec::new());
        assert_eq!(memory.0.capacity(), 0);
        memory.hash("one", b"0123456789abcdef", &params());
        let (blocks, place) = (memory.0.capacity(), memory.0.as_ptr());
        assert_eq!(blocks, params_blocks());
        memory.hash("two", b"0123456789abcdef", &params());
        assert_eq!((memory.0.capacity(), memory.0.as_ptr()), (blocks, place));
        let expensive = Params::new(2 * MEMORY_KIB, 1, 1, Some(HASH_BYTES)).expect("valid");
        memory.hash("three", b"0123456789abcdef", &expensive);
        assert_eq!(memory.0.capacity(), 0);
    }

    #[tokio::test]
    async fn past_the_queue_it_is_busy() {
        let room = room(2);
        let all = futures_util::future::join_all((0..20).map(|_| room.make(secret("x")))).await;
        assert!(all.iter().any(Result::is_err) && all.iter().any(Result::is_ok));
    }
}

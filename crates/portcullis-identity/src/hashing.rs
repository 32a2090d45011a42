//! Hashing and comparing passwords: argon2id on a bounded pool of threads with reused memory, behind a bounded queue in
//! which clients take turns, so that sign-ins do not take the processor from other requests (SR-06; OWASP Password
//! Storage), and no client can keep the threads from the others (SR-57).

mod argon2;
mod bcrypt;
pub(crate) mod fair_queue;
pub(crate) mod notation;
mod pbkdf2;
mod scrypt;
pub(crate) mod stored;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use portcullis_model::{PresentedPassword, Random, SecretString};
use portcullis_telemetry::traces::{self, Span, SpanKind};
use portcullis_telemetry::{Metrics, RequestScope};
use tokio::sync::oneshot;

use crate::hashing::argon2::{Memory, SALT_BYTES, phc};
use crate::hashing::fair_queue::{FairQueue, HashingParty, Refused};
use crate::hashing::stored::StoredHash;

/// Niceness of the hashing threads: when all of them are busy, other requests are still scheduled first.
const NICENESS: i32 = 10;
/// The part of the queue that is never of one client or of one user, as a divisor of its length.
const OTHERS: usize = 8;

/// Size of the hashing pool.
#[derive(Clone, Copy, Debug)]
pub struct HashingOptions {
    /// Number of threads; each holds 19 MiB of memory after its first hash.
    pub threads: usize,
    /// The most passwords that wait for a thread, at least 2. Seven eighths of them may be of one client, and of one user.
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
    shared: Arc<Shared>,
    random: Random,
    metrics: Metrics,
}

/// What the pool and its threads share.
struct Shared {
    jobs: Mutex<Jobs>,
    arrived: Condvar,
    done: AtomicU64,
}

struct Jobs {
    queue: FairQueue<Job>,
    /// Set when the pool is dropped, so that its threads end.
    closed: bool,
}

/// Why a password was not hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotHashed {
    /// The queue is full.
    #[error("too many passwords are waiting to be hashed")]
    Busy,
    /// The client or the user has used up its share of the queue.
    #[error("too many passwords of one client or user are waiting to be hashed")]
    ShareUsedUp,
    /// The client went away before a thread took the job.
    #[error("the client went away before its password was hashed")]
    ClientGone,
}

impl NotHashed {
    /// The value of `error.type`.
    fn kind(self) -> &'static str {
        match self {
            Self::Busy => "queue_full",
            Self::ShareUsedUp => "share_used_up",
            Self::ClientGone => "client_gone",
        }
    }
}

/// The result of comparing a password with a stored hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) matches: bool,
    /// Whether the stored hash has another algorithm or cost than today's (SR-07).
    pub(crate) outdated: bool,
}

/// A sign of a client's presence for work that outlives its request: the request holds the strong reference.
pub(crate) type Presence = Weak<()>;

struct Job {
    scope: RequestScope,
    /// The span of the wait for a thread, if the request is recorded.
    waiting: Option<Span>,
    password: SecretString,
    salt: [u8; SALT_BYTES],
    work: Work,
    /// Set for a job whose outcome is awaited by a task that outlives the request.
    presence: Option<Presence>,
}

enum Work {
    Make {
        reply: oneshot::Sender<Result<SecretString, NotHashed>>,
    },
    Compare {
        stored: Option<SecretString>,
        reply: oneshot::Sender<Result<Comparison, NotHashed>>,
    },
    #[cfg(test)]
    Panic,
}

impl PasswordHasher {
    /// Starts the threads. A thread takes its memory at its first hash.
    pub fn start(options: HashingOptions, random: Random, metrics: Metrics) -> std::io::Result<Self> {
        let hasher = Self::without_threads(options.queue, random, metrics);
        for n in 0..options.threads.max(1) {
            let shared = Arc::clone(&hasher.shared);
            std::thread::Builder::new().name(format!("hashing-{n}")).spawn(move || shared.work())?;
        }
        Ok(hasher)
    }

    /// Makes the pool and its queue.
    fn without_threads(capacity: usize, random: Random, metrics: Metrics) -> Self {
        let queue = FairQueue::new(capacity, capacity - (capacity / OTHERS).max(1));
        let jobs = Mutex::new(Jobs { queue, closed: false });
        let shared = Arc::new(Shared { jobs, arrived: Condvar::new(), done: AtomicU64::new(0) });
        Self { shared, random, metrics }
    }

    /// Hashes a password at today's cost and returns the PHC string to store.
    pub(crate) async fn hash(&self, party: HashingParty, password: SecretString) -> Result<SecretString, NotHashed> {
        let (reply, answer) = oneshot::channel();
        self.submit(party, self.job(password, Work::Make { reply }, None))?;
        answer.await.expect("a hashing thread answers every job it takes")
    }

    /// Compares a password with a stored hash. Without a stored hash it does the same work and never matches (SR-10).
    pub(crate) async fn compare(
        &self,
        party: HashingParty,
        password: &PresentedPassword,
        stored: Option<SecretString>,
    ) -> Result<Comparison, NotHashed> {
        self.compare_while(party, password, stored, None).await
    }

    /// Compares like [`compare`](Self::compare), unless the client is gone when a thread takes the job.
    pub(crate) async fn compare_while(
        &self,
        party: HashingParty,
        password: &PresentedPassword,
        stored: Option<SecretString>,
        presence: Option<Presence>,
    ) -> Result<Comparison, NotHashed> {
        let (reply, answer) = oneshot::channel();
        let password = SecretString::new(password.expose());
        self.submit(party, self.job(password, Work::Compare { stored, reply }, presence))?;
        answer.await.expect("a hashing thread answers every job it takes")
    }

    /// Refuses early, before a request costs statements, what the queue would refuse now.
    pub(crate) fn admit(&self, party: HashingParty) -> Result<(), NotHashed> {
        let mut jobs = self.shared.lock();
        jobs.drop_abandoned(party);
        jobs.queue.refusal(party).map_or(Ok(()), |refused| Err(self.refused(refused)))
    }

    /// Number of hashes computed since the start.
    pub fn hashes(&self) -> u64 {
        self.shared.done.load(Ordering::Relaxed)
    }

    /// Number of passwords that wait for a thread.
    pub fn waiting(&self) -> usize {
        self.shared.lock().queue.waiting()
    }

    fn job(&self, password: SecretString, work: Work, presence: Option<Presence>) -> Job {
        let waiting = traces::span("password queue", SpanKind::Internal);
        Job { scope: RequestScope::current(), waiting, password, salt: self.random.bytes(), work, presence }
    }

    fn submit(&self, party: HashingParty, job: Job) -> Result<(), NotHashed> {
        let mut jobs = self.shared.lock();
        jobs.drop_abandoned(party);
        let displaced = jobs.queue.push(party, job).map_err(|refused| self.refused(refused))?;
        drop(jobs);
        self.shared.arrived.notify_one();
        if let Some(displaced) = displaced {
            displaced.fail(self.refused(Refused::Full));
        }
        Ok(())
    }

    fn refused(&self, refused: Refused) -> NotHashed {
        self.metrics.password_hash_refused();
        match refused {
            Refused::Share => NotHashed::ShareUsedUp,
            Refused::Full => NotHashed::Busy,
        }
    }
}

impl Drop for PasswordHasher {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.arrived.notify_all();
    }
}

impl Jobs {
    /// Drops jobs that nobody waits for any more when they would be the cause of a refusal.
    fn drop_abandoned(&mut self, party: HashingParty) {
        if self.queue.refusal(party).is_some() {
            for abandoned in self.queue.take_unwanted(Job::is_wanted) {
                abandoned.fail(NotHashed::ClientGone);
            }
        }
    }
}

impl Job {
    /// Whether somebody still waits for the outcome.
    fn is_wanted(&self) -> bool {
        let is_closed = match &self.work {
            Work::Make { reply } => reply.is_closed(),
            Work::Compare { reply, .. } => reply.is_closed(),
            #[cfg(test)]
            Work::Panic => false,
        };
        !is_closed && self.presence.as_ref().is_none_or(|presence| presence.strong_count() > 0)
    }

    fn fail(self, why: NotHashed) {
        if let Some(mut waiting) = self.waiting {
            waiting.fail(why.kind());
        }
        // The receiver is gone when the request was dropped.
        match self.work {
            Work::Make { reply } => _ = reply.send(Err(why)),
            Work::Compare { reply, .. } => _ = reply.send(Err(why)),
            #[cfg(test)]
            Work::Panic => {}
        }
    }

    /// Does the job, unless nobody waits for it any more.
    fn serve(self, memory: &mut Memory, done: &AtomicU64) {
        if !self.is_wanted() {
            return self.fail(NotHashed::ClientGone);
        }
        let Self { scope, waiting, password, salt, work, .. } = self;
        drop(waiting);
        let _entered = scope.enter();
        // Ends before the request that waits for the reply goes on.
        let span = traces::span("password hash", SpanKind::Internal);
        match work {
            Work::Make { reply } => {
                let hash = memory.hash(password.expose(), &salt);
                done.fetch_add(1, Ordering::Relaxed);
                drop(span);
                let _ = reply.send(Ok(phc(&salt, &hash)));
            }
            Work::Compare { stored, reply } => {
                let compared = compare(memory, password.expose(), stored.as_ref(), &salt);
                done.fetch_add(1, Ordering::Relaxed);
                drop(span);
                let _ = reply.send(Ok(compared));
            }
            #[cfg(test)]
            Work::Panic => panic!("a job panics for a test"),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the next job; `None` when the pool is gone.
    fn next(&self) -> Option<Job> {
        let mut jobs = self.lock();
        loop {
            if let Some(job) = jobs.queue.pop() {
                return Some(job);
            }
            if jobs.closed {
                return None;
            }
            jobs = self.arrived.wait(jobs).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Does the work of one thread.
    fn work(&self) {
        if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
            tracing::debug!(%error, "the niceness of a hashing thread could not be set");
        }
        let mut memory = Memory::default();
        while let Some(job) = self.next() {
            // A panic ends one job and not the thread, of which there are few. The panic hook records it; the request that
            // waits gets no answer and fails.
            if catch_unwind(AssertUnwindSafe(|| job.serve(&mut memory, &self.done))).is_err() {
                memory = Memory::default();
            }
        }
    }
}

fn compare(memory: &mut Memory, password: &str, stored: Option<&SecretString>, salt: &[u8]) -> Comparison {
    let Some(stored) = stored.and_then(|stored| StoredHash::parse(stored.expose()).ok()) else {
        memory.hash(password, salt);
        return Comparison { matches: false, outdated: false };
    };
    Comparison { matches: stored.matches(password, memory), outdated: stored.is_outdated_for(password) }
}

#[cfg(test)]
mod tests;

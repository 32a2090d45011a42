//! Two clients hold the same refresh token, its owner and a thief. Every order of their refreshes and of the passing of
//! time is compared with the protocol of `docs/sessions.md`.

use std::collections::HashMap;
use std::time::Duration;

use portcullis_identity::IdentityOptions;

use crate::test_identity::{PASSWORD, TestIdentity, caller, options, test_identity_with};

/// Time that passes in one step: one of them lies within the grace window of 10 s, two do not.
const PAUSE: Duration = Duration::from_secs(6);
const GRACE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The owner refreshes with the newest token that the owner holds.
    Owner,
    /// The thief refreshes with the newest token that the thief holds.
    Thief,
    Wait,
}

/// The protocol as `docs/sessions.md` states it.
struct Protocol {
    current: String,
    /// The successor of each rotated token, and when it was rotated.
    rotated: HashMap<String, (String, Duration)>,
    ended: bool,
    now: Duration,
}

impl Protocol {
    /// Judges the outcome of a refresh, in which the client got a new token or was refused.
    fn judge(&mut self, presented: &str, outcome: Option<&str>) -> Result<(), String> {
        if self.ended {
            return outcome.map_or(Ok(()), |_| Err("a token of an ended session was accepted".to_owned()));
        }
        if presented == self.current {
            let new = outcome.ok_or("the current token was refused")?;
            if new == presented || self.rotated.contains_key(new) {
                return Err("a rotation gave a token that was known before".to_owned());
            }
            self.rotated.insert(presented.to_owned(), (new.to_owned(), self.now));
            new.clone_into(&mut self.current);
            return Ok(());
        }
        let (successor, at) = &self.rotated[presented];
        let is_within_grace = self.now - *at <= GRACE;
        self.ended = !is_within_grace;
        match outcome {
            Some(token) if is_within_grace && token == successor => Ok(()),
            None if !is_within_grace => Ok(()),
            _ => Err(format!("a rotated token got {outcome:?} after {:?}", self.now - *at)),
        }
    }
}

/// Every sequence of this many steps that begins with the owner. The clients are alike, so the others say no more.
fn sequences(length: usize) -> Vec<Vec<Step>> {
    let mut all = vec![vec![Step::Owner]];
    for _ in 1..length {
        all = all
            .into_iter()
            .flat_map(|begun| [Step::Owner, Step::Thief, Step::Wait].map(|next| [&begun[..], &[next]].concat()))
            .collect();
    }
    all
}

async fn run(test: &TestIdentity, steps: &[Step]) -> Result<(), String> {
    let signed_in = test.login("ada@example.com", PASSWORD).await.map_err(|error| error.to_string())?;
    let session = test.session(&signed_in.tokens.access).await.ok_or("the session is new")?.id;
    let first = signed_in.tokens.refresh.expose().to_owned();
    let mut protocol = Protocol { current: first.clone(), rotated: HashMap::new(), ended: false, now: Duration::ZERO };
    let (mut owner, mut thief) = (first.clone(), first);
    for step in steps {
        let held = match step {
            Step::Owner => &mut owner,
            Step::Thief => &mut thief,
            Step::Wait => {
                test.clock.advance(PAUSE);
                protocol.now += PAUSE;
                continue;
            }
        };
        let outcome = test.identity.sign_in.refresh(held, &caller()).await.ok();
        let outcome = outcome.map(|tokens| tokens.refresh.expose().to_owned());
        protocol.judge(held, outcome.as_deref())?;
        if let Some(token) = outcome {
            *held = token;
        }
        let record = test.store.session_record(session).await.map_err(|error| error.to_string())?;
        if record.is_none_or(|record| record.ended_at.is_some() != protocol.ended) {
            return Err("the session has ended without a reuse, or lives after one".to_owned());
        }
    }
    Ok(())
}

/// Runs every sequence, and returns the first one that breaks the protocol.
async fn explore(options: IdentityOptions, length: usize) -> Result<usize, String> {
    let test = test_identity_with(options).await;
    test.register("ada").await;
    let sequences = sequences(length);
    for steps in &sequences {
        run(&test, steps).await.map_err(|violation| format!("{violation}: {steps:?}"))?;
    }
    Ok(sequences.len())
}

#[tokio::test]
async fn sr_32_every_order_of_two_clients_keeps_to_the_protocol() {
    assert_eq!(explore(options(), 5).await, Ok(81));
}

#[tokio::test]
async fn the_explorer_finds_a_grace_window_that_is_too_long() {
    let violation = explore(IdentityOptions { grace: 2 * GRACE, ..options() }, 5).await;
    assert!(violation.is_err_and(|violation| violation.contains("a rotated token got")), "the fault was not found");
}

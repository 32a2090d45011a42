//! What the tables say about signing keys, jobs, mails and the addresses of clients. No row of a user is read.

use portcullis_model::{Clock, Finding, Timestamp};

use super::unreadable;
use crate::engine::columns::FromRow;
use crate::engine::direct_connection::DirectConnection;
use crate::engine::error::StoreError;
use crate::errors::ErrorGroup;

const SIGNING_KEYS: &str = "keys.signing";
const JOBS: &str = "jobs";
const MAILS: &str = "mail.waiting";

/// The age, in days, at which a signing key should be replaced.
const OLD_KEY: i64 = 365;
/// The age, in seconds, at which a waiting mail shows that mails do not go out.
const OLD_MAIL: i64 = 900;

/// The addresses of the last sign-ins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAddresses {
    /// Number of different users among them.
    pub users: u64,
    /// Number of different addresses.
    pub addresses: u64,
    /// One of the addresses.
    pub address: Option<String>,
}

pub(super) async fn examine(on: &mut DirectConnection, clock: &Clock, found: &mut Vec<Finding>) {
    let now = clock.now();
    found.push(signing_keys(on, now).await.unwrap_or_else(|error| unreadable(SIGNING_KEYS, &error)));
    found.push(jobs(on).await.unwrap_or_else(|error| unreadable(JOBS, &error)));
    found.push(mails(on, now).await.unwrap_or_else(|error| unreadable(MAILS, &error)));
}

async fn signing_keys(on: &mut DirectConnection, now: Timestamp) -> Result<Finding, StoreError> {
    let text = "SELECT COALESCE(signs_from, created_at) AS since FROM signing_keys WHERE retired_at IS NULL \
                ORDER BY COALESCE(signs_from, created_at) DESC LIMIT 1";
    let rows = on.all(text.to_owned(), vec![]).await?;
    let Some(row) = rows.first() else {
        return Ok(Finding::pass(SIGNING_KEYS, "none yet; the first start makes one, unless JWT_SECRET signs"));
    };
    Ok(judge_signing_key(now.signed_duration_since(row.read::<Timestamp>("since")?).num_days()))
}

fn judge_signing_key(days: i64) -> Finding {
    let text = format!("the newest key signs since {} days", days.max(0));
    match days < OLD_KEY {
        true => Finding::pass(SIGNING_KEYS, text),
        false => {
            Finding::warn(SIGNING_KEYS, text, "replace it with `portcullis keys rotate`; no token becomes invalid")
        }
    }
}

async fn jobs(on: &mut DirectConnection) -> Result<Finding, StoreError> {
    let text = "SELECT name, last_result FROM jobs ORDER BY name";
    let rows = on.all(text.to_owned(), vec![]).await?;
    let mut failing = Vec::new();
    for row in &rows {
        if row.get::<Option<String>>("last_result")?.as_deref() == Some("failure") {
            failing.push(row.get::<String>("name")?);
        }
    }
    Ok(match failing.is_empty() {
        true => Finding::pass(JOBS, format!("no job failed at its last run (of {})", rows.len())),
        false => Finding::warn(
            JOBS,
            format!("these jobs failed at their last run: {}", failing.join(", ")),
            "`portcullis errors list` and the log say why; docs/jobs.md says what each does",
        ),
    })
}

async fn mails(on: &mut DirectConnection, now: Timestamp) -> Result<Finding, StoreError> {
    let text = "SELECT count(*) AS n FROM mail_outbox WHERE sent_at IS NULL AND given_up_at IS NULL";
    let rows = on.all(text.to_owned(), vec![]).await?;
    let waiting = rows.first().map_or(Ok(0), |row| row.count("n"))?;
    if waiting == 0 {
        return Ok(Finding::pass(MAILS, "no mail waits"));
    }
    let text =
        "SELECT created_at FROM mail_outbox WHERE sent_at IS NULL AND given_up_at IS NULL ORDER BY created_at LIMIT 1";
    let rows = on.all(text.to_owned(), vec![]).await?;
    let oldest = rows.first().map(|row| row.read::<Timestamp>("created_at")).transpose()?.unwrap_or(now);
    let seconds = now.signed_duration_since(oldest).num_seconds();
    let text = format!("{waiting} mails wait, the oldest for {} min", seconds / 60);
    Ok(match seconds < OLD_MAIL {
        true => Finding::pass(MAILS, text),
        false => Finding::warn(MAILS, text, "see the line mail.server here, and docs/runbooks/PortcullisMailsStuck.md"),
    })
}

/// Returns the addresses of the last 200 sign-ins that succeeded.
pub(super) async fn client_addresses(on: &mut DirectConnection) -> Result<ClientAddresses, StoreError> {
    let text = "SELECT count(DISTINCT subject_id) AS users, count(DISTINCT ip) AS addresses, min(ip) AS address \
                FROM (SELECT subject_id, ip FROM audit_log WHERE action = 'auth.login' AND outcome = 'success' \
                ORDER BY at DESC, id DESC LIMIT 200) AS latest WHERE ip IS NOT NULL";
    let rows = on.all(text.to_owned(), vec![]).await?;
    let row = rows.first().ok_or_else(|| StoreError::corrupt("an aggregate returned no row"))?;
    Ok(ClientAddresses { users: row.count("users")?, addresses: row.count("addresses")?, address: row.get("address")? })
}

/// Returns the groups of errors, the last seen first.
pub(super) async fn last_errors(on: &mut DirectConnection, most: u64) -> Result<Vec<ErrorGroup>, StoreError> {
    let text = format!(
        "SELECT {} FROM errors ORDER BY errors.last_seen_at DESC, errors.id DESC LIMIT {most}",
        ErrorGroup::COLUMNS
    );
    on.all(text, vec![]).await?.iter().map(ErrorGroup::from_row).collect()
}

#[cfg(test)]
mod tests {
    use portcullis_model::finding::Status;

    use super::*;

    #[test]
    fn a_signing_key_is_old_after_a_year() {
        assert_eq!(judge_signing_key(364).status, Status::Pass);
        assert_eq!(judge_signing_key(365).status, Status::Warn);
    }
}

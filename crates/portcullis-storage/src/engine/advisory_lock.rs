//! Locks that replicas take against each other, which no row could carry.

use uuid::Uuid;

/// A piece of work that only one transaction, on whichever replica, may do at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AdvisoryLock {
    /// Changing the schema.
    Migrations,
    /// Deciding who is an administrator, and changing roles, permissions and activity.
    Administrators,
    /// Changing the set of signing keys.
    SigningKeys,
    /// Adding a row of which one user may have a limited number.
    UserQuota(Uuid),
    /// Adding a mail to one recipient, who is named by 8 bytes. No other lock is waited for while this one is held.
    MailQuota([u8; 8]),
}

impl AdvisoryLock {
    /// Returns the lock's number on PostgreSQL, in the namespace of a schema. The family is "portcul" in ASCII, so that another application on the
    /// same database is unlikely to use it.
    pub(crate) fn number(self, namespace: u64) -> i64 {
        const FAMILY: i64 = 0x706f_7274_6375_6c00;
        let number = match self {
            Self::Migrations => FAMILY + 1,
            Self::Administrators => FAMILY + 2,
            Self::SigningKeys => FAMILY + 3,
            // The random half of a UUID (RFC 9562, section 5.7). Two users whose halves are equal wait for each
            // other, which is harmless.
            Self::UserQuota(id) => id.as_u64_pair().1.cast_signed(),
            // Differs from the quota of the same user, which other transactions hold while they wait for rows.
            Self::MailQuota(recipient) => i64::from_be_bytes(recipient) ^ FAMILY,
        };
        number ^ namespace.cast_signed()
    }
}

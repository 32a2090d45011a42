//! Why the gateway, or a command that works on its data, did not start.

use portcullis_identity::IdentityError;
use portcullis_storage::{OpenError, StoreError};

use super::clock_check::WrongClock;
use portcullis_settings::DataFolderError;

/// Why the gateway, or a command that works on its data, did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error(transparent)]
    DataFolder(#[from] DataFolderError),
    /// The database cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The clock is certainly wrong.
    #[error(transparent)]
    Clock(#[from] WrongClock),
    /// The database cannot be read.
    #[error("the database cannot be read")]
    Database(#[source] StoreError),
    /// Redis cannot be reached.
    #[error(transparent)]
    Redis(#[from] portcullis_redis::ConnectError),
    /// Identity cannot start, for example because a signing key cannot be decrypted.
    #[error(transparent)]
    Identity(#[from] portcullis_identity::StartError),
    /// The mail settings cannot be used.
    #[error(transparent)]
    Mail(#[from] portcullis_mail::SmtpError),
    /// Two routes collide.
    #[error(transparent)]
    Routes(#[from] portcullis_gate::RouteError),
    /// Requests that name no version of the API have none.
    #[error(transparent)]
    Versions(#[from] portcullis_gate::NoDefaultVersion),
    /// The listener cannot be opened.
    #[error(transparent)]
    Listen(#[from] portcullis_edge::ListenError),
    /// The link for the first administrator cannot be made.
    #[error("the first administrator's link could not be made")]
    FirstAdministrator(#[source] IdentityError),
    /// The process cannot receive signals.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
}

impl StartError {
    /// How an operator can fix it, if that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::DataFolder(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Clock(error) => Some(error.hint().to_owned()),
            Self::Redis(error) => error.hint(),
            Self::Identity(error) => error.hint().map(str::to_owned),
            Self::Listen(error) => Some(error.hint().to_owned()),
            Self::Mail(portcullis_mail::SmtpError::Authorities { .. }) => {
                Some("mail.authorities names a file with one certificate in PEM".to_owned())
            }
            Self::Versions(portcullis_gate::NoDefaultVersion(name)) => {
                Some(portcullis_settings::default_version_hint(name))
            }
            Self::Database(_) | Self::Mail(_) | Self::Routes(_) | Self::FirstAdministrator(_) | Self::Signals(_) => {
                None
            }
        }
    }
}

//! Why Vault gave no secret.

use std::path::PathBuf;

/// Why Vault gave no secret.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each says what it means")]
pub enum VaultError {
    #[error("the file of Vault's token, {}, cannot be read: {source}", path.display())]
    TokenFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the file of Vault's token, {}, is empty", path.display())]
    EmptyToken { path: PathBuf },
    #[error("the file of Vault's token, {}, holds more than a token", path.display())]
    TokenForm { path: PathBuf },
    #[error("Vault's token or namespace has characters that no header can carry")]
    Header,
    #[error("Vault is sealed")]
    Sealed,
    #[error("Vault refuses the token for {path}: {reason}")]
    Forbidden { path: String, reason: String },
    #[error("Vault refuses to renew the token: {reason}")]
    NotRenewed { reason: String },
    #[error("Vault has no secret at {path}")]
    NotFound { path: String, command: String },
    #[error("the newest version of {path} in Vault was deleted")]
    Deleted { path: String, command: String },
    #[error("{path} is not a secret of the KV engine, version 2")]
    NotVersioned { path: String },
    #[error("Vault answered {status}: {reason}")]
    Unwilling { status: u16, reason: String },
    #[error("the server at the address of Vault answered {status} with something that is not Vault's")]
    NotVault { status: u16 },
}

impl VaultError {
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::TokenFile { .. } | Self::EmptyToken { .. } | Self::TokenForm { .. } | Self::Header => {
                "write a token, and nothing else, into the file that secrets.vault.token_file names, readable for the user that runs the gateway".to_owned()
            }
            Self::Sealed => "unseal it with `vault operator unseal`".to_owned(),
            Self::Forbidden { path, .. } => format!(
                "write a token that has not ended into secrets.vault.token_file (`vault token lookup`), with a policy that has path \"{path}\" {{ capabilities = [\"read\"] }}"
            ),
            Self::NotRenewed { .. } => {
                "write a new token into secrets.vault.token_file, best a periodic one: `vault token create -period=24h`"
                    .to_owned()
            }
            Self::NotFound { command, .. } => {
                format!("check secrets.vault.path: `{command}` must show it; the engine must be KV version 2")
            }
            Self::Deleted { command, .. } => {
                format!("restore it with {}", command.replacen("kv get", "kv undelete -versions=N", 1))
            }
            Self::NotVersioned { .. } => {
                "move it to an engine of version 2, or change this one: `vault kv enable-versioning MOUNT`".to_owned()
            }
            Self::Unwilling { status: 300..400, .. } => {
                "this node sends clients elsewhere: let secrets.vault.address name the active node or a load balancer"
                    .to_owned()
            }
            Self::Unwilling { .. } => "see the log of Vault; `vault status` tells its state".to_owned(),
            Self::NotVault { .. } => {
                "let secrets.vault.address name Vault itself, without a path: https://vault.example:8200".to_owned()
            }
        }
    }

    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Sealed => true,
            Self::Unwilling { status, .. } | Self::NotVault { status } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}

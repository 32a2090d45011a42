//! Authentication methods.

/// A method by which a user authenticated: a value of the claim `amr` (RFC 8176 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amr {
    /// A password (`pwd`).
    Password,
    /// A one-time password (`otp`).
    OneTimePassword,
    /// Proof of possession of a key that is bound to a device (`hwk`).
    HardwareKey,
    /// Proof of possession of a key kept in software (`swk`).
    SoftwareKey,
    /// More than one factor (`mfa`), beside the methods of the factors.
    MultipleFactors,
}

impl Amr {
    /// The registered value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::OneTimePassword => "otp",
            Self::HardwareKey => "hwk",
            Self::SoftwareKey => "swk",
            Self::MultipleFactors => "mfa",
        }
    }
}

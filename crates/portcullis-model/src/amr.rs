//! Authentication methods: the values of the claim `amr` (RFC 8176 §2).

use serde::{Deserialize, Serialize, Serializer};

/// A method by which a user authenticated.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
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
    /// A method that a newer replica has stored. It is passed on unchanged and meets no requirement.
    Unknown(Box<str>),
}

impl Amr {
    /// The registered value, as it is stored and claimed.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Password => "pwd",
            Self::OneTimePassword => "otp",
            Self::HardwareKey => "hwk",
            Self::SoftwareKey => "swk",
            Self::MultipleFactors => "mfa",
            Self::Unknown(value) => value,
        }
    }
}

impl From<String> for Amr {
    fn from(value: String) -> Self {
        match value.as_str() {
            "pwd" => Self::Password,
            "otp" => Self::OneTimePassword,
            "hwk" => Self::HardwareKey,
            "swk" => Self::SoftwareKey,
            "mfa" => Self::MultipleFactors,
            _ => Self::Unknown(value.into()),
        }
    }
}

impl Serialize for Amr {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read_as_it_was_written() {
        let methods = [
            Amr::Password,
            Amr::OneTimePassword,
            Amr::HardwareKey,
            Amr::SoftwareKey,
            Amr::MultipleFactors,
            Amr::Unknown("face".into()),
        ];
        let values = ["pwd", "otp", "hwk", "swk", "mfa", "face"];
        assert_eq!(methods.each_ref().map(Amr::as_str), values);
        assert_eq!(values.map(|value| Amr::from(value.to_owned())), methods);
    }
}

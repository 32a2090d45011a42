//! Parsers of values that several sections share. The error is the hint that the operator reads.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use portcullis_model::InvalidInput;
use portcullis_model::duration::parse_duration;

use super::reader::unknown_hint;

/// Parses one of a fixed set of words; an unknown word gets "did you mean".
pub(crate) fn one_of<T: Copy>(text: &str, known: &[(&str, T)]) -> Result<T, InvalidInput> {
    let found = known.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| InvalidInput(unknown_hint(text, known.iter().map(|(word, _)| *word))))
}

/// Parses a duration of at least one second.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, InvalidInput> {
    match parse_duration(text)? {
        Duration::ZERO => Err(InvalidInput("write at least 1s".to_owned())),
        duration => Ok(duration),
    }
}

/// Parses a duration of at least one second, or `off`.
pub(crate) fn duration_or_off(text: &str) -> Result<Option<Duration>, InvalidInput> {
    if text == "off" {
        return Ok(None);
    }
    positive_duration(text).map(Some).map_err(|reason| InvalidInput(format!("{reason}; or write off")))
}

/// Parses an IP address or a network in CIDR notation; host bits of a network are cleared.
pub(crate) fn network(text: &str) -> Result<IpNet, InvalidInput> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
    network
        .map(|network| network.trunc())
        .ok_or_else(|| InvalidInput("write an address (10.0.0.7) or a network (10.0.0.0/8, fd00::/8)".to_owned()))
}

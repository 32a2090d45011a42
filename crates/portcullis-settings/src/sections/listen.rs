//! `server.listen`, `HOST` and `PORT`: the address to listen on. `metrics.listen` follows the same rule about loopback.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use portcullis_model::{InvalidInput, policy::Environment};

use crate::engine::key::{DefaultValue, Key};
use crate::engine::layers::Layers;
use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::Reader;
use crate::engine::variables::Variable;

pub(crate) static LISTEN: Key = Key::restart(
    "listen",
    DefaultValue::Described("`127.0.0.1:8000`; in production `0.0.0.0:8000`"),
    "host:port",
    "The address to listen on. Outside production an address beyond loopback must come from `HOST` or `--host`.",
)
.environment(&["HOST", "PORT"]);

/// Determines the address to listen on. Outside production an address beyond loopback is used only when it comes from `HOST`
/// or `--host` (SR-50).
pub(crate) fn read(
    section: &mut Reader<'_, '_>,
    layers: &Layers,
    environment: Environment,
    warnings: &mut Vec<Notice>,
) -> SocketAddr {
    let default_host = default_host(environment);
    let written = section.optional(&LISTEN, |text| parse_listen(text, default_host));
    let mut address = written.unwrap_or_else(|| SocketAddr::new(default_host, DEFAULT_PORT));
    if let Some(port) = part(layers.port.as_ref(), section.problems, parse_port) {
        address.set_port(port);
    }
    match part(layers.host.as_ref(), section.problems, parse_host) {
        Some(host) => address.set_ip(host),
        None => keep_on_loopback(&mut address, &LISTEN, section, environment, warnings),
    }
    address
}

/// Reads the address of another listener, which has no default. Outside production it may lie beyond loopback only while
/// `HOST` or `--host` lets the gateway listen there (SR-50).
pub(crate) fn read_other(
    key: &'static Key,
    section: &mut Reader<'_, '_>,
    layers: &Layers,
    environment: Environment,
    warnings: &mut Vec<Notice>,
) -> Option<SocketAddr> {
    let mut address = section.optional(key, |text| parse_listen(text, default_host(environment)))?;
    if layers.host.is_none() {
        keep_on_loopback(&mut address, key, section, environment, warnings);
    }
    Some(address)
}

fn default_host(environment: Environment) -> IpAddr {
    let production = environment == Environment::Production;
    if production { Ipv4Addr::UNSPECIFIED.into() } else { Ipv4Addr::LOCALHOST.into() }
}

fn keep_on_loopback(
    address: &mut SocketAddr,
    key: &Key,
    section: &Reader<'_, '_>,
    environment: Environment,
    warnings: &mut Vec<Notice>,
) {
    if environment == Environment::Production || address.ip().is_loopback() {
        return;
    }
    let loopback = if address.is_ipv4() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
    let message = format!(
        "{} is {}, but outside production (this is {}) it has no effect: listening on {loopback}",
        section.path(key),
        address.ip(),
        environment.as_str()
    );
    let hint = format!("set HOST={} to listen there, or PORTCULLIS_ENV=production", address.ip());
    warnings.push(Notice::new(&section.place_of(key), message).hint(hint));
    address.set_ip(loopback);
}

const DEFAULT_PORT: u16 = 8000;

fn part<T>(
    variable: Option<&Variable>,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, InvalidInput>,
) -> Option<T> {
    let variable = variable?;
    parse(&variable.value)
        .map_err(|reason| {
            let message = format!("{:?} cannot be used", variable.value);
            problems.add(Notice::new(&variable.place, message).hint(reason.to_string()));
        })
        .ok()
}

/// Parses `0.0.0.0:8000`, `[::1]:8000`, `localhost:8000` or `:8000`.
fn parse_listen(text: &str, default_host: IpAddr) -> Result<SocketAddr, InvalidInput> {
    let wrong = || InvalidInput("write host:port (127.0.0.1:8000, [::1]:8000, localhost:8000)".to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = match host {
        "" => default_host,
        _ if host.contains(':') && !host.starts_with('[') => return Err(wrong()),
        _ => parse_host(host.trim_start_matches('[').trim_end_matches(']')).map_err(|_| wrong())?,
    };
    Ok(SocketAddr::new(host, parse_port(port)?))
}

fn parse_host(text: &str) -> Result<IpAddr, InvalidInput> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text
            .parse()
            .map_err(|_| InvalidInput("write an IP address (127.0.0.1, 0.0.0.0, ::) or localhost".to_owned())),
    }
}

fn parse_port(text: &str) -> Result<u16, InvalidInput> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let port = if digits { text.parse().ok() } else { None };
    port.ok_or_else(|| InvalidInput("write a port from 0 to 65535; 0 takes a free port".to_owned()))
}

/// Returns the address by which this machine can connect to a listening address: loopback for an unspecified one.
pub fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use crate::testing::{load, refused, settings};

    #[test]
    fn sr_50_nothing_listens_beyond_loopback_unless_host_says_so() {
        assert_eq!(settings("", &[]).server.listen.to_string(), "127.0.0.1:8000");
        let clamped = settings("[server]\nlisten = \"0.0.0.0:9000\"\n", &[]);
        assert_eq!(clamped.server.listen.to_string(), "127.0.0.1:9000");
        assert!(clamped.warnings[0].to_string().starts_with("portcullis.toml:2: server.listen is 0.0.0.0"));
        assert_eq!(settings("", &[("PORTCULLIS__SERVER__LISTEN", "[::]:1")]).server.listen.to_string(), "[::1]:1");
        assert_eq!(settings("", &[("NODE_ENV", "test")]).server.listen.to_string(), "127.0.0.1:8000");
        assert_eq!(settings("", &[("HOST", "0.0.0.0")]).server.listen.to_string(), "0.0.0.0:8000");
    }

    #[test]
    fn host_and_port_replace_their_part_of_the_address() {
        let file = "[server]\nlisten = \"127.0.0.2:9000\"\n";
        assert_eq!(settings(file, &[("PORT", "0")]).server.listen.to_string(), "127.0.0.2:0");
        assert_eq!(settings(file, &[("HOST", "::1")]).server.listen.to_string(), "[::1]:9000");
        assert_eq!(settings("[server]\nlisten = \":9000\"\n", &[]).server.listen.to_string(), "127.0.0.1:9000");
        for (name, bad) in
            [("PORT", "65536"), ("PORT", "80a"), ("PORT", "+1"), ("HOST", "example.com"), ("HOST", "x86")]
        {
            let message = refused("", &[(name, bad)]);
            assert!(message.starts_with(&format!("environment {name}: {bad:?} cannot be used\n  hint: ")), "{message}");
        }
        for bad in ["8000", "::1:8000", "localhost", "example.com:80", "127.0.0.1:", "127.0.0.1:99999"] {
            assert!(load(&format!("[server]\nlisten = {bad:?}\n"), &[]).is_err(), "{bad}");
        }
    }
}

//! Redis's part of `portcullis doctor`. It sends `INFO` over a connection of its own and changes nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_model::finding::with_causes;
use portcullis_model::{Finding, Timestamp};
use portcullis_tls::CertificateExpiry;

use crate::connect::{ConnectError, builder, check_server, field, permanent_failure, server_info};
use crate::url::RedisUrl;

const SERVER: &str = "redis.server";
const MEMORY: &str = "redis.memory";
const CERTIFICATE: &str = "redis.certificate";

/// Connecting and one command of more than this make shared limits slow: a request waits for one command.
const SLOW: Duration = Duration::from_millis(100);
/// The share of `maxmemory`, in percent, above which Redis soon evicts keys or refuses writes.
const MOST_MEMORY: u64 = 90;

/// Looks at the server at this address: whether it answers, its version, its memory and its certificate.
pub async fn diagnose(
    url: &RedisUrl,
    connect_timeout: Duration,
    authorities: Option<&Path>,
    now: Timestamp,
    found: &mut Vec<Finding>,
) {
    let mut expiry: Option<Arc<CertificateExpiry>> = None;
    let tls = || {
        let (config, watch) = portcullis_tls::watching_client_config(authorities)?;
        expiry = Some(watch);
        Ok(config)
    };
    let address = url.to_string();
    let builder = match builder(url, connect_timeout, tls) {
        Ok(builder) => builder,
        Err(error) => return found.push(of_error(&error)),
    };
    let begun = Instant::now();
    let info = match server_info(&builder, connect_timeout).await {
        Ok(info) => info,
        Err(error) => {
            let text = with_causes(&error);
            return found.push(match permanent_failure(&address, error) {
                Some(failure) => of_error(&failure),
                None => Finding::fail(
                    SERVER,
                    format!("Redis at {address} does not answer: {text}"),
                    "start Redis, or correct REDIS_URL; until then replicas count limits apart and read sessions from the database",
                ),
            });
        }
    };
    let took = begun.elapsed();
    found.push(match check_server(&address, &info, &builder) {
        Err(error) => of_error(&error),
        Ok(()) => judge_server(&address, field(&info, "redis_version").unwrap_or("?"), took),
    });
    found.push(judge_memory(&info));
    found.extend(expiry.and_then(|expiry| expiry.finding(CERTIFICATE, now)));
}

fn of_error(error: &ConnectError) -> Finding {
    Finding::error(SERVER, error, error.hint())
}

fn judge_server(address: &str, version: &str, took: Duration) -> Finding {
    let text =
        format!("Redis {version} at {address}; connecting and one command took {:.1} ms", took.as_secs_f64() * 1e3);
    match took <= SLOW {
        true => Finding::pass(SERVER, text),
        false => Finding::warn(SERVER, text, "run Redis near the gateway; a command may take at most 250 ms"),
    }
}

/// Judges the memory policy (`maxmemory-policy`). Keys that go early are a burst that begins anew, or one more reading of the
/// database; a server that refuses writes is a Redis that is away.
fn judge_memory(info: &str) -> Finding {
    let number = |name: &str| field(info, name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let (used, most) = (number("used_memory"), number("maxmemory"));
    let policy = field(info, "maxmemory_policy").unwrap_or("unknown");
    let evicted = number("evicted_keys");
    let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let limit = if most == 0 { "no maxmemory".to_owned() } else { format!("of {}", megabytes(most)) };
    let text = format!("{} in use ({limit}), policy {policy}, {evicted} keys evicted", megabytes(used));
    let is_full = most > 0 && used.saturating_mul(100) >= most.saturating_mul(MOST_MEMORY);
    match policy {
        "noeviction" if is_full => Finding::warn(
            MEMORY,
            format!("{text}: a full Redis refuses writes, and replicas go on without it"),
            "raise maxmemory, or set maxmemory-policy to volatile-ttl",
        ),
        "noeviction" => Finding::pass(MEMORY, text),
        _ if evicted > 0 || is_full => Finding::warn(
            MEMORY,
            format!("{text}: counts of rate limits may be forgotten early, so that bursts begin anew"),
            "raise maxmemory, or give the gateway a Redis of its own",
        ),
        "volatile-ttl" => Finding::pass(MEMORY, text),
        _ if most > 0 => Finding::warn(
            MEMORY,
            format!("{text}: when Redis is full, counts of rate limits may be forgotten before they end"),
            "set maxmemory-policy to volatile-ttl, which drops first what would end first",
        ),
        _ => Finding::pass(MEMORY, text),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::finding::Status;

    use super::*;

    fn judged(policy: &str, used: u64, most: u64, evicted: u64) -> Status {
        judge_memory(&format!(
            "used_memory:{used}\r\nmaxmemory:{most}\r\nmaxmemory_policy:{policy}\r\nevicted_keys:{evicted}\r\n"
        ))
        .status
    }

    #[test]
    fn a_policy_is_judged_by_what_a_full_server_does() {
        assert_eq!(judged("noeviction", 10, 0, 0), Status::Pass);
        assert_eq!(judged("noeviction", 95, 100, 0), Status::Warn);
        assert_eq!(judged("allkeys-lru", 10, 0, 0), Status::Pass, "it has no limit at which it would evict");
        assert_eq!(judged("allkeys-lru", 10, 100, 0), Status::Warn);
        assert_eq!(judged("volatile-ttl", 10, 100, 0), Status::Pass);
        assert_eq!(judged("volatile-ttl", 10, 100, 3), Status::Warn);
    }
}

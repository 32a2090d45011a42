//! Rate limits that replicas count together: the generic cell rate algorithm (GCRA) in one script on one key, in one round
//! trip, by Redis's clock. The arithmetic is that of the gate's own limiter.

use std::sync::Arc;
use std::time::Duration;

use fred::interfaces::KeysInterface;
use fred::types::Value;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_model::{GcraOutcome, Rate, SharedLimits, SharedUnavailable};

use crate::link::Link;
use crate::script::Script;

/// Times are whole microseconds, which a Lua number represents exactly for centuries. The key's value is the theoretical
/// arrival time, and the key expires at that time. Returns whether the request is admitted, how far the arrival time is
/// ahead, and how long to wait. The third argument is 1 to count the request, 0 to only look, -1 to take back one that
/// was counted.
const GCRA: &str = "\
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local arrival = tonumber(redis.call('GET', KEYS[1]) or now)
if arrival < now then arrival = now end
if arrival > now + burst then arrival = now + burst end
local function keep(left)
  redis.call('SET', KEYS[1], string.format('%.0f', now + left), 'PX', math.ceil(left / 1000))
end
if ARGV[3] == '-1' then
  local left = arrival - interval - now
  if left > 0 then keep(left) else redis.call('DEL', KEYS[1]) end
  return {1, math.max(left, 0), 0}
end
local spent = arrival + interval - now
if spent > burst then return {0, arrival - now, spent - burst} end
if ARGV[3] == '1' then keep(spent) end
return {1, spent, 0}";

/// Counts requests in Redis.
pub(crate) struct Limits {
    link: Arc<Link>,
    script: Script,
}

impl Limits {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Self { link, script: Script::new(GCRA) }
    }

    fn redis_key(&self, key: &str) -> String {
        format!("{}:limit:{key}", self.link.prefix)
    }

    async fn run(&self, key: &str, rate: Rate, count: i64) -> Result<GcraOutcome, SharedUnavailable> {
        let interval = interval(rate);
        let burst = interval.saturating_mul(i64::from(rate.limit));
        let values = vec![Value::from(interval), Value::from(burst), Value::from(count)];
        let run = self.script.run::<(i64, i64, i64)>(&self.link.client, self.redis_key(key), values);
        let (admitted, ahead, wait) = self.link.run("limit", "EVALSHA limit", run).await?;
        Ok(GcraOutcome { ahead: micros(ahead), retry: (admitted == 0).then(|| micros(wait)) })
    }
}

impl SharedLimits for Limits {
    fn take<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, Result<GcraOutcome, SharedUnavailable>> {
        self.run(key, rate, 1).boxed()
    }

    fn peek<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, Result<GcraOutcome, SharedUnavailable>> {
        self.run(key, rate, 0).boxed()
    }

    fn refund<'a>(&'a self, key: &'a str, rate: Rate) -> BoxFuture<'a, Result<(), SharedUnavailable>> {
        self.run(key, rate, -1).map(|outcome| outcome.map(drop)).boxed()
    }

    fn reset<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), SharedUnavailable>> {
        self.link.run("limit", "DEL limit", self.link.client.del::<(), _>(self.redis_key(key))).boxed()
    }
}

/// The time between two requests at the rate, in microseconds.
fn interval(rate: Rate) -> i64 {
    let period = i64::try_from(rate.period.as_micros()).unwrap_or(i64::MAX);
    (period / i64::from(rate.limit)).max(1)
}

fn micros(count: i64) -> Duration {
    Duration::from_micros(u64::try_from(count).unwrap_or(0))
}

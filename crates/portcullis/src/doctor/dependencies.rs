//! The checks of what the gateway depends on: database, Redis, mail server, upstreams.

use portcullis_doctor::Check;
use portcullis_model::{Clock, Finding, Random};
use portcullis_settings::Settings;
use portcullis_storage::Diagnosis;
use portcullis_telemetry::Metrics;

use super::{LIMIT, clients};
use crate::assembly::{smtp_options, store_options};

pub(super) fn database(settings: &Settings) -> Check {
    let metrics = Metrics::new(&settings.metrics.families, env!("CARGO_PKG_VERSION"));
    let options = store_options(settings, &Clock::system(), &Random::system(), &metrics);
    let expected = clients::Expected::of(settings);
    Check::new("database", LIMIT, move |found| {
        Box::pin(async move {
            let Some(mut diagnosis) = Diagnosis::open(options, found).await else { return };
            diagnosis.examine(found).await;
            // Without the newest schema nothing is said about what the tables hold.
            let Some(mut diagnosis) = diagnosis.examine_schema(found).await else { return };
            diagnosis.examine_contents(found).await;
            let addresses = diagnosis.client_addresses().await;
            found.push(expected.judge(addresses));
            diagnosis.close().await;
        })
    })
}

pub(super) fn redis(settings: &Settings, clock: &Clock) -> Option<Check> {
    let (redis, now) = (settings.redis.clone()?, clock.now());
    Some(Check::new("redis", LIMIT, move |found| {
        Box::pin(async move {
            let authorities = redis.authorities.as_deref();
            Box::pin(portcullis_redis::diagnose(&redis.url, redis.connect_timeout, authorities, now, found)).await;
        })
    }))
}

pub(super) fn mail(settings: &Settings, clock: &Clock) -> Option<Check> {
    let mail = settings.mail.clone()?;
    let options = portcullis_mail::SmtpOptions { timeout: LIMIT / 2, ..smtp_options(settings, mail) };
    let clock = clock.clone();
    Some(Check::new("mail", LIMIT + LIMIT / 2, move |found| {
        Box::pin(async move { Box::pin(portcullis_mail::diagnose(&options, &clock, found)).await })
    }))
}

/// A check for each target, so that one that does not answer holds up no other.
pub(super) fn upstreams(settings: &Settings) -> impl Iterator<Item = Check> + '_ {
    settings.upstreams.iter().flat_map(|upstream| {
        upstream.targets.iter().map(|target| {
            let (name, target, limit) = (upstream.name.clone(), target.clone(), upstream.connect_timeout);
            Check::new(format!("upstream.{name}"), LIMIT + limit, move |found: &mut Vec<Finding>| {
                Box::pin(async move { portcullis_proxy::diagnose(&name, &target, limit, found).await })
            })
        })
    })
}

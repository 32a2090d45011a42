//! The caches of sessions.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::Metrics;
use super::catalogue::Catalogue;

/// The cache that a session was looked up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the variants are the label's values")]
pub enum CacheType {
    /// The session cache of this process.
    memory,
    /// The copies that replicas share in Redis.
    redis,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    cache_type: CacheType,
}

pub(super) struct SessionFamilies {
    hits: Family<CacheLabels, Counter>,
    misses: Family<CacheLabels, Counter>,
}

impl SessionFamilies {
    pub(super) fn register(catalogue: &mut Catalogue) -> Self {
        let hits: Family<CacheLabels, Counter> =
            catalogue.counter("cache_hits", &["cache_type"], "Sessions found in a cache, by cache");
        let misses: Family<CacheLabels, Counter> =
            catalogue.counter("cache_misses", &["cache_type"], "Sessions not found in a cache, by cache");
        // A cache without a miss yet has a share of hits, too.
        for cache_type in [CacheType::memory, CacheType::redis] {
            for family in [&hits, &misses] {
                let _begins_at_zero = family.get_or_create(&CacheLabels { cache_type });
            }
        }
        Self { hits, misses }
    }
}

impl Metrics {
    /// Counts a session that was found in this cache.
    pub fn cache_hit(&self, cache_type: CacheType) {
        self.0.sessions.hits.get_or_create(&CacheLabels { cache_type }).inc();
    }

    /// Counts a session that was not found in this cache.
    pub fn cache_miss(&self, cache_type: CacheType) {
        self.0.sessions.misses.get_or_create(&CacheLabels { cache_type }).inc();
    }

    /// The counter behind [`cache_hit`](Self::cache_hit), for a caller that counts on every request.
    pub fn cache_hit_counter(&self, cache_type: CacheType) -> Counter {
        self.0.sessions.hits.get_or_create_owned(&CacheLabels { cache_type })
    }
}

//! The families whose samples the registry keeps: each is registered once, with its name, type, labels and help text.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::family::{MetricFamily, MetricKind};
use super::text_format::{Page, TextFormat};

/// The traits that a label set needs. Every type with these traits implements it.
pub(super) trait Labels:
    EncodeLabelSet + Clone + Eq + std::hash::Hash + std::fmt::Debug + Send + Sync + 'static
{
}

impl<T: EncodeLabelSet + Clone + Eq + std::hash::Hash + std::fmt::Debug + Send + Sync + 'static> Labels for T {}

/// Makes histograms with the configured bounds, in seconds.
#[derive(Clone)]
pub(crate) struct Buckets(Arc<[f64]>);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// Names are those of OpenMetrics: a counter's name has no `_total`. Help texts have no full stop: the registry adds it.
#[derive(Default)]
pub(super) struct Catalogue {
    registry: Registry,
    families: Vec<MetricFamily>,
}

impl Catalogue {
    pub(super) fn counter<L: Labels>(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Family<L, Counter> {
        let family = Family::<L, Counter>::default();
        self.registry.register(name, help, family.clone());
        self.families.push(MetricFamily { name, kind: MetricKind::Counter, labels, help });
        family
    }

    pub(super) fn counter_without_labels(&mut self, name: &'static str, help: &'static str) -> Counter {
        let counter = Counter::default();
        self.registry.register(name, help, counter.clone());
        self.families.push(MetricFamily::counter(name, help));
        counter
    }

    pub(super) fn gauge<L: Labels>(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Family<L, Gauge> {
        let family = Family::<L, Gauge>::default();
        self.registry.register(name, help, family.clone());
        self.families.push(MetricFamily { name, kind: MetricKind::Gauge, labels, help });
        family
    }

    pub(super) fn histogram<L: Labels>(
        &mut self,
        name: &'static str,
        labels: &'static [&'static str],
        help: &'static str,
        bounds: &[f64],
    ) -> Family<L, Histogram, Buckets> {
        let family = Family::<L, Histogram, Buckets>::new_with_constructor(Buckets(bounds.into()));
        self.registry.register(name, help, family.clone());
        self.families.push(MetricFamily { name, kind: MetricKind::Histogram, labels, help });
        family
    }

    pub(super) fn build_info(&mut self, version: &str) {
        let (name, help) = ("build", "Version of this binary");
        self.registry.register(name, help, Info::new(vec![("version", version.to_owned())]));
        self.families.push(MetricFamily { name, kind: MetricKind::Info, labels: &["version"], help });
    }

    pub(super) fn families(&self) -> &[MetricFamily] {
        &self.families
    }

    /// Adds every family. One without samples has its HELP and TYPE too, which the registry's own encoder leaves out.
    pub(super) fn append(&self, page: &mut Page) {
        let mut samples = String::with_capacity(16 * 1024);
        prometheus_client::encoding::text::encode_registry(&mut samples, &self.registry)
            .expect("writing to a String does not fail");
        let shown: Vec<&str> = samples.lines().filter_map(family_begun).collect();
        for family in self.families.iter().filter(|family| !shown.contains(&family.name)) {
            page.head(family);
        }
        match page.format {
            TextFormat::OpenMetrics => page.text.push_str(&samples),
            TextFormat::Prometheus => super::text_format::append_as_prometheus(&samples, page),
        }
    }
}

/// The name of the family whose samples follow this line. Only a line of metadata begins with `#`.
fn family_begun(line: &str) -> Option<&str> {
    line.strip_prefix("# TYPE ")?.split(' ').next()
}

//! The labelled families of the process: each is registered once, with its name, type and help text.

use std::fmt::Write as _;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

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

struct Registered {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
}

/// Names are those of OpenMetrics: a counter's name has no `_total`. Help texts have no full stop: the registry adds it.
#[derive(Default)]
pub(super) struct Catalogue {
    registry: Registry,
    registered: Vec<Registered>,
}

impl Catalogue {
    pub(super) fn counter<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Family<L, Counter> {
        let family = Family::<L, Counter>::default();
        self.registry.register(name, help, family.clone());
        self.registered.push(Registered { name, kind: "counter", help });
        family
    }

    pub(super) fn counter_without_labels(&mut self, name: &'static str, help: &'static str) -> Counter {
        let counter = Counter::default();
        self.registry.register(name, help, counter.clone());
        counter
    }

    pub(super) fn gauge<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Family<L, Gauge> {
        let family = Family::<L, Gauge>::default();
        self.registry.register(name, help, family.clone());
        self.registered.push(Registered { name, kind: "gauge", help });
        family
    }

    pub(super) fn histogram<L: Labels>(
        &mut self,
        name: &'static str,
        help: &'static str,
        bounds: &[f64],
    ) -> Family<L, Histogram, Buckets> {
        let family = Family::<L, Histogram, Buckets>::new_with_constructor(Buckets(bounds.into()));
        self.registry.register(name, help, family.clone());
        self.registered.push(Registered { name, kind: "histogram", help });
        family
    }

    pub(super) fn build_info(&mut self, version: &str) {
        let info = Info::new(vec![("version", version.to_owned())]);
        self.registry.register("portcullis_build", "Version of this binary", info);
    }

    /// Every family as OpenMetrics 1.0, without the final `# EOF`. A family without samples has its HELP and TYPE too,
    /// which the registry's own encoder leaves out.
    pub(super) fn encode(&self, page: &mut String) {
        prometheus_client::encoding::text::encode_registry(page, &self.registry)
            .expect("writing to a String does not fail");
        for Registered { name, kind, help } in &self.registered {
            if !page.contains(&format!("# TYPE {name} ")) {
                let _ = writeln!(page, "# HELP {name} {help}.\n# TYPE {name} {kind}");
            }
        }
    }
}

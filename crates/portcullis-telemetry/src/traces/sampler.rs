//! Which traces are recorded (OpenTelemetry SDK environment variables, "General SDK Configuration").

use super::TraceId;

/// A sampler of `OTEL_TRACES_SAMPLER`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Whether the decision of a trusted client counts.
    pub parent_based: bool,
    /// The share of the other traces that is recorded, from 0 to 1.
    pub ratio: f64,
}

impl Sampler {
    /// The names of the samplers and what each does without an argument.
    pub const NAMED: [(&'static str, Self); 6] = [
        ("always_on", Self { parent_based: false, ratio: 1.0 }),
        ("always_off", Self { parent_based: false, ratio: 0.0 }),
        ("traceidratio", Self { parent_based: false, ratio: 1.0 }),
        ("parentbased_always_on", Self { parent_based: true, ratio: 1.0 }),
        ("parentbased_always_off", Self { parent_based: true, ratio: 0.0 }),
        ("parentbased_traceidratio", Self { parent_based: true, ratio: 1.0 }),
    ];

    /// Decides on a trace. `parent` is the decision of its client, if that is trusted. Services with the same ratio decide
    /// alike, because the end of the trace id decides.
    pub(crate) fn samples(&self, trace: &TraceId, parent: Option<bool>) -> bool {
        if let Some(sampled) = parent.filter(|_| self.parent_based) {
            return sampled;
        }
        if self.ratio >= 1.0 {
            return true;
        }
        // 63 bits, as the SDKs of OpenTelemetry compare them.
        (trace.low_bits() >> 1) < (self.ratio * (1_u64 << 63) as f64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(low: u64) -> TraceId {
        TraceId::from_digits(format!("0af7651916cd43dd{low:016x}").as_bytes()).expect("a trace id")
    }

    #[test]
    fn a_ratio_decides_by_the_end_of_the_trace_id() {
        let tenth = Sampler { parent_based: false, ratio: 0.1 };
        let threshold = u64::MAX / 10;
        for (low, sampled) in [(0, true), (threshold - 10_000, true), (threshold + 10_000, false), (u64::MAX, false)] {
            assert_eq!(tenth.samples(&trace(low), None), sampled, "{low}");
        }
        let of = |ratio| Sampler { parent_based: false, ratio };
        assert!(of(1.0).samples(&trace(u64::MAX), None));
        assert!(!of(0.0).samples(&trace(0), None));
    }

    #[test]
    fn only_a_parent_based_sampler_follows_the_client() {
        for (_, sampler) in Sampler::NAMED {
            assert_eq!(sampler.samples(&trace(1), Some(false)), !sampler.parent_based && sampler.ratio > 0.0);
            assert_eq!(sampler.samples(&trace(1), Some(true)), sampler.parent_based || sampler.ratio > 0.0);
        }
    }
}

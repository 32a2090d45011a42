//! The variables of OpenTelemetry that say where traces are sent and which (docs/tracing.md). They are read as
//! OpenTelemetry names them, and nowhere else: the same variables configure the other services of a team.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use portcullis_gate::Propagation;
use portcullis_telemetry::traces::{OtlpProtocol, Sampler, TraceOptions};

use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::unknown_hint;
use crate::engine::variables::{Variable, Variables};

/// The variables that are read.
pub(crate) const NAMES: [&str; 15] = [
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_PROPAGATORS",
];
/// The path of traces below the address of `OTEL_EXPORTER_OTLP_ENDPOINT`.
const TRACES_PATH: &str = "/v1/traces";

/// Reads the variables. `None` without the address of a collector, and if traces are switched off.
pub(crate) fn read(variables: &Variables, problems: &mut Problems) -> Option<TraceOptions> {
    let mut reader = Reader { variables, problems };
    let is_off = reader.get("OTEL_SDK_DISABLED").is_some_and(|found| found.value.eq_ignore_ascii_case("true"))
        || reader.get("OTEL_TRACES_EXPORTER").is_some_and(|found| found.value == "none");
    let protocol = reader.protocol();
    let endpoint = reader.endpoint(protocol);
    let options = TraceOptions {
        protocol,
        headers: reader.headers(),
        timeout: reader.timeout(),
        resource: reader.resource(),
        sampler: reader.sampler(),
        endpoint: endpoint?,
    };
    (!is_off).then_some(options)
}

/// Reads how requests name their trace, which counts without a collector too.
pub(crate) fn propagation(variables: &Variables, problems: &mut Problems) -> Propagation {
    Reader { variables, problems }.propagation()
}

struct Reader<'v, 'p> {
    variables: &'v Variables,
    problems: &'p mut Problems,
}

impl Reader<'_, '_> {
    fn get(&mut self, name: &str) -> Option<Variable> {
        self.variables.get(name, self.problems)
    }

    /// Returns the variable for traces, else the one for all signals, and whether it is the one for traces.
    fn either(&mut self, end: &str) -> Option<(Variable, bool)> {
        let specific = self.get(&format!("OTEL_EXPORTER_OTLP_TRACES_{end}")).map(|found| (found, true));
        specific.or_else(|| self.get(&format!("OTEL_EXPORTER_OTLP_{end}")).map(|found| (found, false)))
    }

    fn reject(&mut self, found: &Variable, message: &str, hint: impl Into<String>) {
        self.problems.add(Notice::new(&found.place, message).hint(hint));
    }

    fn protocol(&mut self) -> OtlpProtocol {
        let Some((found, _)) = self.either("PROTOCOL") else { return OtlpProtocol::Http };
        match found.value.as_str() {
            "http/protobuf" => OtlpProtocol::Http,
            "grpc" => OtlpProtocol::Grpc,
            _ => {
                self.reject(&found, "is not a protocol of this program", "write http/protobuf or grpc");
                OtlpProtocol::Http
            }
        }
    }

    fn endpoint(&mut self, protocol: OtlpProtocol) -> Option<Uri> {
        let (found, is_specific) = self.either("ENDPOINT")?;
        let text = if is_specific || protocol == OtlpProtocol::Grpc {
            found.value.clone()
        } else {
            format!("{}{TRACES_PATH}", found.value.trim_end_matches('/'))
        };
        let uri: Option<Uri> = text.parse().ok();
        let uri = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some());
        if uri.is_none() {
            self.reject(&found, "is not an address", "write http:// or https://, host and port: http://localhost:4318");
        }
        uri
    }

    fn headers(&mut self) -> Vec<(HeaderName, HeaderValue)> {
        let Some((found, _)) = self.either("HEADERS") else { return Vec::new() };
        let parsed: Option<Vec<_>> = pairs(&found.value).map(|pairs| {
            pairs
                .into_iter()
                .filter_map(|(name, value)| {
                    let mut value = HeaderValue::from_str(&value).ok()?;
                    value.set_sensitive(true);
                    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value))
                })
                .collect()
        });
        let count = found.value.split(',').filter(|pair| !pair.trim().is_empty()).count();
        match parsed.filter(|parsed| parsed.len() == count) {
            Some(parsed) => parsed,
            None => {
                self.reject(
                    &found,
                    "is not a list of header fields",
                    "write name=value,name=value, with %2C for a comma",
                );
                Vec::new()
            }
        }
    }

    fn timeout(&mut self) -> Duration {
        let by_default = Duration::from_secs(10);
        let Some((found, _)) = self.either("TIMEOUT") else { return by_default };
        match found.value.parse::<u64>().ok().filter(|millis| *millis > 0) {
            Some(millis) => Duration::from_millis(millis),
            None => {
                self.reject(&found, "is not a time", "write a number of milliseconds above 0");
                by_default
            }
        }
    }

    /// The attributes of the process. `OTEL_SERVICE_NAME` counts before a `service.name` in the list.
    fn resource(&mut self) -> Vec<(String, String)> {
        let mut attributes = Vec::new();
        if let Some(found) = self.get("OTEL_RESOURCE_ATTRIBUTES") {
            match pairs(&found.value) {
                Some(pairs) => attributes = pairs,
                None => self.reject(&found, "is not a list of attributes", "write name=value,name=value"),
            }
        }
        if let Some(name) = self.get("OTEL_SERVICE_NAME") {
            attributes.retain(|(key, _)| key != "service.name");
            attributes.push(("service.name".to_owned(), name.value));
        } else if !attributes.iter().any(|(key, _)| key == "service.name") {
            attributes.push(("service.name".to_owned(), "portcullis".to_owned()));
        }
        attributes
    }

    fn sampler(&mut self) -> Sampler {
        let named = |name: &str| Sampler::NAMED.iter().find(|(known, _)| *known == name).map(|(_, sampler)| *sampler);
        let by_default = Sampler { parent_based: true, ratio: 1.0 };
        let Some(found) = self.get("OTEL_TRACES_SAMPLER") else { return by_default };
        let Some(sampler) = named(&found.value) else {
            let known = Sampler::NAMED.iter().map(|(name, _)| *name);
            self.reject(&found, "is not a sampler of this program", unknown_hint(&found.value, known));
            return by_default;
        };
        let ratio = self.get("OTEL_TRACES_SAMPLER_ARG").filter(|_| found.value.ends_with("traceidratio"));
        let Some(argument) = ratio else { return sampler };
        match argument.value.parse::<f64>().ok().filter(|ratio| (0.0..=1.0).contains(ratio)) {
            Some(ratio) => Sampler { ratio, ..sampler },
            None => {
                self.reject(&argument, "is not a share of traces", "write a number from 0 to 1, such as 0.1");
                sampler
            }
        }
    }

    /// How requests name their trace. `baggage` passes unread in any case.
    fn propagation(&mut self) -> Propagation {
        const KNOWN: [&str; 4] = ["tracecontext", "baggage", "b3", "b3multi"];
        let Some(found) = self.get("OTEL_PROPAGATORS") else { return Propagation::default() };
        let names: Vec<&str> = found.value.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
        if let Some(unknown) = names.iter().find(|name| !KNOWN.contains(name)) {
            let message = format!("{unknown:?} is not a propagator of this program");
            self.reject(&found, &message, unknown_hint(unknown, KNOWN.into_iter()));
            return Propagation::default();
        }
        Propagation {
            reads_traceparent: names.contains(&"tracecontext"),
            writes_b3: names.contains(&"b3"),
            writes_b3_multi: names.contains(&"b3multi"),
        }
    }
}

/// Reads `name=value,name=value`, where a value may be percent-encoded. `None` if a part has no equals sign or no name.
fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    let parts = list.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?.into_owned();
            Some((name.trim().to_owned(), value)).filter(|(name, _)| !name.is_empty())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{refused, settings};

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318/");

    fn traces(variables: &[(&str, &str)]) -> TraceOptions {
        settings("", variables).traces.expect("traces are sent")
    }

    #[test]
    fn without_a_collector_there_are_no_traces() {
        assert!(settings("", &[("OTEL_SERVICE_NAME", "gate")]).traces.is_none());
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert!(settings("", &[ENDPOINT, off]).traces.is_none(), "{off:?}");
        }
    }

    #[test]
    fn the_address_of_traces_is_below_that_of_all_signals() {
        let options = traces(&[ENDPOINT]);
        assert_eq!(options.endpoint, "http://collector:4318/v1/traces");
        assert_eq!(options.protocol, OtlpProtocol::Http);
        assert_eq!(options.timeout, Duration::from_secs(10));
        assert_eq!(options.resource, [("service.name".to_owned(), "portcullis".to_owned())]);
        assert_eq!(options.sampler, Sampler { parent_based: true, ratio: 1.0 });
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/x");
        assert_eq!(traces(&[ENDPOINT, own]).endpoint, "https://traces/x");
        let grpc = traces(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert_eq!((grpc.endpoint, grpc.protocol), (Uri::from_static("http://collector:4318/"), OtlpProtocol::Grpc));
    }

    #[test]
    fn lists_are_percent_decoded_and_never_printed() {
        let options = traces(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20c2VjcmV0, x-team=a%2Cb"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment.name=test%20lab"),
            ("OTEL_SERVICE_NAME", "gate"),
        ]);
        assert_eq!(options.headers[0].1, "Basic c2VjcmV0");
        assert_eq!(options.headers[1].1, "a,b");
        let attribute = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            options.resource,
            [attribute("deployment.environment.name", "test lab"), attribute("service.name", "gate")]
        );
        assert!(!format!("{options:?}").contains("c2VjcmV0"));
    }

    #[test]
    fn a_ratio_needs_the_sampler_that_takes_one() {
        let tenth = ("OTEL_TRACES_SAMPLER_ARG", "0.1");
        let options = traces(&[ENDPOINT, ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), tenth]);
        assert_eq!(options.sampler, Sampler { parent_based: true, ratio: 0.1 });
        let options = traces(&[ENDPOINT, ("OTEL_TRACES_SAMPLER", "always_off"), tenth]);
        assert_eq!(options.sampler, Sampler { parent_based: false, ratio: 0.0 });
    }

    #[test]
    fn values_that_cannot_work_are_refused() {
        for (name, value, hint) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318", "write http:// or https://"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "write http/protobuf or grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization", "write name=value"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "write a number of milliseconds"),
            ("OTEL_TRACES_SAMPLER", "traceidration", "did you mean `traceidratio`?"),
        ] {
            let collector = if name == ENDPOINT.0 { ("X", "x") } else { ENDPOINT };
            let problems = refused("", &[collector, (name, value)]);
            assert!(problems.contains(hint), "{name}: {problems}");
        }
        let variables = [ENDPOINT, ("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "10%")];
        assert!(refused("", &variables).contains("write a number from 0 to 1"));
    }

    #[test]
    fn b3_is_read_and_written_by_choice() {
        let of = |names: &str| settings("", &[("OTEL_PROPAGATORS", names)]).propagation;
        assert_eq!(settings("", &[]).propagation, Propagation::default());
        assert_eq!(of("tracecontext,baggage"), Propagation::default());
        let single = Propagation { writes_b3: true, ..Propagation::default() };
        assert_eq!(of("tracecontext, b3"), single);
        assert_eq!(of("b3multi"), Propagation { reads_traceparent: false, writes_b3: false, writes_b3_multi: true });
        assert!(of("b3").reads_b3() && of("b3multi").reads_b3() && !of("tracecontext").reads_b3());
    }

    #[test]
    fn an_unknown_propagator_is_refused_also_without_a_collector() {
        for (names, hint) in
            [("tracecontext,b3mutli", "did you mean `b3multi`?"), ("xray", "tracecontext, baggage, b3")]
        {
            let problems = refused("", &[("OTEL_PROPAGATORS", names)]);
            assert!(problems.contains("is not a propagator of this program") && problems.contains(hint), "{problems}");
        }
    }
}

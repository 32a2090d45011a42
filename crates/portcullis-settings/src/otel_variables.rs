//! The variables of OpenTelemetry that say where traces are sent and which (docs/tracing.md). They are read as
//! OpenTelemetry names them, and nowhere else: the same variables configure the other services of a team.

use std::path::Path;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;
use portcullis_gate::Propagation;
use portcullis_telemetry::traces::{Batching, CollectorTls, Compression, OtlpProtocol, Sampler, TraceOptions};

use crate::engine::notice::{Notice, Problems};
use crate::engine::reader::unknown_hint;
use crate::engine::variables::{Variable, Variables};

/// The variables that are read.
pub(crate) const NAMES: [&str; 29] = [
    "OTEL_SDK_DISABLED",
    "OTEL_TRACES_EXPORTER",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_INSECURE",
    "OTEL_EXPORTER_OTLP_TRACES_INSECURE",
    "OTEL_EXPORTER_OTLP_COMPRESSION",
    "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY",
    "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
    "OTEL_BSP_SCHEDULE_DELAY",
    "OTEL_BSP_MAX_QUEUE_SIZE",
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
    "OTEL_BSP_EXPORT_TIMEOUT",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_PROPAGATORS",
];
/// The path of traces below the address of `OTEL_EXPORTER_OTLP_ENDPOINT`.
const TRACES_PATH: &str = "/v1/traces";
/// The longest time that can be set: an hour.
const MAX_MILLISECONDS: u64 = 3_600_000;
/// The longest queue that can be set; it takes about 1 GB when it is full.
const MAX_QUEUE: usize = 1_000_000;

/// Reads the variables. `None` without the address of a collector, and if traces are switched off.
pub(crate) fn read(variables: &Variables, problems: &mut Problems) -> Option<TraceOptions> {
    let mut reader = Reader { variables, problems };
    let (is_disabled, exports_nothing) = (reader.is_disabled(), reader.exports_nothing());
    let protocol = reader.protocol();
    let endpoint = reader.endpoint(protocol);
    let options = TraceOptions {
        protocol,
        compression: reader.compression(),
        headers: reader.headers(),
        timeout: reader.timeout(),
        tls: reader.tls(),
        batching: reader.batching(),
        resource: reader.resource(),
        sampler: reader.sampler(),
        endpoint: endpoint?,
    };
    (!is_disabled && !exports_nothing).then_some(options)
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

    fn is_disabled(&mut self) -> bool {
        self.get("OTEL_SDK_DISABLED").is_some_and(|found| is_true(&found))
    }

    /// Whether spans are sent nowhere. The variable is a list, of whose exporters this program has OTLP.
    fn exports_nothing(&mut self) -> bool {
        let Some(found) = self.get("OTEL_TRACES_EXPORTER") else { return false };
        let names: Vec<&str> = found.value.split(',').map(str::trim).collect();
        if !names.contains(&"otlp") && names != ["none"] {
            self.reject(&found, "names no exporter of this program", "write otlp or none");
        }
        names == ["none"]
    }

    fn compression(&mut self) -> Compression {
        let Some((found, _)) = self.either("COMPRESSION") else { return Compression::None };
        match found.value.as_str() {
            "gzip" => Compression::Gzip,
            "none" => Compression::None,
            _ => {
                self.reject(&found, "is not a compression of this program", "write gzip or none");
                Compression::None
            }
        }
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
        let is_insecure = self.either("INSECURE").is_some_and(|(insecure, _)| is_true(&insecure));
        let text = match protocol {
            OtlpProtocol::Grpc if found.value.contains("://") => found.value.clone(),
            // Only here does the variable count.
            OtlpProtocol::Grpc => format!("{}://{}", if is_insecure { "http" } else { "https" }, found.value),
            OtlpProtocol::Http if is_specific => found.value.clone(),
            OtlpProtocol::Http => format!("{}{TRACES_PATH}", found.value.trim_end_matches('/')),
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
        let found = self.either("TIMEOUT").map(|(found, _)| found);
        self.milliseconds(found, Duration::from_secs(10), 1)
    }

    /// Reads a time of at least so many milliseconds.
    fn milliseconds(&mut self, found: Option<Variable>, by_default: Duration, least: u64) -> Duration {
        let Some(found) = found else { return by_default };
        match found.value.parse::<u64>().ok().filter(|millis| (least..=MAX_MILLISECONDS).contains(millis)) {
            Some(millis) => Duration::from_millis(millis),
            None => {
                let hint = format!("write a number of milliseconds from {least} to {MAX_MILLISECONDS}");
                self.reject(&found, "is not a time", hint);
                by_default
            }
        }
    }

    /// Reads a number of spans, at most so many.
    fn spans(&mut self, name: &str, by_default: usize, most: usize) -> usize {
        let Some(found) = self.get(name) else { return by_default };
        match found.value.parse::<usize>().ok().filter(|count| (1..=most).contains(count)) {
            Some(count) => count,
            None => {
                self.reject(&found, "is not a number of spans", format!("write a number from 1 to {most}"));
                by_default
            }
        }
    }

    /// How spans are gathered. A batch comes out of the queue, so it is no larger.
    fn batching(&mut self) -> Batching {
        let by_default = Batching::default();
        let delay = self.get("OTEL_BSP_SCHEDULE_DELAY");
        let timeout = self.get("OTEL_BSP_EXPORT_TIMEOUT");
        let queue = self.spans("OTEL_BSP_MAX_QUEUE_SIZE", by_default.queue, MAX_QUEUE);
        Batching {
            delay: self.milliseconds(delay, by_default.delay, 0),
            timeout: self.milliseconds(timeout, by_default.timeout, 1),
            queue,
            batch: self.spans("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", by_default.batch.min(queue), queue),
        }
    }

    /// The certificates of connections to the collector. The variables name files.
    fn tls(&mut self) -> CollectorTls {
        let mut tls = CollectorTls::default();
        if let Some((found, _)) = self.either("CERTIFICATE")
            && let Err(error) = tls.trust(Path::new(&found.value))
        {
            self.reject(&found, &error.to_string(), "name a PEM file with the collector's authority");
        }
        match (self.either("CLIENT_CERTIFICATE"), self.either("CLIENT_KEY")) {
            (None, None) => {}
            (Some((chain, _)), Some((key, _))) => {
                if let Err(error) = tls.identify(Path::new(&chain.value), Path::new(&key.value)) {
                    let message = format!("or the key beside it {error}");
                    self.reject(&chain, &message, "name PEM files with a certificate and with its private key");
                }
            }
            (Some((found, _)), None) => {
                self.reject(&found, "has no key beside it", "set OTEL_EXPORTER_OTLP_CLIENT_KEY too");
            }
            (None, Some((found, _))) => {
                self.reject(&found, "has no certificate beside it", "set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE too");
            }
        }
        tls
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

/// Any other value is false, as OpenTelemetry has it.
fn is_true(found: &Variable) -> bool {
    found.value.eq_ignore_ascii_case("true")
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
mod tests;

//! What the variables of OpenTelemetry mean.

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
    assert!(settings("", &[ENDPOINT, ("OTEL_TRACES_EXPORTER", "console, otlp")]).traces.is_some());
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
fn an_address_of_grpc_may_leave_out_its_scheme() {
    let grpc = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")];
    let scheme = |more: &[(&str, &str)]| traces(&[&grpc[..], more].concat()).endpoint.scheme_str().map(str::to_owned);
    assert_eq!(scheme(&[]).as_deref(), Some("https"));
    assert_eq!(scheme(&[("OTEL_EXPORTER_OTLP_INSECURE", "true")]).as_deref(), Some("http"));
    let specific = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "false");
    assert_eq!(scheme(&[("OTEL_EXPORTER_OTLP_INSECURE", "true"), specific]).as_deref(), Some("https"));
    let with_scheme = [ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_INSECURE", "false")];
    assert_eq!(traces(&with_scheme).endpoint, "http://collector:4318/");
}

#[test]
fn spans_are_compressed_by_choice() {
    let of = |variables: &[(&str, &str)]| traces(&[&[ENDPOINT], variables].concat()).compression;
    assert_eq!(of(&[]), Compression::None);
    assert_eq!(of(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]), Compression::Gzip);
    let specific = ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none");
    assert_eq!(of(&[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"), specific]), Compression::None);
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
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "write gzip or none"),
        ("OTEL_TRACES_EXPORTER", "console", "write otlp or none"),
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
    for (names, hint) in [("tracecontext,b3mutli", "did you mean `b3multi`?"), ("xray", "tracecontext, baggage, b3")] {
        let problems = refused("", &[("OTEL_PROPAGATORS", names)]);
        assert!(problems.contains("is not a propagator of this program") && problems.contains(hint), "{problems}");
    }
}

#[test]
fn spans_are_gathered_as_the_batch_processor_is_told() {
    assert_eq!(traces(&[ENDPOINT]).batching, Batching::default());
    let batching = traces(&[
        ENDPOINT,
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "2500"),
    ])
    .batching;
    assert_eq!((batching.delay, batching.queue, batching.batch), (Duration::ZERO, 100, 100));
    assert_eq!(batching.timeout, Duration::from_millis(2500));
    assert_eq!(traces(&[ENDPOINT, ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "7")]).batching.batch, 7);
    for (name, value, hint) in [
        ("OTEL_BSP_SCHEDULE_DELAY", "5s", "from 0 to 3600000"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "from 1 to 1000000"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8193", "from 1 to 8192"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0", "from 1 to 3600000"),
    ] {
        let problems = refused("", &[ENDPOINT, (name, value)]);
        assert!(problems.contains(name) && problems.contains(hint), "{name}: {problems}");
    }
}

#[test]
fn files_of_certificates_are_read_at_the_start() {
    for (name, hint) in [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "name a PEM file with the collector's authority"),
        ("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "name a PEM file with the collector's authority"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "set OTEL_EXPORTER_OTLP_CLIENT_KEY too"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE too"),
    ] {
        let problems = refused("", &[ENDPOINT, (name, "/nowhere.pem")]);
        assert!(problems.contains(name) && problems.contains(hint), "{name}: {problems}");
    }
    let both = ["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY"].map(|name| (name, "/no.pem"));
    assert!(refused("", &[&[ENDPOINT][..], &both[..]].concat()).contains("or the key beside it cannot be read"));
}

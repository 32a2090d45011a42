#!/usr/bin/env python3
"""Checks the gateway's traces with a real collector, see traces.sh.

    traces.py BINARY FOLDER
"""

import atexit
import collections
import http.client
import http.server
import os
import pathlib
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import rotel
from prometheus_client.openmetrics.parser import text_string_to_metric_families

BINARY, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])
COLLECTOR = pathlib.Path(rotel.__file__).with_name("rotel-agent")
# The most seconds that anything may take. Nothing takes so long unless it is broken.
PATIENCE = 60
REQUESTS = 300


def start(command, out, **options):
    """Starts a program, which ends with this one at the latest."""
    process = subprocess.Popen(command, stdout=out.open("w"), stderr=subprocess.STDOUT, **options)
    atexit.register(process.kill)
    return process


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {PATIENCE} s")
        time.sleep(0.05)


class Collector:
    """A running rotel. It prints every span that it receives."""

    def __init__(self, http_port=None, grpc_port=None):
        self.ports = {"http/protobuf": http_port or free_port(), "grpc": grpc_port or free_port()}
        self.log = FOLDER / f"collector-{secrets.token_hex(4)}"
        command = [
            COLLECTOR, "start", "--exporter", "blackhole", "--debug-log", "traces", "--debug-log-verbosity", "detailed",
            "--otlp-http-endpoint", f"127.0.0.1:{self.ports['http/protobuf']}",
            "--otlp-grpc-endpoint", f"127.0.0.1:{self.ports['grpc']}",
            "--pid-file", f"{self.log}.pid", "--log-file", f"{self.log}.log",
        ]  # fmt: skip
        self.process = start(command, self.log, cwd=FOLDER)
        for port in self.ports.values():
            wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "rotel listens")

    def address(self, protocol):
        return f"http://127.0.0.1:{self.ports[protocol]}"

    def stop(self):
        """Ends it and returns what it received: dictionaries of the printed lines."""
        self.process.terminate()
        self.process.wait(PATIENCE)
        return self.spans()

    def spans(self):
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.log.read_text())
        found = []
        for block in re.split(r"^Span #\d+$", text, flags=re.MULTILINE)[1:]:
            lines = re.findall(r"^ +(?:-> )?(Trace ID|Parent ID|ID|Name|Kind|[\w.]+) *:[ \t]*(.*)$", block, re.MULTILINE)
            found.append({name: re.sub(r"^\w+\((.*)\)$", r"\1", value.strip()) for name, value in lines})
        return found


class Upstream(http.server.BaseHTTPRequestHandler):
    """Answers everything, and notes the trace context of each request."""

    protocol_version = "HTTP/1.1"
    seen = []

    def do_GET(self):
        Upstream.seen.append(self.headers["traceparent"])
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


class Gateway:
    """A running gateway with a route to the upstream."""

    def __init__(self, upstream, **variables):
        self.folder = FOLDER / f"gateway-{secrets.token_hex(4)}"
        self.folder.mkdir()
        (self.folder / "portcullis.toml").write_text(
            "[tracing]\ntrust_incoming = true\n[limits]\nenabled = false\n"
            f'[upstreams.things]\ntargets = ["http://127.0.0.1:{upstream}"]\n'
            '[[routes]]\npath = "/api/v1/things/{*rest}"\nupstream = "things"\nauth = "none"\n'
        )
        environment = os.environ | {"PORTCULLIS_DATA_DIR": str(self.folder), "OTEL_BSP_SCHEDULE_DELAY": "100"} | variables
        out = self.folder / "out"
        self.process = start([BINARY, "serve"], out, env=environment, cwd=self.folder)
        wait_until(lambda: "\nready" in out.read_text(), "the gateway is ready")
        self.address = re.search(r"listening on http://(.*)", out.read_text())[1]

    def get(self, path, headers):
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        return response.status, body

    def drive(self, count):
        """Sends requests, each with a trace of its own. Returns the client's span of each trace."""
        traces = {secrets.token_hex(16): secrets.token_hex(8) for _ in range(count)}

        def send(trace):
            status, _ = self.get("/api/v1/things/1", {"traceparent": f"00-{trace}-{traces[trace]}-01"})
            assert status == 200, f"the gateway answered {status}"

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, traces))
        return traces

    def metric(self, name):
        _, page = self.get("/metrics", {})
        return float(re.search(rf"^{name} (.*)$", page, re.MULTILINE)[1])

    def stop(self):
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        assert self.process.returncode == 0, f"the gateway ended with {self.process.returncode}"
        return time.monotonic() - begun


def check_parents(traces, spans):
    """Each trace has the request's span below the client's, and below that the attempt's, which the upstream was told."""
    told = {parts[1]: parts[2] for parts in (context.split("-") for context in Upstream.seen)}
    of_trace = collections.defaultdict(list)
    for span in spans:
        of_trace[span["Trace ID"]].append(span)
    for trace, client in traces.items():
        kinds = {span["Kind"]: span for span in of_trace[trace]}
        assert len(of_trace[trace]) == 2 and len(kinds) == 2, f"{trace} has the spans {of_trace[trace]}"
        server, attempt = kinds["SPAN_KIND_SERVER"], kinds["SPAN_KIND_CLIENT"]
        assert server["Parent ID"] == client, f"{server} is not below the client's span {client}"
        assert attempt["Parent ID"] == server["ID"], f"{attempt} is not below {server}"
        assert attempt["ID"] == told[trace], f"the upstream was told {told[trace]} and not {attempt['ID']}"
        assert server["http.response.body.size"] == "2", server


def check_exemplars(gateway, traces):
    """The OpenMetrics page is valid, and the histograms of requests name traces of ours."""
    _, page = gateway.get("/metrics", {"accept": "application/openmetrics-text; version=1.0.0"})
    named = [
        sample.exemplar.labels["trace_id"]
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.exemplar and sample.labels.get("route", sample.labels.get("http_route")) == "/api/v1/things/{*rest}"
    ]
    assert named and set(named) <= set(traces), f"exemplars: {named}"
    _, plain = gateway.get("/metrics", {})
    assert " # {" not in plain, "exemplars outside of OpenMetrics"


def received(upstream, protocol, compression):
    collector = Collector()
    gateway = Gateway(
        upstream, OTEL_EXPORTER_OTLP_ENDPOINT=collector.address(protocol), OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_COMPRESSION=compression,
    )  # fmt: skip
    traces = gateway.drive(REQUESTS)
    check_exemplars(gateway, traces)
    # Ends while spans still wait.
    traces |= gateway.drive(50)
    gateway.stop()
    check_parents(traces, collector.stop())
    print(f"rotel received {len(traces)} traces by {protocol} (compression: {compression}), with their parents; none was lost at the end")


def frozen(upstream):
    collector = Collector()
    gateway = Gateway(
        upstream, OTEL_EXPORTER_OTLP_ENDPOINT=collector.address("http/protobuf"), OTEL_EXPORTER_OTLP_TIMEOUT=str(PATIENCE * 2000)
    )
    collector.process.send_signal(signal.SIGSTOP)
    gateway.drive(REQUESTS)
    took = gateway.stop()
    collector.process.kill()
    print(f"a frozen collector held up no request; the gateway ended after {took:.1f} s")


def gone_and_back(upstream):
    port = free_port()
    gateway = Gateway(upstream, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
    traces = gateway.drive(REQUESTS)
    collector = Collector(http_port=port)
    wait_until(lambda: set(traces) <= {span.get("Trace ID") for span in collector.spans()}, "the spans arrive")
    assert gateway.metric("trace_spans_dropped_total") == 0
    gateway.stop()
    check_parents(traces, collector.stop())
    print("a collector that was gone received every span when it came")


def refusing(upstream):
    collector = Collector()
    gateway = Gateway(upstream, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.address('http/protobuf')}/nowhere")
    gateway.drive(REQUESTS)
    wait_until(lambda: gateway.metric("trace_spans_dropped_total") >= 2 * REQUESTS, "refused spans are counted")
    gateway.stop()
    assert not collector.stop()
    print("a collector that refuses held up no request, and its spans were counted as dropped")


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    upstream = server.server_port
    for protocol in ("http/protobuf", "grpc"):
        for compression in ("none", "gzip"):
            received(upstream, protocol, compression)
    frozen(upstream)
    gone_and_back(upstream)
    refusing(upstream)


main()

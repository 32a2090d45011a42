#!/usr/bin/env python3
"""Counts the instructions of a whole proxied request in the gateway's process, beside a minimal hyper proxy.

Callgrind counts them, so the load of the machine hardly matters: run it before and after a change on the request path. What the process
does in the same time without requests (its jobs) is subtracted. The kernel's work is not included. valgrind emulates a processor without
SHA-256 instructions, so about 20,000 of the gateway's instructions are the digest of the token; a real processor needs a tenth of that.
The gateway is measured with access log and traces off, with each of the access log's lines written to a file, and with a share of
the traces sent to a collector. Prints its table and keeps it in bench/request.txt.
"""

import argparse
import contextlib
import http.client
import http.server
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading
import time

import run

WARM_UP, REQUESTS = 500, 4000
PATH = "/api/v1/bench/x"

ACCESS_LOG = {"PORTCULLIS__LOG__ACCESS": "all", "LOG_FORMAT": "json"}


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes every batch of spans (OTLP over HTTP: an empty answer is a message without rejected spans)."""

    protocol_version = "HTTP/1.1"
    batches = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Collector.batches += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def collector():
    """Runs a collector of spans. The value is its address."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def traces(address, share):
    """The settings with which a share of the requests is traced."""
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": address,
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": str(share),
    }


class Callgrind:
    """Runs a command under callgrind, and counts the instructions of a part of its run."""

    def __init__(self, command, folder, **options):
        self.log, self.out = (folder / "log").open("w"), folder / "out"
        self.process = subprocess.Popen(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.out}", *map(str, command)],
            stdout=subprocess.DEVNULL,
            stderr=self.log,
            **options,
        )
        self.dumps = 0

    def counted(self):
        """The instructions since the last call, or since the start. Their profile is in `profile()`."""
        subprocess.run(["callgrind_control", "--dump", str(self.process.pid)], capture_output=True, check=True)
        self.dumps += 1
        return int(re.search(r"^(?:summary|totals): (\d+)", self.profile().read_text(), re.M).group(1))

    def profile(self):
        return self.out.with_name(f"{self.out.name}.{self.dumps}")

    def stop(self):
        self.process.terminate()
        self.process.wait(60)
        self.log.close()


def send_requests(port, token, times):
    """Sends requests on one connection. Each must be answered with 200."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {token}"}
    for n in range(times):
        client.request("GET", PATH, headers=headers)
        response = client.getresponse()
        response.read()
        if response.status != 200:
            raise SystemExit(f"request {n} was answered with {response.status}")


def wait_until_served(port, token, deadline=60):
    """Repeats a request until it is served: the first ones under valgrind may exceed the gateway's database timeouts."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException, SystemExit):
            return send_requests(port, token, 1)
        time.sleep(0.1)
    raise SystemExit(f"nothing answers on port {port}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = ["bare", "off", "access-log", "traces-1", "traces-10", "traces-100"]
    parser.add_argument("--only", nargs="+", choices=names, help="measure only these; the table is not kept")
    parser.add_argument("--profiles", metavar="FOLDER", type=pathlib.Path, help="keep callgrind's profiles here")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-bench-"))
    upstream_port = run.free_port()
    upstream = run.start_upstream(folder, upstream_port)
    try:
        run.wait_for(upstream_port)
        (folder / "portcullis.toml").write_text(run.settings(upstream_port))
        # Hashing a password takes too long under valgrind.
        port = run.free_port()
        registering = run.start_portcullis(folder, port)
        run.wait_for(port, "/api/health")
        user = {"email": "bench@example.com", "username": "bench", "firstName": "Bench", "lastName": "Mark"}
        password = {"password": run.PASSWORD, "confirmPassword": run.PASSWORD}
        token = run.post(port, "/api/v1/auth/register", user | password)["tokens"]["accessToken"]
        run.stop(registering)

        def measure(name, command, port, **started):
            """Returns the instructions of a request."""
            server = Callgrind(command, folder, **started)
            try:
                wait_until_served(port, token)
                send_requests(port, token, WARM_UP)
                server.counted()
                begun = time.monotonic()
                send_requests(port, token, REQUESTS)
                took = time.monotonic() - begun
                busy = server.counted()
                if options.profiles:
                    options.profiles.mkdir(parents=True, exist_ok=True)
                    shutil.copy(server.profile(), options.profiles / name)
                time.sleep(took)
                return (busy - server.counted()) / REQUESTS
            finally:
                server.stop()

        def bare():
            port = run.free_port()
            return measure("bare", [run.BARE_PROXY, port, upstream_port], port)

        def gateway(name, **settings):
            port = run.free_port()
            environment = run.portcullis_environment(folder, port) | settings
            return measure(name, [run.PORTCULLIS, "serve"], port, cwd=folder, env=environment)

        with collector() as address:
            rows = [("minimal hyper proxy (`bare_proxy`)", "bare", {}), ("whole gate", "off", {})]
            rows.append(("whole gate, access log of all requests to a file", "access-log", ACCESS_LOG))
            for percent in (1, 10, 100):
                settings = traces(address, percent / 100)
                rows.append((f"whole gate, traces of {percent} % of the requests", f"traces-{percent}", settings))
            lines = ["| server | instructions per request | more than with all of it off |", "|---|---|---|"]
            off = None
            for server, name, settings in rows:
                if options.only and name not in options.only:
                    continue
                count = bare() if name == "bare" else gateway(name, **settings)
                off = count if name == "off" else off
                more = f"{count / off - 1:+.1%}" if off and name != "off" else ""
                lines.append(f"| {server} | {count:,.0f} | {more} |")
                print(lines[-1], flush=True)
            if not options.only and not Collector.batches:
                raise SystemExit("the collector got no span")
        if not options.only:
            (run.ROOT / "bench/request.txt").write_text("\n".join(lines) + "\n")
    finally:
        run.stop(upstream)
        shutil.rmtree(folder, ignore_errors=True)


main()

#!/usr/bin/env python3
"""Measures what a scrape of `/metrics` costs over HTTP, by the number of routes that have been used.

The time of the gateway is the CPU time of its process, the whole time is that of a client on the same machine which reads the page and
throws it away. Both are medians. Prints the table of docs/observability.md.
"""

import argparse
import pathlib
import shutil
import socket
import statistics
import tempfile
import time

import run

STATUSES = [200, 404, 502]


def settings(upstream, routes):
    """Returns settings with so many routes, none of which needs a user."""
    lines = [f'[upstreams.bench]\ntargets = ["http://127.0.0.1:{upstream}"]']
    for number in range(routes):
        path = f"/api/v1/service-{number}/{{*rest}}"
        lines.append(f'[[routes]]\npath = "{path}"\nupstream = "bench"\nauth = "none"\nrate_limit = "100000000/1m"')
    return "[limits]\nauth = \"100000000/1m\"\napi = \"100000000/1m\"\n" + "\n".join(lines)


class Client:
    """A connection that reads responses into one buffer: what a client does with a page is not measured."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.buffer = memoryview(bytearray(32 << 20))

    def get(self, path):
        """Returns status, body, and the seconds until its last byte."""
        begun = time.perf_counter()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        read, end = 0, None
        while end is None or read < end:
            received = self.socket.recv_into(self.buffer[read:])
            if received == 0:
                raise SystemExit("the gateway closed the connection")
            read += received
            if end is None and (head := bytes(self.buffer[: min(read, 8192)]).lower().find(b"\r\n\r\n")) > 0:
                fields = bytes(self.buffer[:head]).lower().decode().split("\r\n")
                length = next(int(field.split(":")[1]) for field in fields if field.startswith("content-length:"))
                begin, end = head + 4, head + 4 + length
        took = time.perf_counter() - begun
        return int(bytes(self.buffer[9:12])), self.buffer[begin:end], took


def measure(folder, routes, statuses, scrapes):
    """Returns a row of the table."""
    upstream_port, port = run.free_port(), run.free_port()
    answers = "".join(f"location ~ /{status}$ {{ return {status}; }}" for status in STATUSES)
    upstream = run.start_nginx(folder, "upstream", f"server {{ listen 127.0.0.1:{upstream_port}; {answers} }}", core=1)
    (folder / "portcullis.toml").write_text(settings(upstream_port, routes))
    gateway = run.start_portcullis(folder, port)
    try:
        run.wait_for_socket(upstream_port)
        run.wait_for(port, "/api/health")
        client = Client(port)
        for number in range(routes):
            for status in STATUSES[:statuses]:
                got, _, _ = client.get(f"/api/v1/service-{number}/{status}")
                if got != status:
                    raise SystemExit(f"route {number} was answered with {got} instead of {status}")
        cpu, whole, page = [], [], b""
        for _ in range(scrapes):
            before = run.cpu_seconds(gateway.pid)
            _, page, took = client.get("/metrics")
            cpu.append(run.cpu_seconds(gateway.pid) - before)
            whole.append(took)
        lines = bytes(page).count(b"\n")
        cpu_ms, whole_ms = (statistics.median(all_) * 1e3 for all_ in (cpu, whole))
        return f"| {routes:,} | {statuses} | {lines:,} | {len(page) / 1e6:.2f} MB | {cpu_ms:.2f} ms | {whole_ms:.2f} ms |"
    finally:
        run.stop(gateway)
        run.stop(upstream)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scrapes", type=int, default=101)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-bench-"))
    try:
        print("| routes that have been used | statuses of each | lines | bytes | CPU of the gateway | until the last byte |")
        print("|---|---|---|---|---|---|")
        for routes, statuses in [(0, 0), (100, 1), (1_000, 1), (1_000, 3)]:
            print(measure(folder, routes, statuses, options.scrapes), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


main()

#!/usr/bin/env python3
"""Counts the instructions of a whole proxied request in the gateway's process, beside a minimal hyper proxy.

Callgrind counts them, so the load of the machine does not matter: run it before and after a change on the request path. The cost of a
request is the difference between a long run and a short one. The kernel's work is not included. valgrind emulates a processor without
SHA-256 instructions, so about 20,000 of the gateway's instructions are the digest of the token; a real processor needs a tenth of that.
Prints its table and keeps it in bench/request.txt.
"""

import contextlib
import functools
import http.client
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import run

SHORT, LONG = 1000, 5000
PATH = "/api/v1/bench/x"


@contextlib.contextmanager
def under_callgrind(command, folder, **options):
    """Runs the command under callgrind. The list holds the number of instructions once the command has ended."""
    result = []
    log, out = folder / "log", folder / "out"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *map(str, command)],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            **options,
        )
        try:
            yield result
        finally:
            process.terminate()
            process.wait(60)
    result.append(int(re.search(r"Collected : (\d+)", log.read_text()).group(1)))


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


def instructions_per_request(run_server):
    """`run_server` serves a number of requests and returns the instructions that this took."""
    short, long = (run_server(times) for times in (SHORT, LONG))
    return (long - short) / (LONG - SHORT)


def main():
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

        def measure(command, port, times, **options):
            with under_callgrind(command, folder, **options) as result:
                wait_until_served(port, token)
                send_requests(port, token, times)
            return result[0]

        def gateway(times, **settings):
            port = run.free_port()
            environment = run.portcullis_environment(folder, port) | settings
            return measure([run.PORTCULLIS, "serve"], port, times, cwd=folder, env=environment)

        def bare(times):
            port = run.free_port()
            return measure([run.BARE_PROXY, port, upstream_port], port, times)

        lines = ["| server | instructions per request |", "|---|---|"]
        with_access_log = functools.partial(gateway, PORTCULLIS__LOG__ACCESS="all", LOG_FORMAT="json")
        for server, run_server in [
            ("minimal hyper proxy (`bare_proxy`)", bare),
            ("Portcullis, whole gate", gateway),
            ("Portcullis, whole gate, access log of all requests to a file", with_access_log),
        ]:
            lines.append(f"| {server} | {instructions_per_request(run_server):,.0f} |")
            print(lines[-1], flush=True)
        (run.ROOT / "bench/request.txt").write_text("\n".join(lines) + "\n")
    finally:
        run.stop(upstream)
        shutil.rmtree(folder, ignore_errors=True)


main()

#!/usr/bin/env python3
"""Counts the instructions of a whole proxied request in the gateway's process, beside a minimal hyper proxy.

Callgrind counts them, so the load of the machine does not matter: run it before and after a change on the request path. The cost of a
request is the difference between a long run and a short one. The kernel's work is not included. valgrind emulates a processor without
SHA-256 instructions, so about 20,000 of the gateway's instructions are the digest of the token; a real processor needs a tenth of that. Prints its table and keeps it in bench/request.txt.
"""

import contextlib
import http.client
import pathlib
import re
import shutil
import subprocess
import tempfile
import time

import run

SHORT, LONG = 1000, 5000
WHAT = "/api/v1/bench/x"


@contextlib.contextmanager
def counted(command, folder, **how):
    """The command under callgrind; what it has counted is in the list once it has ended."""
    result = []
    log, out = folder / "log", folder / "out"
    with log.open("w") as said:
        process = subprocess.Popen(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *map(str, command)],
            stdout=subprocess.DEVNULL,
            stderr=said,
            **how,
        )
        try:
            yield result
        finally:
            process.terminate()
            process.wait(60)
    result.append(int(re.search(r"Collected : (\d+)", log.read_text()).group(1)))


def ask(port, token, times):
    """Requests on one connection, each answered with 200."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {token}"}
    for n in range(times):
        client.request("GET", WHAT, headers=headers)
        answer = client.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"request {n} was answered with {answer.status}")


def wait_until_asked(port, token, deadline=60):
    """The first requests under valgrind may be too slow for the gateway's own patience with its database."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException, SystemExit):
            return ask(port, token, 1)
        time.sleep(0.1)
    raise SystemExit(f"nothing answers on port {port}")


def a_request(start):
    """Instructions a request of the server that `start` gives for a number of requests."""
    short, long = (start(times) for times in (SHORT, LONG))
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
        outside = run.start_portcullis(folder, port)
        run.wait_for(port, "/api/health")
        person = {"email": "bench@example.com", "username": "bench", "firstName": "Bench", "lastName": "Mark"}
        password = {"password": run.PASSWORD, "confirmPassword": run.PASSWORD}
        token = run.post(port, "/api/v1/auth/register", person | password)["tokens"]["accessToken"]
        run.stop(outside)

        def asked(command, port, times, **how):
            with counted(command, folder, **how) as result:
                wait_until_asked(port, token)
                ask(port, token, times)
            return result[0]

        def gateway(times):
            port = run.free_port()
            environment = run.portcullis_environment(folder, port)
            return asked([run.PORTCULLIS, "serve"], port, times, cwd=folder, env=environment)

        def bare(times):
            port = run.free_port()
            return asked([run.BARE_PROXY, port, upstream_port], port, times)

        lines = ["| what | instructions a request |", "|---|---|"]
        for what, start in [("minimal hyper proxy (`bare_proxy`)", bare), ("Portcullis, whole gate", gateway)]:
            lines.append(f"| {what} | {a_request(start):,.0f} |")
            print(lines[-1], flush=True)
        (run.ROOT / "bench/request.txt").write_text("\n".join(lines) + "\n")
    finally:
        run.stop(upstream)
        shutil.rmtree(folder, ignore_errors=True)


main()

#!/usr/bin/env python3
"""Portcullis beside nginx on one machine: CPU per request, per login, start and memory.

Figures are CPU seconds of the measured process (and its children) divided by what it
did, so the load of the machine changes them little. The programs take turns within a round.
Units are in the table. Everything listens on loopback and is stopped at the end.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# BENCH_PROFILE=debug measures another build than the one that is shipped.
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / os.environ.get("BENCH_PROFILE", "release")
EXAMPLES = BUILT / "examples"
PORTCULLIS = BUILT / "portcullis"
BARE_PROXY = EXAMPLES / "bare_proxy"
ARGON2_LOOP = EXAMPLES / "argon2_loop"
PASSWORD = "correct horse battery staple"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_socket(port, deadline=10):
    end = time.monotonic() + deadline
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > end:
            raise SystemExit(f"nothing listens on port {port}")
        time.sleep(0.02)


def children(pid):
    out = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [int(child) for child in out]


def cpu_seconds(pid):
    """User and system time of a process and its children, from /proc, in seconds."""
    total = 0
    for p in [pid, *children(pid)]:
        total += sum(
            int((task / "schedstat").read_text().split()[0]) for task in pathlib.Path(f"/proc/{p}/task").iterdir()
        )
    return total / 1e9


def rss_mb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) / 1024


def wait_for(port, path="/", deadline=10):
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            c.request("GET", path)
            if c.getresponse().status == 200:
                return
        time.sleep(0.002)
    raise SystemExit(f"nothing answered on port {port}")


def pinned(core, command):
    """The command on one core, where there is more than one."""
    return ["taskset", "-c", str(core), *command] if os.cpu_count() > 1 else command


def start_nginx(folder, name, body, core):
    conf = folder / f"{name}.conf"
    conf.write_text(
        f"""daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.err;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {folder}/{name}-b;
proxy_temp_path {folder}/{name}-p; fastcgi_temp_path {folder}/{name}-f; uwsgi_temp_path {folder}/{name}-u;
scgi_temp_path {folder}/{name}-s; {body} }}"""
    )
    command = pinned(core, ["nginx", "-c", str(conf), "-p", str(folder)])
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def start_upstream(folder, port):
    """The service behind every contestant."""
    location = 'default_type application/json; return 200 "{\\"ok\\":true}";'
    return start_nginx(folder, "upstream", f"server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }}", core=1)


def settings(upstream):
    """Returns settings with high limits, a route that requires a user, and one that does not."""
    return f"""
[limits]
auth = "100000000/1m"
api = "100000000/1m"
[upstreams.bench]
targets = ["http://127.0.0.1:{upstream}"]
[[routes]]
path = "/api/v1/bench/{{*rest}}"
upstream = "bench"
auth = "required"
rate_limit = "100000000/1m"
[[routes]]
path = "/api/v1/open/{{*rest}}"
upstream = "bench"
auth = "none"
"""


def post(port, path, body, token=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    c.request("POST", path, json.dumps(body), headers)
    response = c.getresponse()
    response_body = json.loads(response.read())
    if response.status >= 300:
        raise SystemExit(f"{path}: {response.status} {response_body}")
    return response_body["data"]


def load(port, seconds, path, script=None, args=()):
    """Runs wrk on the second core and returns how many requests succeeded."""
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", f"http://127.0.0.1:{port}{path}"]
    if script:
        command[1:1] = ["-s", str(script)]
        command += ["--", *args]
    out = subprocess.run(pinned(1, command), capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"load on {port}{path} saw failures:\n{out}")
    return int(re.search(r"(\d+) requests in", out).group(1))


def per_request(pid, port, seconds, path, script=None, args=()):
    before = cpu_seconds(pid)
    requests = load(port, seconds, path, script, args)
    return (cpu_seconds(pid) - before) / requests * 1e6


def portcullis_environment(folder, port):
    env = {key: value for key, value in os.environ.items() if not key.startswith("PORTCULLIS")}
    env.update(
        PORTCULLIS_DATA_DIR=str(folder / "data"),
        PORTCULLIS_CONFIG=str(folder / "portcullis.toml"),
        PORT=str(port),
        LOG_LEVEL="warn",
        PORTCULLIS__LOG__ACCESS="off",
    )
    return env


def start_portcullis(folder, port, *, pin=True, **more):
    command = [str(PORTCULLIS), "serve"]
    if pin:
        command = pinned(0, command)
    return subprocess.Popen(
        command, cwd=folder, env=portcullis_environment(folder, port) | more, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def first_200_ms(folder, rounds):
    samples = []
    for _ in range(rounds):
        port = free_port()
        begin = time.monotonic()
        process = start_portcullis(folder, port, pin=False)
        wait_for(port, "/api/health")
        samples.append((time.monotonic() - begin) * 1e3)
        stop(process)
    return statistics.median(samples)


def open_connections(port, count):
    held = []
    for _ in range(count):
        s = socket.create_connection(("127.0.0.1", port))
        s.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        s.recv(4096)
        held.append(s)
    return held


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of load per contestant and round")
    parser.add_argument("--accounts", type=int, default=1000)
    parser.add_argument("--logins", type=int, default=1000)
    options = parser.parse_args()

    folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-bench-"))
    running = []
    try:
        upstream, plain, gate = free_port(), free_port(), free_port()
        running.append(start_upstream(folder, upstream))
        proxy = start_nginx(
            folder,
            "proxy",
            f"""upstream u {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
server {{ listen 127.0.0.1:{plain}; location / {{ proxy_pass http://u; proxy_http_version 1.1;
proxy_set_header Connection ""; proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; }} }}""",
            core=0,
        )
        running.append(proxy)
        (folder / "portcullis.toml").write_text(settings(upstream))
        wait_for(upstream)
        wait_for(plain)

        start_ms_fresh = first_200_ms(folder, 1)
        start_ms = first_200_ms(folder, 9)

        server = start_portcullis(folder, gate)
        running.append(server)
        wait_for(gate, "/api/health")
        memory_start = rss_mb(server.pid)

        def register(n):
            user = {
                "email": f"bench{n}@example.com",
                "username": f"bench{n}",
                "firstName": "Bench",
                "lastName": "Mark",
                "password": PASSWORD,
                "confirmPassword": PASSWORD,
            }
            return post(gate, "/api/v1/auth/register", user)["tokens"]["accessToken"]

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            tokens = list(pool.map(register, range(options.accounts)))
        (folder / "tokens").write_text("\n".join(tokens))

        # Logins beside the bare hash loop, in turns.
        def login(n):
            post(gate, "/api/v1/auth/login", {"email": f"bench{n % options.accounts}@example.com", "password": PASSWORD})

        bare, per_login = [], []
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for part in range(5):
                out = subprocess.run(
                    pinned(0, [str(ARGON2_LOOP), "100"]),
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout
                bare.append(float(out.split()[0]))
                count = options.logins // 5
                before = cpu_seconds(server.pid)
                list(pool.map(login, range(part * count, (part + 1) * count)))
                per_login.append((cpu_seconds(server.pid) - before) / count * 1e3)
        memory_logins = rss_mb(server.pid)

        script = ROOT / "bench/tokens.lua"
        token_file = [str(folder / "tokens")]
        load(gate, 1, "/api/v1/bench/x", script, token_file)
        load(plain, 1, "/api/v1/bench/x", script, token_file)
        redis_port = free_port()
        redis = ["redis-server", "--port", str(redis_port), "--save", "", "--appendonly", "no", "--dir", str(folder)]
        running.append(subprocess.Popen(pinned(1, redis), stdout=subprocess.DEVNULL))
        wait_for_socket(redis_port)
        shared = free_port()
        sharing = start_portcullis(folder, shared, REDIS_URL=f"redis://127.0.0.1:{redis_port}")
        running.append(sharing)
        wait_for(shared, "/api/health")
        load(shared, 1, "/api/v1/bench/x", script, token_file)
        bare_port = free_port()
        bare_proxy = subprocess.Popen(
            pinned(0, [str(BARE_PROXY), str(bare_port), str(upstream)]), stdout=subprocess.DEVNULL
        )
        running.append(bare_proxy)
        wait_for_socket(bare_port)
        load(bare_port, 1, "/api/v1/bench/x", script, token_file)
        rows = {"nginx": [], "bare": [], "gate": [], "open": [], "redis": []}
        for _ in range(options.rounds):
            rows["nginx"].append(per_request(proxy.pid, plain, options.seconds, "/api/v1/bench/x", script, token_file))
            rows["bare"].append(per_request(bare_proxy.pid, bare_port, options.seconds, "/api/v1/bench/x", script, token_file))
            rows["gate"].append(per_request(server.pid, gate, options.seconds, "/api/v1/bench/x", script, token_file))
            rows["open"].append(per_request(server.pid, gate, options.seconds, "/api/v1/open/x", script, token_file))
            rows["redis"].append(per_request(sharing.pid, shared, options.seconds, "/api/v1/bench/x", script, token_file))

        base = rss_mb(server.pid)
        held = open_connections(gate, 1000)
        memory_connections = rss_mb(server.pid)
        for s in held:
            s.close()

        nginx, bare_hyper, whole, open_route = (statistics.median(rows[k]) for k in ("nginx", "bare", "gate", "open"))
        bare_ms, login_ms = statistics.median(bare), statistics.median(per_login)
        spread = lambda k: f"{min(rows[k]):.1f}–{max(rows[k]):.1f}"
        cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
        version = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip().split("/")[-1]
        print(f"\n{cpu.group(1) if cpu else platform.processor()}, {os.cpu_count()} cores, Linux {platform.release()}, nginx {version}")
        print(f"{options.rounds} rounds of {options.seconds} s, 32 connections, {options.accounts} accounts\n")
        print("| what | value | range | ratio | aim |")
        print("|---|---|---|---|---|")
        print(f"| nginx, plain proxying: CPU per request | {nginx:.1f} µs | {spread('nginx')} | 1.00 | |")
        print(f"| minimal hyper proxy (`bare_proxy`): CPU per request | {bare_hyper:.1f} µs | {spread('bare')} | {bare_hyper / nginx:.2f} | |")
        print(f"| Portcullis, whole gate: CPU per request | {whole:.1f} µs | {spread('gate')} | {whole / nginx:.2f} | ≤ 1.30 |")
        print(f"| Portcullis, open route (no token): CPU per request | {open_route:.1f} µs | {spread('open')} | {open_route / nginx:.2f} | |")
        redis_cpu = statistics.median(rows["redis"])
        print(f"| Portcullis, whole gate, both limits counted in Redis: CPU per request | {redis_cpu:.1f} µs | {spread('redis')} | {redis_cpu / nginx:.2f} | |")
        print(f"| bare argon2id (m=19456, t=2, p=1): CPU per hash | {bare_ms:.2f} ms | {min(bare):.2f}–{max(bare):.2f} | 1.00 | |")
        print(f"| Portcullis: CPU per login | {login_ms:.2f} ms | {min(per_login):.2f}–{max(per_login):.2f} | {bare_ms / login_ms:.1%} of the bare rate | ≥ 95 % |")
        print(f"| first 200 after start, existing data folder | {start_ms:.0f} ms | | | ≤ 100 ms |")
        print(f"| first 200 after the very first start | {start_ms_fresh:.0f} ms | | | |")
        print(f"| resident memory before the first hash | {memory_start:.1f} MB | | | ≤ 25 MB |")
        print(f"| resident memory after {options.logins:,} logins | {memory_logins:.1f} MB | | | |")
        print(f"| resident memory with 1,000 open connections | {memory_connections:.1f} MB | +{memory_connections - base:.1f} MB | | |")
    finally:
        for process in running:
            stop(process)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

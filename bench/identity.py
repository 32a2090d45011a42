#!/usr/bin/env python3
"""Measures identity on one machine: imports, timing differences between refused sign-ins, and the latency of proxied routes while
sign-ins saturate the cores.

Everything listens on loopback and is removed at the end.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from run import (
    ARGON2_LOOP, PASSWORD, PORTCULLIS, cpu_seconds, free_port, portcullis_environment, rss_mb, start_nginx, stop, wait_for,
)

# "correct horse battery staple", as another program's bcrypt stored it.
BCRYPT = "$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"
SIGN_IN_TIMING = ARGON2_LOOP.with_name("sign_in_timing")


def users_file(path, count):
    with open(path, "w") as file:
        file.write("id,email,username,firstName,lastName,password,role,isActive,isEmailVerified,createdAt\n")
        for n in range(count):
            file.write(
                f"018f0000-0000-7000-8000-{n:012x},person{n}@example.com,person{n},Ada,Lovelace,{BCRYPT},DEVELOPER,true,"
                f"true,2024-01-01T00:00:00Z\n"
            )


def imports(folder, count):
    """Accounts a second, into SQLite and into PostgreSQL, once from a file and once from another program's table."""
    users_file(folder / "users.csv", count)
    (folder / "portcullis.toml").touch()
    rows = []

    def run(name, source, environment):
        subprocess.run([PORTCULLIS, "migrate", "up"], cwd=folder, env=environment, capture_output=True, check=True)
        out = subprocess.run(
            [PORTCULLIS, "users", "import", source, "--json"], cwd=folder, env=environment, capture_output=True, check=True
        )
        told = json.loads(out.stdout)
        assert told["imported"] == count, told
        rows.append((name, count / told["seconds"]))
        again = json.loads(
            subprocess.run(
                [PORTCULLIS, "users", "import", source, "--json"], cwd=folder, env=environment, capture_output=True
            ).stdout
        )
        assert again["alreadyThere"] == count, again
        rows.append((f"{name}, again (all there already)", count / again["seconds"]))

    environment = portcullis_environment(folder, 0)
    run("CSV into SQLite", "users.csv", environment)
    from storage import Postgres

    server = Postgres()
    try:
        address = server.database("gate")
        run("CSV into PostgreSQL", "users.csv", {**environment, "DATABASE_URL": address})
        server.sql("postgres", "CREATE DATABASE old")
        server.sql(
            "old",
            'CREATE TABLE users (id uuid PRIMARY KEY, email text, username text, "firstName" text, "lastName" text, '
            'password text, role text, "isActive" boolean, "isEmailVerified" boolean, "createdAt" timestamp); '
            f"INSERT INTO users SELECT gen_random_uuid(), 'p' || i || '@example.com', 'p0' || i, 'A', 'B', '{BCRYPT}', "
            f"'DEVELOPER', TRUE, TRUE, now() FROM generate_series(1, {count}) i",
        )
        old = f"postgres://gate@127.0.0.1:{server.port}/old"
        fresh = server.database("fresh")
        run("PostgreSQL's table into PostgreSQL", old, {**environment, "DATABASE_URL": fresh})
    finally:
        server.stop()
    return rows


class Gate:
    """A gateway with limits out of the way."""

    def __init__(self, folder, extra=""):
        self.folder = folder
        self.port = free_port()
        settings = '[limits]\nenabled = false\n' + extra
        (folder / "portcullis.toml").write_text(settings)
        self.environment = portcullis_environment(folder, self.port)

    def run(self, *arguments, text=None):
        subprocess.run([PORTCULLIS, *arguments], env=self.environment, cwd=self.folder, input=text, text=True, check=True, stdout=subprocess.DEVNULL)

    def start(self):
        self.process = subprocess.Popen(
            [PORTCULLIS, "serve"], cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for(self.port, "/api/health")


def make(gate, name):
    arguments = f"users create --email {name}@example.com --username {name} --first-name A --last-name B --password-stdin"
    gate.run(*arguments.split(), text=PASSWORD)


def timing(samples):
    """Nanoseconds of refused sign-ins by class, taken in turns in random order. One class is held up on purpose."""
    out = subprocess.run([SIGN_IN_TIMING, str(samples)], capture_output=True, text=True, check=True).stdout
    return {kind: [took / 1e6 for took in times] for kind, times in json.loads(out).items()}


def difference(ours, theirs, rounds=2000):
    """The difference of two medians and where 99.9 % of its bootstrap samples lie, in milliseconds."""
    found = sorted(
        statistics.median(random.choices(ours, k=len(ours))) - statistics.median(random.choices(theirs, k=len(theirs)))
        for _ in range(rounds)
    )
    return statistics.median(ours) - statistics.median(theirs), found[rounds // 2000], found[-1 - rounds // 2000]


def login_script(folder):
    script = folder / "login.lua"
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.body = \'{{"email":"ada@example.com","password":"{PASSWORD}"}}\'\n'
    )
    return script


def saturation(folder, seconds):
    """Latency of a proxied route, alone and while sign-ins saturate; sign-ins a second beside the bare hash loop."""
    upstream = free_port()
    running = [
        start_nginx(folder, "upstream", f"server {{ listen 127.0.0.1:{upstream}; location / {{ return 200 ok; }} }}", core=1)
    ]
    gate = Gate(
        folder,
        f'[upstreams.bench]\ntargets = ["http://127.0.0.1:{upstream}"]\n[[routes]]\npath = "/api/v1/open/{{*rest}}"\n'
        f'upstream = "bench"\nauth = "none"\n',
    )
    make(gate, "ada")
    gate.start()
    running.append(gate.process)
    wait_for(upstream)
    def p99():
        """Milliseconds, of requests sent one after the other over two connections with pauses, as a service sees them."""
        samples = []

        def probe():
            connection = http.client.HTTPConnection("127.0.0.1", gate.port, timeout=60)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                begin = time.perf_counter_ns()
                connection.request("GET", "/api/v1/open/x")
                connection.getresponse().read()
                samples.append((time.perf_counter_ns() - begin) / 1e6)
                time.sleep(0.002)

        threads = [threading.Thread(target=probe) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return statistics.quantiles(samples, n=100)[98], statistics.median(samples)

    try:
        idle = p99()
        clients = subprocess.Popen(
            ["wrk", "-t1", "-c16", f"-d{seconds + 3}s", "-s", login_script(folder), f"http://127.0.0.1:{gate.port}/api/v1/auth/login"],
            stdout=subprocess.PIPE, text=True,
        )
        time.sleep(1)
        before, begin = cpu_seconds(gate.process.pid), time.monotonic()
        busy = p99()
        used = (cpu_seconds(gate.process.pid) - before) / (time.monotonic() - begin)
        assert "Non-2xx" not in clients.communicate()[0]
        return idle, busy, used, rss_mb(gate.process.pid)
    finally:
        for process in running:
            stop(process)


def throughput(folder, seconds):
    """Sign-ins a second with every core, beside as many bare loops of argon2id as there are cores."""
    gate = Gate(folder)
    make(gate, "ada")
    cores = os.cpu_count()
    ours, bare = [], []
    for _ in range(3):
        begin = time.monotonic()
        loops = [subprocess.Popen([ARGON2_LOOP, "150"], stdout=subprocess.DEVNULL) for _ in range(cores)]
        for loop in loops:
            loop.wait()
        bare.append(cores * 150 / (time.monotonic() - begin))
        gate.start()
        out = subprocess.run(
            ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", login_script(folder), f"http://127.0.0.1:{gate.port}/api/v1/auth/login"],
            capture_output=True, text=True, check=True,
        ).stdout
        assert "Non-2xx" not in out, out
        ours.append(float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)))
        stop(gate.process)
    return statistics.median(ours), statistics.median(bare)


@contextlib.contextmanager
def scratch():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--samples", type=int, default=1000, help="of each class of refused sign-ins")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--only", choices=["import", "timing", "load"])
    options = parser.parse_args()
    wanted = lambda part: options.only in (None, part)

    if wanted("import"):
        with scratch() as folder:
            print(f"\n| import of {options.users:,} users with their hashes | users/s | aim |\n|---|---|---|")
            for name, rate in imports(folder, options.users):
                print(f"| {name} | {rate:,.0f} | {'≥ 5,000' if 'again' not in name else ''} |")
    if wanted("load"):
        with scratch() as folder:
            ours, bare = throughput(folder, options.seconds)
            print("\n| sign-ins | value | aim |\n|---|---|---|")
            print(f"| bare argon2id loops, one a core | {bare:.1f}/s | |")
            print(f"| Portcullis | {ours:.1f}/s, {ours / bare:.1%} | ≥ 95 % |")
        with scratch() as folder:
            idle, busy, used, memory = saturation(folder, options.seconds)
            print(f"| proxied route alone: p99 (median) | {idle[0]:.2f} ms ({idle[1]:.2f}) | |")
            print(f"| the same while sign-ins saturate ({used:.2f} cores): p99 (median) | {busy[0]:.2f} ms ({busy[1]:.2f}), {busy[0] / idle[0]:.1f} × | ≤ 2 × |")
            print(f"| resident memory then | {memory:.0f} MB | |")
    if wanted("timing"):
        times = timing(options.samples)
        print(f"\n| refused sign-in, {options.samples} of each in turns | median | against `wrong` (99.9 % interval) |\n|---|---|---|")
        for kind in times:
            found, low, high = difference(times[kind], times["wrong"])
            told = "" if kind == "wrong" else f"{found:+.3f} ms ({low:+.3f} … {high:+.3f})"
            name = "wrong, answered 2 ms later" if kind == "planted" else kind
            print(f"| {name} | {statistics.median(times[kind]):.3f} ms | {told} |")


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Measures storage on a private PostgreSQL: the statements of each use case, a refresh beside its bare statements, the
statements of a login with many users beside few, and with many rows each operation, pruning and the revocation feeds.

Needs PostgreSQL's programs, and about 2.5 GB of disk for each million rows. Everything listens on loopback and is
removed at the end, unless --folder says where to keep the data for another run.
"""

import argparse
import collections
import concurrent.futures
import os
import re
import shutil
import statistics
import subprocess
import tempfile
import time

import storage_scale
from gateway import get, register, start_portcullis
from large_database import fill
from postgres_server import Postgres
from run import EXAMPLES, PASSWORD, cpu_seconds, pinned, post

FEW = 1_000


def many_beside_few(server, rows, logins):
    server.database("few")
    fill(server, "few", FEW)
    print(f"\n## A login's statements with {rows:,} users and sessions\n")
    command = [EXAMPLES / "login_statements", server.url("few"), server.url("many"), str(logins), str(FEW), str(rows)]
    out = subprocess.run(command, check=True, capture_output=True, text=True)
    print(out.stdout)
    name = f"p{min(4242, rows)}"
    user = server.sql("many", f"SELECT id FROM users WHERE username = '{name}'")
    for text in [
        "SELECT users.*, (SELECT string_agg(p.permission, ',') FROM user_permissions p WHERE p.user_id = users.id) "
        f"FROM users WHERE users.email = '{name}@example.com'",
        "INSERT INTO sessions (id, user_id, refresh_hash, created_at, last_seen_at, idle_expires_at, absolute_expires_at, "
        "remember, transport, amr, authenticated_at, epoch) SELECT gen_random_uuid(), user_id, refresh_hash, now(), now(), "
        f"now(), now(), remember, transport, amr, now(), epoch FROM sessions WHERE user_id = '{user}' LIMIT 1",
        f"UPDATE users SET last_login_at = now() WHERE id = '{user}' AND epoch = 1 AND is_active",
        "INSERT INTO audit_log (id, at, action, outcome, actor_id, subject_id) "
        f"VALUES (gen_random_uuid(), now(), 'auth.login', 'success', '{user}', '{user}')",
    ]:
        # Undone, so that what is measured next finds the same rows.
        plan = server.sql("many", f"BEGIN; EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {text}; ROLLBACK")
        print(f"{text}\n{plan}\n")


def statements_run(port):
    """How often each kind of statement has run, as the server counts."""
    line = re.compile(r"^database_query_duration_seconds_count\{(.*)\} (\d+)")
    counts = collections.Counter()
    for match in filter(None, map(line.match, get(port, "/metrics").splitlines())):
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match.group(1)))
        counts[f"{labels['operation']} {labels['table']}"] += int(match.group(2))
    return counts


def statements_of_use_cases(server, times):
    """Each use case so many times, one after the other; what runs in the background is far rarer and rounds to none."""
    process, port, folder = start_portcullis(server.database("statements"), core=0)
    try:
        tokens = register(port, "statements")
        login = {"email": "statements@example.com", "password": PASSWORD}
        sessions = []

        def refresh():
            tokens.update(post(port, "/api/v1/auth/refresh", {"refreshToken": tokens["refreshToken"]})["tokens"])

        def logout():
            one = sessions.pop()
            post(port, "/api/v1/auth/logout", {"refreshToken": one["refreshToken"]}, one["accessToken"])

        cases = {
            "login": lambda: sessions.append(post(port, "/api/v1/auth/login", login)["tokens"]),
            "refresh": refresh,
            "profile": lambda: get(port, "/api/v1/auth/profile", tokens["accessToken"]),
            "logout": logout,
        }
        print(f"\n## Statements of each use case, from the server's metrics, {times} times each\n")
        print("| use case | statements | which |\n|---|---|---|")
        for name, once in cases.items():
            before = statements_run(port)
            for _ in range(times):
                once()
            ran = statements_run(port) - before
            each = {kind: count / times for kind, count in ran.items() if count / times >= 0.5}
            which = ", ".join(kind + (f" × {n:.1f}" if n > 1.05 else "") for kind, n in sorted(each.items()))
            print(f"| {name} | {sum(each.values()):.1f} | {which or 'none'} |")
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def refresh_beside_bare(server, rounds, refreshes):
    """What is measured stays on the first core. PostgreSQL and the callers stay on the second or on the same: to wake a
    process on another core costs more than many a statement, and left alone the scheduler would choose the ratio."""
    print("\n## A refresh on PostgreSQL: CPU of the process\n")
    print("| what | value | range | ratio |\n|---|---|---|---|")
    layouts = {"PostgreSQL on the same core": 0}
    if os.cpu_count() > 1:
        layouts["PostgreSQL on another core"] = 1
    everywhere = os.sched_getaffinity(0)
    for layout, core in layouts.items():
        os.sched_setaffinity(0, [core])
        server.stay_on(core)
        ours, bare = refreshes_of(server.database(f"refresh_{core}"), rounds, refreshes)
        names = {"its statements through the bare driver, one connection": bare, "Portcullis, the whole request": ours}
        for name, values in names.items():
            middle = statistics.median(values)
            ratio = middle / statistics.median(bare)
            print(f"| {layout}: {name} | {middle:.0f} µs | {min(values):.0f}–{max(values):.0f} | {ratio:.2f} |")
    os.sched_setaffinity(0, everywhere)
    server.stay_on(None)


def refreshes_of(url, rounds, refreshes):
    """CPU of a refresh in microseconds, a value a round: of the server, and of the bare loop."""
    process, port, folder = start_portcullis(url, core=0)
    try:
        # The session of the first is the bare loop's.
        tokens = [register(port, f"r{number}x")["refreshToken"] for number in range(9)][1:]

        def drive(index, count):
            for _ in range(count):
                response = post(port, "/api/v1/auth/refresh", {"refreshToken": tokens[index]})
                tokens[index] = response["tokens"]["refreshToken"]

        ours, bare = [], []
        each = refreshes // len(tokens)
        with concurrent.futures.ThreadPoolExecutor(len(tokens)) as pool:
            list(pool.map(drive, range(len(tokens)), [50] * len(tokens)))
            for _ in range(rounds):
                before = cpu_seconds(process.pid)
                list(pool.map(drive, range(len(tokens)), [each] * len(tokens)))
                ours.append((cpu_seconds(process.pid) - before) / (each * len(tokens)) * 1e6)
                loop = pinned(0, [str(EXAMPLES / "refresh_statements"), url, str(refreshes)])
                bare.append(float(subprocess.run(loop, check=True, capture_output=True, text=True).stdout))
        return ours, bare
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="users, sessions and audit lines in the large database")
    parser.add_argument("--logins", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--refreshes", type=int, default=2_000)
    parser.add_argument("--times", type=int, default=300, help="how often each operation runs with many rows")
    parser.add_argument("--replicas", type=int, default=50)
    parser.add_argument("--revocations", type=int, default=300)
    parser.add_argument("--only", choices=["cases", "refresh", "login", "operations", "prune", "feeds"], nargs="+")
    parser.add_argument("--folder", help="where to keep the server and its data for another run")
    arguments = parser.parse_args()
    wanted = lambda part: not arguments.only or part in arguments.only
    server = Postgres(arguments.folder)
    try:
        if wanted("cases"):
            statements_of_use_cases(server, 50)
        if wanted("refresh"):
            refresh_beside_bare(server, arguments.rounds, arguments.refreshes)
        if not server.has("many"):
            make_many(server, arguments.rows)
        if wanted("login"):
            many_beside_few(server, arguments.rows, arguments.logins)
        if wanted("operations"):
            print(f"\n## Each operation with {arguments.rows:,} users, sessions and audit lines, {arguments.times} times\n")
            storage_scale.operations(server, "many", arguments.rows, arguments.times)
        if wanted("prune"):
            storage_scale.prune(server, "many", arguments.rows)
        if wanted("feeds"):
            storage_scale.feeds(server, "many", arguments.replicas, arguments.revocations)
    finally:
        server.stop()


def make_many(server, rows):
    free = shutil.disk_usage(tempfile.gettempdir()).free
    needed = rows * 2_500
    if free < needed:
        raise SystemExit(f"{rows:,} rows need about {needed / 1e9:.0f} GB and {free / 1e9:.0f} GB are free")
    begun = time.monotonic()
    server.database("many")
    fill(server, "many", rows)
    size = server.sql("many", "SELECT pg_size_pretty(pg_database_size('many'))")
    print(f"{rows:,} users, sessions and audit lines: {size}, loaded in {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()

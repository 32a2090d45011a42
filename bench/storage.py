#!/usr/bin/env python3
"""Measures storage on a private PostgreSQL: the statements of each use case, a refresh beside its bare statements, and the
statements of a login with many users beside few.

Needs PostgreSQL's programs, and about 1.2 GB of disk for each million rows. Everything listens on loopback and is
removed at the end.
"""

import argparse
import collections
import concurrent.futures
import glob
import http.client
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile
import time

from run import PASSWORD, PORTCULLIS, ROOT, cpu_seconds, free_port, pinned, post, wait_for

EXAMPLES = ROOT / "target/release/examples"
FEW = 1_000
SETTINGS = """listen_addresses = '127.0.0.1'
shared_buffers = 1GB
maintenance_work_mem = 1GB
max_wal_size = 16GB
checkpoint_timeout = 30min
"""


class Postgres:
    """A server in a temporary folder, with the durability that production has."""

    def __init__(self):
        self.bin = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-bench-"))
        self.port = free_port()
        self.root = os.geteuid() == 0
        if self.root:
            shutil.chown(self.folder, "postgres", "postgres")
        self.run("initdb", "-D", self.folder / "data", "-U", "gate", "--auth=trust", "--encoding=UTF8", "--locale=C")
        with open(self.folder / "data/postgresql.auto.conf", "a") as settings:
            settings.write(f"{SETTINGS}port = {self.port}\nunix_socket_directories = '{self.folder}'\n")
        self.run("pg_ctl", "-D", self.folder / "data", "-w", "-l", self.folder / "log", "start")

    def stay_on(self, core):
        """Keeps the server's later connections to a core, or to none in particular."""
        pid = int((self.folder / "data/postmaster.pid").read_text().split()[0])
        os.sched_setaffinity(pid, range(os.cpu_count()) if core is None else [core])

    def run(self, program, *arguments):
        command = [str(self.bin / program), *map(str, arguments)]
        if self.root:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    def database(self, name):
        self.sql("postgres", f"CREATE DATABASE {name}")
        url = f"postgres://gate@127.0.0.1:{self.port}/{name}"
        environment = {**os.environ, "DATABASE_URL": url}
        subprocess.run([PORTCULLIS, "migrate", "up"], check=True, env=environment, stdout=subprocess.DEVNULL)
        return url

    def sql(self, database, text):
        command = [self.bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
        command += ["-p", str(self.port), "-U", "gate", "-d", database, "-c", text]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def stop(self):
        self.run("pg_ctl", "-D", self.folder / "data", "-w", "-m", "immediate", "stop")
        shutil.rmtree(self.folder)


def fill(server, database, rows):
    """Fills both tables: a session for each user. Indices are built afterwards, as a restore does it."""
    indices = server.sql(
        database,
        "SELECT indexname || '|' || indexdef FROM pg_indexes WHERE tablename IN ('users', 'sessions') "
        "AND indexname NOT IN ('users_id', 'sessions_id')",
    )
    indices = [line.split("|", 1) for line in indices.splitlines()]
    for name, _ in indices:
        server.sql(database, f"DROP INDEX {name}")
    uuid = "CAST(lpad(to_hex(1700000000000 + i), 12, '0') || '{}' || lpad(to_hex(i), 16, '0') AS UUID)"
    server.sql(
        database,
        f"""SET session_replication_role = replica;
        INSERT INTO users SELECT {uuid.format("7001")}, 'p' || i || '@example.com', 'p' || i, 'Ada', 'Lovelace', NULL,
          'DEVELOPER', TRUE, '$argon2id$v=19$m=19456,t=2,p=1$' || repeat('x', 64), NULL, NULL,
          now() - i * INTERVAL '1 ms', now(), 1, 1 FROM generate_series(1, {rows}) i;
        INSERT INTO sessions SELECT {uuid.format("7002")}, {uuid.format("7001")}, sha256(CAST(CAST(i AS TEXT) AS BYTEA)),
          now(), now(), now() + INTERVAL '7 days', now() + INTERVAL '30 days', FALSE, 'token', '192.0.2.1', 'Mozilla/5.0',
          '["pwd"]', now(), 1, NULL, NULL FROM generate_series(1, {rows}) i;""",
    )
    for _, definition in indices:
        server.sql(database, definition)
    server.sql(database, "VACUUM (ANALYZE) users")
    server.sql(database, "VACUUM (ANALYZE) sessions")
    server.sql(database, "CHECKPOINT")


def many_beside_few(server, rows, logins):
    few, many = server.database("few"), server.database("many")
    fill(server, "few", FEW)
    begun = time.monotonic()
    fill(server, "many", rows)
    size = server.sql("many", "SELECT pg_size_pretty(pg_database_size('many'))")
    print(f"\n## A login's statements with {rows:,} users and sessions ({size}, loaded in {time.monotonic() - begun:.0f} s)\n")
    out = subprocess.run([EXAMPLES / "login_statements", few, many, str(logins)], check=True, capture_output=True, text=True)
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


def start_portcullis(url):
    """The server on a database and on the first core, its port and its folder."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-bench-"))
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "DATABASE_URL": url,
        "LOG_LEVEL": "error",
        "PORTCULLIS_ENV": "test",
        "PORTCULLIS__LIMITS__ENABLED": "false",
        "CSRF_SECRET": os.urandom(32).hex(),
        "ENCRYPTION_KEY": os.urandom(32).hex(),
    }
    command = pinned(0, [str(PORTCULLIS), "serve"])
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    wait_for(port, "/api/health/ready")
    return process, port, folder


def register(port, name):
    body = {"email": f"{name}@example.com", "username": name, "firstName": "A", "lastName": "B",
            "password": PASSWORD, "confirmPassword": PASSWORD}
    return post(port, "/api/v1/auth/register", body)["tokens"]


def get(port, path, token=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
    response = connection.getresponse()
    body = response.read().decode()
    if response.status != 200:
        raise SystemExit(f"{path}: {response.status} {body}")
    return body


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
    process, port, folder = start_portcullis(server.database("statements"))
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
    process, port, folder = start_portcullis(url)
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
    parser.add_argument("--rows", type=int, default=1_000_000, help="users, and sessions, in the large database")
    parser.add_argument("--logins", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--refreshes", type=int, default=2_000)
    arguments = parser.parse_args()
    free = shutil.disk_usage(tempfile.gettempdir()).free
    needed = arguments.rows * 1_200
    if free < needed:
        raise SystemExit(f"{arguments.rows:,} rows need about {needed / 1e9:.0f} GB and {free / 1e9:.0f} GB are free")
    server = Postgres()
    try:
        statements_of_use_cases(server, 50)
        refresh_beside_bare(server, arguments.rounds, arguments.refreshes)
        many_beside_few(server, arguments.rows, arguments.logins)
    finally:
        server.stop()


if __name__ == "__main__":
    main()

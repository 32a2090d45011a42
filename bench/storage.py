#!/usr/bin/env python3
"""Storage on a private PostgreSQL: statements of each use case, a refresh beside its bare statements, and a login's
statements with many people beside few.

Needs PostgreSQL's programs, and about 1.2 GB of disk for each million rows. Everything listens on loopback and is
removed at the end.
"""

import argparse
import concurrent.futures
import glob
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

from run import PASSWORD, PORTCULLIS, ROOT, cpu_seconds, free_port, post, wait_for

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
    """So many people with a session each. Indices are built afterwards, as a restore does it."""
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
    print(f"\n## A login's statements with {rows:,} people and sessions ({size}, loaded in {time.monotonic() - begun:.0f} s)\n")
    out = subprocess.run([EXAMPLES / "login_statements", few, many, str(logins)], check=True, capture_output=True, text=True)
    print(out.stdout)
    person = server.sql("many", "SELECT id FROM users WHERE username = 'p4242'")
    for text in [
        "SELECT * FROM users WHERE email = 'p4242@example.com'",
        f"UPDATE users SET last_login_at = now() WHERE id = '{person}' AND epoch = 1 AND is_active",
    ]:
        print(f"{text}\n{server.sql('many', 'EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) ' + text)}\n")


def refresh_beside_bare(server, rounds, refreshes):
    url = server.database("refresh")
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
    process = subprocess.Popen([PORTCULLIS, "serve"], cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for(port, "/api/health/ready")
        tokens = []
        # The session of the first is the bare loop's.
        for number in range(9):
            body = {"email": f"r{number}@example.com", "username": f"r{number}x", "firstName": "A", "lastName": "B",
                    "password": PASSWORD, "confirmPassword": PASSWORD}
            tokens.append(post(port, "/api/v1/auth/register", body)["tokens"]["refreshToken"])

        tokens = tokens[1:]

        def drive(index, count):
            for _ in range(count):
                answer = post(port, "/api/v1/auth/refresh", {"refreshToken": tokens[index]})
                tokens[index] = answer["tokens"]["refreshToken"]

        ours, bare = [], []
        with concurrent.futures.ThreadPoolExecutor(len(tokens)) as pool:
            list(pool.map(drive, range(len(tokens)), [50] * len(tokens)))
            for _ in range(rounds):
                before = cpu_seconds(process.pid)
                list(pool.map(drive, range(len(tokens)), [refreshes // len(tokens)] * len(tokens)))
                done = refreshes // len(tokens) * len(tokens)
                ours.append((cpu_seconds(process.pid) - before) / done * 1e6)
                loop = subprocess.run([EXAMPLES / "refresh_statements", url, str(refreshes)], check=True, capture_output=True, text=True)
                bare.append(float(loop.stdout))
        print("\n## A refresh on PostgreSQL: CPU of the process\n")
        print("| what | value | range | ratio |\n|---|---|---|---|")
        for name, values in [("its statements through the bare driver, one connection", bare), ("Portcullis, the whole request", ours)]:
            ratio = statistics.median(values) / statistics.median(bare)
            print(f"| {name} | {statistics.median(values):.0f} µs | {min(values):.0f}–{max(values):.0f} | {ratio:.2f} |")
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="people, and sessions, in the large database")
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
        refresh_beside_bare(server, arguments.rounds, arguments.refreshes)
        many_beside_few(server, arguments.rows, arguments.logins)
    finally:
        server.stop()


if __name__ == "__main__":
    main()

"""Storage with many rows: what each operation takes and how many pages it reads, what pruning takes, and what the
revocation feeds of fifty replicas cost.

The operations are requests to the running program, so their times contain everything, a password hash included. Pages and
times of the database are those of pg_stat_statements.
"""

import json
import random
import shutil
import subprocess
import time
import urllib.parse

from gateway import Client, start_portcullis
from run import EXAMPLES, PASSWORD

# A statement that reads more pages than this is shown.
MANY_PAGES = 200
# An hour's share of ten million rows a day.
BACKLOG = 416_667


def percentiles(took):
    took = sorted(took)
    return [took[(len(took) - 1) * share // 100] * 1e3 for share in (50, 99)]


class Statements:
    """What pg_stat_statements has counted for a database."""

    def __init__(self, server, database):
        self.server, self.database = server, database
        server.sql("postgres", "SET client_min_messages = warning; CREATE EXTENSION IF NOT EXISTS pg_stat_statements")

    def forget(self):
        self.server.sql("postgres", "SELECT pg_stat_statements_reset()")

    def counted(self, times):
        """Statements, pages in memory, pages read and milliseconds of each operation, of those that ran in at least half
        of so many operations: what runs in the background is rarer."""
        rows = self.server.sql(
            "postgres",
            "SELECT json_build_array(query, calls, shared_blks_hit, shared_blks_read, total_exec_time) "
            "FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database "
            f"WHERE datname = '{self.database}') AND calls >= {max(1, times // 2)}",
        )
        rows = [json.loads(row) for row in rows.splitlines()]
        for query, calls, hit, read, took in rows:
            if (hit + read) / times > MANY_PAGES:
                print(f"<!-- {(hit + read) / times:.0f} pages, {took / times:.1f} ms: {query} -->")
        return [sum(row[column] for row in rows) / times for column in range(1, 5)]


def operations(server, database, rows, times):
    """Each operation so many times, one after the other, for users in no order."""
    statements = Statements(server, database)
    chosen = random.sample(range(11, rows + 1), 3 * times + 60)
    chosen = [number for number in chosen if number % 50 != 0]
    sign_ins, disables, others = chosen[:times], chosen[times : 2 * times], chosen[2 * times :]
    names = ",".join(f"'p{number}'" for number in disables + others)
    found = server.sql(database, f"SELECT username || ' ' || id FROM users WHERE username IN ({names})")
    ids = dict(line.split() for line in found.splitlines())
    times_ago = server.sql(database, "SELECT to_char((now() - n * INTERVAL '1 day') AT TIME ZONE 'UTC', "
                           "'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM generate_series(1, 89) n").splitlines()
    # What was looked up must not be in the buffers.
    server.restart()
    process, port, folder = start_portcullis(server.url(database))
    try:
        client = Client(port)
        login = lambda number: client.call("POST", "/api/v1/auth/login", {"email": f"p{number}@example.com", "password": PASSWORD})
        admin = login(1)["tokens"]["accessToken"]
        tokens = {}

        def sign_in(turn):
            tokens[turn] = login(sign_ins[turn])["tokens"]

        def refresh(turn):
            tokens[turn] = client.call("POST", "/api/v1/auth/refresh", {"refreshToken": tokens[turn]["refreshToken"]})["tokens"]

        def logout_all(turn):
            client.call("POST", "/api/v1/auth/logout", {"all": True}, tokens[turn]["accessToken"])

        def disable(turn):
            client.call("PUT", f"/api/v1/users/{ids[f'p{disables[turn]}']}", {"isActive": False}, admin)

        def read(path, query):
            client.call("GET", f"/api/v1/{path}?" + urllib.parse.urlencode(query), token=admin)

        # The last page that is found by its number, where there are so many rows.
        page = min(1000, rows // 200)
        deep = {path: client.call("GET", f"/api/v1/{path}?page={page}&limit=100", token=admin)["pagination"]["next"]
                for path in ("users", "audit-logs")}
        somebody = lambda turn: others[turn % len(others)]
        user = lambda turn: ids[f"p{somebody(turn)}"]
        day = lambda turn: times_ago[turn % 80 + 1]
        print("| operation | p50 ms | p99 ms | of it in the database, mean ms | statements | pages | of them read |")
        print("|---|---|---|---|---|---|---|")
        for name, once in {
            "sign-in (with its password hash)": sign_in,
            "refresh": refresh,
            "logout of all sessions": logout_all,
            "disabling a user": disable,
            "users, first page": lambda _: read("users", {}),
            f"users, 100 after a cursor at row {page * 100:,}": lambda _: read("users", {"limit": 100, "cursor": deep["users"]}),
            f"users, page that ends at row {page * 100:,}": lambda _: read("users", {"limit": 100, "page": page}),
            "users, of a role and inactive": lambda _: read("users", {"role": "MANAGER", "isActive": "false"}),
            "users, search with one match or ten": lambda turn: read("users", {"search": f"p{somebody(turn)}"}),
            "users, search that all match": lambda _: read("users", {"search": "p"}),
            "users, search for a domain that all have": lambda _: read("users", {"search": "@example.c"}),
            "audit log, first page": lambda _: read("audit-logs", {}),
            f"audit log, 100 after a cursor at row {page * 100:,}":
                lambda _: read("audit-logs", {"limit": 100, "cursor": deep["audit-logs"]}),
            "audit log of a user": lambda turn: read("audit-logs", {"userId": user(turn)}),
            "audit log of an action": lambda _: read("audit-logs", {"action": "auth.logout"}),
            "audit log of a rare action": lambda _: read("audit-logs", {"action": "user.role"}),
            "audit log of a user and an action": lambda turn: read("audit-logs", {"userId": user(turn), "action": "auth.login"}),
            "audit log, between two times": lambda turn: read("audit-logs", {"from": day(turn + 1), "to": day(turn)}),
            "audit log of a rare action, between two times":
                lambda turn: read("audit-logs", {"action": "user.role", "from": day(turn + 1), "to": day(turn)}),
        }.items():
            measure(statements, name, once, times)
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def measure(statements, name, once, times):
    statements.forget()
    took = []
    for turn in range(times):
        begun = time.perf_counter()
        once(turn)
        took.append(time.perf_counter() - begun)
    calls, hit, read, database = statements.counted(times)
    p50, p99 = percentiles(took)
    print(f"| {name} | {p50:.2f} | {p99:.2f} | {database:.2f} | {calls:.1f} | {hit + read:,.0f} | {read:,.1f} |", flush=True)


def prune(server, database, rows):
    """Deletes the oldest rows of two tables by the statements of housekeeping, in its batches."""
    statements = Statements(server, database)
    print("\n| pruning | rows | batches | p50 ms | p99 ms | in all, s | pages of a batch |\n|---|---|---|---|---|---|---|")
    for table, column in (("audit_log", "at"), ("sessions", "absolute_expires_at")):
        backlog = min(BACKLOG, rows // 10)
        before = server.sql(database, f"SELECT to_json({column}) #>> '{{}}' FROM {table} ORDER BY {column} OFFSET {backlog} LIMIT 1")
        statements.forget()
        out = subprocess.run([EXAMPLES / "prune_backlog", server.url(database), table, before], check=True, stdout=subprocess.PIPE, text=True)
        deleted, batches, p50, p99, total = out.stdout.split()
        _, hit, read, _ = statements.counted(int(batches))
        print(f"| {table} | {int(deleted):,} | {batches} | {p50} | {p99} | {total} | {hit + read:,.0f} |", flush=True)


def feeds(server, database, replicas, revocations):
    """The revocation feeds of many replicas on one database."""
    print(f"\n| revocations read by {replicas} feeds | commit p50 ms | p99 ms | from the commit's begin until heard, p50 ms | p99 ms "
          "| longest ms | CPU of the database while nothing is revoked | with 20 revocations a second |")
    print("|---|---|---|---|---|---|---|---|")
    for name, bus in (("told by NOTIFY", "notify"), ("without a bus", "none")):
        command = [EXAMPLES / "feed_readers", server.url(database), str(replicas), str(revocations), bus]
        out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        print(f"| {name} | {out} |", flush=True)

"""Writes the fixture of a release: its database on both engines as SQL, with rows of every table that a running gateway of that
release has written, and what a client needs to go on: crates/portcullis/tests/releases/VERSION.

    scripts/upgrade/fixture.py [VERSION]

Without VERSION it is the last release of deploy/releases.toml, whose commit is built.
"""

import datetime
import json
import pathlib
import shutil
import sqlite3
import sys
import tempfile

from builds import build_release, release
from gateways import PASSWORD, REPOSITORY, SECRETS, Gateway, registration, until
from programs import Postgres

FOLDER = REPOSITORY / "crates/portcullis/tests/releases"


class Sqlite:
    name = "sqlite"

    def __init__(self, folder):
        self.path = folder / "planted.db"
        self.url = f"sqlite://{self.path}"

    def run(self, statement):
        with sqlite3.connect(self.path, timeout=30) as database:
            return [row[0] for row in database.execute(statement)]

    def tables(self):
        return self.run("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")

    def dump(self):
        with sqlite3.connect(self.path) as database:
            # Tables come in the order of their names, so a reference may come before what it refers to.
            return "\n".join(["PRAGMA foreign_keys = OFF;", *database.iterdump()]) + "\n"


class PostgreSql:
    name = "postgresql"

    def __init__(self, server):
        self.server, self.url = server, server.url()

    def run(self, statement):
        return self.server.sql(statement).splitlines()

    def tables(self):
        return self.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")

    def dump(self):
        """In statements that every client can send: no COPY, no commands of psql."""
        options = ["--inserts", "--no-owner", "--no-privileges", "--no-comments", "-h", self.server.folder, "-p", self.server.port]
        done = self.server.tool("pg_dump", *options, "-U", "portcullis", "portcullis", capture_output=True)
        # A setting that older servers do not know.
        skipped = ("--", "\\", "SET transaction_timeout")
        return "\n".join(line for line in done.stdout.splitlines() if line and not line.startswith(skipped)) + "\n"


def plant(gateway, database):
    """Uses the gateway as its users do, until each table has rows. Returns what a client keeps."""
    admin = ["--email", "root@example.com", "--username", "root", "--first-name", "Grace", "--last-name", "Hopper", "--role", "ADMIN"]
    gateway.run("users", "create", *admin, "--password-stdin", stdin=PASSWORD)
    sign_in = lambda name, **more: gateway.must(  # noqa: E731
        200, "POST", "/api/v1/auth/login", {"email": f"{name}@example.com", "password": PASSWORD, **more}
    )
    root = sign_in("root")["tokens"]["accessToken"]

    ada = gateway.must(201, "POST", "/api/v1/auth/register", registration("ada"))["user"]
    gateway.must(200, "POST", "/api/v1/auth/verify-email", {"token": gateway.mailed("verify_email", "ada@example.com")})
    gateway.must(200, "POST", f"/api/v1/users/{ada['id']}/permissions/SYSTEM_VIEW_AUDIT_LOGS", token=root)
    tokens = sign_in("ada", rememberMe=True)["tokens"]
    key = gateway.must(201, "POST", "/api/v1/api-keys", {"name": "deploys"}, tokens["accessToken"], idempotency_key="once")

    bob = gateway.must(201, "POST", "/api/v1/auth/register", registration("bob"))["tokens"]
    gateway.must(200, "POST", "/api/v1/auth/logout", token=bob["accessToken"])
    gateway.must(401, "POST", "/api/v1/auth/login", {"email": "bob@example.com", "password": "wrong horse"})
    gateway.must(200, "POST", "/api/v1/auth/forgot-password", {"email": "bob@example.com"})
    gateway.mailed("reset_password", "bob@example.com")

    # An error of the gateway itself.
    database.run("ALTER TABLE api_keys RENAME TO taken_away")
    gateway.must(500, "GET", "/api/v1/api-keys", token=tokens["accessToken"])
    database.run("ALTER TABLE taken_away RENAME TO api_keys")
    # No part of this release writes one.
    database.run("INSERT INTO instance (key, value) VALUES ('planted', 'by the fixture')")
    try:
        until("a row of each table", lambda: empty_tables(database) == ["refresh_grace"])
    except RuntimeError as error:
        raise RuntimeError(f"{error}: {', '.join(empty_tables(database))}") from None
    # Last, because what the grace window needs is erased soon.
    tokens = gateway.must(200, "POST", "/api/v1/auth/refresh", {"refreshToken": tokens["refreshToken"]})["tokens"]
    return {"email": "ada@example.com", "password": PASSWORD, "refreshToken": tokens["refreshToken"], "apiKey": key["secret"],
            "endedRefreshToken": bob["refreshToken"]}


def counts(database):
    return {table: int(database.run(f"SELECT count(*) FROM {table}")[0]) for table in sorted(database.tables())}


def empty_tables(database):
    return [table for table, rows in counts(database).items() if rows == 0]


def write(version, database, gateway):
    target = FOLDER / version
    target.mkdir(parents=True, exist_ok=True)
    gateway.start()
    made_at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    try:
        kept = plant(gateway, database)
    finally:
        gateway.end()
    planted = {"madeAt": made_at, "environment": SECRETS, "kept": kept, "rows": counts(database)}
    (target / f"{database.name}.json").write_text(json.dumps(planted, indent=2) + "\n")
    if empty := empty_tables(database):
        raise RuntimeError(f"no row in {', '.join(empty)}")
    dump = database.dump()
    (target / f"{database.name}.sql").write_text(dump)
    print(f"{target / database.name}.sql: {len(dump)} bytes, {sum(planted['rows'].values())} rows of {len(planted['rows'])} tables")


def main():
    chosen = release(sys.argv[1] if len(sys.argv) > 1 else None)
    binary = build_release(chosen)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-upgrade-"))
    server = Postgres(folder)
    try:
        server.start()
        for database in (Sqlite(folder), PostgreSql(server)):
            write(chosen["version"], database, Gateway(f"{database.name}-gateway", binary, folder, database.url))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


main()

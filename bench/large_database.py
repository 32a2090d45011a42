"""Fills a database of Portcullis's schema: users, a session for each, and as many lines of the audit log.

The rows are made in SQL. Indices are built afterwards, as a restore does it.
"""

import time

from postgres_server import LOADING, SETTINGS

# Of the password in run.py, at the cost of a new hash, so that each user can sign in.
HASH = "$argon2id$v=19$m=19456,t=2,p=1$f3FFsSONf3ePhHvAtOY10g$XlVI/7CeEMhMRXlabpgHAibICEdChlpR962pDSAnrZ4"
TABLES = ("users", "sessions", "audit_log")


class Spread:
    """Rows that are spread evenly over so many days until now, in the order of their numbers."""

    def __init__(self, rows, days, now):
        self.rows, self.step, self.now = rows, max(1, days * 86_400_000 // rows), now

    def uuid(self, kind, number="i"):
        """An id of version 7 that has the row's time."""
        millis = f"{self.now} - ({self.rows} - {number}) * {self.step}"
        return f"CAST(lpad(to_hex({millis}), 12, '0') || '700{kind}8' || lpad(to_hex({number}), 15, '0') AS UUID)"

    def time(self, number="i"):
        return f"to_timestamp({self.now // 1000}) - ({self.rows} - {number}) * INTERVAL '{self.step} ms'"


def statements(rows, now):
    """An INSERT for each table. Users came in two years, sessions began in four weeks, the log goes back 90 days."""
    user, session, line = Spread(rows, 730, now), Spread(rows, 28, now), Spread(rows, 90, now)
    # Whose session or line it is: each user's once, in no order.
    whose = f"(i * 7919 % {rows} + 1)"
    series = f"FROM generate_series(CAST(1 AS BIGINT), {rows}) AS i"
    owner = user.uuid(1, whose)
    return {
        "users": f"""INSERT INTO users (id, email, username, first_name, last_name, role, is_active, password_hash,
            email_verified_at, last_login_at, created_at, updated_at, epoch, token_epoch)
          SELECT {user.uuid(1)}, 'p' || i || '@example.com', 'p' || i, 'Ada', 'Lovelace',
            CASE WHEN i <= 10 THEN 'ADMIN' WHEN i % 100 = 0 THEN 'MANAGER' WHEN i % 20 = 1 THEN 'VIEWER' ELSE 'DEVELOPER' END,
            i % 50 <> 0, '{HASH}', {user.time()}, {session.time(whose)}, {user.time()},
            {user.time()}, 1, 1 {series}""",
        "sessions": f"""INSERT INTO sessions (id, user_id, refresh_hash, created_at, last_seen_at, idle_expires_at,
            absolute_expires_at, remember, transport, ip, user_agent, amr, authenticated_at, epoch, ended_at, end_reason,
            user_epoch)
          SELECT {session.uuid(2)}, {owner}, sha256(CAST(CAST(i AS TEXT) AS BYTEA)), {session.time()},
            now() - i * 7919 % 500000 * INTERVAL '1 s', now() + INTERVAL '7 days' - i * 7919 % 500000 * INTERVAL '1 s',
            {session.time()} + INTERVAL '30 days', FALSE, 'token', '198.51.' || i % 256 || '.' || i / 256 % 256,
            'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', '["pwd"]', {session.time()}, 1,
            CASE WHEN i % 10 = 0 THEN {session.time()} + INTERVAL '1 s' END,
            CASE WHEN i % 10 = 0 THEN 'logout' END, 1 {series}""",
        "audit_log": f"""INSERT INTO audit_log (id, at, action, outcome, actor_id, subject_id, session_id, ip, user_agent,
            request_id)
          SELECT {line.uuid(3)}, {line.time()},
            CASE WHEN i % 1000 = 7 THEN 'user.role' WHEN i % 20 = 1 THEN 'auth.logout' WHEN i % 3 = 0 THEN 'auth.refresh'
              ELSE 'auth.login' END,
            CASE WHEN i % 25 = 3 THEN 'failure' ELSE 'success' END, {owner}, {owner}, {session.uuid(2)},
            '198.51.' || i % 256 || '.' || i / 256 % 256,
            'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0', md5(CAST(i AS TEXT)) {series}""",
    }


def fill(server, database, rows):
    """Fills the three tables, and leaves the server with its usual settings and empty buffers."""
    begun = time.monotonic()
    server.restart(SETTINGS + LOADING)
    kept = ", ".join(f"'{table}_id'" for table in TABLES)
    for table, insert in statements(rows, int(time.time() * 1000)).items():
        listed = server.sql(
            database,
            f"SELECT indexname || '|' || indexdef FROM pg_indexes WHERE tablename = '{table}' AND indexname NOT IN ({kept})",
        )
        indices = [line.split("|", 1) for line in listed.splitlines()]
        drop = "".join(f"DROP INDEX {name};" for name, _ in indices)
        empty = f"TRUNCATE {table} CASCADE"
        server.sql(database, f"SET client_min_messages = warning; SET session_replication_role = replica; BEGIN; {drop} {empty}; {insert}; COMMIT")
        server.sql(database, *[definition for _, definition in indices], f"VACUUM (FREEZE, ANALYZE) {table}")
        print(f"filled {table} after {time.monotonic() - begun:.0f} s", flush=True)
    server.sql(database, "CHECKPOINT")
    server.restart()

#!/usr/bin/env python3
"""Writes deploy/grafana/dashboards from this file, the only place where they are changed.

    dashboards.py           writes them
    dashboards.py --check   fails if a file differs
"""

import json
import pathlib
import sys

from panels import dashboard, graph, number, query_variable

FOLDER = pathlib.Path(__file__).resolve().parent / "dashboards"

# Selects the replicas that the variables name.
S = 'job="$job",instance=~"$instance"'


def rate(family, labels="", by="", window="$__rate_interval"):
    """The growth of a counter in a second."""
    selector = f"{S},{labels}" if labels else S
    by = f" by ({by})" if by else ""
    return f"sum{by} (rate({family}{{{selector}}}[{window}]))"


def quantile(share, family, by="", labels=""):
    by = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, {rate(family + '_bucket', labels, by)})"


def value(family, labels="", of="sum", by=""):
    selector = f"{S},{labels}" if labels else S
    by = f" by ({by})" if by else ""
    return f"{of}{by} ({family}{{{selector}}})"


def top(count, expression):
    return f"topk({count}, {expression})"


OTEL = "http_server_request_duration_seconds"
USERS = 'route!~"/metrics|/api/v1/health.*"'
OTEL_USERS = 'http_route!~"/metrics|/api/v1/health.*"'

OVERVIEW = dashboard(
    "portcullis-overview",
    "Portcullis: overview",
    "Whether the gateway does its work: requests, failures, latency, and the process.",
    [
        (
            "Now",
            [
                number("Replicas", "short", 'sum(up{job="$job"})', good_from=1),
                number("Requests", "reqps", rate("http_requests_total", USERS)),
                number(
                    "Failed in the last hour",
                    "percentunit",
                    'portcullis:failed_share:rate1h{job="$job"}',
                    bad_from=0.001,
                    description="The share of 5xx. The aim is 0.1 %. Needs the recording rules of deploy/prometheus.",
                ),
                number(
                    "Slow in the last hour",
                    "percentunit",
                    'portcullis:slow_share:rate1h{job="$job"}',
                    bad_from=0.01,
                    description="The share above 0.5 s. The aim is 1 %. Needs the recording rules of deploy/prometheus.",
                ),
                number("Live sessions", "short", value("sessions_live", of="max")),
                number("Mails that wait", "short", value("mails_waiting", of="max")),
            ],
        ),
        (
            "Responses",
            [
                graph("By status", "reqps", (rate("http_requests_total", by="status_code"), "{{status_code}}"), stacked=True),
                graph("Busiest routes", "reqps", (top(10, rate("http_requests_total", USERS, "route")), "{{route}}")),
                graph(
                    "5xx by route",
                    "reqps",
                    (top(10, rate("http_requests_total", 'status_code=~"5.."', "route, status_code")), "{{status_code}} {{route}}"),
                ),
                graph(
                    "Share of 5xx over the windows of the alerts",
                    "percentunit",
                    *[(f'portcullis:failed_share:rate{window}{{job="$job"}}', window) for window in ("5m", "1h", "6h")],
                ),
                graph("In progress", "short", (top(10, value("http_requests_in_progress", by="route")), "{{route}}")),
                graph(
                    "Clients that went away (499)",
                    "reqps",
                    (rate("http_requests_total", 'status_code="499"', "route"), "{{route}}"),
                ),
            ],
        ),
        (
            "Latency, to the head of the response",
            [
                graph(
                    "All requests",
                    "s",
                    *[(quantile(share, OTEL, labels=OTEL_USERS), f"p{int(share * 100)}") for share in (0.5, 0.95, 0.99)],
                ),
                graph("p95 of the slowest routes", "s", (top(10, quantile(0.95, OTEL, "http_route", OTEL_USERS)), "{{http_route}}")),
                graph(
                    "Share above 0.5 s over the windows of the alerts",
                    "percentunit",
                    *[(f'portcullis:slow_share:rate{window}{{job="$job"}}', window) for window in ("5m", "1h", "6h")],
                ),
            ],
        ),
        (
            "Process",
            [
                graph("CPU", "short", (f"rate(process_cpu_seconds_total{{{S}}}[$__rate_interval])", "{{instance}}"), description="Cores in use.", size=(6, 7)),
                graph("Memory", "bytes", (f"process_resident_memory_bytes{{{S}}}", "{{instance}}"), size=(6, 7)),
                graph(
                    "Files",
                    "short",
                    (f"process_open_fds{{{S}}}", "open, {{instance}}"),
                    (f"process_max_fds{{{S}}}", "limit, {{instance}}"),
                    size=(6, 7),
                ),
                graph("Threads", "short", (f"process_threads{{{S}}}", "{{instance}}"), size=(6, 7)),
                graph(
                    "Clients",
                    "short",
                    (value("connections_open"), "connections"),
                    (value("live_streams"), "streams"),
                    size=(6, 7),
                ),
                graph("Connections refused", "cps", (rate("connections_refused_total"), "refused"), size=(6, 7)),
                graph(
                    "Defects and losses",
                    "short",
                    (f"sum (increase(panics_total{{{S}}}[$__rate_interval]))", "panics"),
                    (f"sum (increase(log_lines_dropped_total{{{S}}}[$__rate_interval]))", "log lines dropped"),
                    (f"sum (increase(error_reports_dropped_total{{{S}}}[$__rate_interval]))", "error reports dropped"),
                    (f"sum (increase(sentry_transactions_dropped_total{{{S}}}[$__rate_interval]))", "transactions for Sentry dropped"),
                    size=(6, 7),
                ),
                graph("Versions", "short", (f"count by (version) (build_info{{{S}}})", "{{version}}"), stacked=True, size=(6, 7)),
            ],
        ),
    ],
)

SIGN_IN = dashboard(
    "portcullis-sign-in",
    "Portcullis: sign-in and abuse",
    "Who signs in, who is refused, and whether somebody attacks.",
    [
        (
            "Now",
            [
                number("Sign-ins", "reqps", rate("auth_attempts_total", 'type="login",status="success"')),
                number("Failed sign-ins", "reqps", rate("auth_attempts_total", 'type="login",status="failure"')),
                number(
                    "Share of failed sign-ins",
                    "percentunit",
                    rate("auth_attempts_total", 'type="login",status="failure"') + " / " + rate("auth_attempts_total", 'type="login"'),
                    bad_from=0.8,
                ),
                number("Live sessions", "short", value("sessions_live", of="max")),
                number("Passwords that wait", "short", value("password_hash_queue_length"), bad_from=32),
                number("Refused for a full queue", "reqps", rate("password_hash_refused_total"), bad_from=0.01),
            ],
        ),
        (
            "Attempts",
            [
                graph("Sign-ins", "reqps", (rate("auth_attempts_total", 'type="login"', "status"), "{{status}}"), stacked=True, size=(12, 8)),
                graph("Others", "reqps", (rate("auth_attempts_total", 'type!="login"', "type, status"), "{{type}} {{status}}"), size=(12, 8)),
            ],
        ),
        (
            "Refusals",
            [
                graph("Rate limits", "reqps", (rate("rate_limited_total", by="limit"), "{{limit}}")),
                graph("CSRF", "reqps", (rate("csrf_refusals_total", by="reason"), "{{reason}}")),
                graph(
                    "CSRF, only reported",
                    "reqps",
                    (rate("csrf_reports_total", by="reason"), "{{reason}}"),
                    description='With csrf.mode = "report": what would be refused.',
                ),
                graph(
                    "401, 403 and 429 by route",
                    "reqps",
                    (top(10, rate("http_requests_total", 'status_code=~"401|403|429"', "route, status_code")), "{{status_code}} {{route}}"),
                    size=(12, 8),
                ),
                graph(
                    "Unknown paths and methods",
                    "reqps",
                    (rate("http_requests_total", 'status_code=~"400|404|405"', "status_code"), "{{status_code}}"),
                    size=(12, 8),
                ),
            ],
        ),
        (
            "Passwords",
            [
                graph("Queue", "short", (f"password_hash_queue_length{{{S}}}", "{{instance}}"), size=(12, 7)),
                graph(
                    "Time of sign-ins",
                    "s",
                    *[(quantile(share, OTEL, labels='http_route="/api/v1/auth/login"'), f"p{int(share * 100)}") for share in (0.5, 0.95)],
                    size=(12, 7),
                ),
            ],
        ),
    ],
)

U = 'upstream=~"$upstream"'
FAILED = 'outcome=~"unreachable|timeout|broken"'

UPSTREAMS = dashboard(
    "portcullis-upstreams",
    "Portcullis: upstreams",
    "Whether the services behind the gateway answer.",
    [
        (
            "Requests",
            [
                graph("By upstream", "reqps", (rate("upstream_requests_total", U, "upstream"), "{{upstream}}"), size=(12, 8)),
                graph("By outcome", "reqps", (rate("upstream_requests_total", U, "outcome"), "{{outcome}}"), stacked=True, size=(12, 8)),
                graph(
                    "Share without an answer",
                    "percentunit",
                    (
                        rate("upstream_requests_total", f"{U},{FAILED}", "upstream")
                        + " / "
                        + rate("upstream_requests_total", f'{U},outcome!~"client|refused"', "upstream"),
                        "{{upstream}}",
                    ),
                    size=(12, 8),
                ),
                graph(
                    "Failures",
                    "reqps",
                    (rate("upstream_requests_total", f"{U},{FAILED}", "upstream, outcome"), "{{upstream}} {{outcome}}"),
                    (rate("upstream_body_failures_total", U, "upstream"), "{{upstream}} broke off its body"),
                    size=(12, 8),
                ),
            ],
        ),
        (
            "Load",
            [
                graph("Connections", "short", (value("upstream_connections", U, by="upstream"), "{{upstream}}")),
                graph("Queue", "short", (value("upstream_queue_length", U, by="upstream"), "{{upstream}}")),
                graph(
                    "Refused because there are too many",
                    "reqps",
                    (rate("upstream_refused_total", U, "upstream, reason"), "{{upstream}} {{reason}}"),
                ),
                graph("Streams", "short", (f"live_streams{{{S}}}", "{{instance}}")),
                graph(
                    "502, 503 and 504 by route",
                    "reqps",
                    (rate("http_requests_total", 'status_code=~"502|503|504"', "route, status_code"), "{{status_code}} {{route}}"),
                ),
                graph(
                    "p95 of routes that are not built in",
                    "s",
                    (top(10, quantile(0.95, OTEL, "http_route", 'http_route!~"/|/metrics|/setup|/api/v1/(auth|health|users|gateway|docs).*|unmatched"')), "{{http_route}}"),
                ),
            ],
        ),
    ],
    [query_variable("upstream", "Upstream", 'label_values(upstream_connections{job="$job"}, upstream)', True)],
)


def hit_share(cache):
    hits, misses = (rate(f"cache_{what}_total", f'cache_type="{cache}"') for what in ("hits", "misses"))
    return f"{hits} / ({hits} + {misses})"


DATABASE = "database_query_duration_seconds"

DATABASE_AND_CACHE = dashboard(
    "portcullis-database",
    "Portcullis: database and cache",
    "The database, the cache of sessions, and Redis.",
    [
        (
            "Now",
            [
                number("Database", "short", value("database_up", of="min"), good_from=1, description="1: every replica reaches it."),
                number("Redis", "short", value("redis_up", of="min"), good_from=1, description="1: every replica reaches it. Empty without Redis."),
                number("Revocations known", "s", value("revocation_feed_age_seconds", of="max"), bad_from=5, description="Since when, on the replica that is furthest behind."),
                number("Statements", "ops", rate(f"{DATABASE}_count")),
                number("p95 of a statement", "s", quantile(0.95, DATABASE), bad_from=0.5),
                number("Failed statements", "ops", rate("database_errors_total", 'error_type!="conflict"'), bad_from=0.01),
            ],
        ),
        (
            "Statements",
            [
                graph("By table", "ops", (top(10, rate(f"{DATABASE}_count", by="table")), "{{table}}"), stacked=True),
                graph("p95 by operation", "s", (quantile(0.95, DATABASE, "operation"), "{{operation}}")),
                graph("p95 of the slowest tables", "s", (top(10, quantile(0.95, DATABASE, "table")), "{{table}}")),
                graph(
                    "Time in the database",
                    "short",
                    (top(10, rate(f"{DATABASE}_sum", by="operation, table")), "{{operation}} {{table}}"),
                    description="Seconds in each second: connections in use on average.",
                    stacked=True,
                ),
                graph("Errors", "ops", (rate("database_errors_total", by="operation, error_type"), "{{operation}} {{error_type}}")),
                graph(
                    "Connections",
                    "short",
                    (value("database_pool_connections"), "open"),
                    (value("database_pool_idle_connections"), "idle"),
                    (value("database_pool_waiting"), "statements that wait"),
                ),
                graph(
                    "Clock ahead of the database's",
                    "s",
                    (f"database_clock_difference_seconds{{{S}}}", "{{instance}}"),
                    description="Of the replica's machine; below zero it is behind. The gateway uses the database's time.",
                    size=(24, 6),
                    lowest=None,
                ),
            ],
        ),
        (
            "Sessions",
            [
                graph("Found in a cache", "percentunit", (hit_share("memory"), "memory"), (hit_share("redis"), "redis")),
                graph("Age of the revocation feed", "s", (f"revocation_feed_age_seconds{{{S}}}", "{{instance}}")),
                graph("Redis errors", "ops", (rate("redis_errors_total", by="operation"), "{{operation}}")),
                graph("Live sessions", "short", (value("sessions_live", of="max"), "sessions")),
                graph(
                    "Age of what is counted in the database",
                    "s",
                    (f"database_reading_age_seconds{{{S}}}", "{{instance}}"),
                    description="Of sessions_live and mails_waiting.",
                ),
                graph("Redis", "short", (f"redis_up{{{S}}}", "{{instance}}")),
            ],
        ),
    ],
)

JOBS = dashboard(
    "portcullis-jobs",
    "Portcullis: jobs and mails",
    "Periodic work, mails, and reloads of the settings.",
    [
        (
            "Jobs",
            [
                graph(
                    "Runs",
                    "short",
                    (f"sum by (exported_job) (increase(jobs_total{{{S},result=\"success\"}}[1h]))", "{{exported_job}}"),
                    description="In the last hour, on all replicas.",
                    size=(12, 8),
                ),
                graph(
                    "Failures",
                    "short",
                    (f"sum by (exported_job) (increase(jobs_total{{{S},result=\"failure\"}}[1h]))", "{{exported_job}}"),
                    description="In the last hour, on all replicas.",
                    size=(12, 8),
                ),
                graph(
                    "Since the last success",
                    "s",
                    (f"time() - max by (exported_job) (job_last_success_timestamp_seconds{{{S}}})", "{{exported_job}}"),
                    size=(24, 8),
                ),
            ],
        ),
        (
            "Mails",
            [
                graph("Waiting", "short", (value("mails_waiting", of="max"), "mails"), size=(12, 8)),
                graph("Attempts to send", "short", (f"sum by (result) (increase(mails_total{{{S}}}[1h]))", "{{result}}"), description="In the last hour.", size=(12, 8)),
            ],
        ),
        (
            "Settings",
            [
                graph("Reloads", "short", (f"sum by (result) (increase(settings_reloads_total{{{S}}}[1h]))", "{{result}}"), description="In the last hour.", size=(12, 7)),
                graph(
                    "Secret store",
                    "short",
                    (f"secret_store_up{{{S}}}", "{{instance}}"),
                    (f"sum by (result) (increase(secret_store_reads_total{{{S}}}[1h]))", "readings, {{result}}"),
                    description="1: the last reading succeeded. Empty without a store.",
                    size=(12, 7),
                ),
            ],
        ),
    ],
)

DASHBOARDS = [OVERVIEW, SIGN_IN, UPSTREAMS, DATABASE_AND_CACHE, JOBS]


def main():
    wanted = {f"{board['uid']}.json": json.dumps(board, indent=1) + "\n" for board in DASHBOARDS}
    found = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    if "--check" in sys.argv[1:]:
        wrong = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        if wrong:
            sys.exit(f"deploy/grafana/dashboards differs from dashboards.py: {', '.join(wrong)}\n  hint: make dashboards")
        return
    FOLDER.mkdir(exist_ok=True)
    for name in found.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
        print(f"deploy/grafana/dashboards/{name}")


if __name__ == "__main__":
    main()

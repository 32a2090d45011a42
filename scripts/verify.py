"""Runs the suites that hold the gateway against programs, corpora and standards of others, and writes docs/verified.md from what they print.

    scripts/verify.py PAGE                   run all, write the page
    scripts/verify.py PAGE --only NAME ...   run the suites whose names contain one of these, keep the other rows of the page
    scripts/verify.py PAGE --check           run nothing; fail if the page names other suites or commands than this file

A suite that fails, or whose output has no score, is written as a miss, and the exit code is 1.
"""

import datetime
import platform
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import peers

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Judge:
    """A suite. `versions` are patterns with a file in which each finds its version; `score` is found in the output, and `shown` is its form."""

    name: str
    subject: str
    command: str
    score: str
    shown: str = "{0}"
    versions: tuple = ()
    misses: str = ""


def cases(name, subject, packages, test, misses=""):
    """A suite of ours, written after a standard or after attacks on others."""
    packages = " ".join(f"-p {package}" for package in packages)
    return Judge(
        name, subject, f"cargo nextest run {packages} -E '{test}'",
        r"(\d+) tests? run: (\d+) passed", "{1} of {0} cases", misses=misses,
    )


PROGRAMS = [
    Judge(
        "schemathesis", "every operation of the API: are all responses described, is none a 5xx?", "make openapi",
        r"(?s)without a credential.*?([\d,]+) generated, ([\d,]+) passed.*?as an administrator.*?([\d,]+) generated, ([\d,]+) passed",
        "{1} of {0} calls without a credential, {3} of {2} as an administrator", (("scripts/openapi.sh", r'schemathesis==([\d.]+)'),),
        "Operations that end the administrator's own session or account are left out, because they would end the run.",
    ),
    Judge(
        "redocly", "is the OpenAPI document valid?", "make openapi", r"Your API description is valid|(validates successfully)",
        "valid", (("scripts/openapi.sh", r"@redocly/cli@([\d.]+)"),),
    ),
    Judge(
        "spectral (`spectral:oas`)", "the same", "make openapi", r"(\d+) errors?, (\d+) warnings?", "{0} errors, {1} warnings",
        (("scripts/openapi.sh", r"spectral-cli@([\d.]+)"),),
    ),
    Judge(
        "axe in Chromium", "are the gateway's pages accessible?", "make pages", r"axe found no problem in (.*)", "no violation on {0}",
        (("scripts/pages.sh", r"@axe-core/playwright@([\d.]+)"),),
        "Only the pages that exist: `/setup` and the API's description. Colour and keyboard as far as axe sees them; no person with a screen reader tried.",
    ),
    Judge(
        "csrf-csrf", "do the npm package and the gateway accept each other's tokens, and refuse forged ones?", "make csrf",
        r"(csrf-csrf accepts the tokens of the gateway, and the gateway accepts those of csrf-csrf)", "both ways",
        (("scripts/csrf.sh", r"csrf-csrf@([\d.]+)"),),
    ),
    Judge(
        "dotenv", "is `.env` read as the npm package reads it?", "make dotenv", r"(the table of \.env is what the npm package dotenv reads)",
        "the same table", (("scripts/dotenv.sh", r"dotenv@([\d.]+)"),),
    ),
    Judge(
        "promtool", "the configuration, the rules and the tests of the alerts",
        "promtool check config deploy/prometheus/prometheus.yml && cd deploy/prometheus && promtool test rules rules_test.yml slow_rules_test.yml",
        r"(?s)SUCCESS.*SUCCESS", "success", (("promtool --version", r"version ([\d.]+)"),),
    ),
    Judge(
        "squawk", "migrations that would lock a busy PostgreSQL", "scripts/squawk.sh && squawk --version", r"squawk ([\d.]+)", "no finding",
        (("squawk --version", r"([\d.]+)"),),
        "Left out, with reasons in the script: prefer-robust-stmts, require-lock-timeout, require-statement-timeout.",
    ),
    Judge(
        "real servers (Express, uvicorn, Flask, Go, nginx with PHP)", "do they answer through the gateway as they do without it?", "make matrix",
        r"(?s)(\d+) servers, \d+ processes.*\n(\d+) passed, (\d+) failed", "{1} passed, {2} failed at {0} servers",
        (("scripts/matrix.sh", r"express@([\d.]+) method"), ("scripts/matrix.sh", r"uvicorn==([\d.]+)"), ("scripts/matrix.sh", r"flask==([\d.]+)")),
        "The cells that are not met are explained in [compatibility.md](compatibility.md). Versions of Express, uvicorn and Flask; Go, nginx and PHP are Debian's.",
    ),
    Judge(
        "bugsink and kent", "do servers of Sentry's protocol take and show the reports?", "make sentry",
        r"(?s)bugsink holds (\d+) failed requests and (\d+) panics.*kent holds \1 failed requests and \2 panics", "{0} failed requests and {1} panics in both",
        (("scripts/sentry.sh", r"bugsink==([\d.]+)"), ("scripts/sentry.sh", r"kent==([\d.]+)")), "Sentry itself was not at hand.",
    ),
    Judge(
        "rotel", "does a collector of OpenTelemetry receive every span, with its parent?", "make traces",
        r"(?s)(.*refuses held up no request)", "every span by both protocols; frozen, gone and refusing ones hold nothing up",
        (("scripts/traces.sh", r"rotel==([\w.]+)"),),
    ),
    Judge(
        "Helm, Kubernetes' schemas, kubectl, checkov", "is the chart rendered, valid and hardened?", "make chart", r"checkov: (nothing found)",
        "{0} beyond the exceptions that are explained",
        (("scripts/chart.sh", r"helm-python-sdk==([\d.]+)"), ("scripts/chart.sh", r"kubernetes-validate==([\d.]+)"), ("scripts/chart.sh", r"checkov==([\d.]+)")),
        "No cluster: [kubernetes.md](kubernetes.md) lists what was not tried.",
    ),
]

CASES = [
    cases(
        "HTTP/2 limits (RFC 9113; CVE-2023-44487, CVE-2024-27316, CVE-2025-8671, CVE-2019-9511 and its relatives)",
        "floods of resets, CONTINUATION and protocol errors; bodies nobody reads; windows", ["portcullis"], "test(/^http2_limits::/)",
        "h2spec itself was not at hand, and was not run.",
    ),
    cases(
        "HTTP/2 requests (RFC 9113 §8)", "authority, cookies, ambiguous requests, GOAWAY", ["portcullis"], "test(/^http2::/)",
    ),
    cases(
        "request smuggling, whole program", "ambiguous lengths, chunks, hosts and bytes that are no request", ["portcullis"], "test(/^framing::/)",
        "Corpora of others, such as http-garden, were not run.",
    ),
    cases(
        "request smuggling, generated", "a corpus and generated connections: do the guard, hyper and a third reader read them alike?", ["portcullis-edge"],
        "test(differential)",
    ),
    Judge(
        "libFuzzer", "ten minutes of whole HTTP/1.1 connections: a panic, or two readers that differ", "TIME=600 make fuzz",
        r"stat::number_of_executed_units:\s*(\d+)", "nothing found in {0} connections", (("cargo fuzz --version", r"([\d.]+)"),),
        "One target, the edge; the gate's paths and cookies are tried by properties in `make test`.",
    ),
    cases(
        "JWT forgeries (RFC 8725)", "none, HS256 over a public key, keys within the token, signatures of zeros, JSON, other types, times and claims",
        ["portcullis-identity"], "test(/::(sr_30|sr_31)_/)",
    ),
    cases(
        "W3C Trace Context, level 2", "traceparent and tracestate: malformed, several, too long, of other versions; B3",
        ["portcullis-gate", "portcullis-proxy"], "test(/trace_?(context|parent|state)|b3/)",
        "The test suite of the W3C needs a service that calls back, and was not run.",
    ),
    cases(
        "WebSocket (RFC 6455)", "handshakes, frames, close codes, rights, through the gateway", ["portcullis"],
        "test(/web_socket/)", "Autobahn's suite needs Python 2, which was not at hand, and was not run.",
    ),
]


ELSEWHERE = [
    "- Each security requirement and its tests: [security.md](security.md).",
    "- Upgrades and downgrades under load (`make upgrade-test`): [upgrading.md](upgrading.md).",
    "- The faults of a game day and their alerts (`make game-day`): [observability.md](observability.md).",
]


# Summed over the crates in which a case has a test.
PEERS = cases("vulnerabilities of others", "", [], "")
PEERS.command = peers.command()


def shown(command):
    """A command in a cell of a table."""
    return "`" + command.replace("|", "\\|") + "`"


def version(judge):
    found = []
    for where, pattern in judge.versions:
        if (ROOT / where).is_file():
            text = (ROOT / where).read_text(encoding="utf-8")
        else:
            ran = subprocess.run(where, shell=True, cwd=ROOT, capture_output=True, text=True)
            text = ran.stdout + ran.stderr
        match = re.search(pattern, text)
        found.append(match[1] if match else "?")
    return ", ".join(found)


def run(command):
    """The output of a command and its exit code."""
    began = time.monotonic()
    ran = subprocess.run(["bash", "-c", command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f"{command}: exit code {ran.returncode}, {time.monotonic() - began:.0f} s", flush=True)
    return re.sub(r"\x1b\[[0-9;]*m", "", ran.stdout), ran.returncode


def score_of(judge, outputs):
    """The score of a suite that was run, and whether it passed."""
    output, code = outputs[judge.command]
    match = re.search(judge.score, output)
    score = judge.shown.format(*(match.groups())) if match else "no score"
    if code != 0 or not match:
        score = f"**failed** ({score}, exit code {code})"
        print(output[-3000:])
    return score, code == 0 and match is not None


def stamp():
    """When and at which commit a suite was run."""
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return f"{datetime.datetime.now(datetime.timezone.utc).date()}, {commit}"


def kept_verdicts(page):
    """Score and time of each suite of a page that was written before."""
    found = {}
    for line in page.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 6 and cells[5].startswith("`"):
            found[cells[0]] = (cells[3], cells[4])
        elif match := re.fullmatch(r"Run together: (.*) \((.*)\)\.", line):
            found[PEERS.name] = match.groups()
    return found


def page(kept, only):
    chosen = [judge for judge in [*PROGRAMS, *CASES, PEERS] if not only or any(name in judge.name for name in only)]
    commands = list(dict.fromkeys(judge.command for judge in chosen))
    # Two at a time: most of them wait for a browser, a server or a registry.
    with ThreadPoolExecutor(2) as pool:
        outputs = dict(zip(commands, pool.map(run, commands)))
    passed, misses, verdicts = True, [], kept_verdicts(kept)
    for judge in chosen:
        score, is_passed = score_of(judge, outputs)
        passed = passed and is_passed
        verdicts[judge.name] = (score, stamp())
    lines = [
        "# What was verified, and by whom", "",
        "`make verify` runs these suites and writes this page from what they print. Only the names and the misses are written by hand.", "",
        f"Machine of the last run: {platform.system()} {platform.machine()}.", "",
    ]
    for title, judges, last in (
        ("Programs of others", PROGRAMS, "version"), ("Cases written after standards and known attacks", CASES, None),
    ):
        lines += [f"## {title}", ""]
        if last is None:
            lines += ["These cases are ours: somebody else's suite would be a better judge, and the misses below say where there is one.", ""]
        lines += ["| judge | version | what it judges | score | run at | command |", "|---|---|---|---|---|---|"]
        for judge in judges:
            score, when = verdicts.get(judge.name, ("not run yet", ""))
            lines.append(f"| {judge.name} | {version(judge) or 'this commit'} | {judge.subject} | {score} | {when} | {shown(judge.command)} |")
            if judge.misses:
                misses.append(f"- **{judge.name}**: {judge.misses}")
        lines.append("")
    score, when = verdicts.get(PEERS.name, ("not run yet", "never"))
    lines += peers.section(f"{score} ({when})")
    lines += ["## Misses", "", *misses, "", "## Elsewhere", "", *ELSEWHERE, ""]
    return "\n".join(lines), passed


def main():
    target = ROOT / sys.argv[1]
    if sys.argv[2:] == ["--check"]:
        kept = target.read_text(encoding="utf-8")
        missing = [judge.name for judge in PROGRAMS + CASES
                   if f"| {judge.name} |" not in kept or shown(judge.command) not in kept]
        missing += [f"no test is called {name}" for name in peers.missing_tests()]
        missing += [peer.cves for peer in peers.all_peers() if f"| {peer.cves} | {peer.product} |" not in kept]
        rows = sum(line.startswith("| ") and line.endswith("` |") for line in kept.splitlines())
        if missing or rows != len(PROGRAMS + CASES + peers.all_peers()):
            sys.exit(f"{sys.argv[1]} is not what scripts/verify.py would write: {missing or 'other rows'}. hint: make verify")
        return
    kept = target.read_text(encoding="utf-8") if target.exists() else ""
    text, passed = page(kept if sys.argv[2:] else "", sys.argv[3:])
    target.write_text(text, encoding="utf-8")
    sys.exit(not passed)


main()

"""Runs the game day; scripts/game-day.sh explains it."""

import argparse
import pathlib
import secrets
import shutil
import subprocess
import sys
import tempfile
import time

import programs
from faults import FAULTS, World
from rules import panel_expressions
from traffic import Traffic

SETTINGS = """
[upstreams.things]
targets = ["http://127.0.0.1:{service}"]

[[routes]]
path = "/api/v1/things/{{*rest}}"
upstream = "things"
auth = "none"
body_idle_timeout = "1s"
"""
# How long an alert may take to fire or to end; the longest takes a minute.
PATIENCE = 150


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--portcullis", required=True)
    parser.add_argument("--fault", action="append", choices=[fault.name for fault in FAULTS])
    parser.add_argument("--images", type=pathlib.Path)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-game-day-"))
    running = []
    try:
        return game_day(options, folder, running)
    finally:
        for program in reversed(running):
            program.stop()
        shutil.rmtree(folder, ignore_errors=True)


def game_day(options, folder, running):
    def started(program):
        running.append(program)
        return program.start()

    postgres, redis, service = (started(make(folder)) for make in (programs.Postgres, programs.redis, programs.service))
    mail = programs.MailServer(folder)
    running.append(mail)
    (folder / "portcullis.toml").write_text(SETTINGS.format(service=service.port))
    env = {
        "DATABASE_URL": postgres.url(), "REDIS_URL": f"redis://127.0.0.1:{redis.port}", "SMTP_URL": f"smtp://127.0.0.1:{mail.port}",
        "MAIL_FROM": "gateway@example.com", "PORTCULLIS_ENV": "development", "PORTCULLIS__LOG__ACCESS": "off",
        "CSRF_SECRET": secrets.token_hex(32), "ENCRYPTION_KEY": secrets.token_hex(32),
    }
    replicas = [started(programs.Replica(f"replica{number}", options.portcullis, folder, env)) for number in (1, 2)]
    for replica in replicas:
        programs.until("readiness", lambda: "\nready" in "\n" + (replica.folder / f"{replica.name}.log").read_text())
    traffic = started(Traffic([replica.port for replica in replicas]))
    prometheus = started(programs.Prometheus(folder, [replica.port for replica in replicas]))
    world = World(postgres, redis, service, mail, replicas, traffic)
    for name in ("up", "mails_waiting", "portcullis:requests:rate5m"):
        programs.until(f"a sample of {name}", lambda: prometheus.values(name))
    rows, failures = [], []
    for fault in FAULTS:
        if options.fault and fault.name not in options.fault:
            continue
        if fault.name == "full-disk" and postgres.disk is None:
            print("full-disk: no file system can be mounted here, so this fault is left out. hint: run as root")
            continue
        print(f"{fault.name}: {fault.what}", flush=True)
        try:
            rows.append(run_fault(fault, world, prometheus, options.images))
        except RuntimeError as error:
            failures.append(f"{fault.name}: {error}")
            print(f"  {error}")
            for replica in replicas:
                print("\n".join((replica.folder / f"{replica.name}.log").read_text(errors="replace").splitlines()[-5:]))
    print("\n| fault | alert | fires after | panel | before | then | what ends it | ends after |\n|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


def run_fault(fault, world, prometheus, images):
    """Causes a fault, waits for its alert, ends it, waits for the end of the alert, and returns its row of the table."""
    programs.until("silence", lambda: fault.alert not in prometheus.firing(), PATIENCE)
    firing_before = prometheus.firing()
    board, expressions = panel_expressions(fault.board, fault.panel)
    before = shown(fault, prometheus, expressions)
    begun = time.monotonic()
    fault.cause(world)
    others = set()

    def fires():
        firing = prometheus.firing()
        others.update(firing - firing_before - {fault.alert})
        return fault.alert in firing

    try:
        programs.until(f"{fault.alert}", fires, PATIENCE)
        fired = time.monotonic() - begun
        then = shown(fault, prometheus, expressions)
        if images:
            take_pictures(prometheus, images, fault.name, expressions[-1])
    finally:
        begun = time.monotonic()
        fault.end(world)
    programs.until(f"the end of {fault.alert}", lambda: fault.alert not in prometheus.firing(), PATIENCE)
    ended = time.monotonic() - begun
    print(f"  {fault.alert} fired after {fired:.0f} s and ended {ended:.0f} s after: {fault.remedy}; also fired: {', '.join(sorted(others)) or 'none'}")
    runbook = f"[{fault.alert}](runbooks/{fault.alert}.md)"
    return f"| {fault.what} | {runbook} | {fired:.0f} s | {board}: {fault.panel} | {before} | {then} | {fault.remedy} | {ended:.0f} s |"


def shown(fault, prometheus, expressions):
    """The value of a panel that is furthest from zero; of a state, the lowest."""
    values = [value for expression in expressions for value in prometheus.values(expression)]
    if not values:
        return "–"
    value = min(values) if fault.name == "redis" else max(values, key=abs)
    if fault.unit == "%":
        return f"{value * 100:.0f} %"
    return f"{value:.0f}" if fault.unit == "" else f"{value:.2g} {fault.unit}"


def take_pictures(prometheus, folder, name, expression):
    """Pictures of Prometheus's pages: the alerts, and the panel's expression as a graph."""
    address = f"http://127.0.0.1:{prometheus.port}"
    query = programs.urllib.parse.urlencode({"g0.expr": expression, "g0.tab": "0", "g0.range_input": "2m", "g0.stacked": "0"})
    # The pages of Debian's Prometheus.
    for page, url, size in [("alerts", f"{address}/classic/alerts", "760,1180"), ("graph", f"{address}/classic/graph?{query}", "1200,800")]:
        command = [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={size}",
            "--virtual-time-budget=10000", f"--screenshot={folder.resolve()}/{name}-{page}.png", url,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE)


sys.exit(main())

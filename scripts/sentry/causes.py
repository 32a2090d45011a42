"""Starts a gateway for each DSN and causes three failed requests and three panics in each. Runs until it is stopped.

Arguments: the program, the library that breaks its clock, and the DSNs. Writes the request ids that clients saw to `request_ids.json`."""

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile

program, library, *dsns = sys.argv[1:]
SECRETS = {"email": "planted1@example.com", "password": "planted2"}


def cause(dsn, folder, gateways):
    broken = os.path.join(folder, "broken")
    env = {
        **os.environ, "LD_PRELOAD": library, "BREAK_CLOCK": broken, "SENTRY_DSN": dsn, "SENTRY_RELEASE": "gate-7",
        "SENTRY_ENVIRONMENT": "staging", "SENTRY_TRACES_SAMPLE_RATE": "1",
    }
    command = [program, "serve"]
    gateway = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    gateways.append(gateway)
    lines = iter(gateway.stdout.readline, "")
    address = next(line for line in lines if line.startswith("listening on ")).split("//")[1].strip()
    next(line for line in lines if line.startswith("ready"))
    failed, panicked = [], []
    # Signing in fails without the table of users.
    with sqlite3.connect(f"{folder}/portcullis-data/portcullis.db") as database:
        database.execute("ALTER TABLE users RENAME TO taken_away")
    for _ in range(3):
        status, request_id = request(address, "POST", "/api/v1/auth/login?planted3", SECRETS)
        assert status == 500, f"signing in without users is {status}"
        failed.append(request_id)
    # Some panic in the endpoint, and some before the gate knows their route: of three, two have the same.
    while len(panicked) < 3:
        open(broken, "w").close()
        status, request_id = request(address, "GET", "/api/v1/health")
        # Otherwise a task beside the requests, or the HTTP library, has met the broken clock.
        if status == 500:
            panicked.append(request_id)
    return {"failed": failed, "panicked": panicked}


def request(address, method, path, body=None):
    connection = http.client.HTTPConnection(address, timeout=20)
    headers = {"content-type": "application/json", "cookie": "planted4=1", "user-agent": "planted5"}
    try:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["x-request-id"]
    except (OSError, http.client.HTTPException):
        return None, None


with tempfile.TemporaryDirectory() as folder:
    gateways, request_ids = [], []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    try:
        for number, dsn in enumerate(dsns):
            os.mkdir(f"{folder}/{number}")
            request_ids.append(cause(dsn, f"{folder}/{number}", gateways))
        with open("request_ids.json", "w", encoding="utf-8") as file:
            json.dump(request_ids, file)
        print("caused", flush=True)
        # The gateways deliver their reports meanwhile.
        signal.pause()
    finally:
        for gateway in gateways:
            gateway.kill()
            gateway.wait()

"""A gateway on a database of its own, and how the benches call it."""

import http.client
import json
import os
import pathlib
import subprocess
import tempfile

from run import PASSWORD, PORTCULLIS, free_port, pinned, post, wait_for


def start_portcullis(url, core=None):
    """The server on a database, its port and its folder; on one core if that is given."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-bench-"))
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PORT": str(port),
        "DATABASE_URL": url,
        "LOG_LEVEL": "error",
        "PORTCULLIS__LOG__ACCESS": "off",
        "PORTCULLIS_ENV": "test",
        "PORTCULLIS__LIMITS__ENABLED": "false",
        "PORTCULLIS__CSRF__MODE": "cookie",
        "CSRF_SECRET": "a secret for CSRF tokens of benches only",
        # Always the same, because a database may be used again.
        "ENCRYPTION_KEY": "a key for what benches seal in databases",
    }
    command = [str(PORTCULLIS), "serve"]
    command = command if core is None else pinned(core, command)
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


class Client:
    """Calls over one connection that stays open."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def call(self, method, path, body=None, token=None):
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {answer}")
        return answer.get("data")

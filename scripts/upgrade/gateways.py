"""Gateways of several versions on one database, and requests to them."""

import http.client
import json
import pathlib
import re
import shutil
import signal
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "scripts/game_day"))
from programs import Program, free_port, until  # noqa: E402

PASSWORD = "correct horse battery staple"
# Of every version, so that each reads what the others have sealed.
SECRETS = {
    "CSRF_SECRET": "the same secret for CSRF tokens before and after",
    "ENCRYPTION_KEY": "the same key for everything sealed before and after",
}
SETTINGS = """
[upstreams.things]
targets = ["http://127.0.0.1:{service}"]

[[routes]]
path = "/api/v1/things/{{*rest}}"
upstream = "things"
roles = ["DEVELOPER"]
"""


class Gateway(Program):
    """A version of the gateway over the database at `url`, in a folder of its own."""

    def __init__(self, name, binary, folder, url, service=None):
        home = folder / name
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        if service:
            (home / "portcullis.toml").write_text(SETTINGS.format(service=service))
        port = free_port()
        env = {
            **SECRETS, "DATABASE_URL": url, "PORT": str(port), "LOG_LEVEL": "warn", "PORTCULLIS_ENV": "development",
            "PORTCULLIS__LIMITS__ENABLED": "false", "PORTCULLIS__CSRF__MODE": "cookie", "PORTCULLIS__LOG__ACCESS": "off",
        }
        super().__init__(name, [binary, "serve"], home, port, env)
        self.binary = binary

    def start(self):
        super().start()
        # It responds to health checks while it migrates.
        until(f"the readiness of {self.name}", lambda: self.call("GET", "/api/health/ready")[0] == 200 or self.ended())
        return self

    def call(self, method, path, body=None, token=None, **headers):
        """Sends a request. Returns status and body; 0 and the error where the connection fails."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            headers["authorization"] = f"Bearer {token}"
        if body is not None:
            headers["content-type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            return 0, {"error": repr(error)}
        finally:
            connection.close()
        try:
            return response.status, json.loads(content)
        except ValueError:
            return response.status, {"text": content.decode(errors="replace")}

    def must(self, status, method, path, body=None, token=None, **headers):
        """Sends a request whose status is known, and returns the data of the response."""
        found, content = self.call(method, path, body, token, **headers)
        if found != status:
            raise RuntimeError(f"{self.name}: {method} {path} was answered {found}, not {status}: {content}")
        return content.get("data", content)

    def run(self, *arguments, stdin="", check=True):
        """Runs a command of this version in its folder."""
        ran = subprocess.run(
            [self.binary, *arguments], cwd=self.folder, env=self.env, input=stdin, capture_output=True, text=True,
        )
        if check and ran.returncode != 0:
            raise RuntimeError(f"{self.name}: portcullis {' '.join(arguments)} failed: {ran.stdout}{ran.stderr}")
        return ran

    def mailed(self, template, email):
        """The token of a mail, whose link the development server prints."""
        pattern = re.compile(rf"^mail to {re.escape(email)} \({template}\): \S+#(\S+)$", re.MULTILINE)
        log = self.folder / f"{self.name}.log"
        return until(f"the mail {template}", lambda: pattern.search(log.read_text()))[1]

    def end(self):
        """Stops it as a rolling update does, by SIGTERM, and sees that it ended in peace."""
        self.stop(signal.SIGTERM)
        if self.process.returncode != 0:
            raise RuntimeError(f"{self.name} ended with exit code {self.process.returncode}")


def registration(name):
    return {
        "email": f"{name}@example.com", "username": name, "firstName": "Ada", "lastName": "Lovelace",
        "password": PASSWORD, "confirmPassword": PASSWORD,
    }

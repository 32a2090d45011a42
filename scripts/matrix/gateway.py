"""The gateway under test, with routes to every server."""

import asyncio
import json
import os

from http_client import PATIENCE, Connection, once
from processes import Process, free_port

PASSWORD = "correct horse battery staple"
EMAIL = "matrix@example.com"

# The routes to one server. What a case needs of a route is said beside it.
ROUTES = [
    ("open", "main", 'auth = "none"\nmax_body = "0"'),
    ("user", "main", 'auth = "required"\ntimeout = "2s"'),
    # A user of the matrix holds MATRIX_PATCH and not MATRIX_WRITE.
    ("rights", "main", 'auth = "required"\npermissions = { POST = ["MATRIX_WRITE"], PATCH = ["MATRIX_PATCH"] }'),
    ("slow", "main", 'auth = "none"\ntimeout = "2s"\nmax_body = "0"'),
    # The kernel's buffers take up to 10 MB, which the slowest reader of a case must empty in this time.
    ("patient", "main", 'auth = "none"\ntimeout = "4s"\nmax_body = "0"'),
    ("short", "short", 'auth = "none"'),
    ("one", "one", 'auth = "none"'),
    ("pair", "pair", 'auth = "none"'),
]


def settings(servers):
    """The settings file: for each server its upstreams, and a route for each kind of case."""
    text = ['[roles]\nDEVELOPER = ["MATRIX_PATCH"]\n']
    for server in servers:
        upstreams = {"main": [server.main], "short": [server.short], "one": [server.first], "pair": [server.first, server.second]}
        for name, instances in upstreams.items():
            targets = ", ".join(f'"http://127.0.0.1:{instance.port}"' for instance in instances)
            text.append(f"[upstreams.{server.name}-{name}]\ntargets = [{targets}]\n")
    for server in servers:
        for name, upstream, policy in ROUTES:
            path = f"/api/v1/{server.name}/{name}"
            text.append(
                f'[[routes]]\npath = "{path}/{{*rest}}"\nupstream = "{server.name}-{upstream}"\nstrip_prefix = "{path}"\n{policy}\n'
            )
    return "\n".join(text)


class Gateway:
    def __init__(self, binary, work, servers):
        self.binary, self.folder = binary, os.path.join(work, "gateway")
        os.makedirs(self.folder)
        with open(os.path.join(self.folder, "portcullis.toml"), "w", encoding="utf-8") as file:
            file.write(settings(servers))
        self.env = {
            "PORTCULLIS__LIMITS__ENABLED": "false", "PORTCULLIS__CSRF__MODE": "cookie", "PORTCULLIS__PASSWORD__THROTTLE": "false",
            "LOG_LEVEL": "error", "PORTCULLIS__LOG__ACCESS": "off", "PORT": str(port := free_port()),
        }
        log = os.path.join(work, "gateway.log")
        self.process = Process("the gateway", [binary, "serve"], log, port=port, cwd=self.folder, env=self.env)
        self.address = self.process.address

    async def start(self):
        await self.command("migrate", "up")
        user = ["--email", EMAIL, "--username", "matrix", "--first-name", "Ma", "--last-name", "Trix", "--role", "DEVELOPER"]
        await self.command("users", "create", *user, "--password-stdin", stdin=PASSWORD.encode())
        await self.process.start()

    async def command(self, *arguments, stdin=b""):
        child = await asyncio.create_subprocess_exec(
            self.binary, *arguments, cwd=self.folder, env={**os.environ, **self.env},
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(PATIENCE):
            output, _ = await child.communicate(stdin)
        if child.returncode != 0:
            raise RuntimeError(f"portcullis {' '.join(arguments)} failed: {output.decode()}")

    async def sign_in(self):
        """A new session. Returns the header that carries its token."""
        body = json.dumps({"email": EMAIL, "password": PASSWORD}).encode()
        response = await once(self.address, "POST", "/api/v1/auth/login", [("Content-Type", "application/json")], body)
        if response.status != 200:
            raise RuntimeError(f"the sign-in answers {response.status}: {response.body[:200]!r}")
        return ("Authorization", f"Bearer {json.loads(response.body)['data']['tokens']['accessToken']}")

    async def sign_out(self, credential):
        response = await once(self.address, "POST", "/api/v1/auth/logout", [credential], b"")
        if response.status != 200:
            raise RuntimeError(f"the sign-out answers {response.status}: {response.body[:200]!r}")

    def path(self, server, route, rest):
        return f"/api/v1/{server.name}/{route}{rest}"

    async def panics(self):
        """The number of panics that the gateway counted."""
        connection = await Connection.open(self.address)
        response = await connection.request("GET", "/metrics", keep=1 << 24)
        connection.close()
        lines = response.body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("panics_total"))

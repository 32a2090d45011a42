"""Makes docs/images/logout.svg from a real run: a user with two sessions has a WebSocket open with each, signs out of one of them, and asks
`explain` about both. `make picture` calls it with the binary of the gateway.
"""

import asyncio
import json
import os
import re
import socket
import sys
import tempfile
import time
import urllib.request
from html import escape
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

PASSWORD = "correct horse battery staple"
SETTINGS = """[csrf]
mode = "cookie"
[upstreams.live]
targets = ["http://127.0.0.1:{port}"]
[[routes]]
path = "/api/v1/live"
upstream = "live"
"""
# Of a line, in characters; of a line and a character, in pixels.
WIDTH, HEIGHT, ADVANCE = 100, 19, 7.83


def call(address, path, body=None, token=None):
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(f"{address}{path}", data, headers)) as response:
        return response.read().decode()


async def command(binary, *arguments, cwd, stdin=b""):
    process = await asyncio.create_subprocess_exec(
        binary, *arguments, cwd=cwd, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate(stdin)
    return output.decode()


async def watch(name, client, said):
    """Writes what a client receives, and how its WebSocket ends."""
    try:
        async for message in client:
            said(f"{name}  <- {message}", "in")
    except ConnectionClosed as closed:
        frame = closed.rcvd
        said(f"{name}  closed by the gateway: {frame.code} {frame.reason}".rstrip(), "end")


async def sign_out(address, token, said):
    answer = await asyncio.to_thread(call, address, "/api/auth/logout", {}, token)
    said(re.sub(r'"timestamp":.*', "…}", answer), "out")


async def record(binary):
    """The lines of the run: text and kind."""
    lines, changed = [], asyncio.Event()

    def said(text, kind):
        lines.append((text, kind))
        changed.set()

    async def until(count):
        while len(lines) < count:
            changed.clear()
            await asyncio.wait_for(changed.wait(), 20)

    services = set()

    async def service(connection):
        services.add(connection)
        await connection.wait_closed()
        services.discard(connection)

    async def tick(number):
        for connection in set(services):
            await connection.send(f"price {number}")

    with tempfile.TemporaryDirectory() as folder:
        async with serve(service, "127.0.0.1", 0) as upstream:
            port = upstream.sockets[0].getsockname()[1]
            Path(folder, "portcullis.toml").write_text(SETTINGS.format(port=port), encoding="utf-8")
            with socket.create_server(("127.0.0.1", 0)) as free:
                address = f"127.0.0.1:{free.getsockname()[1]}"
            gateway = await asyncio.create_subprocess_exec(
                binary, "serve", cwd=folder, env={**os.environ, "PORT": address.split(":")[1], "LOG_LEVEL": "error"},
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL)
            try:
                while not (await gateway.stdout.readline()).startswith(b"ready"):
                    pass
                await command(binary, "users", "create", "--email", "ada@example.com", "--username", "ada",
                              "--first-name", "Ada", "--last-name", "Lovelace", "--role", "DEVELOPER",
                              "--password-stdin", cwd=folder, stdin=PASSWORD.encode())
                login = {"email": "ada@example.com", "password": PASSWORD}
                tokens = {}
                for name in ("laptop", "phone"):
                    answer = await asyncio.to_thread(call, f"http://{address}", "/api/auth/login", login)
                    tokens[name] = json.loads(answer)["data"]["tokens"]["accessToken"]
                said("# Ada is signed in twice, each with a WebSocket through the gateway", "note")
                watching = []
                for name, token in tokens.items():
                    client = await connect(
                        f"ws://{address}/api/live", additional_headers={"Authorization": f"Bearer {token}"})
                    watching.append(asyncio.create_task(watch(name.ljust(6), client, said)))
                while len(services) < 2:
                    await asyncio.sleep(0.01)
                await tick(1)
                await until(3)
                said("# The laptop signs out, in another terminal", "note")
                said('$ curl -X POST http://localhost:8000/api/auth/logout -H "Authorization: Bearer $LAPTOP"', "do")
                began = time.monotonic()
                # Their lines come in the order in which they happen.
                await asyncio.gather(sign_out(f"http://{address}", tokens["laptop"], said), watching[0])
                waited = (time.monotonic() - began) * 1000
                await tick(2)
                await until(len(lines) + 1)
                said("# Why?", "note")
                for name in ("laptop", "phone"):
                    said(f'$ portcullis explain GET /api/live -H "Authorization: Bearer ${name.upper()}"', "do")
                    output = await command(
                        binary, "explain", "GET", "/api/live", "-H", f"Authorization: Bearer {tokens[name]}", cwd=folder)
                    shown = [line for line in output.splitlines() if re.search(r"classify|authorise|It would", line)]
                    for line in shown:
                        said(re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "01a2…", line), "out")
                for task in watching:
                    task.cancel()
                print(f"from sending the logout until its response and the close of the WebSocket had arrived: {waited:.1f} ms")
            finally:
                gateway.terminate()
                await gateway.wait()
    return lines


def wrapped(text):
    """The text in lines of at most `WIDTH` characters."""
    parts = []
    while len(text) > WIDTH:
        cut = text.rfind(" ", 0, WIDTH)
        cut = cut if cut > 0 else WIDTH
        parts.append(text[:cut])
        text = "    " + text[cut:].lstrip()
    return [*parts, text]


def picture(lines):
    """The lines as an SVG that shows them one after the other; where motion is not wanted, all at once."""
    texts, row, at = [], 0, 0.4
    for text, kind in lines:
        at += {"do": 1.2, "note": 0.9, "end": 0.5}.get(kind, 0.35)
        for part in wrapped(text):
            row += 1
            texts.append(f'<text class="{kind}" y="{24 + row * HEIGHT}" style="animation-delay:{at:.2f}s">{escape(part)}</text>')
    width, height = round(WIDTH * ADVANCE) + 32, 48 + row * HEIGHT
    style = (
        "text{font:13px ui-monospace,Menlo,Consolas,monospace;white-space:pre;fill:#c9d1d9;opacity:0;"
        "animation:show 1ms forwards}@keyframes show{to{opacity:1}}"
        ".note{fill:#8b949e}.do{fill:#7ee787}.end{fill:#ff7b72;font-weight:bold}.in{fill:#79c0ff}"
        "@media(prefers-reduced-motion:reduce){text{animation:none;opacity:1}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">'
        "<title>A logout on the laptop closes the laptop's WebSocket and not the phone's, and explain says why</title>"
        f"<style>{style}</style><rect width=\"{width}\" height=\"{height}\" rx=\"8\" fill=\"#0d1117\"/>"
        f'<g transform="translate(16)">\n' + "\n".join(texts) + "\n</g></svg>\n"
    )


lines = asyncio.run(record(sys.argv[1]))
Path(sys.argv[2]).write_text(picture(lines), encoding="utf-8")
for text, _ in lines:
    print(text)

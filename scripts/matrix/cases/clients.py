"""Clients that close half of their connection, and clients that vanish at every stage."""

import asyncio
import time

from http_client import Connection, head
from websocket_client import TEXT, WebSocket

# States of /proc/net/tcp in which the gateway still holds its end: established, and closed by the server only.
HELD = {"01", "08"}
# Idle connections are kept for 4 s by default.
GONE_WITHIN = 20


async def half_close(tally, gateway, server):
    """A client that has sent its request closes its sending half (RFC 9112 §9.6), and still gets the response."""
    for method, rest, body in [("GET", "/hold?ms=200", None), ("POST", "/hold?ms=200", b"{}"), ("GET", "/download?bytes=3000000", None)]:
        connection = await Connection.open(gateway.address)
        await connection.send(head(method, gateway.path(server, "open", rest), body=body) + (body or b""))
        connection.writer.write_eof()
        response = await connection.response(method)
        tally.expect(response, 200, note=f"{method} {rest}")
        connection.close()


async def vanish(tally, gateway, server):
    """Clients that vanish within a head, an upload, a wait, a download, an event stream, a WebSocket. Nothing of theirs stays
    open at the server, and the next request is served."""
    credential = await gateway.sign_in()
    stages = [
        (head("GET", gateway.path(server, "open", "/hello"))[:-2], 0),
        (head("POST", gateway.path(server, "open", "/inspect"), [("Content-Length", 1 << 20)]) + bytes(300000), 0),
        (head("POST", gateway.path(server, "open", "/inspect"), [("Transfer-Encoding", "chunked")]) + b"5\r\nhello\r\n2", 0),
        (head("GET", gateway.path(server, "open", "/hold?ms=400")), 0),
        (head("POST", gateway.path(server, "open", "/hold?ms=400"), [], b"{}") + b"{}", 0),
        (head("GET", gateway.path(server, "open", f"/download?bytes={32 << 20}")), 100000),
        (head("GET", gateway.path(server, "user", "/events?gap=50"), [credential]), 200),
    ]
    for data, read in stages:
        for abort in (True, False):
            await leave(tally, gateway, data, read, abort)
    if server.kind.websocket:
        response, socket = await WebSocket.open(gateway.address, gateway.path(server, "user", "/ws"), [credential])
        if tally.expect(response, 101):
            await socket.send(TEXT, b"half a wor", final=False)
            socket.abort()
    began = time.monotonic()
    while (held := held_connections(server.main.port)) and time.monotonic() - began < GONE_WITHIN:
        # The kernel tells nobody when another process closes a socket.
        await asyncio.sleep(0.1)
    tally.check(not held, f"the gateway holds {held} connections to the server")
    connection = await Connection.open(gateway.address)
    after = await connection.request("GET", gateway.path(server, "open", "/hello"))
    tally.expect(after, 200, note="the request after them")
    connection.close()


async def leave(tally, gateway, data, read, abort):
    """Sends the beginning of an exchange, reads at least so many bytes of the response, and leaves: with a reset, or a FIN."""
    connection = await Connection.open(gateway.address)
    await connection.send(data)
    while read > 0:
        piece = await connection.reader.read(read)
        if not piece:
            tally.check(False, f"the connection ended {read} bytes early")
            return
        read -= len(piece)
    tally.event("gone")
    if abort:
        connection.writer.transport.abort()
    else:
        connection.close()


def held_connections(port):
    """How many connections to a loopback port somebody holds open."""
    with open("/proc/net/tcp", encoding="ascii") as table:
        rows = [line.split() for line in table.readlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] in HELD for row in rows)

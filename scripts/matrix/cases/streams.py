"""Streams: server-sent events and WebSockets, and their end by a logout."""

import asyncio
import json

from http_client import PATIENCE, Connection, Cut, head
from websocket_client import BINARY, CLOSE, PING, PONG, TEXT, WebSocket, close_code

# The route of the streams has a timeout of 2 s, which must not end them: 40 events take twice as long.
EVENTS, GAP = 40, 100


async def events(tally, gateway, server):
    """An event stream that outlives the route's timeout, one that is silent for longer than it, both ended by a logout."""
    credential = await gateway.sign_in()
    lively, quiet = Connection.open(gateway.address), Connection.open(gateway.address)
    lively, quiet = await lively, await quiet
    lively_stream = await subscribe(tally, lively, gateway.path(server, "user", f"/events?gap={GAP}"), credential)
    quiet_stream = await subscribe(tally, quiet, gateway.path(server, "user", "/events?gap=3000"), credential)
    if lively_stream and quiet_stream:
        await asyncio.gather(take(tally, lively_stream, EVENTS), take(tally, quiet_stream, 2))
        await gateway.sign_out(credential)
        await asyncio.gather(*(ends(tally, stream) for stream in (lively_stream, quiet_stream)))
    after = await lively_after(gateway, server, credential)
    tally.expect(after, 401, note="the session after its logout")
    lively.close()
    quiet.close()


async def lively_after(gateway, server, credential):
    connection = await Connection.open(gateway.address)
    try:
        return await connection.request("GET", gateway.path(server, "user", "/hello"), [credential])
    finally:
        connection.close()


async def subscribe(tally, connection, target, credential):
    """Opens an event stream. Returns the pieces of its body, or None."""
    await connection.send(head("GET", target, [credential, ("Accept", "text/event-stream")]))
    response = await connection.response_head()
    if not tally.expect(response, 200):
        return None
    kind = response.header("content-type") or ""
    tally.check(kind.startswith("text/event-stream"), f"content-type {kind!r}")
    return connection.body("GET", response)


async def take(tally, stream, number):
    """Reads events and checks that none is missing."""
    text, due = b"", 0
    try:
        async with asyncio.timeout(PATIENCE):
            async for piece in stream:
                text += piece
                while b"\n\n" in text:
                    event, _, text = text.partition(b"\n\n")
                    tally.check(event == b"data: %d" % due, f"{event!r} instead of event {due}")
                    tally.event("event")
                    due += 1
                if due >= number:
                    return
        tally.check(False, f"the stream ended after {due} events")
    except (Cut, TimeoutError) as error:
        tally.failed(error, f"event {due}")


async def ends(tally, stream):
    """Reads until the stream ends. It is cut off or completed: a page reconnects after either."""
    try:
        async with asyncio.timeout(10):
            async for _ in stream:
                pass
        tally.event("end")
    except Cut:
        tally.event("end")
    except TimeoutError as error:
        tally.failed(error, "the end by logout")


async def websocket(tally, gateway, server):
    """Echo of every size and kind, a ping, an end from either side, a vanished client, an end by logout."""
    if not server.kind.websocket:
        tally.absent = "the server speaks no WebSocket"
        return
    credential = await gateway.sign_in()
    target = gateway.path(server, "user", "/ws")
    response, socket = await WebSocket.open(gateway.address, target, [credential])
    if not tally.expect(response, 101):
        return
    for opcode, payload in [(TEXT, b"hello"), (BINARY, bytes(range(256)) * 1024), (TEXT, b"x" * 70000), (BINARY, b"")]:
        await socket.send(opcode, payload)
        tally.check(await socket.message() == (opcode, payload), f"a wrong echo of {len(payload)} bytes")
        tally.event("echo")
    await socket.send(TEXT, b"in ", final=False)
    await socket.send(0, b"parts")
    tally.check(await socket.message() == (TEXT, b"in parts"), "a wrong echo of fragments")
    await socket.send(PING, b"there?")
    tally.check(await socket.message() == (PONG, b"there?"), "no pong")
    # Longer than the route's timeout.
    await asyncio.sleep(2.5)
    await closed_by_client(tally, server, socket)
    await closed_by_server(tally, gateway, server, target, credential)
    await vanished(tally, gateway, target, credential)
    await ended_by_logout(tally, gateway, target, credential)
    refused, _ = await WebSocket.open(gateway.address, target)
    tally.expect(refused, 401, note="a handshake without a credential")


async def closed_by_client(tally, server, socket):
    await socket.send(CLOSE, (1000).to_bytes(2, "big") + b"done")
    code = close_code(await socket.message())
    tally.check(code == 1000, f"close {code} after a close by the client")
    await ended(tally, server, socket)


async def closed_by_server(tally, gateway, server, target, credential):
    response, socket = await WebSocket.open(gateway.address, target, [credential])
    if tally.expect(response, 101):
        await socket.send(TEXT, b"close")
        frame = await socket.message()
        tally.check(close_code(frame) == 4001, f"{frame!r} instead of the server's close 4001")
        if frame:
            await socket.send(CLOSE, frame[1])
        await ended(tally, server, socket)


async def ended(tally, server, socket):
    """Waits until the server ends the connection after the closing handshake (RFC 6455 §7.1.1), if it is one that does."""
    if server.kind.ends_sockets:
        tally.check(await socket.frame() is None, "a frame after the close")
    socket.connection.close()
    tally.event("close")


async def vanished(tally, gateway, target, credential):
    response, socket = await WebSocket.open(gateway.address, target, [credential])
    if tally.expect(response, 101):
        await socket.send(TEXT, b"bye")
        socket.abort()


async def ended_by_logout(tally, gateway, target, credential):
    response, socket = await WebSocket.open(gateway.address, target, [credential])
    if tally.expect(response, 101):
        await gateway.sign_out(credential)
        code = close_code(await socket.message())
        tally.check(code == 1008, f"close {code} instead of 1008 at the logout")
        tally.event("close")
        socket.abort()

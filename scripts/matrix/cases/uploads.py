"""Uploads: big ones, chunked ones, slow clients, slow servers, `Expect: 100-continue`."""

import asyncio
import hashlib
import json

from http_client import PATIENCE, Connection, head

BLOCK = bytes(range(256)) * 256


def check_body(tally, response, sent_size, sent_sha256):
    """Checks that the server received the body that was sent."""
    if tally.expect(response, 200):
        seen = json.loads(response.body)
        tally.check((seen["bytes"], seen["sha256"]) == (sent_size, sent_sha256), f"the server read another body: {seen['bytes']} bytes instead of {sent_size}")


async def big(tally, gateway, server, megabytes):
    """One body with a length, one in chunks of odd sizes."""
    path = gateway.path(server, "open", "/inspect")
    connection = await Connection.open(gateway.address)
    size = megabytes << 20
    digest = hashlib.sha256()
    await connection.send(head("POST", path, [("Content-Length", size)]))
    for _ in range(size // len(BLOCK)):
        digest.update(BLOCK)
        await connection.send(BLOCK)
    check_body(tally, await connection.response("POST"), size, digest.hexdigest())
    # On the same connection.
    await chunked(tally, connection, path, size // 4)
    await chunked(tally, connection, path, 0)
    check_body(tally, await connection.request("POST", path, body=b""), 0, hashlib.sha256().hexdigest())
    check_body(tally, await connection.request("PUT", path, body=b"{}"), 2, hashlib.sha256(b"{}").hexdigest())
    connection.close()


async def chunked(tally, connection, path, size):
    """Sends a body in chunks from one byte to more than a buffer, with extensions and a trailer."""
    await connection.send(head("POST", path, [("Transfer-Encoding", "chunked"), ("Trailer", "X-Check")]))
    digest, sent, sizes = hashlib.sha256(), 0, [1, 7, 4096, 65536, 333, 16385]
    while sent < size:
        piece = BLOCK[: min(sizes[0], size - sent)]
        sizes.append(sizes.pop(0))
        digest.update(piece)
        sent += len(piece)
        extension = b";part=1" if len(piece) == 7 else b""
        await connection.send(b"%X%b\r\n%b\r\n" % (len(piece), extension, piece))
    await connection.send(b"0\r\nX-Check: 1\r\n\r\n")
    check_body(tally, await connection.response("POST"), size, digest.hexdigest())


async def slow_client(tally, gateway, server):
    """A client that takes twice the route's timeout to send its body: with a length, and in chunks."""
    await asyncio.gather(trickle(tally, gateway, server, False), trickle(tally, gateway, server, True))


async def trickle(tally, gateway, server, in_chunks):
    pieces, gap = 20, 0.2
    piece = BLOCK[:1000]
    framing = ("Transfer-Encoding", "chunked") if in_chunks else ("Content-Length", pieces * len(piece))
    connection = await Connection.open(gateway.address)
    await connection.send(head("POST", gateway.path(server, "slow", "/inspect"), [framing]))
    answer = asyncio.ensure_future(connection.response("POST"))
    for _ in range(pieces):
        # The gap is what the case is about; an answer before the end is its failure.
        await asyncio.wait([answer], timeout=gap)
        if answer.done():
            break
        await connection.send(b"%X\r\n%b\r\n" % (len(piece), piece) if in_chunks else piece)
    if in_chunks and not answer.done():
        await connection.send(b"0\r\n\r\n")
    check_body(tally, await answer, pieces * len(piece), hashlib.sha256(piece * pieces).hexdigest())
    connection.close()


async def slow_server(tally, gateway, server):
    """A server that takes twice the route's timeout to read a body, and never rests for long."""
    if server.kind.buffers:
        tally.absent = "the server reads the whole body at once"
        return
    size, pause = 48 << 20, 10
    connection = await Connection.open(gateway.address)
    path = gateway.path(server, "patient", f"/inspect?pause={pause}")
    answer = asyncio.ensure_future(connection.response("POST"))
    await connection.send(head("POST", path, [("Content-Length", size)]))
    digest = hashlib.sha256()
    for _ in range(size // len(BLOCK)):
        if answer.done():
            break
        digest.update(BLOCK)
        await connection.send(BLOCK)
    check_body(tally, await answer, size, digest.hexdigest())
    connection.close()


async def expect_continue(tally, gateway, server):
    """`Expect: 100-continue`: the body is asked for when the server reads it, and not at all for a refused request."""
    body = BLOCK * 16
    expect = [("Expect", "100-continue")]
    connection = await Connection.open(gateway.address)
    await connection.send(head("POST", gateway.path(server, "open", "/inspect"), expect, body))
    async with asyncio.timeout(PATIENCE):
        lines = await connection.head_lines()
    tally.event(lines[0].split()[1])
    tally.check(lines[0].startswith("HTTP/1.1 100"), f"{lines[0]!r} before the body")
    if lines[0].startswith("HTTP/1.1 100"):
        await connection.send(body)
        check_body(tally, await connection.response("POST"), len(body), hashlib.sha256(body).hexdigest())
    connection.close()
    # A client that does not wait.
    impatient = await Connection.open(gateway.address)
    await impatient.send(head("POST", gateway.path(server, "open", "/inspect"), expect, body) + body)
    check_body(tally, await impatient.response("POST"), len(body), hashlib.sha256(body).hexdigest())
    impatient.close()
    refused = await Connection.open(gateway.address)
    await refused.send(head("POST", gateway.path(server, "user", "/inspect"), expect, body))
    response = await refused.response("POST")
    tally.expect(response, 401)
    tally.check(not response.interim, "100 for a request that is refused")
    refused.close()

"""Responses: ranges, those without a body, big downloads. They must be what the server says to a client of its own."""

import asyncio
import hashlib

from http_client import Connection, head, once

SIZE = 102400
# Fields that must reach the client as the server sent them.
FIELDS = ["content-type", "content-length", "content-range", "accept-ranges", "etag", "last-modified", "allow"]
RANGES = ["bytes=0-99", "bytes=-100", "bytes=102300-", "bytes=0-0,100-199", "bytes=50-20", "bytes=102400-", "bytes=0-102399", "lines=1-2"]


async def same(tally, connection, gateway, server, method, target, headers=()):
    """Sends a request to the server and through the gateway, and compares the responses. Returns the gateway's."""
    direct = await once(server.main.address, method, target, headers)
    response = await connection.request(method, gateway.path(server, "open", target), headers)
    note = f"{method} {target} {dict(headers) or ''}".strip()
    tally.expect(response, direct.status, note=note)
    # The parts of multipart/byteranges are divided by a random text.
    multipart = (direct.header("content-type") or "").startswith("multipart/")
    if not multipart:
        tally.check(response.sha256 == direct.sha256, f"another body for {note}")
    for field in FIELDS:
        if multipart and field == "content-type" or field == "content-length" and direct.header(field) is None:
            continue
        told = f"{field} {response.header(field)!r} instead of {direct.header(field)!r} for {note}"
        tally.check(response.header(field) == direct.header(field), told)
    return response


async def ranges(tally, gateway, server):
    connection = await Connection.open(gateway.address)
    whole = await same(tally, connection, gateway, server, "GET", "/file")
    tally.check(whole.size == SIZE, f"the file has {whole.size} bytes")
    for value in RANGES:
        await same(tally, connection, gateway, server, "GET", "/file", [("Range", value)])
        await same(tally, connection, gateway, server, "HEAD", "/file", [("Range", value)])
    tag = whole.header("etag") or whole.header("last-modified")
    await same(tally, connection, gateway, server, "GET", "/file", [("Range", "bytes=0-9"), ("If-Range", tag)])
    await same(tally, connection, gateway, server, "GET", "/file", [("Range", "bytes=0-9"), ("If-Range", '"other"')])
    connection.close()


async def without_body(tally, gateway, server):
    """HEAD, 204 and 304 on one connection, each followed by a response with a body, which must not be disturbed."""
    connection = await Connection.open(gateway.address)
    file = await connection.request("HEAD", gateway.path(server, "open", "/file"))
    tag = [("If-None-Match", file.header("etag") or ""), ("If-Modified-Since", file.header("last-modified") or "")]
    tag = [(name, value) for name, value in tag if value]
    for method, target, headers in [
        ("HEAD", "/hello", []), ("HEAD", "/file", []), ("HEAD", "/download?bytes=1000000", []), ("HEAD", "/status/204", []),
        ("GET", "/status/204", []), ("GET", "/status/304", []), ("GET", "/file", tag), ("HEAD", "/file", tag),
        ("GET", "/download?bytes=0", []), ("GET", "/download?bytes=0&length=1", []), ("GET", "/nothing-here", []),
    ]:
        response = await same(tally, connection, gateway, server, method, target, headers)
        if response.header("connection") == "close":
            connection.close()
            connection = await Connection.open(gateway.address)
        after = await connection.request("GET", gateway.path(server, "open", "/hello"))
        tally.check((after.status, after.body) == (200, b"hello\n"), f"a disturbed response after {method} {target}")
    connection.close()


async def slow_reader(tally, gateway, server):
    """A client that takes twice the route's timeout to read a body."""
    size, pieces = 24 << 20, 0
    connection = await Connection.open(gateway.address)
    await connection.send(head("GET", gateway.path(server, "slow", f"/download?bytes={size}")))
    response = await connection.response_head()
    tally.expect(response, 200)
    digest = hashlib.sha256()
    async for piece in connection.body("GET", response):
        digest.update(piece)
        response.size += len(piece)
        if response.size >> 18 > pieces:
            pieces += 1
            await asyncio.sleep(0.04)
    tally.check(digest.hexdigest() == expected(size), f"another body: {response.size} bytes instead of {size}")
    connection.close()


def expected(size):
    """The digest of the body of a download."""
    digest = hashlib.sha256()
    for _ in range(size >> 16):
        digest.update(bytes(range(256)) * 256)
    return digest.hexdigest()


async def download(tally, gateway, server, megabytes):
    """A big body with a length, and one without."""
    size = megabytes << 20
    connection = await Connection.open(gateway.address)
    for query in (f"bytes={size}&length=1", f"bytes={size}"):
        response = await connection.request("GET", gateway.path(server, "open", f"/download?{query}"))
        tally.expect(response, 200)
        tally.check((response.size, response.sha256) == (size, expected(size)), f"another body: {response.size} bytes instead of {size} for {query}")
    connection.close()

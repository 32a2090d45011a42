"""An HTTP/1.1 client on a raw socket, strict about where a response ends."""

import asyncio
import hashlib
from dataclasses import dataclass, field

# The longest wait for anything that must come. Nothing in a passing run comes near it.
PATIENCE = 60


class Cut(Exception):
    """The connection ended within a response, or without one."""


class Malformed(Exception):
    """The bytes are not the HTTP/1.1 response that was due."""


@dataclass
class Response:
    status: int
    headers: list = field(default_factory=list)
    size: int = 0
    sha256: str = ""
    body: bytes = b""
    interim: list = field(default_factory=list)

    def header(self, name):
        """The value of a field, its lines joined by commas; None without the field."""
        values = [value for field, value in self.headers if field == name.lower()]
        return ", ".join(values) if values else None


class Connection:
    """One connection. Requests on it follow each other."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, address):
        async with asyncio.timeout(PATIENCE):
            return cls(*await asyncio.open_connection(*address, limit=1 << 20))

    async def send(self, data):
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self.writer.drain()

    async def request(self, method, target, headers=(), body=None, keep=65536):
        """Sends a request with a whole body and reads the response."""
        await self.send(head(method, target, headers, body) + (body or b""))
        return await self.response(method, keep)

    async def response(self, method, keep=65536):
        """Reads a response. Its body is hashed, and kept up to `keep` bytes."""
        async with asyncio.timeout(PATIENCE):
            response = await self.response_head()
            digest, kept = hashlib.sha256(), []
            async for piece in self.body(method, response):
                digest.update(piece)
                if response.size < keep:
                    kept.append(piece[: keep - response.size])
                response.size += len(piece)
        response.sha256, response.body = digest.hexdigest(), b"".join(kept)
        return response

    async def response_head(self):
        """Reads the head of the final response; the statuses of interim ones are kept in `interim`."""
        interim = []
        while True:
            async with asyncio.timeout(PATIENCE):
                lines = await self.head_lines()
            version, _, rest = lines[0].partition(" ")
            if version not in ("HTTP/1.1", "HTTP/1.0") or not rest[:3].isdigit():
                raise Malformed(f"status line {lines[0][:80]!r}")
            fields = [line.partition(":") for line in lines[1:]]
            headers = [(name.lower(), value.strip()) for name, _, value in fields]
            status = int(rest[:3])
            if status >= 200 or status == 101:
                return Response(status, headers, interim=interim)
            interim.append(status)

    async def head_lines(self):
        try:
            raw = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise Cut("closed without a response" if not error.partial else "closed within a head") from None
        except ConnectionError:
            raise Cut("reset without a response") from None
        return raw[:-4].decode("latin-1").split("\r\n")

    async def body(self, method, response):
        """The pieces of a response's body as they come."""
        if method == "HEAD" or response.status in (204, 304) or response.status == 101:
            return
        length, coding = response.header("content-length"), response.header("transfer-encoding")
        try:
            if coding is not None:
                if coding.lower() != "chunked" or length is not None:
                    raise Malformed(f"transfer-encoding {coding!r} beside content-length {length!r}")
                while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
                    async for piece in self.exactly(size):
                        yield piece
                    if await self.reader.readexactly(2) != b"\r\n":
                        raise Malformed("a chunk is longer than its size")
                while await self.reader.readuntil(b"\r\n") != b"\r\n":
                    pass
            elif length is not None:
                async for piece in self.exactly(int(length)):
                    yield piece
            else:
                while piece := await self.reader.read(65536):
                    yield piece
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Cut("closed within a body") from None
        except ValueError as error:
            raise Malformed(f"chunk size: {error}") from None

    async def exactly(self, size):
        while size > 0:
            piece = await self.reader.read(min(size, 65536))
            if not piece:
                raise Cut("closed within a body")
            size -= len(piece)
            yield piece

    async def end(self):
        """Waits until the peer closes. Returns the bytes that came before."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.reader.read(-1)
        except ConnectionError:
            return b""

    def close(self):
        self.writer.close()


def head(method, target, headers=(), body=None):
    """The head of a request. A body brings its Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", "Host: matrix.example"]
    lines += [f"{name}: {value}" for name, value in headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def once(address, method, target, headers=(), body=None):
    """One request on a connection of its own."""
    connection = await Connection.open(address)
    try:
        return await connection.request(method, target, headers, body)
    finally:
        connection.close()

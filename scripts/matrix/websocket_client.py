"""A WebSocket client (RFC 6455) on a raw socket, which shows every frame."""

import asyncio
import base64
import hashlib
import os
import struct

from http_client import PATIENCE, Connection, Malformed, head

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class WebSocket:
    def __init__(self, connection):
        self.connection = connection

    @classmethod
    async def open(cls, address, target, headers=()):
        """Returns the response, and the socket if the response is 101."""
        key = base64.b64encode(os.urandom(16)).decode()
        fields = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")]
        connection = await Connection.open(address)
        await connection.send(head("GET", target, [*fields, ("Sec-WebSocket-Key", key), *headers]))
        response = await connection.response_head()
        if response.status != 101:
            connection.close()
            return response, None
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        if response.header("sec-websocket-accept") != base64.b64encode(digest).decode():
            raise Malformed("Sec-WebSocket-Accept does not fit the key")
        return response, cls(connection)

    async def send(self, opcode, payload, final=True):
        mask = os.urandom(4)
        size = len(payload)
        if size < 126:
            length = bytes([0x80 | size])
        elif size < 65536:
            length = b"\xfe" + struct.pack(">H", size)
        else:
            length = b"\xff" + struct.pack(">Q", size)
        repeated = (mask * (size // 4 + 1))[:size]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")
        await self.connection.send(bytes([(0x80 if final else 0) | opcode]) + length + mask + masked)

    async def frame(self):
        """The next frame: opcode, payload. None at the end of the connection."""
        reader = self.connection.reader
        try:
            async with asyncio.timeout(PATIENCE):
                first, second = await reader.readexactly(2)
                size = second & 0x7F
                if size == 126:
                    (size,) = struct.unpack(">H", await reader.readexactly(2))
                elif size == 127:
                    (size,) = struct.unpack(">Q", await reader.readexactly(8))
                return first & 0x0F, await reader.readexactly(size)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def message(self):
        """The next message that is not a ping of the server, its fragments joined: opcode, payload."""
        kind, whole = None, b""
        while True:
            frame = await self.frame()
            if frame is None:
                return None
            opcode, payload = frame
            if opcode == PING:
                await self.send(PONG, payload)
                continue
            if opcode in (CLOSE, PONG):
                return opcode, payload
            kind = opcode or kind
            whole += payload
            # Servers of the matrix do not fragment what they echo; a fragment would come as opcode 0.
            return kind, whole

    def abort(self):
        """Ends the connection without a word, as a client that lost its network."""
        self.connection.writer.transport.abort()


def close_code(frame):
    """The code of a close frame; None for another frame or the end of the connection."""
    if frame is None or frame[0] != CLOSE or len(frame[1]) < 2:
        return None
    return struct.unpack(">H", frame[1][:2])[0]

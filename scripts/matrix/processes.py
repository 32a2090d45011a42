"""Processes that the matrix starts, restarts and stops."""

import asyncio
import contextlib
import os
import random
import signal
import socket

from http_client import PATIENCE

_given = set()


def free_port():
    """A free loopback port below the range from which the kernel takes ports for outgoing connections, so that a server can
    have it again after a restart."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port


class Process:
    """A program that listens on a loopback port (or a Unix socket)."""

    def __init__(self, name, command, log, port=None, path=None, cwd=None, env=None):
        self.name, self.command, self.log = name, command, log
        self.port, self.path, self.cwd, self.env = port, path, cwd, env
        self.process = None

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    async def start(self):
        """Starts the program and waits until it accepts connections."""
        with open(self.log, "ab") as log:
            # A group of its own, so that `kill` reaches its workers too.
            self.process = await asyncio.create_subprocess_exec(
                *self.command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.cwd, env={**os.environ, **(self.env or {})}, start_new_session=True,
            )
        async with asyncio.timeout(PATIENCE):
            while not await self.accepts():
                if self.process.returncode is not None:
                    raise RuntimeError(f"{self.name} ended with {self.process.returncode}: {self.last_words()}")
                await asyncio.sleep(0.02)

    async def accepts(self):
        opened = asyncio.open_unix_connection(self.path) if self.path else asyncio.open_connection(*self.address)
        try:
            _, writer = await opened
        except OSError:
            return False
        writer.close()
        return True

    async def stop(self, how=signal.SIGTERM):
        """Stops the program and its workers: politely, then by force if it has not ended after ten seconds."""
        if self.process is None:
            return
        if self.process.returncode is None:
            if how == signal.SIGKILL:
                self.kill_group()
            else:
                self.process.send_signal(how)
            try:
                async with asyncio.timeout(10):
                    await self.process.wait()
            except TimeoutError:
                self.kill_group()
                await self.process.wait()
        self.kill_group()
        self.process = None

    def kill_group(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def pause(self):
        """Stops the program's clocks and loops, as a busy machine or a garbage collection would."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self):
        os.killpg(self.process.pid, signal.SIGCONT)

    def last_words(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()[-600:]

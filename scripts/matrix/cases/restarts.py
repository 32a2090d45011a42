"""Restarts of a server under load. A 5xx is explained only while the server is down, and only by a Proxy-Status."""

import asyncio
import signal

from http_client import Connection, Cut, Malformed

LANES = 6


class Load:
    """Clients that send one request after the other, and what each must be answered."""

    def __init__(self, tally, gateway, server, route, two_targets):
        self.tally, self.gateway, self.server, self.route = tally, gateway, server, route
        self.two_targets = two_targets
        self.stopping = False
        # Raised when a server stops and again when it is ready: odd while a server is down.
        self.outages = 0
        self.answered = self.succeeded = 0
        self.progress = asyncio.Condition()

    async def run(self):
        await asyncio.gather(*(self.lane(n) for n in range(LANES)))

    async def lane(self, n):
        connection = await Connection.open(self.gateway.address)
        turn = 0
        while not self.stopping:
            turn += 1
            method = "POST" if (n + turn) % 3 == 0 else "GET"
            rest, body = ("/inspect", b'{"a":1}') if method == "POST" else ("/hello", None)
            began = self.outages
            try:
                response = await connection.request(method, self.gateway.path(self.server, self.route, rest), body=body)
                closes = response.header("connection") == "close"
                await self.judge(response, method, began)
            except (Cut, Malformed, OSError) as error:
                # A server that is killed within its response leaves half of it.
                if str(error) == "closed within a body" and self.outage_since(began):
                    self.tally.event("cut-e")
                else:
                    self.tally.failed(error, method)
                closes = True
            if closes:
                connection.close()
                connection = await Connection.open(self.gateway.address)
            # The load of a few clients, not of a benchmark.
            await asyncio.sleep(0.002)
        connection.close()

    async def judge(self, response, method, began):
        in_outage = self.outage_since(began)
        if response.status in (502, 503) and in_outage and self.excuse(response, method):
            self.tally.explained(response)
        else:
            self.tally.expect(response, 200, note=f"{method}, {'in' if in_outage else 'outside'} an outage")
        async with self.progress:
            self.answered += 1
            self.succeeded += response.status == 200
            self.progress.notify_all()

    def outage_since(self, began):
        return began % 2 == 1 or self.outages != began

    def excuse(self, response, method):
        """Whether the response says that the target could not be reached, and nothing else could have been done."""
        status = response.header("proxy-status") or ""
        if not status.startswith("portcullis") or "error=" not in status:
            return False
        if not self.two_targets:
            return True
        # With a second target only a request that the first had begun to read, and that may not be repeated, is lost.
        return method == "POST" and ("connection_terminated" in status or "http_response_incomplete" in status)

    async def wait(self, what, number):
        """Waits until that many more requests have been answered, or have succeeded."""
        due = getattr(self, what) + number
        async with self.progress:
            await self.progress.wait_for(lambda: getattr(self, what) >= due)


async def restart(load, instance, how):
    await load.wait("succeeded", 40)
    load.outages += 1
    await instance.stop(how)
    await load.wait("answered", 40)
    await instance.start()
    load.outages += 1
    await load.wait("succeeded", 40)


async def under_load(tally, gateway, server, route, instances):
    load = Load(tally, gateway, server, route, len(instances) > 1)
    clients = asyncio.ensure_future(load.run())
    try:
        async with asyncio.timeout(120):
            for instance in instances:
                for how in (signal.SIGTERM, signal.SIGKILL):
                    await restart(load, instance, how)
    except TimeoutError:
        tally.check(False, f"no progress: {load.answered} answered, {load.succeeded} succeeded")
    finally:
        load.stopping = True
        await clients


async def one_target(tally, gateway, server):
    await under_load(tally, gateway, server, "one", [server.first])


async def two_targets(tally, gateway, server):
    await under_load(tally, gateway, server, "pair", [server.first, server.second])

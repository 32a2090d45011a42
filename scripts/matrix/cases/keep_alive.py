"""Keep-alive churn: requests that fall into the moment in which the server closes its idle connections."""

import asyncio
import time

from http_client import Connection, Cut, Malformed

# The requests of a round: three in four are POSTs, which a gateway may not repeat.
LANES = 24
# The requests are spread over this time around the server's idle close.
BEFORE, AFTER = 0.06, 0.03


async def idle_close(address, patience):
    """How long the server keeps an idle connection, in seconds, by its FIN (0: it closes after a response), and whether it
    announces that by `Keep-Alive: timeout`."""
    connection = await Connection.open(address)
    response = await connection.request("GET", "/hello")
    if (response.header("connection") or "").lower() == "close":
        connection.close()
        return 0, False
    began = time.monotonic()
    async with asyncio.timeout(patience):
        await connection.reader.read(1)
    connection.close()
    return time.monotonic() - began, "timeout=" in (response.header("keep-alive") or "")


async def churn(tally, gateway, server, instance, route, rounds, at_rest):
    """Rounds of requests around the idle close, and one in which the server rests during it: of any server if `at_rest`, else
    only of one that announces its idle time, because no client can know that of another."""
    idle, announced = await idle_close(instance.address, 20)
    at_rest |= announced
    tally.check(idle > 0 or not server.kind.keeps_alive, "the server keeps no connection, so nothing was tested")
    lanes = [await Connection.open(gateway.address) for _ in range(LANES)]
    for turn in range(rounds + at_rest):
        # All at once, so that the gateway opens a connection for each.
        await asyncio.gather(*(hold(tally, gateway, server, route, lanes, n, "GET", 400) for n in range(LANES)))
        # A connection beside those of the gateway, as idle as they are. Its FIN tells when the server closes.
        witness = await Connection.open(instance.address)
        await witness.request("GET", "/hello")
        closed = asyncio.ensure_future(witness.reader.read(1))
        began = time.monotonic()
        if turn == rounds:
            await while_paused(tally, gateway, server, instance, route, lanes, began + idle)
        else:
            due = [began + idle - BEFORE + (BEFORE + AFTER) * n / LANES for n in range(LANES)]
            await asyncio.gather(*(late(tally, gateway, server, route, lanes, n, due[n], closed) for n in range(LANES)))
        await closed
        witness.close()
    for lane in lanes:
        lane.close()


async def while_paused(tally, gateway, server, instance, route, lanes, due):
    """Sends requests while the server rests, from shortly before its idle close to shortly after it. When it goes on, an
    event loop that looks at its timers first closes connections whose requests it has not read."""
    await asyncio.sleep(max(0, due - BEFORE - time.monotonic()))
    instance.pause()
    try:
        requests = [asyncio.ensure_future(hold(tally, gateway, server, route, lanes, n, "GET" if n % 4 == 0 else "POST", 10)) for n in range(LANES)]
        # They are written when the idle time is over.
        await asyncio.sleep(BEFORE + AFTER)
    finally:
        instance.resume()
    await asyncio.gather(*requests)


async def late(tally, gateway, server, route, lanes, n, due, closed):
    """Sends a request at its time around the idle close, every third one at the FIN of the witness."""
    if n % 3 == 0:
        await asyncio.shield(closed)
    else:
        await asyncio.sleep(max(0, due - time.monotonic()))
    # It is held so that the next one needs another connection.
    await hold(tally, gateway, server, route, lanes, n, "GET" if n % 4 == 0 else "POST", 300)


async def hold(tally, gateway, server, route, lanes, n, method, ms):
    target = gateway.path(server, route, f"/hold?ms={ms}")
    try:
        response = await lanes[n].request(method, target, body=b"{}" if method == "POST" else None)
        if tally.expect(response, 200, note=method):
            tally.check(response.body == b"held\n", f"a wrong body for {method}")
        if response.header("connection") == "close":
            lanes[n] = await reopened(gateway, lanes[n])
    except (Cut, Malformed) as error:
        tally.failed(error, method)
        lanes[n] = await reopened(gateway, lanes[n])


async def reopened(gateway, lane):
    lane.close()
    return await Connection.open(gateway.address)


async def idle_5s(tally, gateway, server, rounds):
    await churn(tally, gateway, server, server.main, "open", rounds, at_rest=True)


async def idle_1s(tally, gateway, server, rounds):
    await churn(tally, gateway, server, server.short, "short", rounds * 2, at_rest=False)

"""Puts the gateway in front of real servers and drives every case at each. `make matrix` calls it by scripts/matrix.sh."""

import argparse
import asyncio
import signal
import sys
import time
from typing import Callable, NamedTuple

from cases import clients, keep_alive, responses, restarts, rights, streams, uploads
from gateway import Gateway
from http_client import Cut, Malformed
from servers import KINDS, SAMPLE, Server, Tools, php_fpm, place_applications
from tally import Tally, problems, table


class Case(NamedTuple):
    name: str
    # The instances of the server that the case uses. Cases on different ones run at the same time.
    instances: tuple
    # How many servers are driven at a time.
    at_once: int
    drive: Callable


MAIN, SHORT, PAIR = ("main",), ("short",), ("first", "second")


def cases(sample):
    """The cases, those of the same instances in the order in which they run."""
    rounds, megabytes = (1, 8) if sample else (3, 64)
    return [
        Case("keep-alive, idle 5 s", MAIN, 20, lambda *a: keep_alive.idle_5s(*a, rounds)),
        Case("keep-alive, idle 1 s", SHORT, 20, lambda *a: keep_alive.idle_1s(*a, rounds)),
        Case("slow client", MAIN, 20, uploads.slow_client),
        Case("slow server", MAIN, 20, uploads.slow_server),
        Case("upload", MAIN, 2, lambda *a: uploads.big(*a, megabytes)),
        Case("expect 100-continue", MAIN, 4, uploads.expect_continue),
        Case("download", MAIN, 2, lambda *a: responses.download(*a, megabytes)),
        Case("slow reader", MAIN, 20, responses.slow_reader),
        Case("half-closing client", MAIN, 20, clients.half_close),
        Case("vanishing clients", MAIN, 20, clients.vanish),
        Case("ranges", MAIN, 4, responses.ranges),
        Case("HEAD, 204, 304", MAIN, 4, responses.without_body),
        Case("event stream", MAIN, 20, streams.events),
        Case("WebSocket", MAIN, 20, streams.websocket),
        Case("identity headers", MAIN, 4, rights.identity),
        Case("methods", MAIN, 4, rights.methods),
        Case("restart of the only target", PAIR, 4, restarts.one_target),
        Case("restart of one of two", PAIR, 4, restarts.two_targets),
    ]


async def run_cases(chosen, gateway, servers):
    """Runs cases on the same instances one after the other."""
    return [tally for case in chosen for tally in await run_case(case, gateway, servers)]


async def run_case(case, gateway, servers):
    """Runs a case at every server. A case that fails as a whole is a problem of its server, not the end of the run."""
    turns = asyncio.Semaphore(case.at_once)

    async def at(server):
        tally = Tally(server.name, case.name)
        async with turns:
            try:
                await case.drive(tally, gateway, server)
            except (Cut, Malformed, TimeoutError, OSError, RuntimeError) as error:
                tally.failed(error)
            for instance in (getattr(server, name) for name in case.instances):
                if instance.process is None or instance.process.returncode is not None:
                    tally.check(False, f"the server itself ended: {instance.last_words()[-150:]}")
                    await instance.stop()
                    await instance.start()
        return tally

    began = time.monotonic()
    tallies = await asyncio.gather(*(at(server) for server in servers))
    wrong = sum(bool(tally.wrong) for tally in tallies)
    print(f"{case.name}: {time.monotonic() - began:.1f} s{f', wrong at {wrong} servers' if wrong else ''}", flush=True)
    return tallies


async def run(options):
    # The servers are stopped too when this program is told to end.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    tools = Tools(options.work, options.node, options.node_modules, options.venv, options.go_server, options.nginx, options.php_fpm)
    wanted = options.server or (SAMPLE if options.sample else [kind.name for kind in KINDS])
    kinds = [kind for kind in KINDS if kind.name in wanted]
    lacking = [kind.name for kind in kinds if any(getattr(tools, need) is None for need in kind.needs)]
    for name in lacking:
        print(f"{name} is not tested: it cannot be installed here")
    kinds = [kind for kind in kinds if kind.name not in lacking]
    place_applications(tools)
    servers = [Server(kind, tools) for kind in kinds]
    processes = [instance for server in servers for instance in server.instances]
    if any("php_fpm" in kind.needs for kind in kinds):
        processes.insert(0, php_fpm(tools))
    gateway = Gateway(options.portcullis, options.work, servers)
    tallies = []
    try:
        began = time.monotonic()
        await asyncio.gather(*(process.start() for process in processes))
        await gateway.start()
        print(f"{len(servers)} servers, {len(processes)} processes: started in {time.monotonic() - began:.1f} s", flush=True)
        chosen = [case for case in cases(options.sample) if not options.case or any(text in case.name for text in options.case)]
        chains = [[case for case in chosen if case.instances == instances] for instances in (MAIN, SHORT, PAIR)]
        for chain in await asyncio.gather(*(run_cases(chain, gateway, servers) for chain in chains)):
            tallies += chain
        panics = await gateway.panics()
    finally:
        await asyncio.gather(*(process.stop() for process in [gateway.process, *processes]))
    print("\n" + table(tallies, [server.name for server in servers], [case.name for case in chosen]))
    print("\na number is a status, e an answer during a restart that says so, ! a wrong answer, – not for this server")
    found = problems(tallies) + ([f"the gateway counted {panics:.0f} panics"] if panics else [])
    for line in found:
        print(line)
    print(f"{sum(not t.wrong for t in tallies)} passed, {sum(bool(t.wrong) for t in tallies)} failed")
    return 1 if found else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--portcullis", required=True, help="the gateway's binary")
    parser.add_argument("--work", required=True, help="an empty folder for this run")
    for tool in ("node", "node-modules", "venv", "go-server", "nginx", "php-fpm"):
        parser.add_argument(f"--{tool}", help="path; without it the servers that need it are not tested")
    parser.add_argument("--server", action="append", choices=[kind.name for kind in KINDS], help="only this server (repeatable)")
    parser.add_argument("--case", action="append", help="only cases whose name contains this (repeatable)")
    parser.add_argument("--sample", action="store_true", help="one server of each family, fewer rounds, smaller bodies")
    sys.exit(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()

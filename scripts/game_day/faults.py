"""The eight faults: how each is caused, the alert that must fire, the panel that shows it, and how its runbook ends it."""

import dataclasses
import os
import signal
import subprocess
import threading
import typing

from programs import until
from traffic import account


@dataclasses.dataclass
class Fault:
    name: str
    what: str
    alert: str
    # The dashboard's file, the panel's title, and the unit of its values.
    board: str
    panel: str
    unit: str
    cause: typing.Callable
    # What the runbook says, in short, and what does it.
    remedy: str
    end: typing.Callable


class World:
    """The programs, and what the faults need to remember."""

    def __init__(self, postgres, redis, service, mail, replicas, traffic):
        self.postgres, self.redis, self.service, self.mail = postgres, redis, service, mail
        self.replicas, self.traffic = replicas, traffic
        self.ending = threading.Event()
        self.blocker = None


# A report that somebody runs by hand and that locks the users, again and again.
LOCKS = """
DO $$ BEGIN
  LOOP LOCK TABLE users IN ACCESS EXCLUSIVE MODE; PERFORM pg_sleep(1.5); COMMIT; PERFORM pg_sleep(0.02); END LOOP;
END $$
"""
FIND_BLOCKER = """
SELECT DISTINCT blocker FROM pg_stat_activity, unnest(pg_blocking_pids(pid)) AS blocker, pg_stat_activity AS other
WHERE other.pid = blocker AND other.query LIKE '%LOCK TABLE users%'
"""


def slow_database(world):
    command = [*world.postgres.psql(), "-c", LOCKS]
    world.blocker = subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def cancel_blocker(world):
    pid = until("a statement that blocks others", lambda: world.postgres.sql(FIND_BLOCKER))
    world.postgres.sql(f"SELECT pg_cancel_backend({pid.split()[0]})")
    world.blocker.wait()


def flap(world):
    """The service crashes and is started again by its supervisor, over and over."""
    world.ending.clear()

    def crash_and_start():
        while not world.ending.is_set():
            world.service.stop(signal.SIGKILL)
            world.ending.wait(0.7)
            world.service.start()
            world.ending.wait(0.7)

    world.blocker = threading.Thread(target=crash_and_start)
    world.blocker.start()


def end_flapping(world):
    world.ending.set()
    world.blocker.join()


def spray(world):
    """One password is tried on many accounts, from many addresses."""
    world.ending.clear()
    numbers = iter(range(1_000_000))

    def guess():
        body = {"email": f"victim{next(numbers)}@example.com", "password": "Summer2026!"}
        world.traffic.request("POST", "/api/v1/auth/login", body)

    for _ in range(3):
        world.traffic.every(0.3, guess, until=world.ending)


def end_spray(world):
    world.ending.set()


def fill_disk(world):
    with open(world.postgres.disk / "fill", "wb") as file:
        try:
            while True:
                os.write(file.fileno(), bytes(1 << 20))
        except OSError:
            pass
        # The last bytes too.
        try:
            while True:
                os.write(file.fileno(), bytes(4096))
        except OSError:
            pass


def get_stuck(world):
    (world.service.folder / "stuck").touch()


def end_stuck(world):
    (world.service.folder / "stuck").unlink()


def write_mail(world):
    world.mail.behave("busy")
    world.traffic.request("POST", "/api/v1/auth/register", account("waiting"))


FAULTS = [
    Fault(
        "slow-database", "A session by hand locks `users` for 1.5 s, over and over", "PortcullisDatabaseSlow",
        "portcullis-database", "p95 of a statement", "s",
        slow_database, "find the blocker with `pg_blocking_pids`, `pg_cancel_backend`", cancel_blocker,
    ),
    Fault(
        "redis", "Redis is killed", "PortcullisRedisDown",
        "portcullis-database", "Redis", "",
        lambda world: world.redis.stop(signal.SIGKILL), "start Redis", lambda world: world.redis.start(),
    ),
    Fault(
        "flapping-upstream", "The service crashes every 1.4 s and is started again after 0.7 s", "PortcullisUpstreamFlapping",
        "portcullis-upstreams", "Share without an answer", "%",
        flap, "repair the service, so that it stays up", end_flapping,
    ),
    Fault(
        "spraying", "One password is tried on three accounts a second, each from another address", "PortcullisSignInFailuresSurge",
        "portcullis-sign-in", "Failed sign-ins", "/s",
        spray, "block the attacker in front of the gateway", end_spray,
    ),
    Fault(
        "full-disk", "The file system of the database is filled", "PortcullisDatabaseErrors",
        "portcullis-database", "Failed statements", "/s",
        fill_disk, "make room on the disk", lambda world: (world.postgres.disk / "fill").unlink(),
    ),
    Fault(
        "clock", "The clock of one replica's machine jumps 90 s ahead", "PortcullisClockDiffers",
        "portcullis-database", "Clock ahead of the database's", "s",
        lambda world: world.replicas[1].set_clock("+90"), "set the clock of the machine", lambda world: world.replicas[1].set_clock("+0"),
    ),
    Fault(
        "stuck-mail", "The mail server answers 451 to every mail", "PortcullisMailsStuck",
        "portcullis-jobs", "Waiting", "",
        write_mail, "repair the mail server", lambda world: world.mail.behave("take"),
    ),
    Fault(
        "stuck-stream", "The service stops in the middle of its reports and keeps the connections", "PortcullisUpstreamBreaksOff",
        "portcullis-upstreams", "Failures", "/s",
        get_stuck, "restart or repair the service", end_stuck,
    ),
]

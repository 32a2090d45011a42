"""Upgrades under load from the last release to this tree, and goes back: two real builds on one database, on both engines.

    scripts/upgrade/rolling.py [--engine sqlite|postgresql]

Version N is built from the commit that deploy/releases.toml names, N + 1 from this tree with one more expand step, so that each run
migrates under load. Not one request may fail, and sessions, tokens and API keys of N are good until the end. Prints the table of
docs/upgrading.md. UPGRADE_TARGET is the folder of the builds, which is kept.
"""

import argparse
import json
import pathlib
import shutil
import tempfile

from builds import build_release, build_tree, release
from gateways import PASSWORD, Gateway, registration
from load import Load
from programs import Postgres, service


class Keeper:
    """A user who signed in at version N and keeps what was given there."""

    def __init__(self, gateway, name):
        data = gateway.must(201, "POST", "/api/v1/auth/register", registration(name))
        self.email, self.access, self.refresh = data["user"]["email"], data["tokens"]["accessToken"], data["tokens"]["refreshToken"]
        gateway.must(200, "POST", "/api/v1/auth/verify-email", {"token": gateway.mailed("verify_email", self.email)})
        self.key = gateway.must(201, "POST", "/api/v1/api-keys", {"name": "kept"}, self.access)["secret"]

    def check(self, gateway):
        """The access token and the API key are good, the refresh token gives the next pair, the password signs in."""
        for credential in ({"token": self.access}, {"x_api_key": self.key}):
            user = gateway.must(200, "GET", "/api/v1/auth/profile", **credential)["user"]
            if user["email"] != self.email:
                raise RuntimeError(f"{gateway.name} takes {self.email} for {user}")
        tokens = gateway.must(200, "POST", "/api/v1/auth/refresh", {"refreshToken": self.refresh})["tokens"]
        self.access, self.refresh = tokens["accessToken"], tokens["refreshToken"]
        gateway.must(200, "POST", "/api/v1/auth/login", {"email": self.email, "password": PASSWORD})


def schema(gateway):
    return json.loads(gateway.run("migrate", "status", "--json").stdout)


def may_roll(gateway):
    """What `portcullis upgrade-check` of this version says; the first release does not have it, so `migrate status` stands in."""
    ran = gateway.run("upgrade-check", "--json", check=False)
    if ran.returncode == 2:
        return schema(gateway)["serves"]
    if (ran.returncode == 0) != json.loads(ran.stdout)["mayRoll"]:
        raise RuntimeError(f"upgrade-check ended with {ran.returncode} and printed {ran.stdout}")
    return ran.returncode == 0


def expect(what, found, wanted):
    if found != wanted:
        raise RuntimeError(f"{what}: {found}, not {wanted}")


def upgrade(engine, url, folder, builds, things):
    (old_binary, old_version, old_schema), (new_binary, new_schema) = builds
    old = Gateway(f"{engine}-old", old_binary, folder, url, things.port).start()
    new = Gateway(f"{engine}-new", new_binary, folder, url, things.port)
    load, started = Load(), [old, new]
    try:
        expect("the schema of N", schema(old)["schema"], old_schema)
        keepers = [Keeper(old, f"keeper{number}") for number in range(3)]
        load.begin("the first users", old)
        load.enter(f"{old_version} alone")
        expect("upgrade-check of N + 1", may_roll(new), True)

        load.phase = "N + 1 starts and migrates"
        new.start()
        expect("the schema after the start of N + 1", schema(new)["schema"], new_schema)
        load.add(new)
        load.enter(f"{old_version} and this version")
        keepers[0].check(new)
        keepers[0].check(old)

        load.remove(old)
        old.end()
        load.enter("this version alone")
        keepers[1].check(new)

        # Back by one: the step only adds, so N runs on the schema of N + 1.
        expect("the roll back", may_roll(old), True)
        old.start()
        load.add(old)
        load.enter("going back: both")
        load.remove(new)
        new.end()
        load.enter(f"{old_version} on the newer schema")
        for keeper in keepers:
            keeper.check(old)
        load.finish()

        # Reverting the steps needs a stop, because N + 1 must not use what they take away.
        old.end()
        reverted = new.run("migrate", "down", "--to", str(old_schema), "--yes", "--json")
        expect("the schema after the way down", json.loads(reverted.stdout)["schema"], old_schema)
        old.start()
        for keeper in keepers:
            keeper.check(old)
        old.end()
        new.start()
        for keeper in keepers:
            keeper.check(new)
        new.end()
    finally:
        load.stopping.set()
        for gateway in started:
            gateway.stop()
    return load


def report(engine, load):
    kinds = ["sign-in", "refresh", "proxied request", "change of the profile", "profile", "sign-out", "end seen"]
    print(f"\n{engine}: requests by phase, and failures")
    print(f"| phase | {' | '.join(kinds)} | failures |")
    print("|---|" + "---|" * (len(kinds) + 1))
    for phase, counts in load.counts.items():
        failed = sum(failure.startswith(f"{phase}: ") for failure in load.failures)
        print(f"| {phase} | {' | '.join(str(counts[kind]) for kind in kinds)} | {failed} |")
    for failure in load.failures[:20]:
        print(failure)
    return not load.failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", choices=["sqlite", "postgresql"])
    only = parser.parse_args().engine
    chosen = release()
    builds = (build_release(chosen), chosen["version"], chosen["schema"]), build_tree()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="portcullis-upgrade-"))
    things, passed = service(folder).start(), True
    try:
        if only != "postgresql":
            passed &= report("SQLite", upgrade("sqlite", f"sqlite://{folder}/portcullis.db", folder, builds, things))
        if only != "sqlite":
            server = Postgres(folder)
            try:
                server.start()
                passed &= report("PostgreSQL", upgrade("postgresql", server.url(), folder, builds, things))
            finally:
                server.stop()
    finally:
        things.stop()
        shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(0 if passed else 1)


main()

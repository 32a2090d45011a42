"""Users who work without a pause while gateways come and go: sign-ins, refreshes, proxied requests, changes of the profile and
sign-outs, each request at any of the gateways in rotation. Every answer but the right one is a failure."""

import collections
import random
import threading
import time

from gateways import PASSWORD, registration

# How long a sign-out may take to be in force at every gateway. The promise is half a second; the machine may be busy.
ENDED_WITHIN = 15


class Load:
    def __init__(self, workers=6):
        self.workers = workers
        self.stopping = threading.Event()
        self.changed = threading.Condition()
        self.rotation, self.running = [], collections.Counter()
        self.phase, self.counts, self.failures = "", {}, []
        self.threads = []

    def begin(self, phase, gateway):
        """Takes the first gateway into rotation and starts the users."""
        self.phase = phase
        self.add(gateway)
        for number in range(self.workers):
            gateway.must(201, "POST", "/api/v1/auth/register", registration(f"worker{number}"))
            thread = threading.Thread(target=self.work, args=(number,), daemon=True)
            thread.start()
            self.threads.append(thread)

    def add(self, gateway):
        with self.changed:
            self.rotation.append(gateway)

    def remove(self, gateway):
        """Takes a gateway out of rotation and waits for the requests that it has, as a load balancer does."""
        with self.changed:
            self.rotation.remove(gateway)
            self.changed.wait_for(lambda: self.running[gateway] == 0)

    def enter(self, phase, stories=25):
        """Begins a phase and waits until the users have gone through this many stories in it."""
        with self.changed:
            self.phase = phase
            count = self.counts[phase] = collections.Counter()
            self.changed.wait_for(lambda: count["stories"] >= stories or self.failures)

    def finish(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def send(self, what, wanted, method, path, body=None, token=None):
        """Sends a request to any gateway, counts it, and returns its data; `None` after a failure."""
        with self.changed:
            gateway, phase = random.choice(self.rotation), self.phase
            self.running[gateway] += 1
        status, content = gateway.call(method, path, body, token)
        with self.changed:
            self.running[gateway] -= 1
            self.counts.setdefault(phase, collections.Counter())[what] += 1
            if status != wanted:
                self.failures.append(f"{phase}: {what} at {gateway.name} was answered {status}: {content}")
            self.changed.notify_all()
        return content.get("data") or {} if status == wanted else None

    def work(self, number):
        turn = 0
        while not self.stopping.is_set():
            turn += 1
            self.story(f"worker{number}@example.com", f"Turn {turn}")
            with self.changed:
                self.counts.setdefault(self.phase, collections.Counter())["stories"] += 1
                self.changed.notify_all()

    def story(self, email, name):
        signed_in = self.send("sign-in", 200, "POST", "/api/v1/auth/login", {"email": email, "password": PASSWORD})
        if signed_in is None:
            return
        tokens = signed_in["tokens"]
        for _ in range(3):
            self.send("proxied request", 200, "GET", "/api/v1/things/fine", token=tokens["accessToken"])
        profile = {"firstName": name, "lastName": "Lovelace"}
        self.send("change of the profile", 200, "PUT", "/api/v1/auth/profile", profile, tokens["accessToken"])
        self.send("profile", 200, "GET", "/api/v1/auth/profile", token=tokens["accessToken"])
        refreshed = self.send("refresh", 200, "POST", "/api/v1/auth/refresh", {"refreshToken": tokens["refreshToken"]})
        if refreshed is None:
            return
        access = refreshed["tokens"]["accessToken"]
        self.send("proxied request", 200, "GET", "/api/v1/things/fine", token=access)
        if self.send("sign-out", 200, "POST", "/api/v1/auth/logout", token=access) is not None:
            self.sees_the_end(access)

    def sees_the_end(self, access):
        """A session that was ended at one gateway ends at those of the other version as well."""
        with self.changed:
            gateways, phase = list(self.rotation), self.phase
            for gateway in gateways:
                self.running[gateway] += 1
        end = time.monotonic() + ENDED_WITHIN
        for gateway in gateways:
            while (status := gateway.call("GET", "/api/v1/things/fine", token=access)[0]) != 401 and time.monotonic() < end:
                time.sleep(0.02)
            with self.changed:
                self.running[gateway] -= 1
                self.counts.setdefault(phase, collections.Counter())["end seen"] += 1
                if status != 401:
                    self.failures.append(f"{phase}: {gateway.name} still answers {status} to a session that has ended")
                self.changed.notify_all()

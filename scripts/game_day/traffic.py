"""What users do all the time: they call the service, fetch reports, sign in and register."""

import http.client
import itertools
import json
import random
import threading

PASSWORD = "correct horse battery staple"


class Traffic:
    """Threads that send requests until they are stopped. Each request comes from another loopback address, so that no limit by address
    is reached."""

    def __init__(self, ports):
        self.ports, self.stopping = ports, threading.Event()
        self.numbers = itertools.count()
        self.threads = []

    def start(self):
        self.request("POST", "/api/v1/auth/register", account("regular"))
        regular = {"email": "regular@example.com", "password": PASSWORD}
        self.every(0.1, lambda: self.request("GET", "/api/v1/things/fine"))
        self.every(0.5, lambda: self.request("GET", "/api/v1/things/report"))
        self.every(0.4, lambda: self.request("POST", "/api/v1/auth/login", regular))
        self.every(3.0, lambda: self.request("POST", "/api/v1/auth/register", account(f"user{next(self.numbers)}")))
        return self

    def every(self, seconds, work, until=None):
        """Does some work again and again in a thread, at most as often as said."""
        ending = until or self.stopping

        def repeat():
            while not ending.wait(seconds):
                work()

        thread = threading.Thread(target=repeat, daemon=True)
        thread.start()
        self.threads.append(thread)

    def request(self, method, path, body=None):
        """Sends a request to one of the replicas. A failure is what a game day is about."""
        address = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        connection = http.client.HTTPConnection("127.0.0.1", random.choice(self.ports), timeout=20, source_address=(address, 0))
        try:
            connection.request(method, path, json.dumps(body) if body else None, {"content-type": "application/json"} if body else {})
            answer = connection.getresponse()
            answer.read()
            return answer.status
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()


def account(name):
    return {
        "email": f"{name}@example.com", "username": name, "firstName": "Ada", "lastName": "Lovelace",
        "password": PASSWORD, "confirmPassword": PASSWORD,
    }

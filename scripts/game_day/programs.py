"""The programs of a game day: PostgreSQL, Redis, the service behind the gateway, a mail server, replicas and Prometheus."""

import glob
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse

from rules import REPOSITORY, write_configuration

# How long a program may take to start or to stop on a busy machine.
PATIENCE = 60
HERE = pathlib.Path(__file__).parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, condition, patience=PATIENCE):
    """Waits until a condition holds, and returns what it gave."""
    end = time.monotonic() + patience
    while not (found := condition()):
        if time.monotonic() > end:
            raise RuntimeError(f"{what} did not happen within {patience} s")
        time.sleep(0.1)
    return found


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Program:
    """A program that listens on a loopback port."""

    def __init__(self, name, command, folder, port, env=None):
        self.name, self.command, self.folder, self.port = name, command, folder, port
        self.env = {**os.environ, **(env or {})}
        self.process = None

    def start(self):
        log = open(self.folder / f"{self.name}.log", "ab")
        self.process = subprocess.Popen(
            self.command, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        until(f"the start of {self.name}", lambda: accepts(self.port) or self.ended())
        return self

    def ended(self):
        if self.process.poll() is not None:
            words = (self.folder / f"{self.name}.log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.name} ended: {words}")
        return False

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)


class Postgres:
    """A PostgreSQL server on a small file system of its own, which can be filled. That takes root; otherwise `disk` is None."""

    SIZE = "160m"

    def __init__(self, folder):
        self.folder, self.port, self.disk = folder / "postgres", free_port(), None
        self.folder.mkdir()
        self.user = []
        if os.geteuid() == 0:
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.SIZE}", "tmpfs", self.folder], capture_output=True)
            self.disk = self.folder if mounted.returncode == 0 else None
            shutil.chown(self.folder, "postgres")
            folder.chmod(0o711)
            self.user = ["runuser", "-u", "postgres", "--"]

    def tool(self, name, *arguments, **options):
        versions = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda path: int(path.split("/")[4]))
        program = versions[-1] if versions else name
        command = [*self.user, program, *map(str, arguments)]
        return subprocess.run(command, cwd="/", check=True, text=True, stdin=subprocess.DEVNULL, **options)

    def start(self):
        data = self.folder / "data"
        self.tool("initdb", "-D", data, "-U", "portcullis", "--auth=trust", "--locale=C", "--encoding=UTF8", stdout=subprocess.DEVNULL)
        settings = f"-c port={self.port} -c unix_socket_directories={self.folder} -c max_wal_size=64MB -c min_wal_size=32MB -c shared_buffers=32MB"
        log = self.folder / "log"
        self.tool("pg_ctl", "-D", data, "-w", "-l", log, "-o", settings, "start", stdout=subprocess.DEVNULL)
        self.sql("CREATE DATABASE portcullis", database="postgres")
        return self

    def psql(self, database="portcullis"):
        return [*self.user, "psql", "-XAtq", "-h", str(self.folder), "-p", str(self.port), "-U", "portcullis", "-d", database]

    def sql(self, statement, database="portcullis"):
        done = subprocess.run([*self.psql(database), "-c", statement], cwd="/", check=True, text=True, capture_output=True)
        return done.stdout.strip()

    def url(self):
        return f"postgres://portcullis@127.0.0.1:{self.port}/portcullis"

    def stop(self):
        self.tool("pg_ctl", "-D", self.folder / "data", "-m", "immediate", "-w", "stop", stdout=subprocess.DEVNULL)
        if self.disk:
            subprocess.run(["umount", "-l", self.disk], check=False)


class MailServer:
    """The mail server of the test kit, which takes mails or asks for patience."""

    def __init__(self, folder):
        self.folder = folder / "mails"
        self.folder.mkdir()
        program = REPOSITORY / "crates/portcullis-testkit/src/smtp.py"
        self.process = subprocess.Popen([sys.executable, program, self.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def behave(self, how):
        (self.folder / "behaviour").write_text(how)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Replica(Program):
    """A gateway whose machine's clock can be set, by libfaketime."""

    def __init__(self, name, binary, folder, env):
        home = folder / name
        home.mkdir()
        shutil.copy(folder / "portcullis.toml", home)
        self.clock = home / "clock"
        self.set_clock("+0")
        [library] = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
        port = free_port()
        env = {
            **env, "PORT": str(port), "LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
        }
        super().__init__(name, [binary, "serve"], home, port, env)

    def set_clock(self, offset):
        # At once, so that no reader sees half a line.
        new = self.clock.with_suffix(".new")
        new.write_text(f"{offset}\n")
        new.rename(self.clock)


class Prometheus(Program):
    def __init__(self, folder, targets):
        port = free_port()
        configuration = write_configuration(folder, targets, port)
        command = ["prometheus", f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'series'}", f"--web.listen-address=127.0.0.1:{port}"]
        super().__init__("prometheus", command, folder, port)

    def start(self):
        super().start()
        until("the readiness of prometheus", lambda: self.answer("/-/ready")[0] == 200)
        return self

    def answer(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path):
        return json.loads(self.answer(f"/api/v1/{path}")[1])["data"]

    def values(self, expression):
        """The values of an instant query by their labels."""
        result = self.get(f"query?{urllib.parse.urlencode({'query': expression})}")["result"]
        return [float(sample["value"][1]) for sample in result if sample["value"][1] != "NaN"]

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.get("alerts")["alerts"] if alert["state"] == "firing"}


def service(folder):
    """The service behind the gateway."""
    port = free_port()
    return Program("service", [sys.executable, HERE / "service.py", str(port), folder / "stuck"], folder, port)


def redis(folder):
    port = free_port()
    return Program("redis", ["redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1"], folder, port)

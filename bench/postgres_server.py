"""A private PostgreSQL for the benches: on loopback, in a folder of its own, with the durability that production has."""

import glob
import os
import pathlib
import shutil
import subprocess
import tempfile

from run import PORTCULLIS, free_port

SETTINGS = """listen_addresses = '127.0.0.1'
shared_buffers = 1GB
maintenance_work_mem = 1GB
max_wal_size = 16GB
checkpoint_timeout = 30min
max_connections = 200
shared_preload_libraries = 'pg_stat_statements'
track_io_timing = on
"""
# Tables that are filled in the transaction that emptied them need no WAL then.
LOADING = """wal_level = minimal
max_wal_senders = 0
fsync = off
full_page_writes = off
autovacuum = off
"""


class Postgres:
    """A server that is removed at the end. With a folder it is kept there, and found again by the next run."""

    def __init__(self, folder=None):
        self.bin = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        self.kept = folder is not None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="portcullis-bench-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.root = os.geteuid() == 0
        if self.root:
            shutil.chown(self.folder, "postgres", "postgres")
        if not (self.folder / "data").exists():
            self.run("initdb", "-D", self.folder / "data", "-U", "gate", "--auth=trust", "--encoding=UTF8", "--locale=C")
        self.start(SETTINGS)

    def start(self, settings):
        own = f"port = {self.port}\nunix_socket_directories = '{self.folder}'\n"
        (self.folder / "data/postgresql.auto.conf").write_text(settings + own)
        self.run("pg_ctl", "-D", self.folder / "data", "-w", "-t", "600", "-l", self.folder / "log", "start")

    def restart(self, settings=SETTINGS):
        """With other settings, and with nothing in its buffers."""
        self.halt("fast")
        self.start(settings)

    def stay_on(self, core):
        """Keeps the server's later connections to a core, or to none in particular."""
        os.sched_setaffinity(self.pid(), range(os.cpu_count()) if core is None else [core])

    def pid(self):
        return int((self.folder / "data/postmaster.pid").read_text().split()[0])

    def run(self, program, *arguments):
        command = [str(self.bin / program), *map(str, arguments)]
        if self.root:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    def url(self, name):
        return f"postgres://gate@127.0.0.1:{self.port}/{name}"

    def has(self, name):
        return self.sql("postgres", f"SELECT 1 FROM pg_database WHERE datname = '{name}'") == "1"

    def database(self, name):
        """Creates a database with Portcullis's schema."""
        self.sql("postgres", f"CREATE DATABASE {name}")
        environment = {**os.environ, "DATABASE_URL": self.url(name)}
        subprocess.run([PORTCULLIS, "migrate", "up"], check=True, env=environment, stdout=subprocess.DEVNULL)
        return self.url(name)

    def sql(self, database, *texts):
        """The output of statements, each in a transaction of its own unless one text has several."""
        command = [self.bin / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]
        command += ["-p", str(self.port), "-U", "gate", "-d", database]
        for text in texts:
            command += ["-c", text]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def halt(self, mode):
        self.run("pg_ctl", "-D", self.folder / "data", "-w", "-t", "600", "-m", mode, "stop")

    def stop(self):
        self.halt("fast" if self.kept else "immediate")
        if not self.kept:
            shutil.rmtree(self.folder)

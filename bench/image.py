"""Times the start of the gateway in its container: from the execution of its binary to the first 200 of /api/health/ready.

    python3 bench/image.py IMAGE [ROUNDS]     an image that scripts/image/build.sh made

The engine's own work before that is shown apart. On SQLite, with a new volume and with one that has a database.
"""

import ctypes
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import time

REPOSITORY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
# Where scripts/image keeps its images.
STORAGE = subprocess.run(["bash", "-c", '. scripts/image/engine.sh; printf "%s\n" "${storage[@]}"'], cwd=REPOSITORY, check=True,
                         capture_output=True, text=True).stdout.split()
PODMAN = ["podman", *STORAGE, "--runtime", "runc", "--cgroup-manager", "cgroupfs"]
OPTIONS = ["--ulimit", "nofile=1024:20000", "--ulimit", "nproc=1000:1000", "--network", "host", "--read-only", "--cap-drop", "all", "--no-healthcheck",
           "--env", "PORTCULLIS_ENV=development", "--env", "LOG_LEVEL=warn"]
IN_OPEN = 0x20


def podman(*arguments):
    return subprocess.run([*PODMAN, *arguments], check=True, capture_output=True, text=True).stdout.strip()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_execution(watch):
    """Waits until the binary is opened, which happens when it is executed, and returns the time."""
    select.select([watch], [], [], 60)
    return time.monotonic()


def wait_until_ready(port):
    request = b"GET /api/health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(request)
                if connection.recv(64).startswith(b"HTTP/1.1 200"):
                    return time.monotonic()
        except OSError:
            time.sleep(0.0002)


def round_of(image, volume):
    """Starts a container and returns the milliseconds of the engine and of the gateway."""
    port = free_port()
    podman("create", "--name", "timed", *OPTIONS, "--env", f"PORT={port}", "--volume", f"{volume}:/var/lib/portcullis", image)
    root = podman("mount", "timed")
    libc = ctypes.CDLL(None)
    watch = libc.inotify_init()
    libc.inotify_add_watch(watch, f"{root}/usr/local/bin/portcullis".encode(), IN_OPEN)
    begun = time.monotonic()
    engine = subprocess.Popen([*PODMAN, "start", "timed"], stdout=subprocess.DEVNULL)
    executed = wait_for_execution(watch)
    ready = wait_until_ready(port)
    engine.wait()
    os.close(watch)
    podman("rm", "--force", "--time", "10", "timed")
    return (executed - begun) * 1000, (ready - executed) * 1000


def show(what, rounds):
    for name, times in zip(["the engine, until the binary is executed", "the gateway, until it is ready"], zip(*rounds)):
        print(f"| {what}: {name} | {statistics.median(times):.0f} ms | {min(times):.0f}–{max(times):.0f} |")


def main():
    image, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 11
    size = json.loads(podman("image", "inspect", image))[0]["Size"]
    print(f"| size of the image | {size / 1e6:.1f} MB | |")
    new, kept = [], []
    for _ in range(rounds):
        podman("volume", "create", "timed")
        new.append(round_of(image, "timed"))
        kept.append(round_of(image, "timed"))
        podman("volume", "rm", "--force", "timed")
    show("a new volume", new)
    show("a volume with a database", kept)


main()

"""Starts the installed gateway as the unit says, as far as a chroot allows it: its user, its environment, its credentials.

    service.py ROOT without-url | first | again

`without-url`: the unit's check refuses to start without PUBLIC_URL. `first`: registers a user, with every system call held against the
unit's filter. `again`: the user can still sign in.
"""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request

USER = {"email": "ada@example.com", "password": "correct horse battery staple"}


def main() -> None:
    root = pathlib.Path(sys.argv[1]).resolve()
    phase = sys.argv[2]
    unit = read_unit(root)
    environment = prepare(root, unit)
    check = command(root, unit["ExecStartPre"][0], unit)
    checked = subprocess.run(check, env=environment, capture_output=True, text=True, check=False)
    if phase == "without-url":
        require(checked.returncode == 1 and "PUBLIC_URL" in checked.stderr, f"without PUBLIC_URL: {checked}")
        return
    require(checked.returncode == 0, f"the check refuses the settings: {checked.stderr}")

    notify = root / "run/notify"
    notify.unlink(missing_ok=True)
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(notify))
    notify.chmod(0o777)
    manager.settimeout(60)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment |= {"NOTIFY_SOCKET": "/run/notify", "PORT": str(port)}
    start = command(root, unit["ExecStart"][0], unit)
    calls = root.parent / f"{root.name}.calls"
    if phase == "first":
        start = ["strace", "-f", "-qq", "-e", "signal=none", "-o", str(calls), *start]
    journal = pathlib.Path(f"target/deb/journal-{phase}")
    with journal.open("wb") as lines:
        process = subprocess.Popen(start, env=environment, stdout=subprocess.DEVNULL, stderr=lines)
    try:
        require(manager.recv(64) == b"READY=1", f"the gateway did not become ready; see {journal}")
        call(port, "health/ready", None)
        if phase == "first":
            names = {"username": "ada", "firstName": "Ada", "lastName": "Lovelace", "confirmPassword": USER["password"]}
            call(port, "auth/register", USER | names)
        call(port, "auth/login", USER)
        reload = subprocess.run(command(root, unit["ExecReload"][0], unit), env=environment, capture_output=True, text=True, check=False)
        require(reload.returncode == 0, f"reload: {reload.stderr}")
    finally:
        os.kill(gateway_of(process, traced=phase == "first"), signal.SIGTERM)
        process.wait(60)
    require(manager.recv(64) == b"STOPPING=1", "the gateway did not say that it stops")
    if phase == "first":
        hold_against_filter(calls, unit)
        calls.unlink()


def gateway_of(process: subprocess.Popen, traced: bool) -> int:
    """The gateway's process: what was started, or the only child of strace."""
    pid = process.pid
    return int(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]) if traced else pid


def read_unit(root: pathlib.Path) -> dict[str, list[str]]:
    """The settings of [Service], each with its values."""
    found = [root / folder / "systemd/system/portcullis.service" for folder in ("usr/lib", "lib")]
    text = next(path for path in found if path.exists()).read_text()
    unit: dict[str, list[str]] = {}
    for line in text.split("[Service]")[1].split("[Install]")[0].splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            unit.setdefault(key, []).append(value)
    return unit


def prepare(root: pathlib.Path, unit: dict) -> dict[str, str]:
    """Makes the folders that systemd would make, and returns the environment of the service."""
    uid, gid = (int(field) for field in re.search(r"^portcullis:[^:]*:(\d+):(\d+):", (root / "etc/passwd").read_text(), re.M).groups())
    state = root / "var/lib" / unit["StateDirectory"][0]
    state.mkdir(exist_ok=True)
    state.chmod(int(unit["StateDirectoryMode"][0], 8))
    os.chown(state, uid, gid)
    credentials = root / "run/credentials/portcullis.service"
    credentials.mkdir(parents=True, exist_ok=True)
    for value in unit["LoadCredential"]:
        name, source = value.split(":")
        shutil.copy(root / source.lstrip("/"), credentials / name)
        os.chown(credentials / name, uid, gid)
        (credentials / name).chmod(0o400)
    variables = [value.replace("%d", "/run/credentials/portcullis.service") for value in unit["Environment"]]
    file = root / unit["EnvironmentFile"][0].lstrip("-/")
    variables += [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return {"PATH": os.environ["PATH"], **dict(variable.split("=", 1) for variable in variables)}


def command(root: pathlib.Path, text: str, unit: dict) -> list[str]:
    """The command in the root, as the unit's user, in the unit's folder."""
    user = f"{unit['User'][0]}:{unit['Group'][0]}"
    folder = unit["WorkingDirectory"][0]
    inner = f"cd {folder} && umask {unit['UMask'][0]} && exec {shlex.join(shlex.split(text))}"
    return ["chroot", f"--userspec={user}", str(root), "/bin/sh", "-c", inner]


def call(port: int, path: str, body: dict | None) -> None:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        require(json.load(answer)["success"], path)


def hold_against_filter(calls: pathlib.Path, unit: dict) -> None:
    """Every system call after the start of the program is one that SystemCallFilter allows."""
    allowed: set[str] = set()
    for value in unit["SystemCallFilter"]:
        names = {name for word in value.removeprefix("~").split() for name in expand(word)}
        allowed = allowed - names if value.startswith("~") else allowed | names
    lines = [line.split(None, 1)[1] for line in calls.read_text().splitlines()]
    begin = next(index for index, line in enumerate(lines) if line.startswith('execve("/usr/bin/portcullis"'))
    made = {match.group(1) for line in lines[begin + 1 :] if (match := re.match(r"(\w+)\(", line))}
    require(made, "strace saw no system call")
    require(made <= allowed, f"the unit does not allow {sorted(made - allowed)}")
    print(f"{len(made)} different system calls, all of which the unit allows")


def expand(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    text = subprocess.run(["systemd-analyze", "syscall-filter", word], capture_output=True, text=True, check=True).stdout
    names = [line.strip() for line in text.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    return {name for inner in names for name in expand(inner)}


def require(condition: object, otherwise: str) -> None:
    if not condition:
        sys.exit(f"error: {otherwise}")


if __name__ == "__main__":
    main()

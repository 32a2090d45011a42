"""Runs the blocks of a page that are marked `<!-- test: NAME -->`, as a reader pastes them into one terminal in an empty folder.

`<!-- test: NAME, file PATH -->` saves a block as a file, `<!-- test: NAME, prints -->` is what the block before it must print, line by line,
where … stands for any text. The ports of the page are replaced by free ones.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# The longest time for a page. Nothing in a passing run comes near it.
PATIENCE = 240
# The ports that pages write: of the gateway, and of what stands behind or before it.
PORTS = ["8000", "3000", "8001", "8443"]
BLOCK = re.compile(r"^<!-- test: ([\w-]+)(?:, (file|prints)(?: (\S+))?)? -->\n```\w*\n(.*?)^```$", re.M | re.S)
END = "@@@ end of block"


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def script(blocks):
    """The blocks as one shell script, which prints a line after each block of commands."""
    lines = ["set -eo pipefail"]
    for kind, path, text in blocks:
        if kind == "file":
            lines.append(f"mkdir -p \"$(dirname '{path}')\"\ncat > '{path}' <<'END_OF_FILE'\n{text}END_OF_FILE")
        elif kind == "":
            lines.append(f"{text}printf '\\n%s\\n' '{END}'")
    return "\n".join(lines) + "\n"


def trimmed(text):
    """The lines without blanks at their ends and without empty ones around them."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def differences(blocks, printed):
    """What the page says that its blocks print, and they did not."""
    outputs, found, last = iter(printed), [], None
    for kind, _, text in blocks:
        if kind == "":
            last = next(outputs, None)
        elif kind == "prints":
            pattern = re.escape(trimmed(text)).replace("…", ".*?")
            if last is None or not re.fullmatch(pattern, trimmed(last)):
                found.append(f"the page says:\n{text}and there was:\n{last}")
    return found


def main():
    page, binary = sys.argv[1:]
    with open(page, encoding="utf-8") as file:
        source = file.read()
    marked = source.count("<!-- test: ")
    blocks = [(kind, path, text) for _, kind, path, text in BLOCK.findall(source)]
    if not blocks or len(blocks) != marked:
        sys.exit(f"{page}: {marked} blocks are marked, {len(blocks)} can be read")
    ports = dict(zip(PORTS, free_ports(len(PORTS))))
    port = re.compile(r"\b(" + "|".join(PORTS) + r")\b")
    blocks = [(kind, path, port.sub(lambda match: ports[match[0]], text)) for kind, path, text in blocks]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as programs:
        os.symlink(binary, os.path.join(programs, "portcullis"))
        run = os.path.join(programs, "page.sh")
        with open(run, "w", encoding="utf-8") as file:
            file.write(script(blocks))
        environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PORT": ports["8000"]}
        began = time.monotonic()
        record = os.path.join(programs, "output")
        # A file, because the services that the page starts may hold the output open.
        with open(record, "w", encoding="utf-8") as output:
            shell = subprocess.Popen(
                ["bash", run], cwd=folder, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )
        try:
            shell.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            print(f"{page}: not done after {PATIENCE} s", file=sys.stderr)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
        output = Path(record).read_text(encoding="utf-8", errors="replace")
        logs = [f"{log.name}:\n{log.read_text(errors='replace')[-2000:]}" for log in sorted(Path(folder).glob("*.log"))]
    *printed, rest = output.split(f"\n{END}\n")
    commands = sum(kind == "" for kind, _, _ in blocks)
    if shell.returncode != 0 or len(printed) != commands:
        sys.exit(f"{page}: block {len(printed) + 1} failed with {shell.returncode}:\n{rest}\n" + "\n".join(logs))
    if found := differences(blocks, printed):
        sys.exit(f"{page}: " + "\n".join(found))
    print(f"{page}: {commands} blocks, {time.monotonic() - began:.0f} s")


main()

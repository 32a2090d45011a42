"""The servers of the matrix: how each is started, and what it can do."""

import os
import shutil
from dataclasses import dataclass

from processes import Process, free_port

APPLICATIONS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "applications")


@dataclass
class Tools:
    """Where the servers' programs are, as scripts/matrix.sh found or installed them. None: not on this machine."""

    work: str
    node: str | None
    node_modules: str | None
    venv: str | None
    go_server: str | None
    nginx: str | None
    php_fpm: str | None


@dataclass
class Kind:
    """A kind of server."""

    name: str
    needs: tuple
    command: object
    websocket: bool = True
    # Whether the server ends a WebSocket's connection. One writes an HTTP response to it, and sometimes leaves it open.
    ends_sockets: bool = True
    # Whether the server keeps a connection for another request.
    keeps_alive: bool = True
    # Whether the application begins only when the server has the whole body.
    buffers: bool = False


def python(module, *arguments):
    return lambda tools, port, idle: [os.path.join(tools.venv, "bin", module), *(a.format(port=port, idle=idle) for a in arguments)]


def node(script, *arguments):
    return lambda tools, port, idle: [tools.node, script, str(port), str(idle), *arguments]


def go(tools, port, idle):
    return [tools.go_server, str(port), str(idle)]


def nginx(tools, port, idle):
    folder = os.path.join(tools.work, f"nginx-{port}")
    os.makedirs(folder, exist_ok=True)
    file = fill("nginx.conf", folder, tools, PORT=port, IDLE=idle, USER="user root;" if os.geteuid() == 0 else "")
    return [tools.nginx, "-e", os.path.join(folder, "nginx.log"), "-c", file]


def fill(name, folder, tools, **words):
    """Writes a configuration with its words replaced. Returns its path."""
    words |= {"FOLDER": folder, "FILES": tools.work, "FPM": os.path.join(tools.work, "fpm.sock"), "APPLICATIONS": APPLICATIONS}
    with open(os.path.join(APPLICATIONS, name), encoding="utf-8") as template:
        text = template.read()
    for word, value in words.items():
        text = text.replace("@" + word, str(value))
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


UVICORN = ["starlette_app:app", "--port", "{port}", "--timeout-keep-alive", "{idle}", "--no-access-log", "--log-level", "warning"]

KINDS = [
    Kind("node", ("node", "node_modules"), node("node.mjs")),
    Kind("express4", ("node", "node_modules"), node("express.mjs", "express4")),
    Kind("express5", ("node", "node_modules"), node("express.mjs", "express")),
    Kind("uvicorn", ("venv",), python("uvicorn", *UVICORN, "--http", "httptools")),
    Kind("uvicorn-h11", ("venv",), python("uvicorn", *UVICORN, "--http", "h11")),
    # The development server closes after each response.
    Kind("flask-dev", ("venv",), python("python", "flask_app.py", "{port}"), ends_sockets=False, keeps_alive=False),
    Kind("gunicorn", ("venv",), python("gunicorn", "flask_app:app", "--bind", "127.0.0.1:{port}", "--worker-class", "gthread",
                                       "--threads", "48", "--keep-alive", "{idle}", "--log-level", "warning")),
    Kind("waitress", ("venv",), python("waitress-serve", "--listen", "127.0.0.1:{port}", "--threads", "48", "--channel-timeout",
                                       "{idle}", "--cleanup-interval", "1", "flask_app:app"), websocket=False, buffers=True),
    Kind("go", ("go_server",), go),
    Kind("nginx-php", ("nginx", "php_fpm"), nginx, websocket=False, buffers=True),
]


# One of each family, for a short run.
SAMPLE = ["node", "express5", "uvicorn", "gunicorn", "go", "nginx-php"]


class Server:
    """The instances of one kind: idle timeout 5 s, 1 s, and two that are restarted."""

    def __init__(self, kind, tools):
        self.kind, self.name = kind, kind.name
        self.main, self.short, self.first, self.second = (self.instance(tools, idle) for idle in (5, 1, 5, 5))
        self.instances = [self.main, self.short, self.first, self.second]

    def instance(self, tools, idle):
        port = free_port()
        command = self.kind.command(tools, port, idle)
        log = os.path.join(tools.work, f"{self.name}-{port}.log")
        env = {"MATRIX_FILES": tools.work, "PYTHONPATH": APPLICATIONS, "PYTHONUNBUFFERED": "1", "NODE_ENV": "production"}
        return Process(self.name, command, log, port=port, cwd=os.path.join(tools.work, "applications"), env=env)


def php_fpm(tools):
    """The PHP processes behind all instances of nginx."""
    root = os.geteuid() == 0
    user = "user = root\ngroup = root" if root else ""
    file = fill("php-fpm.conf", tools.work, tools, USER=user)
    command = [tools.php_fpm, "-F", "-y", file, *(["-R"] if root else [])]
    return Process("php-fpm", command, os.path.join(tools.work, "php-fpm.out"), path=os.path.join(tools.work, "fpm.sock"))


def place_applications(tools):
    """Copies the applications to the work folder, where Node finds its packages beside them, and writes the file to serve."""
    folder = os.path.join(tools.work, "applications")
    shutil.copytree(APPLICATIONS, folder)
    if tools.node_modules:
        os.symlink(tools.node_modules, os.path.join(folder, "node_modules"))
    with open(os.path.join(tools.work, "file.bin"), "wb") as file:
        file.write(bytes(range(256)) * 400)

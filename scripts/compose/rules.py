"""What must hold of the compose files, beyond their form. Prints every breach; exit code 1 if there is one."""

import pathlib
import re
import sys

import yaml

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "deploy/compose"
VERSION = re.search(r'^version = "(.+)"', (FOLDER.parents[1] / "Cargo.toml").read_text(), re.M)[1]
breaches = []


def expect(holds, what):
    if not holds:
        breaches.append(what)


def both(name, document):
    for service, settings in document["services"].items():
        place = f"{name}: {service}"
        image = settings["image"]
        tag = image.split("@")[0].rsplit(":", 1)[-1].rstrip("}")
        expect(re.fullmatch(r"v?\d[\w.-]*", tag), f"{place}: the image has no version: {image}")
        if service == "portcullis":
            expect(tag == VERSION, f"{place}: the image is not of version {VERSION}: {image}")
        for volume in settings.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                expect((FOLDER / source).exists(), f"{place}: {source} does not exist")
            else:
                expect(source in document["volumes"], f"{place}: the volume {source} is not declared")


def production(document):
    secrets = document["secrets"]
    for service, settings in document["services"].items():
        place = f"compose.yaml: {service}"
        expect(service == "portcullis" or "ports" not in settings, f"{place}: a port is published")
        expect(settings.get("restart") == "unless-stopped", f"{place}: it is not restarted")
        expect("test" in settings.get("healthcheck", {}), f"{place}: it has no health check")
        expect("mem_limit" in settings and "pids_limit" in settings, f"{place}: it has no limits")
        expect(settings.get("read_only") is True, f"{place}: its root can be written to")
        expect(settings.get("cap_drop") == ["ALL"], f"{place}: it keeps capabilities")
        for secret in settings.get("secrets", []):
            expect(secret in secrets, f"{place}: the secret {secret} is not declared")
        for variable, value in settings.get("environment", {}).items():
            secret = re.search(r"SECRET|KEY|PASSWORD|DATABASE_URL|REDIS_URL", variable)
            expect(not secret or value.startswith("/run/secrets/"), f"{place}: {variable} is no file")
    script = (FOLDER / "secrets.sh").read_text()
    for name, secret in secrets.items():
        expect(f"make {name} " in script and secret["file"] == f"./secrets/{name}", f"compose.yaml: nothing makes the secret {name}")


def development(document):
    for service, settings in document["services"].items():
        for port in settings.get("ports", []):
            expect(port.startswith("127.0.0.1:"), f"development.yaml: {service}: others reach the port {port}")
    gateway = document["services"]["portcullis"]["environment"]
    for variable, value in gateway.items():
        host = re.search(r"(?://|@)([a-z]+):\d", value)
        if host and host[1] != "localhost":
            expect(host[1] in document["services"], f"development.yaml: {variable}: no service is called {host[1]}")


documents = {path.name: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yaml")}
for name, document in documents.items():
    both(name, document)
production(documents["compose.yaml"])
development(documents["development.yaml"])
for breach in breaches:
    print(breach, file=sys.stderr)
sys.exit(1 if breaches else 0)

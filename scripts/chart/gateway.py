"""Has the gateway itself check the settings and the environment that a rendered pod would give it."""

import json
import os
import pathlib
import subprocess
import tempfile

# What the files of the secrets hold in the test. The addresses lead nowhere: `portcullis check` connects to nothing.
SECRETS = {
    "DATABASE_URL": "postgres://gate:Qm4vT9xLw2@127.0.0.1:5432/gate",
    "DATABASE_DIRECT_URL": "postgres://gate:Qm4vT9xLw2@127.0.0.1:5432/gate",
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "SMTP_URL": "smtp+starttls://127.0.0.1:587",
    "PORTCULLIS__METRICS__TOKEN": "0b1c2d3e4f5061728394a5b6c7d8e9f0",
}


def check(objects: list[dict], portcullis: str) -> list[str]:
    problems = []
    settings = {item["metadata"]["name"]: item["data"]["portcullis.toml"] for item in objects if item["kind"] == "ConfigMap"}
    for item in objects:
        if item["kind"] in ("Deployment", "Job"):
            pod = item["spec"]["template"]["spec"]
            volume = next(volume for volume in pod["volumes"] if volume["name"] == "settings")
            problems += check_pod(pod, settings[volume["configMap"]["name"]], portcullis)
    return problems


def check_pod(pod: dict, settings: str, portcullis: str) -> list[str]:
    (container,) = pod["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # The mounts of the pod, below the temporary folder.
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        for path in mounts.values():
            (folder / path.lstrip("/")).mkdir(parents=True)
        (folder / mounts["settings"].lstrip("/") / "portcullis.toml").write_text(settings)
        for name, path in environment.items():
            if not path.startswith(tuple(mounts.values())):
                continue
            environment[name] = str(folder / path.lstrip("/"))
            if name.endswith("_FILE"):
                variable = name.removesuffix("_FILE")
                pathlib.Path(environment[name]).write_text(SECRETS.get(variable, os.urandom(32).hex()))
        result = subprocess.run(
            [portcullis, "check", "--json"], env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
    if result.returncode not in (0, 1) or not result.stdout:
        return [f"portcullis check ended with {result.returncode}: {result.stderr}"]
    answer = json.loads(result.stdout)
    notices = [notice["message"] for notice in answer["problems"] + answer["warnings"]]
    # Mail is by choice.
    return [f"portcullis check: {notice}" for notice in notices if not notice.startswith("SMTP_URL is not set")]

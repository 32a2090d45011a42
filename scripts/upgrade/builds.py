"""Builds of releases, by the commits that deploy/releases.toml names."""

import os
import pathlib
import shutil
import subprocess
import tomllib

from gateways import REPOSITORY

# The development profile is enough: the versions differ in what they do, not in speed.
TARGET = pathlib.Path(os.environ.get("UPGRADE_TARGET") or pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target") / "upgrade")


def releases():
    return tomllib.loads((REPOSITORY / "deploy/releases.toml").read_text())["releases"]


def release(version=None):
    """The release of a version; the last one without a version."""
    known = releases()
    chosen = [each for each in known if each["version"] == version] if version else known[-1:]
    if not chosen:
        raise SystemExit(f"deploy/releases.toml names no release {version}")
    return chosen[0]


def build_release(chosen):
    """The binary of a release."""
    kept = TARGET / "binaries" / f"portcullis-{chosen['commit'][:12]}"
    if not kept.exists():
        source = TARGET / "release"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        archive = subprocess.run(["git", "archive", chosen["commit"]], cwd=REPOSITORY, capture_output=True)
        if archive.returncode != 0:
            raise SystemExit(f"the commit of {chosen['version']} is not here: {archive.stderr.decode().strip()}. hint: git fetch --unshallow")
        subprocess.run(["tar", "-x", "-C", source], input=archive.stdout, check=True)
        compile_in(source, kept)
    return kept


def compile_in(source, binary):
    print(f"building {source}", flush=True)
    env = {**os.environ, "CARGO_TARGET_DIR": str(TARGET / "target")}
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--bin", "portcullis"], cwd=source, env=env, check=True)
    binary.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(pathlib.Path(env["CARGO_TARGET_DIR"]) / "debug/portcullis", binary)

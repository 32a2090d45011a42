"""Builds of two versions: the last release, by the commit that deploy/releases.toml names, and this tree."""

import os
import pathlib
import re
import shutil
import subprocess
import tomllib

from gateways import REPOSITORY

# Dependencies are compiled once for both. The development profile is enough: the versions differ in what they do, not in speed.
TARGET = pathlib.Path(os.environ.get("UPGRADE_TARGET") or pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or REPOSITORY / "target") / "upgrade")
MIGRATIONS = "crates/portcullis-storage/migrations"
# The step between the two versions, so that each run upgrades over one under load.
PLANTED_UP = """-- kind: expand
-- planted: A table that only the newer version of an upgrade test has.
CREATE TABLE planted (
  id {uuid} NOT NULL CONSTRAINT planted_id PRIMARY KEY,
  note {text}
){strict};
ALTER TABLE users ADD COLUMN planted {text};
ALTER TABLE sessions ADD COLUMN planted {bigint} NOT NULL DEFAULT 7;
"""
PLANTED_DOWN = """ALTER TABLE sessions DROP COLUMN planted;
ALTER TABLE users DROP COLUMN planted;
DROP TABLE planted;
"""


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


def build_tree():
    """The binary of this tree with one more migration, and the schema of that binary."""
    source = TARGET / "tree"
    source.mkdir(parents=True, exist_ok=True)
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, check=True)
    kept = {source / name for name in listed.stdout.decode().split("\0") if name and (REPOSITORY / name).exists()}
    newest = max(int(re.match(r"\d+", path.name)[0]) for path in (REPOSITORY / MIGRATIONS).glob("*.up.sql")) + 1
    for direction, text in (("up", PLANTED_UP), ("down", PLANTED_DOWN)):
        kept.add(planted := source / MIGRATIONS / f"{newest:04}_planted.{direction}.sql")
        write_if_other(planted, text.encode())
    for path in kept:
        original = REPOSITORY / path.relative_to(source)
        if original.exists():
            write_if_other(path, original.read_bytes())
    for path in source.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    binary = TARGET / "binaries" / "portcullis-tree"
    compile_in(source, binary)
    return binary, newest


def write_if_other(path, content):
    """Leaves the time of an unchanged file alone, by which cargo knows that it need not compile it."""
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def compile_in(source, binary):
    print(f"building {source}", flush=True)
    env = {**os.environ, "CARGO_TARGET_DIR": str(TARGET / "target")}
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--bin", "portcullis"], cwd=source, env=env, check=True)
    binary.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(pathlib.Path(env["CARGO_TARGET_DIR"]) / "debug/portcullis", binary)

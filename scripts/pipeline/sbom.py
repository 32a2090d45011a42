"""Prints a CycloneDX 1.6 bill of materials of the program: every crate that it is linked with, with licence, checksum and dependencies.

It is made from Cargo.lock by `cargo metadata`, so the same commit gives the same text.
"""

import json
import pathlib
import subprocess
import sys
import tomllib
import uuid

TARGETS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")


def main() -> None:
    platforms = [argument for target in TARGETS for argument in ("--filter-platform", target)]
    text = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--locked", *platforms], capture_output=True, text=True, check=True
    ).stdout
    metadata = json.loads(text)
    packages = {package["id"]: package for package in metadata["packages"]}
    macros = {name for name, package in packages.items() if any("proc-macro" in target["kind"] for target in package["targets"])}
    links = {node["id"]: [name for name in linked(node) if name not in macros] for node in metadata["resolve"]["nodes"]}
    (root,) = (package["id"] for package in packages.values() if package["name"] == "portcullis" and package["source"] is None)

    reached, waiting = set(), [root]
    while waiting:
        package = waiting.pop()
        if package not in reached:
            reached.add(package)
            waiting += links[package]

    lock = tomllib.loads(pathlib.Path("Cargo.lock").read_text())
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}
    names = {package: purl(packages[package]) for package in reached}
    order = sorted(reached, key=lambda package: names[package])
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, names[root] + ''.join(names[package] for package in order))}",
        "version": 1,
        "metadata": {"component": component(packages[root], names[root], None) | {"type": "application"}},
        "components": [
            component(packages[package], names[package], checksums.get((packages[package]["name"], packages[package]["version"])))
            for package in order
            if package != root
        ],
        "dependencies": [
            {"ref": names[package], "dependsOn": sorted({names[other] for other in links[package]})} for package in order
        ],
    }
    json.dump(document, sys.stdout, indent=2)
    print()


def linked(node: dict) -> list[str]:
    """What the crate is linked with: no dependencies of tests and of build scripts."""
    return [
        dependency["pkg"]
        for dependency in node["deps"]
        if any(kind["kind"] is None for kind in dependency["dep_kinds"])
    ]


def purl(package: dict) -> str:
    # A crate of ours is on no registry.
    return f"pkg:cargo/{package['name']}@{package['version']}" if package["source"] else f"pkg:generic/{package['name']}@{package['version']}"


def component(package: dict, name: str, checksum: str | None) -> dict:
    found = {"type": "library", "bom-ref": name, "name": package["name"], "version": package["version"], "purl": name}
    if package["license"]:
        # An older form of "or".
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


if __name__ == "__main__":
    main()

"""Compares docs/openapi.json with that of the commit this work began at, and names what would break a client.

A client breaks when an operation, a response or a field of a response goes away, when a field becomes optional in a response or
required in a request, when a type changes, or when a request may no longer hold a value. Whoever wants that all the same writes a line
with **Breaking** into CHANGELOG.md.
"""

import copy
import json
import os
import subprocess
import sys

FILE = "docs/openapi.json"


def main() -> None:
    base = os.environ.get("BASE") or began_at()
    old, new = json.loads(git("show", f"{base}:{FILE}")), json.load(open(FILE, encoding="utf-8"))
    see_that_breaks_are_found(new)
    problems = breaks(old, new)
    declared = any(line.startswith("+") and "**Breaking**" in line for line in git("diff", base, "--", "CHANGELOG.md").splitlines())
    for problem in problems:
        print(f"{'declared' if declared else 'error'}: {problem}", file=sys.stderr)
    print(f"{FILE}, compared with {base[:12]}: {len(problems)} changes break clients")
    if problems and not declared:
        sys.exit("hint: keep what clients use, or write a line with **Breaking** into CHANGELOG.md")


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout


def began_at() -> str:
    """The last commit of main that this work has; on main itself the commit before."""
    for main in ("origin/main", "main"):
        if subprocess.run(["git", "rev-parse", "--quiet", "--verify", main], capture_output=True, check=False).returncode == 0:
            base = git("merge-base", "HEAD", main).strip()
            return base if base != git("rev-parse", "HEAD").strip() else git("rev-parse", "HEAD~1").strip()
    sys.exit("error: there is no branch main to compare with\n  hint: BASE=COMMIT make api-breaking")


def breaks(old: dict, new: dict) -> list[str]:
    problems = []
    for path, operations in old["paths"].items():
        for method, was in operations.items():
            if method not in ("get", "post", "put", "patch", "delete"):
                continue
            name = f"{method.upper()} {path}"
            now = new["paths"].get(path, {}).get(method)
            if now is None:
                problems.append(f"{name} is gone")
                continue
            problems += [f"{name}: {problem}" for problem in parameters(was, now)]
            body = ("requestBody", "content", "application/json", "schema")
            if at(now, *body):
                problems += compare(at(was, *body) or {}, at(now, *body), old, new, f"{name}: request", request=True, seen=set())
            for status, response in was["responses"].items():
                if not status.startswith("2"):
                    continue
                if status not in now["responses"]:
                    problems.append(f"{name}: the response {status} is gone")
                    continue
                schema = ("content", "application/json", "schema")
                before, after = at(response, *schema), at(now["responses"][status], *schema)
                if before:
                    problems += compare(before, after or {}, old, new, f"{name}: response {status}", request=False, seen=set())
    return problems


def at(part: dict, *keys: str):
    for key in keys:
        part = part.get(key) or {}
    return part


def parameters(was: dict, now: dict) -> list[str]:
    before = {(p["in"], p["name"]): p for p in was.get("parameters", []) if "name" in p}
    after = {(p["in"], p["name"]): p for p in now.get("parameters", []) if "name" in p}
    gone = [f"the parameter {name} is gone" for where, name in before.keys() - after.keys()]
    required = [
        f"the parameter {key[1]} is required"
        for key, parameter in after.items()
        if parameter.get("required") and not before.get(key, {}).get("required")
    ]
    return gone + required


def resolve(schema: dict, document: dict) -> dict:
    while "$ref" in schema:
        found: dict = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    if "allOf" in schema:
        merged: dict = {"properties": {}, "required": [], **{key: value for key, value in schema.items() if key != "allOf"}}
        for part in schema["allOf"]:
            part = resolve(part, document)
            merged["properties"] = merged["properties"] | part.get("properties", {})
            merged["required"] = merged["required"] + part.get("required", [])
        return merged
    return schema


def types(schema: dict) -> set[str]:
    kinds = schema.get("type", [])
    return {kinds} if isinstance(kinds, str) else set(kinds)


def compare(was: dict, now: dict, old: dict, new: dict, name: str, request: bool, seen: set) -> list[str]:
    key = (was.get("$ref"), now.get("$ref"))
    if key in seen and None not in key:
        return []
    seen = seen | {key}
    was, now = resolve(was, old), resolve(now, new)
    problems = []
    # A request may become wider, a response narrower.
    before, after = types(was), types(now)
    if before and (before - after if request else after - before or not after):
        problems.append(f"{name} was of type {sorted(before)} and is of type {sorted(after)}")
    lost = set(map(str, was.get("enum", []))) - set(map(str, now.get("enum", was.get("enum", []))))
    if request and lost:
        problems.append(f"{name} may no longer be {', '.join(sorted(lost))}")
    needed, needs = set(was.get("required", [])), set(now.get("required", []))
    if request:
        problems += [f"{name}: {field} is required" for field in sorted(needs - needed)]
    else:
        kept = now.get("properties", {})
        problems += [f"{name}: {field} may be missing" for field in sorted(needed - needs) if field in kept]
    for field, schema in was.get("properties", {}).items():
        if field in now.get("properties", {}):
            problems += compare(schema, now["properties"][field], old, new, f"{name}.{field}", request, seen)
        elif not request:
            problems.append(f"{name}: {field} is gone")
    if "items" in was:
        problems += compare(was["items"], now.get("items", {}), old, new, f"{name}[]", request, seen)
    return problems


def see_that_breaks_are_found(document: dict) -> None:
    """Breaks the description in four ways and sees each named, so that a mistake in this file does not pass for peace."""
    if breaks(document, document):
        sys.exit(f"error: a description breaks itself: {breaks(document, document)[:3]}")

    def without_path(d):
        del d["paths"]["/api/v1/auth/login"]

    def with_parameter(d):
        d["paths"]["/api/v1/users"]["get"].setdefault("parameters", []).append({"in": "query", "name": "x", "required": True})

    def without_response(d):
        del d["paths"]["/api/v1/auth/register"]["post"]["responses"]["201"]

    def every_type_is_other(d):
        for schema in d["components"]["schemas"].values():
            for field in schema.get("properties", {}).values():
                if field.get("type") == "string":
                    field["type"] = "integer"

    for change, expected in [
        (without_path, "login is gone"),
        (with_parameter, "parameter x is required"),
        (without_response, "response 201 is gone"),
        (every_type_is_other, "is of type ['integer']"),
    ]:
        broken = copy.deepcopy(document)
        change(broken)
        if not any(expected in problem for problem in breaks(document, broken)):
            sys.exit(f"error: {change.__name__} is not found: {breaks(document, broken)[:3]}")


if __name__ == "__main__":
    main()

"""The rules of our own about the workflows, which neither actionlint nor zizmor knows.

- Each `run:` is one make target, and the Makefile has it: a pipeline orders, it contains nothing that cannot be run elsewhere.
- Each action of others is pinned by a commit, and docs/pipelines.md has its version and that commit.
- Nothing is granted for a whole workflow; each job says what it may do, and has a time limit.
- What a tag starts takes nothing from a cache.
- Each update of a dependency waits.
"""

import pathlib
import re
import sys

import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PIN = re.compile(r"uses: (?!\$/)(\S+?)@(\S+)(?: # (\S+))?$")


def main() -> None:
    makefiles = "".join((REPOSITORY / name).read_text() for name in ("Makefile", "scripts/pipeline/pipeline.mk"))
    targets = set(re.findall(r"^([a-z][a-z-]*):.*##", makefiles, re.M))
    files = sorted((REPOSITORY / ".github").glob("**/*.yml"))
    problems, runs = [], 0
    pins = set()
    for file in files:
        text, name = file.read_text(), file.relative_to(REPOSITORY)
        document = yaml.safe_load(text)
        for line in text.splitlines():
            if match := PIN.search(line):
                action, commit, version = match.groups()
                pins.add((action.split("/")[0] + "/" + action.split("/")[1], version, commit))
                if not re.fullmatch(r"[0-9a-f]{40}", commit) or not version:
                    problems.append(f"{name}: {action} is not pinned by a commit with its version behind it")
        for step in steps_of(document):
            if "run" in step:
                runs += 1
                match = re.fullmatch(r"make ([a-z-]+)", step["run"].strip())
                if not match:
                    problems.append(f"{name}: `{step['run']}` is not one make target")
                elif match[1] not in targets:
                    problems.append(f"{name}: the Makefile has no target {match[1]}")
        if file.parent.name == "workflows":
            problems += [f"{name}: {problem}" for problem in workflow_problems(document)]

    page = (REPOSITORY / "docs/pipelines.md").read_text()
    rows = set(re.findall(r"^\| `(\S+)` \| (\S+) \| `([0-9a-f]{40})` \|", page, re.M))
    problems += [f"docs/pipelines.md: its table of actions differs: {pin}" for pin in sorted(pins ^ rows)]
    updates = yaml.safe_load((REPOSITORY / ".github/dependabot.yml").read_text())["updates"]
    problems += [
        f".github/dependabot.yml: {update['package-ecosystem']} waits less than a week"
        for update in updates
        if update.get("cooldown", {}).get("default-days", 0) < 7
    ]
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    print(f"workflows: {len(files)} files, {runs} steps of ours, each a make target; {len(pins)} pinned actions")
    sys.exit(1 if problems else 0)


def steps_of(document: dict) -> list[dict]:
    """The steps of a workflow or of an action."""
    steps = document.get("runs", {}).get("steps", [])
    return steps + [step for job in document.get("jobs", {}).values() for step in job.get("steps", [])]


def workflow_problems(document: dict) -> list[str]:
    problems = []
    # YAML 1.1 reads the key `on` as true.
    events = document.get("on", document.get(True))
    if document.get("permissions") != {}:
        problems.append("permissions of the whole workflow are not {}")
    if not document.get("concurrency"):
        problems.append("it has no concurrency group")
    if isinstance(events, dict) and "pull_request_target" in events:
        problems.append("pull_request_target runs what a stranger wrote with our rights")
    by_tag = isinstance(events, dict) and "tags" in (events.get("push") or {})
    for name, job in document["jobs"].items():
        if "permissions" not in job:
            problems.append(f"the job {name} does not say what it may do")
        if "timeout-minutes" not in job and "uses" not in job:
            problems.append(f"the job {name} has no time limit")
        for step in job.get("steps", []):
            uses = step.get("uses", "")
            if by_tag and ("cache" in uses or uses.endswith("actions/prepare")):
                problems.append(f"the job {name} takes from a cache")
            if uses.startswith("actions/checkout@") and step.get("with", {}).get("persist-credentials") is not False:
                problems.append(f"the job {name} leaves its token in the checkout")
            if uses.startswith("actions/cache/save@") and "inputs.tag == ''" not in step["if"] and "refs/heads/main" not in step["if"]:
                problems.append(f"the job {name} saves a cache that did not come from main")
    return problems


if __name__ == "__main__":
    main()

"""Renders and lints the chart with Helm's own library."""

import json
import pathlib
import tomllib

import helm_python
import yaml


def render(chart: pathlib.Path, values: dict, name: str = "portcullis", namespace: str = "gate") -> list[dict]:
    """The objects of a release, in the order of the templates' names."""
    with helm_python.Chart.load(chart) as loaded:
        loaded.validate_schema(loaded.merge_values(values))
        files = loaded.render(values, name=name, namespace=namespace)
    objects = []
    for path in sorted(files):
        if path.endswith(".yaml"):
            objects += [item for item in yaml.safe_load_all(files[path]) if item]
    return objects


def lint(chart: pathlib.Path, values: dict) -> list[str]:
    """What `helm lint --strict` finds."""
    report = helm_python.lint(chart, values, strict=True)
    # Severity 1 is information, such as the advice to add an icon.
    return [f"{message['path']}: {message['error']}" for message in report["messages"] if message["severity"] > 1] + list(
        report["errors"] or []
    )


def versions_agree(repository: pathlib.Path) -> list[str]:
    """The chart and the gateway have one version."""
    workspace = tomllib.loads((repository / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    chart = yaml.safe_load((repository / "deploy/helm/portcullis/Chart.yaml").read_text())
    return [
        f"Chart.yaml: {key} is {chart[key]}, the workspace's version {workspace}"
        for key in ("version", "appVersion")
        if chart[key] != workspace
    ]


def readme_lists_every_value(chart: pathlib.Path) -> list[str]:
    """README.md has a row for each value of the schema, and no other."""
    schema = json.loads((chart / "values.schema.json").read_text())

    def leaves(part: dict, path: str) -> list[str]:
        properties = part.get("properties")
        if not properties or path in ("secrets.keys", "secrets.csi", "migration.jobKeys"):
            return [path]
        return [leaf for key, value in properties.items() for leaf in leaves(value, f"{path}.{key}".lstrip("."))]

    expected = set(leaves(schema, "")) - {"global"}
    rows = [line.split("`")[1] for line in (chart / "README.md").read_text().splitlines() if line.startswith("| `")]
    return [f"README.md has no row for the value {name}" for name in sorted(expected - set(rows))] + [
        f"README.md has a row for {name}, which is no value" for name in sorted(set(rows) - expected)
    ]

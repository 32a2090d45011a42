"""Checks the Helm chart and the Kustomize base that is made from it; scripts/chart.sh calls it."""

import argparse
import pathlib
import sys

import yaml

import gateway
import kustomize
import manifests
import refusals
import rendering

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "deploy/helm/portcullis"


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--portcullis", required=True, help="the binary that checks the rendered settings")
    arguments.add_argument("--output", required=True, type=pathlib.Path, help="the folder for the rendered manifests")
    arguments.add_argument("--write", action="store_true", help="write the Kustomize base anew")
    arguments = arguments.parse_args()

    problems = rendering.versions_agree(REPOSITORY) + rendering.readme_lists_every_value(CHART)
    for file in sorted((CHART / "ci").glob("*-values.yaml")):
        name = file.name.removesuffix("-values.yaml")
        values = yaml.safe_load(file.read_text())
        found = rendering.lint(CHART, values)
        objects = rendering.render(CHART, values)
        (arguments.output / f"{name}.yaml").write_text(yaml.safe_dump_all(objects, sort_keys=False))
        found += manifests.check(objects, REPOSITORY)
        found += gateway.check(objects, arguments.portcullis)
        problems += [f"{name}: {problem}" for problem in found]
        kinds = sorted({item["kind"] for item in objects})
        print(f"{name}: {len(objects)} objects ({', '.join(kinds)})")
    problems += refusals.check(CHART)
    problems += kustomize.check(REPOSITORY, CHART, write=arguments.write)

    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()

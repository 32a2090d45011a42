"""Reads the dashboards of deploy/grafana into the types of one release of grafana-foundation-sdk and writes them again.

The types are made from Grafana's own schemas. What they do not know is lost on the way, so a dashboard that comes back with
less, or with something else, has a field that this release of Grafana does not know.
"""

import json
import pathlib
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def differences(sent, back, path=""):
    if isinstance(sent, dict) and isinstance(back, dict):
        for key, value in sent.items():
            if key in back:
                yield from differences(value, back[key], f"{path}.{key}")
            else:
                yield f"{path}.{key} is not known"
    elif isinstance(sent, list) and isinstance(back, list) and len(sent) == len(back):
        for index, (one, other) in enumerate(zip(sent, back)):
            yield from differences(one, other, f"{path}[{index}]")
    elif sent != back:
        yield f"{path}: {sent!r} became {back!r}"


def main():
    register_default_plugins()
    files = sorted(pathlib.Path("deploy/grafana/dashboards").glob("*.json"))
    found = []
    for file in files:
        board = json.loads(file.read_text())
        back = json.loads(json.dumps(Dashboard.from_json(board), cls=JSONEncoder))
        found += [f"{file}: {difference}" for difference in differences(board, back)]
    if found or not files:
        sys.exit("\n".join(found or ["there are no dashboards"]))
    print(f"{len(files)} dashboards fit the schemas of {sys.argv[1]}")


main()

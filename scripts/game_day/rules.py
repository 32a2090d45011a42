"""The rules of deploy/prometheus with shorter ranges, and the panels of Grafana's dashboards."""

import json
import pathlib
import re

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
FACTOR = 60


def shortened(text):
    """Divides every range and every `for` by the factor: a minute becomes a second."""

    def shorter(match):
        seconds = int(match[2]) * SECONDS[match[3]] // FACTOR
        return f"{match[1]}{max(seconds, 1)}s"

    text = re.sub(r"(\[|\boffset )(\d+)([smhd])\b", shorter, text)
    return re.sub(r"(\bfor: )(\d+)([smhd])$", shorter, text, flags=re.MULTILINE)


def write_configuration(folder, targets, port):
    """Writes the rules and Prometheus's configuration, and returns the latter's path."""
    for name in ("recording.yml", "alerts.yml"):
        text = (REPOSITORY / "deploy/prometheus" / name).read_text()
        (folder / name).write_text(shortened(text))
    addresses = ", ".join(f"'127.0.0.1:{port}'" for port in targets)
    configuration = folder / "prometheus.yml"
    configuration.write_text(
        "global: { scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }\n"
        "rule_files: [recording.yml, alerts.yml]\n"
        "scrape_configs:\n"
        f"  - job_name: api-gateway\n    static_configs: [{{ targets: [{addresses}] }}]\n"
    )
    return configuration


def panel_expressions(board, title):
    """The title of a dashboard, and the expressions of one of its panels, with Grafana's variables replaced."""
    dashboard = json.loads((REPOSITORY / f"deploy/grafana/dashboards/{board}.json").read_text())
    panel = next(panel for panel in dashboard["panels"] if panel["title"] == title and panel["type"] != "row")
    return dashboard["title"].removeprefix("Portcullis: "), [with_values(target["expr"]) for target in panel["targets"]]


def with_values(expression):
    for variable, value in {"$__rate_interval": "5s", "$job": "api-gateway", "$instance": ".*", "$upstream": ".*"}.items():
        expression = expression.replace(variable, value)
    return expression

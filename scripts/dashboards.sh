#!/usr/bin/env bash
# Writes deploy/grafana/dashboards anew, and checks them against the schemas of Grafana 11.0, 11.6 and 12, as
# grafana-foundation-sdk has them. If it cannot be installed, that is reported and nothing is checked.
set -euo pipefail
cd "$(dirname "$0")/.."
python3 -B deploy/grafana/dashboards.py

# A release of the package for each release of Grafana. The last one has no epoch: it is for the newest Grafana.
declare -A releases=(["Grafana 11.0"]="1769699734!11.0.0" ["Grafana 11.6"]="1769699379!11.6.0" ["Grafana 12"]="1769699241")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
for release in "${!releases[@]}"; do
  target="$work/${release// /-}"
  if ! "$work/venv/bin/pip" install --quiet --no-deps --target "$target" "grafana-foundation-sdk==${releases[$release]}" >/dev/null 2>&1; then
    echo "grafana-foundation-sdk cannot be installed: the dashboards were not checked against $release"
    continue
  fi
  PYTHONPATH="$target" "$work/venv/bin/python" -B scripts/dashboards.py "$release"
done

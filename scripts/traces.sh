#!/usr/bin/env bash
# Sends the gateway's traces to a real collector (rotel) by both protocols, and to one that is frozen, gone or refusing: the spans
# arrive with their parents, none is lost at the end, and nothing is held up. Parses the OpenMetrics page with Python's reference parser.
# Without the tools it says so and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=("rotel==0.0.1a15" "prometheus-client==0.23.1")
source scripts/gateway.sh
if ! { python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet "${packages[@]}"; } >/dev/null 2>&1; then
  echo "rotel cannot be installed: the traces were not sent to a collector. hint: install python3-venv"
  exit 0
fi
build_gateway
"$work/venv/bin/python" scripts/traces.py "$portcullis" "$work"

#!/usr/bin/env bash
# Makes docs/images/logout.svg, the picture of README.md, from a run of the gateway.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/python_tools.sh
python=$(python_tools picture websockets==17.4)
source scripts/gateway.sh
build_gateway
unset PORT LOG_LEVEL PORTCULLIS__LOG__ACCESS
"$python" -B scripts/picture.py "$portcullis" docs/images/logout.svg

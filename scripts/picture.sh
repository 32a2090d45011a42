#!/usr/bin/env bash
# Makes docs/images/logout.svg, the picture of README.md, from a run of the gateway.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/python_tools.sh
python=$(python_tools picture websockets==17.4)
cargo build --quiet --bin portcullis
"$python" -B scripts/picture.py "$(realpath "${CARGO_TARGET_DIR:-target}/debug/portcullis")" docs/images/logout.svg

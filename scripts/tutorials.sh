#!/usr/bin/env bash
# Does what the tutorials say, block by block, with the packages of npm and PyPI that they install, and compares what is printed with the
# page.
#
#   scripts/tutorials.sh [NAME ...]
#
# NAME is a page of docs/tutorials, such as express; all of them without one.
set -euo pipefail
cd "$(dirname "$0")/.."

names=("$@")
[ $# -gt 0 ] || names=(express fastapi)
for program in node npm python3 curl; do
  command -v "$program" >/dev/null || { echo "the tutorials need $program. hint: apt-get install nodejs npm python3-venv curl" >&2; exit 1; }
done
source scripts/gateway.sh
build_gateway
unset PORT LOG_LEVEL PORTCULLIS__LOG__ACCESS
for name in "${names[@]}"; do
  python3 -B scripts/tutorials.py "docs/tutorials/$name.md" "$portcullis"
done

#!/usr/bin/env bash
# Runs the tests: all of them, or those whose name contains the argument.
set -euo pipefail
cd "$(dirname "$0")/.."
filter=${1:-}

if command -v cargo-nextest >/dev/null; then
  cargo nextest run --workspace --no-fail-fast ${filter:+"$filter"}
else
  cargo test --workspace ${filter:+"$filter"}
fi
if [ -z "$filter" ]; then cargo test --workspace --doc --quiet; fi

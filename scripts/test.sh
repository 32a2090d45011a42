#!/usr/bin/env bash
# Runs the tests: all of them, or those whose name contains the argument. What stands on a database runs once on
# SQLite and once on PostgreSQL; the storage suite runs on both by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
filter=${1:-}

run() {
  if command -v cargo-nextest >/dev/null; then
    cargo nextest run --no-fail-fast --no-tests pass "$@" ${filter:+"$filter"}
  else
    cargo test "$@" ${filter:+"$filter"}
  fi
}

run --workspace
echo "once more on PostgreSQL"
PORTCULLIS_TEST_ENGINE=postgresql run -p portcullis -p portcullis-identity --test '*'
if [ -z "$filter" ]; then cargo test --workspace --doc --quiet; fi

#!/usr/bin/env bash
# Runs tests: all of them, or those whose name contains the argument. The storage suite runs on SQLite and PostgreSQL by
# itself; the tests of the whole program and of identity run on SQLite, then once more on PostgreSQL where a database takes part.
#
#   scripts/test.sh [NAME]
#
# NEXTEST_PROFILE=ci retries a failed test once and prints it as FLAKY.
set -euo pipefail
cd "$(dirname "$0")/.."
filter=${1:-}

# Subjects in which no database takes part run once, and so does `upgrades`, which takes both engines by itself.
one_engine='access_log|alerts|architecture|book|compose|connections|contract|csrf|dashboards|documents|framing|http2|http2_limits|kubernetes|load'
one_engine+='|log_events|log_levels|metrics_access|open_files|peers|proxied|secret_stores|security_headers|slow_clients|upgrades'
on_postgresql=()
if command -v cargo-nextest >/dev/null; then on_postgresql=(-E "not test(/^($one_engine)::/)"); fi

run() {
  if command -v cargo-nextest >/dev/null; then
    cargo nextest run --no-fail-fast --no-tests pass "$@" ${filter:+"$filter"}
  else
    cargo test "$@" ${filter:+"$filter"}
  fi
}

# Examples are not tests: `make lint` compiles them.
run --workspace --tests
echo "once more on PostgreSQL"
PORTCULLIS_TEST_ENGINE=postgresql run -p portcullis -p portcullis-identity --test '*' "${on_postgresql[@]}"
if [ -z "$filter" ]; then cargo test --workspace --doc --quiet; fi

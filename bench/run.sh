#!/usr/bin/env bash
# Sets up what the bench needs and runs it. Prints the table of docs/benchmarks.md.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v nginx >/dev/null || missing+=(nginx-light)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v wrk >/dev/null || missing+=(wrk)
command -v taskset >/dev/null || missing+=(util-linux)
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "the bench needs: ${missing[*]}" >&2
    exit 1
  fi
fi

cargo build --release --package portcullis-identity --example argon2_loop
if [ "${1:-}" = storage ]; then
  cargo build --release --package portcullis-storage --examples
  cargo build --release --package portcullis-sessions --example feed_readers
  exec python3 bench/storage.py "${@:2}"
fi
if [ "${1:-}" = identity ]; then
  cargo build --release --package portcullis-identity --example sign_in_timing
  exec python3 bench/identity.py "${@:2}"
fi
if [ "${1:-}" = phases ]; then
  command -v valgrind >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends valgrind >/dev/null
  cargo build --release --package portcullis-gate --example gate_cost
  gate_cost="${CARGO_TARGET_DIR:-target}/release/examples/gate_cost"
  for routes in 10 10000; do "$gate_cost" 200000 caller-limit "$routes"; done
  "$gate_cost" 20 swap 1000
  exec python3 bench/phases.py "$gate_cost"
fi
if [ "${1:-}" = scrape ]; then
  exec python3 bench/scrape.py "${@:2}"
fi
cargo build --release --package portcullis-proxy --example bare_proxy
if [ "${1:-}" = request ]; then
  command -v valgrind >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends valgrind >/dev/null
  exec python3 bench/request.py "${@:2}"
fi
exec python3 bench/run.py "$@"

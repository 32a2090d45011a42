#!/usr/bin/env bash
# Installs what the tests need on Debian as root. Elsewhere it says what is missing and fails.
set -euo pipefail

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null || missing+=(postgresql)
[ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null || missing+=(pgbouncer)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v redis-sentinel >/dev/null || missing+=(redis-sentinel)
compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || missing+=(libfaketime)
command -v promtool >/dev/null || missing+=(prometheus)
command -v pkill >/dev/null || missing+=(procps)
command -v age >/dev/null || missing+=(age)
command -v zstd >/dev/null || missing+=(zstd)
# The interpreter that the tests use: Debian's own if it exists.
python=/usr/bin/python3
[ -x "$python" ] || python=python3
"$python" -c "import aiosmtpd" >/dev/null 2>&1 || missing+=(python3-aiosmtpd)
for tool in curl perl python3; do command -v "$tool" >/dev/null || missing+=("$tool"); done

if [ ${#missing[@]} -gt 0 ]; then
  # Machines of pipelines let their user become root.
  as_root=()
  if [ "$(id -u)" != 0 ] && [ -n "${CI:-}" ] && sudo -n true 2>/dev/null; then as_root=(sudo); fi
  if { [ "$(id -u)" = 0 ] || [ ${#as_root[@]} -gt 0 ]; } && command -v apt-get >/dev/null; then
    echo "installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "the tests need: ${missing[*]}" >&2
    echo "hint: on Debian or Ubuntu: sudo apt-get install ${missing[*]}; on macOS: brew install postgresql" >&2
    exit 1
  fi
fi

if ! command -v cargo-nextest >/dev/null; then
  echo "cargo-nextest is not installed: the tests run with cargo test, one binary at a time"
fi

#!/usr/bin/env bash
# Prints the coverage of lines, functions and regions for each crate (LLVM source-based coverage). Needs llvm-profdata and llvm-cov in
# the LLVM version of the compiler (Debian: llvm-22 for Rust 1.95; rustup: llvm-tools).
#
#   scripts/coverage.sh [PACKAGE ...]
#
# With packages, only their tests run, and only the crates that they reach are shown. Fails where a crate that scripts/coverage.py names
# is covered less than it says.
set -euo pipefail
cd "$(dirname "$0")/.."

major=$(rustc -vV | sed -nE 's/^LLVM version: ([0-9]+).*/\1/p')
profdata=$(command -v "llvm-profdata-$major" || true)
cov=$(command -v "llvm-cov-$major" || true)
# Where rustup has the compiler, it has these tools too.
if [ -z "$profdata" ] && [ "$(id -u)" != 0 ] && command -v rustup >/dev/null; then
  rustup component add llvm-tools
  tools=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin
  profdata=$tools/llvm-profdata cov=$tools/llvm-cov
fi
if [ -z "$profdata" ] || [ -z "$cov" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "llvm-$major" >/dev/null
    profdata=llvm-profdata-$major cov=llvm-cov-$major
  else
    echo "coverage needs LLVM $major's tools. hint: apt-get install llvm-$major" >&2
    exit 1
  fi
fi

packages=(--workspace)
if [ $# -gt 0 ]; then
  packages=()
  for package in "$@"; do packages+=(--package "$package"); done
fi

target=${CARGO_TARGET_DIR:-$PWD/target}
out=$target/coverage
rm -rf "$out/profiles"
mkdir -p "$out/profiles"
# Only our own crates are instrumented: dependencies are shared with the other builds, and the tests stay fast. The counters are in
# the profile file itself (%c), so that a server which a test kills has counted too.
cat >"$out/counting-rustc" <<'WRAPPER'
#!/bin/sh
exec "$@" -C instrument-coverage -C llvm-args=-runtime-counter-relocation
WRAPPER
chmod +x "$out/counting-rustc"
export RUSTC_WORKSPACE_WRAPPER="$out/counting-rustc" CARGO_TARGET_DIR="$target" LLVM_PROFILE_FILE="$out/profiles/%8m%c.profraw"
binaries() {
  cargo test "${packages[@]}" --tests --no-run --message-format json 2>/dev/null |
    python3 -c '
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable"):
        print(message["executable"])'
}
if command -v cargo-nextest >/dev/null; then
  cargo nextest run "${packages[@]}" --no-fail-fast
else
  cargo test "${packages[@]}"
fi
"$profdata" merge --sparse --output "$out/all.profdata" "$out"/profiles/*.profraw

objects=()
while read -r binary; do objects+=(--object "$binary"); done < <(binaries)
printf '%-24s%11s%11s%11s\n' crate lines functions regions
passed=true
for crate in crates/*/; do
  name=$(basename "$crate")
  [ "$name" = portcullis-testkit ] && continue
  "$cov" export --summary-only --instr-profile "$out/all.profdata" "${objects[@]}" --sources "$PWD/${crate}src" 2>/dev/null |
    python3 -B scripts/coverage.py "$name" "$PWD/$crate" || passed=false
done
$passed

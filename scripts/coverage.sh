#!/usr/bin/env bash
# Lines, functions and regions per crate, from LLVM's source-based coverage.
# Needs llvm-profdata and llvm-cov of the compiler's LLVM version or newer.
set -euo pipefail
cd "$(dirname "$0")/.."
out=target/coverage
find_tool() { command -v "$1" || ls /usr/bin/"$1"-* 2>/dev/null | sort -V | tail -n 1; }
profdata=$(find_tool llvm-profdata)
cov=$(find_tool llvm-cov)
if [ -z "$profdata" ] || [ -z "$cov" ]; then
  echo "coverage needs LLVM's tools. hint: apt-get install llvm" >&2
  exit 1
fi

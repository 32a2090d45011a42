#!/bin/bash
# Fuzzes whole HTTP/1.1 connections for TIME seconds (default 600). What it finds beside the kept corpus goes to a folder
# of its own, so that the repository stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."

time=${TIME:-600}
[[ $time =~ ^[0-9]+$ ]] || { echo "TIME is a number of seconds, such as TIME=60"; exit 2; }
cargo fuzz --version >/dev/null 2>&1 || {
  echo "make fuzz needs cargo-fuzz, a C++ compiler and Linux or macOS. hint: cargo install --locked cargo-fuzz"
  exit 1
}
command -v c++ >/dev/null || { echo "make fuzz needs a C++ compiler. hint: apt-get install g++"; exit 1; }

found=fuzz/target/found
mkdir -p "$found"
# cargo-fuzz sets flags that a stable compiler takes only when it is told to; no feature of the language is used.
export RUSTC_BOOTSTRAP=1
cargo fuzz run connection "$found" fuzz/corpus/connection -- \
  -max_total_time="$time" -max_len=4096 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1

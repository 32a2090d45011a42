#!/usr/bin/env bash
# Splits the debug information off the gateway's binary, strips the binary, and names the debug file by the binary's build id, as
# debuginfod, gdb and Sentry look for it: debug-files/.build-id/ab/cdef….debug.
#
#   scripts/debug-files.sh          builds for it; the stripped binary and its debug file go to target/debug-files
#   scripts/debug-files.sh check    panics a stripped binary and names a frame of its report to Sentry by the debug file
#
# PROFILE=dev takes the development build, which is made in seconds, in place of the release.
set -euo pipefail
cd "$(dirname "$0")/.."
profile="${PROFILE:-release}"
for tool in objcopy readelf addr2line cc python3; do
  command -v "$tool" >/dev/null || { echo "$tool is missing. hint: apt-get install binutils gcc libc6-dev python3" >&2; exit 1; }
done

# Otherwise cargo strips the debug information before it can be kept.
export CARGO_PROFILE_RELEASE_STRIP=none
cargo build --quiet --profile "$profile" --bin portcullis
program="${CARGO_TARGET_DIR:-target}/$([ "$profile" = dev ] && echo debug || echo "$profile")/portcullis"

# split FOLDER: writes the stripped program and its debug file into a folder, and prints the latter's path.
split() {
  local id file
  id="$(readelf -n "$program" | sed -n 's/^ *Build ID: //p')"
  [ -n "$id" ] || { echo "$program has no build id. hint: link with --build-id" >&2; exit 1; }
  file="$1/.build-id/${id:0:2}/${id:2}.debug"
  mkdir -p "$(dirname "$file")"
  objcopy --only-keep-debug --compress-debug-sections "$program" "$file"
  objcopy --strip-debug --add-gnu-debuglink="$file" "$program" "$1/portcullis"
  echo "$file"
}

if [ "${1:-}" != check ]; then
  folder="${CARGO_TARGET_DIR:-target}/debug-files"
  rm -rf "$folder"
  file="$(split "$folder")"
  du -h "$folder/portcullis" "$file"
  exit
fi

source scripts/gateway.sh
file="$(split "$work/debug-files")"
cc -shared -fPIC -o "$work/broken_clock.so" scripts/sentry/broken_clock.c
python3 -B scripts/sentry/symbols.py "$work/debug-files/portcullis" "$file" "$work/broken_clock.so"

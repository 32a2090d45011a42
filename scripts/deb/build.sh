#!/usr/bin/env bash
# Makes the Debian package in target/deb, with cargo-deb.
#
#   BINARY  takes this binary, instead of building one
#   REVISION  the revision of the package; default 1
#   FAST=1    packs it less tightly
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! cargo deb --version >/dev/null 2>&1; then
  echo "cargo-deb is not installed. hint: cargo install --locked cargo-deb --version 3.7.0" >&2
  exit 1
fi
if [ -z "${BINARY:-}" ]; then
  cargo build --release --locked --package portcullis --bin portcullis
  BINARY=${CARGO_TARGET_DIR:-target}/release/portcullis
fi

# The files that the program makes of itself; crates/portcullis/Cargo.toml takes them from here.
files=target/deb/files
rm -rf "$files"
mkdir -p "$files/completions"
install -m 755 "$BINARY" "$files/portcullis"
"$BINARY" man --output "$files/man"
gzip --no-name --best "$files"/man/*
"$BINARY" completions bash >"$files/completions/portcullis"
"$BINARY" completions zsh >"$files/completions/_portcullis"
"$BINARY" completions fish >"$files/completions/portcullis.fish"

# Two packages of one commit are the same.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
cargo deb --quiet --no-build --no-strip --package portcullis --deb-revision "${REVISION:-1}" --output target/deb/ ${FAST:+--fast}

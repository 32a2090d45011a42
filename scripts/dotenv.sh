#!/usr/bin/env bash
# Checks the table of the test of .env against the npm package dotenv; with UPDATE_DOCS=1 it writes the table anew. Without the
# package it says so and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
table=crates/portcullis-settings/src/engine/dotenv/cases.json
if ! command -v npm >/dev/null || ! npm install --silent --prefix "$work" dotenv@18.0.10 >/dev/null 2>&1; then
  echo "dotenv cannot be installed: the table of .env was not checked. hint: install nodejs and npm"
  exit 0
fi
cp scripts/dotenv.mjs "$work"
node "$work/dotenv.mjs" > "$work/cases.json"
if [ "${UPDATE_DOCS:-}" = 1 ]; then
  cp "$work/cases.json" "$table"
fi
diff "$table" "$work/cases.json" || { echo "the table of .env differs. hint: UPDATE_DOCS=1 scripts/dotenv.sh"; exit 1; }
echo "the table of .env is what the npm package dotenv reads"

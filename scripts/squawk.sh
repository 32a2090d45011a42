#!/usr/bin/env bash
# Has squawk look at the migrations as PostgreSQL gets them, where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v squawk >/dev/null; then
  echo "squawk is not installed: the migrations were not linted. hint: pip install squawk-cli"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for file in crates/portcullis-storage/migrations/*.up.sql; do
  # As dialect.rs says the words in braces on PostgreSQL.
  sed -e 's/{uuid}/UUID/g; s/{bytes}/BYTEA/g; s/{text}/TEXT/g; s/{timestamp}/TIMESTAMPTZ/g; s/{boolean}/BOOLEAN/g' \
    -e 's/{bigint}/BIGINT/g; s/{sequence}/BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY/g; s/{strict}//g' \
    -e 's/{often_updated}/ WITH (fillfactor = 85)/g' \
    "$file" > "$folder/$(basename "$file")"
done
# Left out: prefer-robust-stmts, because a step runs once, in one transaction, on a schema that it knows, and should fail
# rather than pass over what is there already; require-lock-timeout, because the connection that takes steps has one
# (engine.rs); require-statement-timeout, because a step on a large table may take as long as it must.
squawk --pg-version 15.0 --assume-in-transaction \
  --exclude prefer-robust-stmts,require-lock-timeout,require-statement-timeout "$folder"/*.sql

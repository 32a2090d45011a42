#!/usr/bin/env bash
# Lints the migrations with squawk, in the form that PostgreSQL receives them. Without squawk it says so and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v squawk >/dev/null; then
  echo "squawk is not installed: the migrations were not linted. hint: pip install squawk-cli"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for file in crates/portcullis-storage/migrations/*.up.sql; do
  # The words in braces are replaced as dialect.rs does for PostgreSQL.
  sed -e 's/{uuid}/UUID/g; s/{bytes}/BYTEA/g; s/{text}/TEXT/g; s/{timestamp}/TIMESTAMPTZ/g; s/{boolean}/BOOLEAN/g' \
    -e 's/{bigint}/BIGINT/g; s/{sequence}/BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY/g; s/{strict}//g' \
    -e 's/{often_updated}/ WITH (fillfactor = 85)/g' \
    "$file" > "$folder/$(basename "$file")"
done
# Excluded rules: prefer-robust-stmts, because a step runs once, in one transaction, on a known schema, and must fail if an object
# exists already; require-lock-timeout, because the migrating connection sets one; require-statement-timeout, because a step on a
# large table may take long.
squawk --pg-version 15.0 --assume-in-transaction \
  --exclude prefer-robust-stmts,require-lock-timeout,require-statement-timeout "$folder"/*.sql

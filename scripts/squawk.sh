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
mkdir "$folder/transaction" "$folder/concurrent"
for file in crates/portcullis-storage/migrations/*.up.sql; do
  # A step that builds indexes concurrently is the only kind that runs outside of a transaction.
  kind=transaction
  if grep -q '{concurrently}' "$file"; then kind=concurrent; fi
  # The words in braces are replaced as dialect.rs does for PostgreSQL.
  sed -e 's/{uuid}/UUID/g; s/{bytes}/BYTEA/g; s/{text}/TEXT/g; s/{timestamp}/TIMESTAMPTZ/g; s/{boolean}/BOOLEAN/g' \
    -e 's/{bigint}/BIGINT/g; s/{sequence}/BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY/g; s/{strict}//g' \
    -e 's/{often_updated}/ WITH (fillfactor = 85)/g; s/{concurrently}/CONCURRENTLY/g; s/{bytewise}/ COLLATE "C"/g' \
    -e 's/{transaction_id}/XID8 DEFAULT pg_current_xact_id()/g' \
    -e "s/{email_domain}/substr(email, strpos(email, '@')) COLLATE \"C\"/g" \
    "$file" > "$folder/$kind/$(basename "$file")"
done
# Excluded rules: prefer-robust-stmts, because a step runs once on a known schema, in one transaction, and must fail if an object
# exists already; require-lock-timeout, because the migrating connection sets one; require-statement-timeout, because a step on a
# large table may take long.
check() { squawk --pg-version 15.0 --exclude prefer-robust-stmts,require-lock-timeout,require-statement-timeout "$@"; }
check --assume-in-transaction "$folder"/transaction/*.sql
if compgen -G "$folder/concurrent/*.sql" >/dev/null; then check "$folder"/concurrent/*.sql; fi

#!/bin/sh
# Stands for the entry script of the image of PostgreSQL, as far as deploy/compose relies on it: as root it gives the volume to postgres
# and switches to that user; in an empty volume it makes the user, its password and its database.
set -eu
[ "$1" = postgres ] || exec "$@"
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
data=/var/lib/postgresql/data/pgdata
if [ "$(id -u)" = 0 ]; then
  chown postgres /var/lib/postgresql/data /run/postgresql
  exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi
if [ ! -s "$data/PG_VERSION" ]; then
  password=$(mktemp)
  if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then cat "$POSTGRES_PASSWORD_FILE" >"$password"; else printf %s "$POSTGRES_PASSWORD" >"$password"; fi
  initdb --username "$POSTGRES_USER" --pwfile "$password" --auth scram-sha-256 --auth-local trust --encoding UTF8 "$data" >/dev/null
  pg_ctl -D "$data" -w -o "-c listen_addresses=" start >/dev/null
  createdb --username "$POSTGRES_USER" "$POSTGRES_DB" 2>/dev/null || true
  pg_ctl -D "$data" -w -m fast stop >/dev/null
fi
exec postgres -D "$data" -c listen_addresses='*'

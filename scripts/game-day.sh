#!/usr/bin/env bash
# A game day: two replicas of the gateway with PostgreSQL, Redis, a service, a mail server and a real Prometheus with the rules of
# deploy/prometheus; eight faults, one after the other. Prints for each the alert that fires, the panel that shows it and the runbook that
# ends it, and fails if an alert does not fire or does not end. Every minute of a range in the rules is a second here.
#
#   scripts/game-day.sh [--fault NAME]... [--images FOLDER]
#
# --images writes pictures of Prometheus's pages (chromium).
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
source scripts/gateway.sh
build_gateway
unset PORT LOG_LEVEL
export PYTHONDONTWRITEBYTECODE=1
python=/usr/bin/python3
[ -x "$python" ] || python=python3
"$python" scripts/game_day/run.py --portcullis "$portcullis" "$@"

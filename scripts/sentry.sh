#!/usr/bin/env bash
# Lets a gateway report failed requests and panics to two servers of Sentry's protocol, bugsink and kent, and checks what they hold: the
# errors grouped by their cause, with route, release, request id, trace id and a stack that can be read, and nothing that a client sent.
# The first run makes bugsink's database, which takes half a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/gateway.sh

packages=(bugsink==2.6.2 kent==2.2.0)
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
tools="$target/sentry/$(echo "${packages[*]}" | cksum | cut -d ' ' -f 1)"
mkdir -p "$tools"
if ! { [ -e "$tools/venv/complete" ] || { python3 -m venv "$tools/venv" \
  && "$tools/venv/bin/pip" install --quiet "${packages[@]}" && touch "$tools/venv/complete"; }; } >/dev/null 2>&1; then
  echo "bugsink and kent cannot be installed: error reports were not checked with them. hint: install python3-venv"
  exit 0
fi
command -v cc >/dev/null || { echo "cc is missing. hint: apt-get install gcc libc6-dev" >&2; exit 1; }
build_gateway

export PATH="$tools/venv/bin:$PATH"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
bugsink="$(free_port)" kent="$(free_port)"
(
  cd "$work"
  bugsink-create-conf --template=singleserver --base-dir="$work" > bugsink.log
  cat >> bugsink_conf.py <<CONF
SNAPPEA["TASK_ALWAYS_EAGER"] = True
BUGSINK["BASE_URL"] = "http://127.0.0.1:$bugsink"
ALLOWED_HOSTS = ["127.0.0.1"]
SECURE_PROXY_SSL_HEADER = None
CONF
)
export PYTHONPATH="$work" DJANGO_SETTINGS_MODULE=bugsink_conf
if [ ! -e "$tools/databases/complete" ]; then
  bugsink-manage migrate >> "$work/bugsink.log"
  bugsink-manage migrate --database=snappea >> "$work/bugsink.log"
  mkdir -p "$tools/databases"
  cp "$work"/*.sqlite3 "$tools/databases"
  touch "$tools/databases/complete"
fi
cp "$tools"/databases/*.sqlite3 "$work"
cc -shared -fPIC -o "$work/broken_clock.so" scripts/sentry/broken_clock.c
cp scripts/sentry/*.py "$work"

dsn="$(bugsink-manage shell --no-imports -c '
from projects.models import Project
from teams.models import Team
print(Project.objects.create(name="gate", team=Team.objects.create(name="gate")).dsn)' | tail -n 1)"
background bugsink-server gunicorn --bind "127.0.0.1:$bugsink" --workers 1 bugsink.wsgi
background kent-server kent-server run --host 127.0.0.1 --port "$kent"
cd "$work"
background causes python3 -B causes.py "$portcullis" "$work/broken_clock.so" "$dsn" "http://key@127.0.0.1:$kent/1"
wait_for causes '^caused'
bugsink-manage shell --no-imports -c 'exec(open("in_bugsink.py").read())'
python3 -B in_kent.py "$kent"

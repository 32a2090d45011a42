#!/usr/bin/env bash
# Puts the gateway in front of real servers (Node, Express, uvicorn, Flask, gunicorn, waitress, Go's net/http, nginx with PHP-FPM) and
# drives keep-alive, uploads, streams, ranges, restarts and forged headers at each. Prints a table and fails on an unexplained 5xx or
# a wrong answer. docs/compatibility.md describes the cases.
#
#   scripts/matrix.sh [--sample] [--server NAME]... [--case TEXT]...
#
# It installs the servers: from npm and PyPI into the target folder, from Debian's packages as root. --sample has fewer rounds and
# installs no Debian package, so a server that needs one is tested only where it is installed.
set -euo pipefail
cd "$(dirname "$0")/.."

npm_packages=(express4@npm:express@4.22.3 express@5.3.0 method-override@3.0.0 ws@8.23.0)
pip_packages=(uvicorn==0.54.0 httptools==0.9.0 websockets==17.4 starlette==1.10.0
  flask==3.1.3 werkzeug==3.1.9 flask-sock==0.7.0 gunicorn==27.0.1 waitress==3.0.2)

sample=false
for argument in "$@"; do [ "$argument" != --sample ] || sample=true; done

have() { command -v "$1" >/dev/null; }
php_fpm() { command -v php-fpm || compgen -G '/usr/sbin/php-fpm*' | head -n 1; }
nginx_path() { PATH="$PATH:/usr/sbin" command -v nginx; }
gorilla=/usr/share/gocode/src/github.com/gorilla/websocket

missing=()
have node || missing+=(nodejs)
have npm || missing+=(npm)
have python3 || missing+=(python3 python3-venv)
have go || missing+=(golang-go)
[ -d "$gorilla" ] || missing+=(golang-github-gorilla-websocket-dev)
nginx_path >/dev/null || missing+=(nginx)
[ -n "$(php_fpm)" ] || missing+=(php-fpm)
if ! $sample && [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && have apt-get; then
    echo "installing ${missing[*]}"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null
  else
    echo "the matrix needs: ${missing[*]}" >&2
    echo "hint: on Debian or Ubuntu: sudo apt-get install ${missing[*]}; or test fewer servers: scripts/matrix.sh --sample" >&2
    exit 1
  fi
fi
if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "the matrix needs Python 3.11 or newer" >&2
  exit 1
fi

# What npm, pip and go made is kept between runs, in a folder named by the versions.
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
tools="$target/matrix/$(echo "${npm_packages[*]} ${pip_packages[*]}" | cksum | cut -d ' ' -f 1)"
mkdir -p "$tools"
found=()
if have node && have npm && { [ -e "$tools/node/complete" ] \
  || { npm install --silent --prefix "$tools/node" "${npm_packages[@]}" >/dev/null 2>&1 && touch "$tools/node/complete"; }; }; then
  found+=(--node "$(command -v node)" --node-modules "$tools/node/node_modules")
fi
if [ -e "$tools/venv/complete" ] || { python3 -m venv "$tools/venv" \
  && "$tools/venv/bin/pip" install --quiet "${pip_packages[@]}" && touch "$tools/venv/complete"; } >/dev/null 2>&1; then
  found+=(--venv "$tools/venv")
fi
if have go && [ -d "$gorilla" ]; then
  GO111MODULE=off GOPATH=/usr/share/gocode go build -o "$tools/go-server" scripts/matrix/applications/main.go
  found+=(--go-server "$tools/go-server")
fi
if nginx_path >/dev/null; then found+=(--nginx "$(nginx_path)"); fi
if [ -n "$(php_fpm)" ]; then found+=(--php-fpm "$(php_fpm)"); fi

source scripts/gateway.sh
build_gateway
unset PORT LOG_LEVEL
export PYTHONDONTWRITEBYTECODE=1
python3 scripts/matrix/run.py --portcullis "$portcullis" --work "$work" "${found[@]}" "$@"

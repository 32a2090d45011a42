#!/usr/bin/env bash
# Tests that CSRF tokens are interchangeable with the npm package csrf-csrf, for which existing front ends were written: each accepts the
# other's tokens and refuses forged ones. Without the package it says so and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=("csrf-csrf@4.0.3" "express@5.3.0" "cookie-parser@1.4.7")
source scripts/gateway.sh
if ! command -v npm >/dev/null || ! npm install --silent --prefix "$work" "${packages[@]}" >/dev/null 2>&1; then
  echo "csrf-csrf cannot be installed: the CSRF tokens were not tested with it. hint: install nodejs and npm"
  exit 0
fi
cp scripts/csrf.mjs "$work"
export CSRF_SECRET="a secret that both of them know, 32 bytes"
build_gateway
start_gateway
background express node csrf.mjs
wait_for express '^http'
cd "$work"
express="$(cat express)"

# Cookies ignore ports (RFC 6265 §8.5), so one jar serves both programs.
token="$(curl -fsS -c jar "$gateway/api/csrf-token" | sed 's/.*"csrfToken":"\([^"]*\)".*/\1/')"
theirs="$(curl -fsS -b jar -c jar-of-express "$express/token")"
[ "$token" != "$theirs" ] || { echo "Express gave back the gateway's token"; exit 1; }
forged() { tr '0123456789abcdef.' '123456789abcdef0.' <<< "$1"; }

# expect STATUS JAR TOKEN URL NAME: posts with a jar and a token and checks the status.
expect() {
  local status
  status="$(curl -s -o answer -w '%{http_code}' -X POST -b "$2" -H "x-csrf-token: $3" "$4")"
  [ "$status" = "$1" ] || { echo "$5: $status instead of $1: $(cat answer)"; exit 1; }
}
expect 200 jar "$token" "$express/submit" "a token of the gateway at csrf-csrf"
expect 403 jar "$(forged "$token")" "$express/submit" "a forged token at csrf-csrf"
expect 403 jar "$theirs" "$express/submit" "a token beside another's cookie at csrf-csrf"
# Past the CSRF check comes authentication.
expect 401 jar-of-express "$theirs" "$gateway/api/v1/api-keys" "a token of csrf-csrf at the gateway"
expect 403 jar-of-express "$(forged "$theirs")" "$gateway/api/v1/api-keys" "a forged token at the gateway"
expect 403 jar-of-express "$token" "$gateway/api/v1/api-keys" "a token beside another's cookie at the gateway"
echo "csrf-csrf accepts the tokens of the gateway, and the gateway accepts those of csrf-csrf"

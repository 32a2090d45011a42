#!/usr/bin/env bash
# Holds docs/openapi.json against the tools that others will use, and the running gateway against docs/openapi.json:
# redocly and spectral without errors, schemathesis without an answer that is not described. What cannot be had here is
# said, and fails nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

redocly="@redocly/cli@2.14.0"
spectral="@stoplight/spectral-cli@6.15.0"
schemathesis="schemathesis==4.32.5"
# Examples for each operation, and the seed they come from.
examples="${EXAMPLES:-8}"
seed=20261124

if command -v npx >/dev/null && npx --yes "$redocly" --version >/dev/null 2>&1; then
  npx --yes "$redocly" lint --extends=recommended docs/openapi.json 2>&1 | tail -n 4
else
  echo "redocly cannot be had: docs/openapi.json was not checked by it. hint: install nodejs and npm"
fi
work="$(mktemp -d)"
gateway=""
finish() {
  if [ -n "$gateway" ]; then kill "$gateway" 2>/dev/null || true; wait "$gateway" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap finish EXIT
if command -v npx >/dev/null && npx --yes "$spectral" --version >/dev/null 2>&1; then
  echo 'extends: ["spectral:oas"]' > "$work/spectral.yaml"
  npx --yes "$spectral" lint --ruleset "$work/spectral.yaml" --fail-severity error docs/openapi.json 2>&1 | tail -n 4
else
  echo "spectral cannot be had: docs/openapi.json was not checked by it. hint: install nodejs and npm"
fi

if ! { python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet "$schemathesis"; } >/dev/null 2>&1; then
  echo "schemathesis cannot be had: the gateway was not driven by its description. hint: install python3-venv"
  exit 0
fi
cargo build --quiet --bin portcullis
portcullis="${CARGO_TARGET_DIR:-target}/debug/portcullis"
portcullis="$(realpath "$portcullis")"
cd "$work"
export PORT=0 PORTCULLIS__LIMITS__ENABLED=false PORTCULLIS__CSRF__MODE=cookie PORTCULLIS__PASSWORD__THROTTLE=false LOG_LEVEL=error
"$portcullis" users create --email root@example.com --username rootuser --first-name Root --last-name User \
  --role ADMIN --password-stdin <<< "correct horse battery staple" >/dev/null
"$portcullis" serve > said 2> complaints &
gateway=$!
for _ in $(seq 300); do grep -q '^ready' said && break; sleep 0.1; done
url="$(sed -n 's/^listening on //p' said)"
[ -n "$url" ] || { echo "the gateway did not start:"; cat complaints; exit 1; }
token="$(curl -fsS -H 'content-type: application/json' "$url/api/v1/auth/login" \
  -d '{"email":"root@example.com","password":"correct horse battery staple"}' | sed 's/.*"accessToken":"\([^"]*\)".*/\1/')"

drive() {
  echo "schemathesis, $1"
  shift
  # One worker: with several its own caches race.
  # What ends the administrator's own session or account would end the test.
  "$work/venv/bin/schemathesis" run "$url/api/docs.json" --url "$url" --seed "$seed" --max-examples "$examples" \
    --phases examples,coverage,fuzzing --workers 1 --max-redirects 0 --request-timeout 20 \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --exclude-path-regex '(logout|change-password|/sessions)' --no-color "$@" > report 2>&1 \
    || { tail -n 150 report | cut -c 1-400; echo "schemathesis found what is not described: its report is above"; exit 1; }
  tail -n 12 report
}
drive "as nobody"
drive "as an administrator" --header "Authorization: Bearer $token"
if [ -s complaints ]; then echo "the gateway complained:"; head -n 20 complaints; exit 1; fi

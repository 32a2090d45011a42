#!/usr/bin/env bash
# Lints docs/openapi.json with redocly and spectral, and tests the running gateway against it with schemathesis: every response must
# be one that the document describes. A tool that cannot be installed is reported and skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/gateway.sh

redocly="@redocly/cli@2.14.0"
spectral="@stoplight/spectral-cli@6.15.0"
schemathesis="schemathesis==4.32.5"
# The number of examples for each operation, and the seed that generates them.
examples="${EXAMPLES:-8}"
seed=20261124

if command -v npx >/dev/null && npx --yes "$redocly" --version >/dev/null 2>&1; then
  npx --yes "$redocly" lint --extends=recommended docs/openapi.json 2>&1 | tail -n 4
else
  echo "redocly cannot be installed: docs/openapi.json was not checked with it. hint: install nodejs and npm"
fi
if command -v npx >/dev/null && npx --yes "$spectral" --version >/dev/null 2>&1; then
  echo 'extends: ["spectral:oas"]' > "$work/spectral.yaml"
  npx --yes "$spectral" lint --ruleset "$work/spectral.yaml" --fail-severity error docs/openapi.json 2>&1 | tail -n 4
else
  echo "spectral cannot be installed: docs/openapi.json was not checked with it. hint: install nodejs and npm"
fi

if ! { python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet "$schemathesis"; } >/dev/null 2>&1; then
  echo "schemathesis cannot be installed: the gateway was not tested against its API description. hint: install python3-venv"
  exit 0
fi
export PORTCULLIS__LIMITS__ENABLED=false PORTCULLIS__CSRF__MODE=cookie PORTCULLIS__PASSWORD__THROTTLE=false
build_gateway
cd "$work"
"$portcullis" migrate up >/dev/null
"$portcullis" users create --email root@example.com --username rootuser --first-name Root --last-name User \
  --role ADMIN --password-stdin <<< "correct horse battery staple" >/dev/null
start_gateway
token="$(curl -fsS -H 'content-type: application/json' "$gateway/api/v1/auth/login" \
  -d '{"email":"root@example.com","password":"correct horse battery staple"}' | sed 's/.*"accessToken":"\([^"]*\)".*/\1/')"

drive() {
  echo "schemathesis, $1"
  shift
  # One worker, because schemathesis's caches race with several. Operations that end the administrator's own session or account are
  # excluded, because they would end the test.
  "$work/venv/bin/schemathesis" run "$gateway/api/docs.json" --url "$gateway" --seed "$seed" --max-examples "$examples" \
    --phases examples,coverage,fuzzing --workers 1 --max-redirects 0 --request-timeout 20 \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
    --exclude-path-regex '(logout|change-password|/sessions)' --no-color "$@" > report 2>&1 \
    || { tail -n 150 report | cut -c 1-400; echo "schemathesis found a response that is not described; its report is above"; exit 1; }
  tail -n 12 report
}
drive "without a credential"
drive "as an administrator" --header "Authorization: Bearer $token"
if [ -s complaints ]; then echo "the gateway logged errors:"; head -n 20 complaints; exit 1; fi

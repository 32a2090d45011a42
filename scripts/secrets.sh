#!/usr/bin/env bash
# Starts the gateway with its secrets in moto, which plays AWS Secrets Manager and checks the signature and the policy of each request.
# The secret is made by AWS's own command line, as docs/secrets.md says. Then it is replaced, and at last moto is gone. A Vault that
# cannot be reached ends the start after its tries.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/gateway.sh
source scripts/python_tools.sh

if ! python="$(python_tools secrets "moto[server]==5.2.5" "awscli==1.46.2")"; then
  echo "moto and the command line of AWS cannot be installed: the secrets in AWS were not checked"
  exit 0
fi
build_gateway
tools="$(realpath "$(dirname "$python")")"
page="$PWD/docs/secrets.md"

# The first requests, which make a user, its key and its policy, are not checked.
export AWS_DEFAULT_REGION=eu-central-1 AWS_ACCESS_KEY_ID=first AWS_SECRET_ACCESS_KEY=first AWS_PAGER=""
port="$("$python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')"
export AWS_ENDPOINT_URL="http://127.0.0.1:$port"
(cd "$work" && INITIAL_NO_AUTH_ACTION_COUNT=3 exec "$tools/moto_server" -H 127.0.0.1 -p "$port" > moto 2>&1) &
moto=$!
started+=("$moto")
wait_for moto 'Running on'
aws() { "$tools/aws" --output text "$@"; }
aws iam create-user --user-name gate >/dev/null
aws iam put-user-policy --user-name gate --policy-name secrets --policy-document '{
  "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*" }] }'
read -r id key <<< "$(aws iam create-access-key --user-name gate --query 'AccessKey.[AccessKeyId,SecretAccessKey]')"
export AWS_ACCESS_KEY_ID="$id" AWS_SECRET_ACCESS_KEY="$key"

fail() { echo "$1"; cat "$work/complaints" "$work/moto"; exit 1; }
# The block of the page that makes the secret.
block="$(sed -n '/<!-- test: aws -->/,/^```$/p' "$page" | grep -v -e '^<!--' -e '^```')"
[ -n "$block" ] || fail "docs/secrets.md has no block that makes the secret"
eval "$block" >/dev/null

export PORTCULLIS_ENV=production PUBLIC_URL=https://gate.example LOG_LEVEL=info HOST=127.0.0.1
cat > "$work/portcullis.toml" <<'END'
[secrets]
aws = { region = "eu-central-1", id = "gate/production" }
refresh = "1s"
END
start_gateway
aws secretsmanager put-secret-value --secret-id gate/production --secret-string "$(
  aws secretsmanager get-secret-value --secret-id gate/production --query SecretString |
    "$python" -c 'import json, sys; secret = json.load(sys.stdin); secret["CSRF_SECRET"] = "b" + secret["CSRF_SECRET"]; print(json.dumps(secret))'
)" >/dev/null
wait_for complaints 'secrets that were replaced in the secret store are in force'
grep -q 'CSRF_SECRET' "$work/complaints" || fail "the log does not name the secret"

# Another key is refused: moto compares the signature.
if (cd "$work" && AWS_SECRET_ACCESS_KEY=another "$portcullis" check > refused 2>&1); then fail "a wrong signature was accepted"; fi
grep -q 'AWS does not accept the credentials: SignatureDoesNotMatch' "$work/refused" || { cat "$work/refused"; fail "the refusal is not told"; }
# So is a secret that is not there.
if (cd "$work" && PORTCULLIS__SECRETS__AWS='{ id = "other", region = "eu-central-1" }' "$portcullis" check > missing 2>&1); then fail "a secret was invented"; fi
grep -q 'AWS has no secret other in eu-central-1' "$work/missing" || { cat "$work/missing"; fail "the missing secret is not told"; }

kill "$moto"
wait_for complaints 'the secret store cannot be read; the last secrets stay in force'
(cd "$work" && curl -fsS "$gateway/api/health/ready" >/dev/null) || fail "the gateway stopped serving"

# A start without the store fails after its tries.
if (cd "$work" && timeout 60 "$portcullis" serve > gone 2>&1); then fail "it started without its secrets"; fi
[ "$(grep -c 'trying again in' "$work/gone")" = 4 ] || { cat "$work/gone"; fail "it did not try five times"; }
grep -q '^error: .* cannot be reached: Connection refused' "$work/gone" || { cat "$work/gone"; fail "the last failure is not told"; }
echo "the gateway reads its secrets from moto, follows their replacement, and goes on without moto"

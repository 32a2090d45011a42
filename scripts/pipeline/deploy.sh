#!/usr/bin/env bash
# Puts an image into a cluster by the Helm chart: verifies who signed it, upgrades, waits for the gateway to be healthy at its public
# address, and goes back to the release before if it is not.
#
#   IMAGE, DIGEST      the image, by name and digest
#   SIGNED_BY          the beginning of the identity that must have signed it: the address of the workflow
#   PUBLIC_URL         the address of the gateway
#   EXISTING_SECRET    the Secret with its secrets
#   NAMESPACE          default portcullis
#   VALUES             more values for the chart: a file; by choice
#   KUBE_CONFIG        the access to the cluster, as text; without it kubectl's own is used
#   GATE_SECONDS       how long the gateway may take to be healthy; default 120
#   GATE_TIMES         how often in a row it must be; default 5
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/pipeline/output.sh
needs IMAGE DIGEST SIGNED_BY PUBLIC_URL EXISTING_SECRET
is_digest "$DIGEST" || fail "DIGEST must be sha256:…, and is $DIGEST" "release.yml prints it"
NAMESPACE=${NAMESPACE:-portcullis}
release=portcullis
if [ -n "${KUBE_CONFIG:-}" ]; then
  KUBECONFIG=$(mktemp)
  trap 'rm -f "$KUBECONFIG"' EXIT
  printf '%s' "$KUBE_CONFIG" >"$KUBECONFIG"
  export KUBECONFIG
fi

cosign verify --certificate-oidc-issuer https://token.actions.githubusercontent.com \
  --certificate-identity-regexp "^${SIGNED_BY//./\\.}" "$IMAGE@$DIGEST" >/dev/null \
  || fail "the image is not signed by $SIGNED_BY" "deploy a digest that image.yml published"

# The number of the release that serves now; none at the first time.
before=$(helm history "$release" --namespace "$NAMESPACE" --max 20 --output json 2>/dev/null \
  | python3 -c 'import json, sys; print(max([r["revision"] for r in json.load(sys.stdin) if r["status"] == "deployed"], default=""))' || true)
back() {
  if [ -n "$before" ]; then
    helm rollback "$release" "$before" --namespace "$NAMESPACE" --wait --timeout 10m
    fail "$1; release $before serves again" "kubectl --namespace $NAMESPACE logs deployment/$release"
  fi
  fail "$1; there is no release to go back to" "kubectl --namespace $NAMESPACE logs deployment/$release"
}

helm upgrade "$release" deploy/helm/portcullis --install --namespace "$NAMESPACE" --wait --timeout 15m \
  --set-string "publicUrl=$PUBLIC_URL" --set-string "secrets.existingSecret=$EXISTING_SECRET" \
  --set-string "image.repository=$IMAGE" --set-string "image.digest=$DIGEST" ${VALUES:+--values "$VALUES"} \
  || back "the upgrade failed"

# The gate: the public address, as clients reach it, several times in a row.
version=$(sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' Cargo.toml)
good=0
deadline=$((SECONDS + ${GATE_SECONDS:-120}))
while [ "$good" -lt "${GATE_TIMES:-5}" ]; do
  if curl -fsS --max-time 5 "$PUBLIC_URL/api/health/ready" >/dev/null 2>&1 \
    && curl -fsS --max-time 5 "$PUBLIC_URL/api/health" 2>/dev/null | grep -F "\"version\":\"$version\"" >/dev/null; then
    good=$((good + 1))
  else
    good=0
    [ "$SECONDS" -lt "$deadline" ] || back "the gateway is not healthy at $PUBLIC_URL, or not of version $version"
  fi
  sleep 1
done
echo "$PUBLIC_URL serves version $version, $DIGEST"

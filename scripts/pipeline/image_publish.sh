#!/usr/bin/env bash
# Joins the images of both kinds of processors under one tag, signs the digest of that, attaches the bill of materials, and prints the
# digest.
#
#   IMAGE                                the name without a tag
#   TAG                                  the tag, such as edge or 0.1.0
#   DIGEST_AMD64, DIGEST_ARM64           what image_push.sh printed
#   REGISTRY_USER, REGISTRY_PASSWORD     who pushes
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/pipeline/output.sh
. scripts/image/engine.sh
needs IMAGE TAG DIGEST_AMD64 DIGEST_ARM64 REGISTRY_USER REGISTRY_PASSWORD
is_digest "$DIGEST_AMD64" && is_digest "$DIGEST_ARM64" || fail "DIGEST_AMD64 and DIGEST_ARM64 must be sha256:…"
[ -s target/sbom/portcullis.cdx.json ] || fail "there is no bill of materials" "make sbom"

digest=$(mktemp)
trap 'rm -f "$digest"' EXIT
registry_login "$IMAGE"
cosign login "${IMAGE%%/*}" --username "$REGISTRY_USER" --password-stdin <<<"$REGISTRY_PASSWORD"
run_buildah manifest create --amend "joined:$TAG"
run_buildah manifest add "joined:$TAG" "docker://$IMAGE@$DIGEST_AMD64"
run_buildah manifest add "joined:$TAG" "docker://$IMAGE@$DIGEST_ARM64"
run_buildah manifest push --all --format v2s2 --digestfile "$digest" "joined:$TAG" "docker://$IMAGE:$TAG"
joined=$(cat "$digest")
is_digest "$joined" || fail "the registry gave no digest"
# By digest: a tag can be moved after it was signed.
cosign sign --yes --recursive "$IMAGE@$joined"
cosign attest --yes --type cyclonedx --predicate target/sbom/portcullis.cdx.json "$IMAGE@$joined"
output digest "$joined"

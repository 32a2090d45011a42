#!/usr/bin/env bash
# Pushes the image to a registry on this machine (Debian's docker-registry) by the scripts of the pipelines, joins it with one for another
# processor, and pins a compose file by it. cosign, which needs an identity, is a stand-in. Takes TAG: the image. Needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/image/engine.sh
need buildah:buildah docker-registry:docker-registry skopeo:skopeo openssl:openssl
work=$(mktemp -d)
trap 'kill "${registry:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
fail() { echo "the image in a registry failed: $*" >&2; exit 1; }

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
  -keyout "$work/key.pem" -out "$work/certificate.pem" 2>/dev/null
export SSL_CERT_FILE=$work/certificate.pem
cat >"$work/registry.yml" <<END
version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $work/registry } }
http: { addr: "127.0.0.1:$port", tls: { certificate: $work/certificate.pem, key: $work/key.pem } }
END
docker-registry serve "$work/registry.yml" >"$work/log" 2>&1 &
registry=$!
until curl --silent --fail --output /dev/null --cacert "$work/certificate.pem" "https://localhost:$port/v2/"; do
  kill -0 "$registry" 2>/dev/null || fail "it did not start: $(cat "$work/log")"
  sleep 0.05
done
mkdir "$work/bin"
printf '#!/bin/sh\necho "cosign $*" >>"%s"\n' "$work/calls" >"$work/bin/cosign"
chmod +x "$work/bin/cosign"
export PATH="$work/bin:$PATH" REGISTRY_AUTH_FILE="$work/auth.json"
export IMAGE=localhost:$port/team/portcullis REGISTRY_USER=somebody REGISTRY_PASSWORD=secret

version=$(sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' Cargo.toml)
id=$(run_buildah inspect --type image --format '{{.FromImageID}}' "$TAG")
[ "$TAG" = "localhost/portcullis:$version" ] || run_buildah tag "$TAG" "localhost/portcullis:$version"
amd64=$(scripts/pipeline/image_push.sh | sed -n 's/^digest-[a-z0-9]*=//p')
[ -n "$amd64" ] || fail "it was not pushed"
[ "$(scripts/pipeline/image_push.sh 2>/dev/null | sed -n 's/^digest-[a-z0-9]*=//p')" = "$amd64" ] || fail "a second push has another digest"

# The same for another processor.
container=$(run_buildah from "$TAG")
run_buildah config --arch arm64 "$container"
run_buildah commit --quiet --rm --format docker "$container" "localhost/portcullis-arm64" >/dev/null
run_buildah push --quiet --format docker --digestfile "$work/arm64" localhost/portcullis-arm64 "docker://$IMAGE:build-arm64"
run_buildah rmi localhost/portcullis-arm64 >/dev/null

mkdir -p target/sbom
[ -s target/sbom/portcullis.cdx.json ] || python3 -B scripts/pipeline/sbom.py >target/sbom/portcullis.cdx.json
joined=$(TAG=edge DIGEST_AMD64=$amd64 DIGEST_ARM64=$(cat "$work/arm64") scripts/pipeline/image_publish.sh 2>"$work/err" | sed -n 's/^digest=//p') \
  || fail "it was not published: $(cat "$work/err")"
run_buildah rmi joined:edge >/dev/null 2>&1 || true
inspect() { skopeo inspect "$@"; }
[ "$(inspect --no-tags --format '{{.Digest}}' "docker://$IMAGE:edge")" = "$joined" ] || fail "the tag does not name the digest $joined"
inspect --raw "docker://$IMAGE:edge" | python3 -c '
import json, sys
found = {m["platform"]["architecture"]: m["digest"] for m in json.load(sys.stdin)["manifests"]}
sys.exit(found != {"amd64": sys.argv[1], "arm64": sys.argv[2]})' "$amd64" "$(cat "$work/arm64")" || fail "it does not name the two images"
# What the registry has is what was built.
[ "$(inspect --raw "docker://$IMAGE@$amd64" | python3 -c 'import json, sys; print(json.load(sys.stdin)["config"]["digest"])')" = "sha256:$id" ] \
  || fail "the image in the registry is another one"
for call in "sign --yes --recursive $IMAGE@$joined" "attest --yes --type cyclonedx --predicate target/sbom/portcullis.cdx.json $IMAGE@$joined"; do
  grep -qF "cosign $call" "$work/calls" || fail "cosign was not asked to $call"
done

printf 'services:\n  gate:\n    image: %s:edge\n' "$IMAGE" >"$work/compose.yaml"
scripts/compose/pin.sh "$work/compose.yaml" >/dev/null
grep -qF "    image: $IMAGE:edge@$joined" "$work/compose.yaml" || fail "make pin wrote $(cat "$work/compose.yaml")"
echo "ok   pushed to a registry, joined for two processors, pinned by the digest of the registry"

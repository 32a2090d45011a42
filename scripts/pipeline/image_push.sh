#!/usr/bin/env bash
# Pushes the image of this machine's processor, which `make image` made, without a tag, and prints its digest.
#
#   IMAGE                                the name without a tag, such as ghcr.io/owner/portcullis
#   REGISTRY_USER, REGISTRY_PASSWORD     who pushes
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/pipeline/output.sh
. scripts/image/engine.sh
needs IMAGE REGISTRY_USER REGISTRY_PASSWORD

version=$(sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' Cargo.toml)
processor=$(uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')
digest=$(mktemp)
trap 'rm -f "$digest"' EXIT
registry_login "$IMAGE"
run_buildah push --format docker --digestfile "$digest" "localhost/portcullis:$version" "docker://$IMAGE:build-$processor"
is_digest "$(cat "$digest")" || fail "the registry gave no digest"
output "digest-$processor" "$(cat "$digest")"

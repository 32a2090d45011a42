#!/usr/bin/env bash
# Adds to each image of the compose files the digest that its tag has now: NAME:TAG@sha256:…. All of them or none.
#
#   scripts/compose/pin.sh [FILE…]      default: deploy/compose/*.yaml
set -euo pipefail
cd "$(dirname "$0")/../.."
files=("$@")
[ ${#files[@]} -gt 0 ] || files=(deploy/compose/*.yaml)

digest() {
  if command -v skopeo >/dev/null; then
    skopeo inspect --no-tags --format '{{.Digest}}' "docker://$1"
  elif docker buildx version >/dev/null 2>&1; then
    docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1"
  else
    echo "neither skopeo nor docker buildx is installed" >&2
    return 1
  fi
}

# Names with a variable are chosen by whoever starts them; localhost/ is built here.
names=$(sed -nE 's/^ +image: ([^$ @]+:[^ @]+)(@sha256:[0-9a-f]+)?$/\1/p' "${files[@]}" | grep -v '^localhost/' | sort -u)
edits=()
for name in $names; do
  if ! found=$(digest "$name") || [[ ! $found =~ ^sha256:[0-9a-f]{64}$ ]]; then
    echo "error: the digest of $name cannot be read; nothing was changed" >&2
    echo "  hint: this needs skopeo or docker buildx, and a registry that this machine can reach" >&2
    exit 1
  fi
  edits+=(-e "s#^( +image: )${name//./\\.}(@sha256:[0-9a-f]+)?\$#\1$name@$found#")
done
[ ${#edits[@]} -gt 0 ] || { echo "no image to pin"; exit 0; }
sed -E -i "${edits[@]}" "${files[@]}"
grep -hE '^ +image: .*@sha256:' "${files[@]}" | sort -u

#!/usr/bin/env bash
# Checks pin.sh with a registry that answers what it is told: digests are added, renewed, and left as they are if one is not known.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "pin.sh failed: $*" >&2; exit 1; }

mkdir "$work/bin"
cat >"$work/bin/skopeo" <<'END'
#!/bin/sh
for name; do :; done
[ "$name" != "docker://$UNKNOWN" ] && echo "sha256:$(printf %s "$name$TIME" | sha256sum | cut -c 1-64)"
END
chmod +x "$work/bin/skopeo"
export PATH="$work/bin:$PATH" UNKNOWN='' TIME=1
cp deploy/compose/*.yaml "$work"
files=("$work/compose.yaml" "$work/development.yaml")
images() { grep -hE '^ +image: [a-z]' "${files[@]}" | grep -v localhost/; }

scripts/compose/pin.sh "${files[@]}" >/dev/null
[ "$(images | grep -c -v -E '@sha256:[0-9a-f]{64}$' || true)" = 0 ] || fail "an image has no digest: $(images)"
[ "$(sed -E 's/@sha256:[0-9a-f]+//' "$work/development.yaml")" = "$(cat deploy/compose/development.yaml)" ] || fail "it changed more than images"
before=$(cat "${files[@]}")
TIME=2 scripts/compose/pin.sh "${files[@]}" >/dev/null
[ "$(cat "${files[@]}")" != "$before" ] || fail "digests were not renewed"
[ "$(images | grep -c '@sha256:.*@')" = 0 ] || fail "an image has two digests"
before=$(cat "${files[@]}")
if UNKNOWN=redis:7 TIME=3 scripts/compose/pin.sh "${files[@]}" >/dev/null 2>"$work/err"; then fail "an unknown digest is no failure"; fi
grep -q 'hint:' "$work/err" && [ "$(cat "${files[@]}")" = "$before" ] || fail "it changed files without knowing all digests"

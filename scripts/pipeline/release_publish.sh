#!/usr/bin/env bash
# Makes the release with the files that release_files.sh collected. Its text is the section of CHANGELOG.md.
#
#   TAG            the tag, such as v0.1.0
#   IMAGE_DIGEST   the digest of the image, for the text
#   GH_TOKEN       who publishes
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/pipeline/output.sh
needs TAG IMAGE_DIGEST GH_TOKEN
is_digest "$IMAGE_DIGEST" || fail "IMAGE_DIGEST must be sha256:…"
scripts/pipeline/release_check.sh >/dev/null
[ -s target/release-files/all/SHA256SUMS ] || fail "there are no files" "make release-files"

notes=$(mktemp)
trap 'rm -f "$notes"' EXIT
awk -v start="## [${TAG#v}]" 'index($0, "## [") == 1 { shown = index($0, start) == 1; next } shown' CHANGELOG.md >"$notes"
printf '\nImage: `%s`\n' "$IMAGE_DIGEST" >>"$notes"
# A draft first: if a file cannot be sent, nothing is public.
gh release create "$TAG" --verify-tag --draft --title "$TAG" --notes-file "$notes" target/release-files/all/*
gh release edit "$TAG" --draft=false

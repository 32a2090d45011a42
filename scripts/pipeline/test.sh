#!/usr/bin/env bash
# Runs the scripts of this folder that need nothing of GitHub, with files as two machines make them, and sees what they refuse.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "error: $*" >&2; cat "$work/out" >&2 2>/dev/null || true; exit 1; }
version=$(sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' Cargo.toml)
says() { grep -q -- "$1" "$work/out"; }

scripts/pipeline/release_check.sh >"$work/out"
says "^version=$version$" || fail "release-check does not print the version"
! TAG=v9.9.9 scripts/pipeline/release_check.sh >"$work/out" 2>&1 && says "the tag is v9.9.9" || fail "a wrong tag passes"
! TAG=v9.9.9 GH_TOKEN=x scripts/pipeline/release_publish.sh >"$work/out" 2>&1 && says "the tag is v9.9.9" || fail "a wrong tag is published"

# The files of two machines.
files=target/release-files
[ ! -e "$files" ] || fail "$files exists: this test would change it"
trap 'rm -rf "$work" "$files"' EXIT
for machine in amd64 arm64; do
  folder=$files/files-$machine
  mkdir -p "$folder/deb" "$folder/sbom" "$folder/debug-files/.build-id/ab"
  echo "$machine" >"$folder/debug-files/.build-id/ab/cdef.debug"
  echo "$machine" >"$folder/deb/portcullis_$version-1_$machine.deb"
  echo sbom >"$folder/sbom/portcullis.cdx.json"
done
scripts/pipeline/release_files.sh >"$work/out" || fail "the files of two machines are not joined"
[ "$(wc -l <"$work/out")" = 5 ] && (cd "$files/all" && sha256sum --quiet --check SHA256SUMS) || fail "the checksums are not those of five files"
echo other >"$files/files-arm64/sbom/portcullis.cdx.json"
! scripts/pipeline/release_files.sh >"$work/out" 2>&1 && says "different files called portcullis.cdx.json" || fail "two files of one name pass"
echo sbom >"$files/files-arm64/sbom/portcullis.cdx.json"
rm "$files/files-arm64/deb/portcullis_$version-1_arm64.deb"
! scripts/pipeline/release_files.sh >"$work/out" 2>&1 && says "the release has no .*_arm64.deb" || fail "a missing package passes"
echo "the scripts of the pipelines: what they collect, and what they refuse"

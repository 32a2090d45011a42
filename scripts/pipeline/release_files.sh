#!/usr/bin/env bash
# Collects the files of a release, which were made on machines of several kinds, in target/release-files/all, with one SHA256SUMS.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/pipeline/output.sh
folder=target/release-files
all=$folder/all
rm -rf "$all"
mkdir -p "$all"

# Each machine has its own SHA256SUMS; what they say holds here too.
while read -r sums; do
  (cd "$(dirname "$sums")" && sha256sum --quiet --check SHA256SUMS) || fail "a file differs from $sums"
done < <(find "$folder" -name SHA256SUMS)
while read -r file; do
  name=$(basename "$file")
  [ "$name" != SHA256SUMS ] || continue
  if [ -e "$all/$name" ]; then
    cmp -s "$file" "$all/$name" || fail "two machines made different files called $name"
  fi
  cp "$file" "$all/$name"
done < <(find "$folder" -type f ! -path "$all/*" ! -path '*/.build-id/*' | sort)
# The debug files keep their folders, by which debuggers find them.
version=$(sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' Cargo.toml)
for machine in "$folder"/files-*; do
  tar -C "$machine/debug-files" -czf "$all/portcullis-$version-debug-${machine##*files-}.tar.gz" .build-id
done
for pattern in '*x86_64*.tar.gz' '*aarch64*.tar.gz' '*_amd64.deb' '*_arm64.deb' install.sh portcullis.cdx.json '*-debug-amd64.tar.gz' '*-debug-arm64.tar.gz'; do
  compgen -G "$all/$pattern" >/dev/null || fail "the release has no $pattern"
done
(cd "$all" && sha256sum -- * >SHA256SUMS.part && mv SHA256SUMS.part SHA256SUMS)
cat "$all/SHA256SUMS"

#!/usr/bin/env bash
# Makes the archive of a release for this machine in target/dist: the program, manual pages, completions and licences, beside
# it SHA256SUMS and install.sh. The same commit gives the same archive.
#
#   BINARY  takes this binary, instead of building one
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -z "${BINARY:-}" ]; then
  cargo build --release --locked --package portcullis --bin portcullis
  BINARY=${CARGO_TARGET_DIR:-target}/release/portcullis
fi
version=$("$BINARY" --version | cut -d ' ' -f 2)
target=$(rustc -vV | sed -n 's/^host: //p')
name=portcullis-$version-$target
output=target/dist
rm -rf "$output"
folder=$output/$name
mkdir -p "$folder/completions" "$folder/man"
install -m 755 "$BINARY" "$folder/portcullis"
"$BINARY" man --output "$folder/man/man1"
"$BINARY" completions bash >"$folder/completions/portcullis.bash"
"$BINARY" completions zsh >"$folder/completions/_portcullis"
"$BINARY" completions fish >"$folder/completions/portcullis.fish"
cp CHANGELOG.md LICENSE-APACHE LICENSE-MIT README.md .env.example "$folder"
chmod -R u=rwX,go=rX "$folder"
time=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
tar --sort=name --mtime="@$time" --owner=0 --group=0 --numeric-owner -C "$output" -cf - "$name" | gzip --no-name --best >"$output/$name.tar.gz"
rm -r "$folder"
cp deploy/install.sh "$output"
(cd "$output" && sha256sum ./*.tar.gz | sed 's|  \./|  |' >SHA256SUMS)
du -h "$output/$name.tar.gz"

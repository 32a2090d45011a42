#!/usr/bin/env bash
# Makes the archive of a release and installs it from a server on this machine, as install.sh does it from a release, with what can go
# wrong on the way. BINARY as in build.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v shellcheck >/dev/null || { [ "$(id -u)" = 0 ] && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends shellcheck >/dev/null; } \
  || { echo "shellcheck is not installed; hint: apt-get install shellcheck" >&2; exit 1; }
shellcheck --shell sh deploy/install.sh deploy/compose/secrets.sh

scripts/dist/build.sh >/dev/null
first=$(sha256sum target/dist/*.tar.gz)
scripts/dist/build.sh >/dev/null
archive=$(basename target/dist/*.tar.gz)
fail() { echo "the archive or install.sh failed: $*" >&2; exit 1; }
[ "$first" = "$(sha256sum target/dist/*.tar.gz)" ] || fail "two archives of one binary differ"
version=$(echo "$archive" | sed -E 's/^portcullis-([^-]+)-.*/\1/')
binstall=$(sed -nE 's/^pkg-url = "\{ repo \}(.*)"/\1/p' crates/portcullis/Cargo.toml \
  | sed "s/{ version }/$version/g; s/{ target }/$(rustc -vV | sed -n 's/^host: //p')/")
[ "$binstall" = "/releases/download/v$version/$archive" ] || fail "cargo binstall would look for $binstall"

work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
for release in latest/download "download/v$version"; do
  mkdir -p "$work/releases/$release"
  cp target/dist/* "$work/releases/$release"
done
python3 -u - "$work/releases" >"$work/port" 2>"$work/server" <<'END' &
import functools, http.server, sys
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
print(server.server_port, flush=True)
server.serve_forever()
END
server=$!
until [ -s "$work/port" ]; do
  kill -0 "$server" 2>/dev/null || fail "the server did not start: $(cat "$work/server")"
  sleep 0.02
done
port=$(cat "$work/port")
export PORTCULLIS_RELEASES=http://127.0.0.1:$port

refused() {
  local name=$1 sentence=$2
  shift 2
  rm -rf "$work/prefix"
  if "$@" sh target/dist/install.sh --prefix "$work/prefix" >"$work/out" 2>&1; then fail "$name: it was installed"; fi
  grep -q "^error: .*$sentence" "$work/out" && grep -q "^  hint: " "$work/out" || fail "$name: it says $(cat "$work/out")"
  [ ! -e "$work/prefix" ] || fail "$name: something was installed"
  echo "ok   $name: $(grep '^error: ' "$work/out")"
}

for arguments in "" "--version $version" "--version v$version"; do
  rm -rf "$work/prefix"
  # shellcheck disable=SC2086 # one or two words
  sh target/dist/install.sh --prefix "$work/prefix" $arguments >"$work/out"
  [ "$("$work/prefix/bin/portcullis" --version)" = "portcullis $version" ] || fail "the installed program does not run"
  for file in man/man1/portcullis.1 man/man1/portcullis-users-create.1 bash-completion/completions/portcullis zsh/site-functions/_portcullis \
    fish/vendor_completions.d/portcullis.fish; do
    [ -s "$work/prefix/share/$file" ] || fail "$file was not installed"
  done
done
sh target/dist/install.sh --prefix "$work/prefix" >/dev/null || fail "a second installation failed"
echo "ok   installed, and installed over it"

latest=$work/releases/latest/download
sums=$(cat "$latest/SHA256SUMS")
printf x >>"$latest/$archive"
refused "a changed archive" "the SHA-256 of $archive is not the one" env
cp "target/dist/$archive" "$latest"
tr 0-9 1-90 <"$latest/SHA256SUMS" | cut -c 1-64 | sed "s/\$/  $archive/" >"$work/wrong" && cp "$work/wrong" "$latest/SHA256SUMS"
refused "a wrong checksum" "the SHA-256 of $archive is not the one" env
echo "${sums%% *}  another.tar.gz" >"$latest/SHA256SUMS"
refused "no checksum of the archive" "no checksum of an archive" env
echo "${sums%% *} *$archive" >"$latest/SHA256SUMS"
refused "a line of another form" "no checksum of an archive" env
rm "$latest/SHA256SUMS"
refused "no checksums" "the checksums cannot be downloaded" env
echo "$sums" >"$latest/SHA256SUMS"
rm "$latest/$archive"
refused "no archive" "cannot be downloaded" env
cp "target/dist/$archive" "$latest"
mkdir "$work/bin"
printf '#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo riscv64\n' >"$work/bin/uname"
chmod +x "$work/bin/uname"
refused "another machine" "no archive for riscv64" env PATH="$work/bin:$PATH"
printf '#!/bin/sh\necho Darwin\n' >"$work/bin/uname"
refused "another system" "no archive for Darwin" env PATH="$work/bin:$PATH"
mkdir "$work/broken"
tar -xzf "target/dist/$archive" -C "$work/broken"
printf '#!/bin/sh\necho "libc.so.6: version GLIBC_2.36 not found" >&2; exit 1\n' >"$work/broken/${archive%.tar.gz}/portcullis"
tar -czf "$latest/$archive" -C "$work/broken" "${archive%.tar.gz}"
(cd "$latest" && sha256sum "$archive" >SHA256SUMS)
refused "an older C library" "does not run on this system" env
# A script that was cut off on its way does nothing.
head -c -20 target/dist/install.sh >"$work/cut.sh"
rm -rf "$work/prefix"
sh "$work/cut.sh" --prefix "$work/prefix" >/dev/null 2>&1 || true
[ ! -e "$work/prefix" ] || fail "a part of install.sh installed something"
echo "ok   a part of install.sh does nothing"

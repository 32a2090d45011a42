#!/usr/bin/env bash
# Runs the scripts of this folder with stand-ins for buildah, cosign, gh and helm, which write down how they were called.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$work"' EXIT
fail() { echo "error: $*" >&2; cat "$work/calls" "$work/out" >&2 2>/dev/null || true; exit 1; }
digest=sha256:$(printf '%064d' 1)
other=sha256:$(printf '%064d' 2)

mkdir -p "$work/bin"
for program in cosign gh helm; do
  cat >"$work/bin/$program" <<END
#!/bin/bash
echo "$program \$*" >>"$work/calls"
case "$program \$1" in
  "helm history") cat "$work/history" ;;
  "helm upgrade") [ ! -e "$work/upgrade-fails" ] ;;
  "cosign verify") [ ! -e "$work/unsigned" ] ;;
esac
END
done
chmod +x "$work"/bin/*
# A gateway whose version is in a file; without the file it is not ready.
python3 -u - "$work/version" >"$work/port" <<'END' &
import http.server, pathlib, sys
version = pathlib.Path(sys.argv[1])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if version.exists() else 503)
        self.end_headers()
        if version.exists():
            self.wfile.write(b'{"data":{"version":"%s"}}' % version.read_bytes())
    def log_message(self, *_):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
END
server=$!
until [ -s "$work/port" ]; do sleep 0.02; done

version=$(sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' Cargo.toml)
deploy() {
  : >"$work/calls"
  env PATH="$work/bin:$PATH" IMAGE=registry.example/portcullis DIGEST="$digest" SIGNED_BY=https://github.com/o/r/.github/workflows/image.yml@ \
    PUBLIC_URL="http://127.0.0.1:$(cat "$work/port")" EXISTING_SECRET=portcullis GATE_SECONDS=0 GATE_TIMES=1 KUBE_CONFIG=access "$@" \
    scripts/pipeline/deploy.sh >"$work/out" 2>&1
}
called() { grep -q -- "$1" "$work/calls"; }
says() { grep -q -- "$1" "$work/out"; }

echo '[{"revision":3,"status":"superseded"},{"revision":4,"status":"deployed"}]' >"$work/history"
printf %s "$version" >"$work/version"
deploy || fail "a healthy deployment fails"
called "helm upgrade .*image.digest=$digest" && ! called "helm rollback" || fail "it was not deployed by its digest"
called 'certificate-identity-regexp ^https://github\\.com' || fail "the signature was not verified"

rm "$work/version"
! deploy && called "helm rollback portcullis 4" && says "release 4 serves again" || fail "an unhealthy gateway stays"
printf 0.0.0 >"$work/version"
! deploy && called "helm rollback portcullis 4" || fail "an old version passes the gate"
printf %s "$version" >"$work/version"
touch "$work/upgrade-fails"
! deploy && called "helm rollback portcullis 4" || fail "a failed upgrade stays"
echo '[]' >"$work/history"
! deploy && ! called "helm rollback" && says "no release to go back to" || fail "the first deployment goes back to nothing"
rm "$work/upgrade-fails"
touch "$work/unsigned"
! deploy && ! called "helm upgrade" && says "not signed" || fail "an image without a signature is deployed"
rm "$work/unsigned"
! deploy DIGEST=latest && ! called "helm upgrade" && says "DIGEST must be sha256" || fail "a tag is deployed"
! deploy PUBLIC_URL= && says "PUBLIC_URL is not set" || fail "an address is not asked for"

scripts/pipeline/release_check.sh >"$work/out"
says "^version=$version$" || fail "release-check does not print the version"
! TAG=v9.9.9 scripts/pipeline/release_check.sh >"$work/out" 2>&1 && says "the tag is v9.9.9" || fail "a wrong tag passes"
! IMAGE_DIGEST=latest TAG=v1 GH_TOKEN=x scripts/pipeline/release_publish.sh >"$work/out" 2>&1 && says "IMAGE_DIGEST must be" || fail "a tag is published"
! TAG=edge IMAGE=r/i DIGEST_AMD64=$digest DIGEST_ARM64=$other REGISTRY_USER=u scripts/pipeline/image_publish.sh >"$work/out" 2>&1 \
  && says "REGISTRY_PASSWORD is not set" || fail "a password is not asked for"

# The files of two machines.
files=target/release-files
[ ! -e "$files" ] || fail "$files exists: this test would change it"
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$work" "$files"' EXIT
for machine in "x86_64 amd64" "aarch64 arm64"; do
  folder=$files/files-${machine#* }
  mkdir -p "$folder/dist" "$folder/deb" "$folder/sbom" "$folder/debug-files/.build-id/ab"
  echo "$machine" >"$folder/debug-files/.build-id/ab/cdef.debug"
  echo "$machine" >"$folder/dist/portcullis-$version-${machine% *}-unknown-linux-gnu.tar.gz"
  (cd "$folder/dist" && sha256sum ./*.tar.gz >SHA256SUMS)
  echo install >"$folder/dist/install.sh"
  echo "$machine" >"$folder/deb/portcullis_$version-1_${machine#* }.deb"
  echo sbom >"$folder/sbom/portcullis.cdx.json"
done
scripts/pipeline/release_files.sh >"$work/out" || fail "the files of two machines are not joined"
[ "$(wc -l <"$work/out")" = 8 ] && (cd "$files/all" && sha256sum --quiet --check SHA256SUMS) || fail "the checksums are not those of eight files"
echo other >"$files/files-arm64/sbom/portcullis.cdx.json"
! scripts/pipeline/release_files.sh >"$work/out" 2>&1 && says "different files called portcullis.cdx.json" || fail "two files of one name pass"
echo sbom >"$files/files-arm64/sbom/portcullis.cdx.json"
echo broken >>"$files/files-arm64/dist/portcullis-$version-aarch64-unknown-linux-gnu.tar.gz"
! scripts/pipeline/release_files.sh >"$work/out" 2>&1 && says "a file differs" || fail "a broken archive passes"
rm "$files/files-arm64/deb/portcullis_$version-1_arm64.deb" && (cd "$files/files-arm64/dist" && sha256sum ./*.tar.gz >SHA256SUMS)
! scripts/pipeline/release_files.sh >"$work/out" 2>&1 && says "the release has no .*_arm64.deb" || fail "a missing package passes"
echo "the scripts of the pipelines: deployed, refused and rolled back as they should"

#!/usr/bin/env bash
# Makes the Dockerfile's base image without a registry of images: Debian 12 with a C compiler by debootstrap, from the source of packages
# that this machine uses. This machine's Rust is mounted when it compiles. Needs root.
#
#   scripts/image/base.sh NAME
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/image/engine.sh
name=${1:?the name of the image}
need buildah:buildah debootstrap:debootstrap

root=$(mktemp -d "$image_folder/base.XXXXXX")
trap 'rm -rf "$root"' EXIT
# The mirror that apt uses; without one, debootstrap's own.
mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 2>/dev/null | awk '$1 == "bookworm" { print $2; exit }' || true)
debootstrap --variant=minbase --include=ca-certificates,tzdata,gcc,libc6-dev bookworm "$root" ${mirror:+"$mirror"} >"$image_folder/debootstrap.log" 2>&1 \
  || { tail -5 "$image_folder/debootstrap.log" >&2; exit 1; }
chmod 755 "$root"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
container=$(run_buildah from scratch)
run_buildah add --quiet "$container" "$root" / >/dev/null
run_buildah config --env PATH=/usr/local/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin --env CARGO_HOME=/usr/local/cargo --env CARGO_NET_OFFLINE=true \
  --cmd bash "$container"
run_buildah commit --quiet --rm "$container" "$name" >/dev/null
echo "made $name"

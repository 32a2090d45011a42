#!/usr/bin/env bash
# Makes images that otherwise come from a registry of images: Debian 12 by debootstrap, from the source of packages that this
# machine uses. Needs root.
#
#   scripts/image/base.sh build NAME      the Dockerfile's base: a C compiler. This machine's Rust is mounted when it compiles
#   scripts/image/base.sh SERVICE NAME    what stands for the image of postgres, redis, prometheus or mailpit in
#                                         scripts/compose/check.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/image/engine.sh
kind=${1:?build, postgres, redis, prometheus or mailpit}
name=${2:?the name of the image}
need buildah:buildah debootstrap:debootstrap

# debian NAME PACKAGE,…: makes an image of a Debian 12 with these packages.
debian() {
  local root mirror container
  root=$(mktemp -d "$image_folder/base.XXXXXX")
  # The mirror that apt uses; without one, debootstrap's own.
  mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 2>/dev/null | awk '$1 == "bookworm" { print $2; exit }' || true)
  if ! debootstrap --variant=minbase --include="$2" bookworm "$root" ${mirror:+"$mirror"} >"$image_folder/debootstrap.log" 2>&1; then
    tail -5 "$image_folder/debootstrap.log" >&2
    rm -rf "$root"
    exit 1
  fi
  chmod 755 "$root"
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
  container=$(run_buildah from scratch)
  run_buildah add --quiet "$container" "$root" / >/dev/null
  rm -rf "$root"
  run_buildah commit --quiet --rm "$container" "$1" >/dev/null
}

base=localhost/portcullis-servers
if [ "$kind" = build ]; then
  base=localhost/portcullis-compiler
  debian "$base" ca-certificates,tzdata,gcc,libc6-dev
elif ! run_buildah inspect --type image "$base" >/dev/null 2>&1; then
  debian "$base" postgresql,redis-server,prometheus,python3-aiosmtpd
fi

container=$(run_buildah from "$base")
case $kind in
  build) options=(--env PATH=/usr/local/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin --env CARGO_HOME=/usr/local/cargo --env CARGO_NET_OFFLINE=true --cmd bash) ;;
  postgres)
    run_buildah copy --quiet --chmod 755 "$container" scripts/compose/server_entry.sh /usr/local/bin/entry >/dev/null
    options=(--entrypoint '["/usr/local/bin/entry"]' --cmd postgres --volume /var/lib/postgresql/data)
    ;;
  redis) options=(--cmd redis-server) ;;
  prometheus) options=(--entrypoint '["/usr/bin/prometheus"]' --volume /prometheus) ;;
  mailpit) options=(--entrypoint '["/usr/bin/python3", "-u", "-m", "aiosmtpd", "--nosetuid", "--listen", "0.0.0.0:1025"]') ;;
  *) echo "build, postgres, redis, prometheus or mailpit, not $kind" >&2; exit 1 ;;
esac
run_buildah config "${options[@]}" "$container"
run_buildah commit --quiet --rm "$container" "$name" >/dev/null
echo "made $name"

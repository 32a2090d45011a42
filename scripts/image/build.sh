#!/usr/bin/env bash
# Builds the image and prints its name, digest and size.
#
#   ENGINE   buildah (default where it is installed), or docker. Only buildah's images are the same from build to build
#   BASE     registry (default): the base image that the Dockerfile names; debootstrap: one that is made here, for machines
#            that reach no registry of images (buildah, root)
#   PROFILE  release (default), or dev: compiled in a fraction of the time, for trying
#   BINARY   the path of a binary that was built on a Debian 12 before; without it the image's build compiles one
#   TAG      the image's name; default localhost/portcullis:VERSION
#   NO_CACHE=1  takes nothing from an earlier build
#   CACHE       a repository of a registry: layers are taken from there, and new ones are added (buildah)
#   REBUILD=1   takes the compiled dependencies and nothing else
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/image/engine.sh

version=$(sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' Cargo.toml)
rust=$(sed -nE 's/^channel = "(.*)"/\1/p' rust-toolchain.toml)
grep -q "/rust:$rust-" Dockerfile || { echo "the Dockerfile's base image is not Rust $rust, which rust-toolchain.toml names" >&2; exit 1; }
TAG=${TAG:-localhost/portcullis:$version}
if [ -z "${ENGINE:-}" ]; then ENGINE=$(command -v buildah >/dev/null && echo buildah || echo docker); fi
if [ "${BASE:-registry}" = debootstrap ]; then ENGINE=buildah; fi

# The time of everything in the image is that of the commit, so that two builds of it are the same.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
arguments=(
  --build-arg "PROFILE=${PROFILE:-release}"
  --build-arg "VERSION=$version"
  --build-arg "REVISION=$(git rev-parse HEAD)"
  --build-arg "CREATED=$(date --utc --date "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)"
)
if [ "${NO_CACHE:-}" = 1 ]; then arguments+=(--no-cache); fi
if [ "${REBUILD:-}" = 1 ]; then arguments+=(--build-arg "REBUILD=$(date +%s%N)"); fi
# buildah before 1.30 does not see by itself that the default names a stage.
stage=build
if [ -n "${BINARY:-}" ]; then
  install -m 755 "$BINARY" target/image/portcullis
  stage=prebuilt
fi
arguments+=(--build-arg "BINARY=$stage")

if [ "$ENGINE" = docker ]; then
  docker build "${arguments[@]}" --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" --tag "$TAG" .
  exit
fi

need buildah:buildah
if [ "${BASE:-registry}" = debootstrap ]; then
  run_buildah inspect --type image localhost/portcullis-build >/dev/null 2>&1 || scripts/image/base.sh build localhost/portcullis-build
  # This machine's Rust, and its copies of the dependencies.
  cargo fetch --quiet --locked
  arguments+=(
    --build-arg BUILD_IMAGE=localhost/portcullis-build
    --volume "$(rustc --print sysroot):/usr/local/rust:ro"
    --volume "${CARGO_HOME:-$HOME/.cargo}/registry:/usr/local/cargo/registry"
  )
fi
if [ -n "${CACHE:-}" ]; then
  registry_login "$CACHE"
  arguments+=(--cache-from "$CACHE" --cache-to "$CACHE")
fi
# `--format docker`: the OCI format has no HEALTHCHECK.
log=$image_folder/build.log
run_buildah bud --isolation chroot --format docker --layers --timestamp "$SOURCE_DATE_EPOCH" "${arguments[@]}" --tag "$TAG" . >"$log" 2>&1 \
  || { tail -n 40 "$log" >&2; exit 1; }
run_buildah inspect --type image --format '{{.FromImage}} {{.FromImageDigest}}' "$TAG"
run_buildah images --format '{{.Size}}' "$TAG"

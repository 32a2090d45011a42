# shellcheck shell=bash
# The programs that build and start images here, for the other scripts of this folder. Source it in the repository's root.
#
# buildah and podman get options with which they work as root on any Linux, inside a container too: no systemd, no network of
# their own. Their images lie in target/image, apart from those of the user.

image_folder=$PWD/target/image
mkdir -p "$image_folder"

# Layers as mounts where the kernel and the file system allow it, else as copies, which take longer and more room.
storage_driver() {
  if [ "$(id -u)" != 0 ]; then
    # A mount is made in a namespace of the user.
    echo overlay
    return
  fi
  if [ ! -e "$image_folder/driver" ]; then
    mkdir -p "$image_folder"/try/{lower,upper,work,merged}
    if mount -t overlay overlay -o "lowerdir=$image_folder/try/lower,upperdir=$image_folder/try/upper,workdir=$image_folder/try/work" \
      "$image_folder/try/merged" 2>/dev/null; then
      umount "$image_folder/try/merged"
      echo overlay >"$image_folder/driver"
    else
      echo vfs >"$image_folder/driver"
    fi
    rm -rf "$image_folder/try"
  fi
  cat "$image_folder/driver"
}

storage=(--root "$image_folder/storage" --runroot "$image_folder/run" --storage-driver "$(storage_driver)")

run_buildah() {
  buildah "${storage[@]}" "$@"
}

run_podman() {
  podman "${storage[@]}" --runtime runc --cgroup-manager cgroupfs "$@"
}

# Signs in to the registry of an image, if REGISTRY_USER and REGISTRY_PASSWORD are set.
registry_login() {
  [ -z "${REGISTRY_USER:-}" ] || run_buildah login --username "$REGISTRY_USER" --password-stdin "${1%%/*}" <<<"$REGISTRY_PASSWORD" >/dev/null
}

# Installs Debian packages where that is possible, else says what is missing. Takes `program:package` for each.
need() {
  local missing=() pair
  for pair in "$@"; do command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "this needs: ${missing[*]}; hint: on Debian or Ubuntu: sudo apt-get install ${missing[*]}" >&2
    exit 1
  fi
}

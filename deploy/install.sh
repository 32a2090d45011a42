#!/bin/sh
# Installs Portcullis on Linux without Rust: downloads the archive of a release, compares its SHA-256 with the release's
# SHA256SUMS, and installs program, manual pages and completions. Nothing is installed if anything does not fit.
#
#   sh install.sh [--version VERSION] [--prefix FOLDER]
#
#   --version   such as 0.1.0; without it the newest release
#   --prefix    where to install; without it /usr/local for root, ~/.local for others
#   PORTCULLIS_RELEASES   where the releases are, for a mirror of your own
set -eu

releases=${PORTCULLIS_RELEASES:-https://github.com/portcullis-gateway/portcullis/releases}

fail() {
  echo "error: $1" >&2
  echo "  hint: $2" >&2
  exit 1
}

# Downloads $1 into the file $2. Over https only, redirections too, unless a mirror is named otherwise.
download() {
  case $1 in https://*) only='=https' ;; *) only='=https,http' ;; esac
  if command -v curl >/dev/null; then
    curl --proto "$only" --fail --silent --show-error --location --output "$2" "$1"
  elif command -v wget >/dev/null; then
    case $1 in https://*) wget --quiet --https-only --output-document="$2" "$1" ;; *) wget --quiet --output-document="$2" "$1" ;; esac
  else
    fail "neither curl nor wget is installed" "install one of them"
  fi
}

checksum() {
  if command -v sha256sum >/dev/null; then sha256sum "$1"
  elif command -v shasum >/dev/null; then shasum -a 256 "$1"
  elif command -v openssl >/dev/null; then openssl dgst -sha256 -r "$1"
  else fail "no program computes SHA-256, so that the download cannot be checked" "install coreutils"
  fi | cut -d ' ' -f 1
}

# The name that Rust has for this machine.
target() {
  [ "$(uname -s)" = Linux ] || fail "there is no archive for $(uname -s)" "use the container image, or build from source"
  case $(uname -m) in
    x86_64 | amd64) echo x86_64-unknown-linux-gnu ;;
    aarch64 | arm64) echo aarch64-unknown-linux-gnu ;;
    *) fail "there is no archive for $(uname -m)" "build from source" ;;
  esac
}

# Everything is in a function that the last line calls, so that a part of this script, cut off on its way, does nothing.
main() {
  version='' prefix=''
  while [ $# -gt 0 ]; do
    case $1 in
      --version) version=${2:?--version needs a value}; shift 2 ;;
      --prefix) prefix=${2:?--prefix needs a value}; shift 2 ;;
      *) fail "unknown option $1" "--version VERSION and --prefix FOLDER are known" ;;
    esac
  done
  if [ -z "$prefix" ]; then
    if [ "$(id -u)" = 0 ]; then prefix=/usr/local; else prefix=$HOME/.local; fi
  fi
  version=${version#v}
  target=$(target)
  if [ -n "$version" ]; then from=$releases/download/v$version; else from=$releases/latest/download; fi

  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  trap 'exit 1' HUP INT TERM
  download "$from/SHA256SUMS" "$work/SHA256SUMS" \
    || fail "the checksums cannot be downloaded from $from" "is the version right, and can this machine reach it?"
  # A line is: 64 digits, two characters, the name of a file.
  line=$(grep -E "^[0-9a-f]{64}  portcullis-${version:-[0-9][0-9A-Za-z.+-]*}-$target\.tar\.gz\$" "$work/SHA256SUMS") \
    || fail "$from has no checksum of an archive for $target" "choose another version with --version"
  [ "$(echo "$line" | wc -l)" -eq 1 ] || fail "$from has several archives for $target" "choose one with --version"
  archive=${line#*  }
  download "$from/$archive" "$work/$archive" \
    || fail "$archive cannot be downloaded from $from" "try again; nothing was installed"
  [ "$(checksum "$work/$archive")" = "${line%% *}" ] \
    || fail "the SHA-256 of $archive is not the one in SHA256SUMS" "it was changed or damaged on its way; nothing was installed"
  tar -xzf "$work/$archive" -C "$work"
  folder=$work/${archive%.tar.gz}
  installed=$("$folder/portcullis" --version) \
    || fail "the program does not run on this system" "it needs glibc 2.34 or newer (Debian 12, Ubuntu 22.04, RHEL 9); use the container image, or build from source"

  bin=$prefix/bin
  share=$prefix/share
  mkdir -p "$bin" "$share/man/man1" "$share/bash-completion/completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d" \
    || fail "cannot write to $prefix" "name a folder of yours with --prefix, or run it as root"
  # A rename is safe while the old program runs.
  cp "$folder/portcullis" "$bin/.portcullis.new"
  mv "$bin/.portcullis.new" "$bin/portcullis"
  cp "$folder"/man/man1/*.1 "$share/man/man1"
  cp "$folder/completions/portcullis.bash" "$share/bash-completion/completions/portcullis"
  cp "$folder/completions/_portcullis" "$share/zsh/site-functions/_portcullis"
  cp "$folder/completions/portcullis.fish" "$share/fish/vendor_completions.d/portcullis.fish"
  echo "installed $installed as $bin/portcullis"
  case :$PATH: in *":$bin:"*) ;; *) echo "  hint: $bin is not in PATH" ;; esac
}

main "$@"

# Sourced by scripts that use programs from PyPI.

# Prints the interpreter of an environment that has the given packages. It is made once for each list of packages, below the target
# folder.
#
#   python_tools NAME PACKAGE==VERSION…
python_tools() {
  local name=$1 folder
  shift
  folder="${CARGO_TARGET_DIR:-target}/python/$name-$(printf '%s\n' "$@" | cksum | cut -d ' ' -f 1)"
  if [ ! -f "$folder/complete" ]; then
    rm -rf "$folder"
    if ! { python3 -m venv "$folder" && "$folder/bin/pip" install --quiet --disable-pip-version-check "$@"; } >&2; then
      echo "the Python packages $* cannot be installed. hint: install python3-venv, and see that pip reaches an index" >&2
      return 1
    fi
    touch "$folder/complete"
  fi
  echo "$folder/bin/python"
}

# Sourced by the scripts of this folder. They take their input from the environment, so that a workflow passes no text through a shell.

fail() {
  echo "error: $1" >&2
  if [ -n "${2:-}" ]; then echo "  hint: $2" >&2; fi
  exit 1
}

# Fails unless every variable named is set.
needs() {
  local name
  for name in "$@"; do [ -n "${!name:-}" ] || fail "$name is not set" "the head of this script says what it is"; done
}

# An output of the step in a workflow; elsewhere it is printed.
output() {
  echo "$1=$2" | tee -a "${GITHUB_OUTPUT:-/dev/null}"
}

is_digest() {
  [[ $1 =~ ^sha256:[0-9a-f]{64}$ ]]
}

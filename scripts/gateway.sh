# Sourced by the scripts that test a running gateway with another program. Makes the temporary folder $work, starts the gateway on a
# free loopback port, and at exit removes the folder and stops every program that `background` started.

work="$(mktemp -d)"
started=()
finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT

# Runs a command in the background, in $work. Its standard output goes to the file named by the first argument, its standard error
# to the file `complaints`.
background() {
  (cd "$work" && exec "${@:2}" > "$1" 2>> complaints) &
  started+=($!)
}

# Waits until a file in $work has a line that matches the second argument.
wait_for() {
  for _ in $(seq 300); do
    if grep -q "$2" "$work/$1"; then return; fi
    sleep 0.1
  done
  echo "no line of the output of $1 matches $2:"
  cat "$work/$1" "$work/complaints"
  exit 1
}

# Builds the binary and sets $portcullis to its path. PORTCULLIS_BINARY names one that is built already.
build_gateway() {
  if [ -z "${PORTCULLIS_BINARY:-}" ]; then
    cargo build --quiet --bin portcullis
  fi
  portcullis="$(realpath "${PORTCULLIS_BINARY:-${CARGO_TARGET_DIR:-target}/debug/portcullis}")"
  export PORT=0 LOG_LEVEL=error PORTCULLIS__LOG__ACCESS=off
}

# Starts the gateway and sets $gateway to its base address.
start_gateway() {
  background gateway "$portcullis" serve
  wait_for gateway '^ready'
  gateway="$(sed -n 's/^listening on //p' "$work/gateway")"
}

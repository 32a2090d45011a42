# To be sourced by what holds a running gateway against somebody else's program: a folder of its own, $work, that is
# gone in the end, as is whatever `background` started; and the gateway, on a free port of the loopback.

work="$(mktemp -d)"
started=()
finish() {
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT

# Runs a command in the background, in $work: what it says is in the file of the first argument, what it complains of
# in `complaints`.
background() {
  (cd "$work" && exec "${@:2}" > "$1" 2>> complaints) &
  started+=($!)
}

# Waits until a file in $work has a line like the second argument.
wait_for() {
  for _ in $(seq 300); do
    if grep -q "$2" "$work/$1"; then return; fi
    sleep 0.1
  done
  echo "there is no $2 in what $1 said:"
  cat "$work/$1" "$work/complaints"
  exit 1
}

# Sets $portcullis to the program.
build_gateway() {
  cargo build --quiet --bin portcullis
  portcullis="$(realpath "${CARGO_TARGET_DIR:-target}/debug/portcullis")"
  export PORT=0 LOG_LEVEL=error
}

# Sets $gateway to its address.
start_gateway() {
  background gateway "$portcullis" serve
  wait_for gateway '^ready'
  gateway="$(sed -n 's/^listening on //p' "$work/gateway")"
}

#!/usr/bin/env bash
# Builds the package @portcullis/client (clients/typescript), and checks its types, its API types against docs/openapi.json, its size, what it
# would publish (publint, are-the-types-wrong), and runs its tests: the units, those against a real gateway, and those in a real browser.
#
#   scripts/client.sh          everything
#   scripts/client.sh units    without a gateway
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/gateway.sh
package="$PWD/clients/typescript"
most_bytes=5120
deno="deno@2.9.6"
bun="bun@1.4.5"
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"

# Installs the tools unless those of this lock file are there.
install() {
  local lock
  lock="$(cksum < "$package/package-lock.json")"
  [ "$(cat "$package/node_modules/.installed" 2>/dev/null)" != "$lock" ] || return 0
  (cd "$package" && npm ci --silent --no-progress >/dev/null 2>&1) && echo "$lock" > "$package/node_modules/.installed"
}
if ! command -v npm >/dev/null || ! install; then
  echo "the tools of the TypeScript client cannot be installed: it was not checked. hint: install nodejs 20 and npm"
  exit 0
fi

# The version is the gateway's, and the lock file names no registry.
version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
grep -q "\"version\": \"$version\"" "$package/package.json" \
  || { echo "the version of clients/typescript/package.json is not $version, that of Cargo.toml"; exit 1; }
if grep -n '"resolved"' "$package/package-lock.json"; then
  echo "package-lock.json names a registry. hint: make it anew with the .npmrc beside it"
  exit 1
fi

cd "$package"
npx openapi-typescript ../../docs/openapi.json --alphabetize --output "$work/openapi.ts" >/dev/null 2>&1
diff -q src/openapi.ts "$work/openapi.ts" \
  || { echo "src/openapi.ts is not what docs/openapi.json describes. hint: cd clients/typescript && npm run generate"; exit 1; }
npx tsc --project tsconfig.json
rm -rf dist
npm run --silent build
npx esbuild dist/index.js --bundle --minify --format=esm --log-level=warning > "$work/core.js"
bytes="$(gzip -9 < "$work/core.js" | wc -c)"
[ "$bytes" -le "$most_bytes" ] || { echo "the core has $bytes bytes (minified, gzipped), more than $most_bytes"; exit 1; }
npx vitest run tests/units
[ "${1:-}" != units ] || { echo "the client's core has $bytes bytes (minified, gzipped); its units pass"; exit 0; }

# What would be published.
npm pack --silent --pack-destination "$work" >/dev/null
archive=("$work"/*.tgz)
strangers="$(tar -tzf "${archive[0]}" | grep -vE '^package/(package\.json|README\.md|CHANGELOG\.md|dist/[a-z]+\.(js|d\.ts))$' || true)"
[ -z "$strangers" ] || { echo "the package would publish $strangers"; exit 1; }
npx publint --strict "${archive[0]}"
npx attw --quiet --profile esm-only "${archive[0]}"

cd ../..
export PORTCULLIS__LIMITS__ENABLED=false
build_gateway
background upstream node "$package/tests/gateway/upstream.mjs"
wait_for upstream '^http'
upstream="$(cat "$work/upstream")"
cat > "$work/portcullis.toml" <<SETTINGS
[upstreams.projects]
targets = ["$upstream"]

[[routes]]
path = "/api/v1/projects/{*rest}"
upstream = "projects"
auth = "required"

[[routes]]
path = "/app/{*rest}"
upstream = "projects"
auth = "none"
SETTINGS
export PORTCULLIS_CONFIG="$work/portcullis.toml" ALLOWED_ORIGINS="$upstream"
cd "$work"
# One whose access tokens live for a second, and the one of all other tests.
export PORTCULLIS_DATA_DIR="$work/short-lived"
JWT_EXPIRES_IN=1s start_gateway
export SHORT_LIVED="$gateway" UPSTREAM="$upstream" PORTCULLIS_DATA_DIR="$work/data"
rm gateway
"$portcullis" migrate up >/dev/null
"$portcullis" users create --email root@example.com --username rootuser --first-name Root --last-name User \
  --role ADMIN --password-stdin <<< "correct horse battery staple" >/dev/null
start_gateway
export GATEWAY="$gateway"
cd "$package"
npx vitest run tests/gateway

# The same in other runtimes.
node tests/gateway/runtime.mjs "$GATEWAY" >/dev/null
runtimes="$target/client-runtimes-${deno//[^0-9]/}-${bun//[^0-9]/}"
if [ ! -f "$runtimes/complete" ]; then
  npm install --silent --no-audit --no-fund --prefix "$runtimes" "$deno" "$bun" >/dev/null 2>&1 && touch "$runtimes/complete" || true
fi
if [ -f "$runtimes/complete" ]; then
  "$runtimes/node_modules/.bin/deno" run --quiet --no-config --allow-net --allow-read tests/gateway/runtime.mjs "$GATEWAY" >/dev/null
  "$runtimes/node_modules/.bin/bun" tests/gateway/runtime.mjs "$GATEWAY" >/dev/null
  echo "a session in Node, Deno and Bun works"
else
  echo "deno and bun cannot be installed: the client was tested in Node only"
fi

# A real browser, as in scripts/pages.sh.
if ! command -v chromium >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing chromium"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 || true
fi
if command -v chromium >/dev/null; then
  npx esbuild tests/browser/react-entry.tsx --bundle --format=esm --jsx=automatic --log-level=warning \
    '--define:process.env.NODE_ENV="development"' --outfile=.cache/react.js
  CHROMIUM="$(command -v chromium)" npx vitest run tests/browser
else
  echo "no browser can be installed: the client was not tested in one. hint: install chromium"
fi
echo "the client's core has $bytes bytes (minified, gzipped); its tests pass"

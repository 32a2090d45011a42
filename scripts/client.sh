#!/usr/bin/env bash
# Builds the package @portcullis/client (clients/typescript), and checks its types, its API types against docs/openapi.json, its size, what it
# would publish (publint, are-the-types-wrong), and runs its tests: the units, and those against a real gateway.
#
#   scripts/client.sh          everything
#   scripts/client.sh units    without a gateway
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/gateway.sh
package="$PWD/clients/typescript"
most_bytes=5120

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
cat > "$work/portcullis.toml" <<SETTINGS
[upstreams.projects]
targets = ["$(cat "$work/upstream")"]

[[routes]]
path = "/api/v1/projects/{*rest}"
upstream = "projects"
auth = "required"
SETTINGS
export PORTCULLIS_CONFIG="$work/portcullis.toml"
cd "$work"
"$portcullis" migrate up >/dev/null
"$portcullis" users create --email root@example.com --username rootuser --first-name Root --last-name User \
  --role ADMIN --password-stdin <<< "correct horse battery staple" >/dev/null
start_gateway
cd "$package"
GATEWAY="$gateway" npx vitest run tests/gateway
echo "the client's core has $bytes bytes (minified, gzipped); its tests pass"

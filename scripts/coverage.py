"""Prints the row of a crate from what `llvm-cov export --summary-only` writes, and fails where it is below the crate's thresholds.

    scripts/coverage.py CRATE FOLDER < export.json
"""

import json
import sys

KINDS = ("lines", "functions", "regions")
# What identity and the gate decide keeps everybody else's data apart. In percent, of the tests of the whole workspace.
THRESHOLDS = {name: {"lines": 90, "functions": 90, "regions": 80} for name in ("portcullis-identity", "portcullis-gate")}


def main():
    crate, folder = sys.argv[1:]
    data = json.load(sys.stdin)["data"][0]
    # Without a file of the crate among them, the totals are those of all crates.
    if not all(file["filename"].startswith(folder) for file in data["files"]):
        return 0
    found = {kind: data["totals"][kind]["percent"] for kind in KINDS}
    print(f"{crate:<24}" + "".join(f"{found[kind]:>10.1f}%" for kind in KINDS))
    missed = [f"{kind} {found[kind]:.1f} % of {least} %" for kind, least in THRESHOLDS.get(crate, {}).items() if found[kind] < least]
    if missed:
        print(f"{crate} is covered too little: {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


sys.exit(main())

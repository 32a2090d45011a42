"""Counts the instructions of each phase of the gate with callgrind; the load of the machine does not change the counts.

Each case adds the work of one phase to the case before it. The cost of a case is the difference between a long run and a short one,
divided by the difference in requests. Prints the table of docs/gate.md and keeps it in bench/phases.txt.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

CASES = [
    ("http", "HTTP alone, client and server (hyper)"),
    ("open", "identify, framing, path, route, size, version, finish"),
    ("address-limit", "address limits: one, with its headers"),
    ("token", "classify (a remembered token, a known session) and authorise (a role)"),
    ("caller-limit", "caller limits: one"),
    ("cors", "cors: an allowed origin, with its headers"),
    ("csrf", "csrf: a token pair, an HMAC-SHA256 over it"),
]
SHORT, LONG = 300, 1300


def instructions(binary, case, requests, routes=1):
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        process = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", binary, str(requests), case, str(routes)],
            capture_output=True, text=True, check=True)
        return int(re.search(r"Collected : (\d+)", process.stderr).group(1))


def instructions_per_request(binary, case, routes=1):
    # The warm-up of a tenth is part of both runs, and so of the difference.
    short, long = (instructions(binary, case, count, routes) for count in (SHORT, LONG))
    return (long - short) / ((LONG - SHORT) * 1.1)


def main():
    binary = sys.argv[1]
    lines = ["| phase | instructions a request |", "|---|---|"]
    before = 0
    for case, phase in CASES:
        cost = instructions_per_request(binary, case)
        lines.append(f"| {phase} | {cost - before:,.0f} |" if before else f"| {phase} | {cost:,.0f} |")
        print(lines[-1], flush=True)
        before = cost
    few, many = (instructions_per_request(binary, "caller-limit", routes) for routes in (10, 10_000))
    lines.append(f"| the whole with 10,000 routes rather than 10 | {many - few:+,.0f} |")
    print(lines[-1], flush=True)
    pathlib.Path("bench/phases.txt").write_text("\n".join(lines) + "\n")


main()

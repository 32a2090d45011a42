"""What one case saw at one server, and the table of all."""

from collections import Counter


class Tally:
    def __init__(self, server, case):
        self.server = server
        self.case = case
        self.counts = Counter()
        self.wrong = Counter()
        self.absent = None

    def count(self, response):
        """Counts a response that its case checks itself."""
        self.counts[str(response.status)] += 1

    def expect(self, response, *statuses, note=""):
        """Counts a response, which must have one of these statuses. Returns whether it has."""
        if response.status in statuses:
            self.count(response)
            return True
        self.counts[f"{response.status}!"] += 1
        made_by = response.header("proxy-status") or ("the gateway" if b'"requestId"' in response.body else "the server")
        wanted = "/".join(map(str, statuses))
        self.wrong[f"{response.status} instead of {wanted}{note and ' for ' + note}, by {made_by}"] += 1
        return False

    def explained(self, response):
        """Counts a 5xx that the case accounts for."""
        self.counts[f"{response.status}e"] += 1

    def event(self, name, times=1):
        """Counts something that has no status: frames, events."""
        self.counts[name] += times

    def check(self, holds, problem):
        if not holds:
            self.wrong[problem] += 1

    def failed(self, error, note=""):
        """Counts an exchange that had no whole response."""
        self.counts["cut!"] += 1
        self.wrong[f"{type(error).__name__}: {error}{note and ' for ' + note}"] += 1

    def cell(self):
        if self.absent:
            return "–"
        seen = " ".join(f"{name}×{n}" for name, n in sorted(self.counts.items()))
        return f"{'✗ ' if self.wrong else ''}{seen or 'ok'}"


def table(tallies, servers, cases):
    """The table as Markdown: a row for each case, a column for each server."""
    cells = {(tally.server, tally.case): tally.cell() for tally in tallies}
    rows = [["case", *servers]] + [[case, *(cells.get((server, case), "") for server in servers)] for case in cases]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def problems(tallies):
    """One line for each kind of problem, with the servers at which it occurred."""
    servers = {}
    for tally in tallies:
        for problem, times in tally.wrong.items():
            servers.setdefault((tally.case, " ".join(problem.split())[:220]), []).append(f"{tally.server} {times}×")
    return [f"{case}: {problem} ({', '.join(names)})" for (case, problem), names in servers.items()]

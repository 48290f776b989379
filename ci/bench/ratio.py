#!/usr/bin/env python3
"""Medians of two files of JSON lines, and their ratio: `ratio.py SIM TURMOIL`.
Exits 1 when the first is less than three times the second by the processor
time of its thread, 2 when there is nothing to compare."""

import json
import statistics
import sys

BAR = 3.0
FIGURES = ["transactions_per_second_per_core", "transactions_per_cpu_second"]


def main():
    sides = []
    for path in sys.argv[1:3]:
        with open(path, encoding="utf-8") as lines:
            sides.append([json.loads(line) for line in lines if line.strip()])
    if len(sides) != 2 or not sides[0] or len(sides[0]) != len(sides[1]):
        print("two files with as many lines are needed", file=sys.stderr)
        return 2
    ratio = 0.0
    for figure in FIGURES:
        ours, theirs = ([run[figure] for run in side] for side in sides)
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(
            f"{figure}: mailproof {statistics.median(ours):.0f} ({min(ours):.0f} to {max(ours):.0f}),"
            f" turmoil {statistics.median(theirs):.0f} ({min(theirs):.0f} to {max(theirs):.0f}),"
            f" ratio of medians {ratio:.2f}, {len(ours)} rounds"
        )
    verdict = "at least" if ratio >= BAR else "BELOW"
    print(f"{verdict} {BAR:.0f} times turmoil by processor time")
    return 0 if ratio >= BAR else 1


if __name__ == "__main__":
    sys.exit(main())

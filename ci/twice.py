#!/usr/bin/env python3
"""Reads the summary of a campaign whose seeds were run twice.

    ci/twice.py SUMMARY.json

Every seed must have come out alike, and there must be enough of them. Exits 1
with what is not so.
"""

import json
import sys

LEAST = 1_000


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        summary = json.load(file)
    wrong = []
    if not summary["identity"]["twice"]:
        wrong.append("the seeds were not run twice")
    if not summary["complete"] or summary["tried"] < LEAST:
        wrong.append(f"{summary['tried']} of {summary['trials']} trials, at least {LEAST} are due")
    for group in summary["groups"]:
        if group["verdict"] == "error":
            wrong.append(f"{group['scenario']} seed {group['lowest'][0]}: {group['reason']}")
    for differs in summary["not_deterministic"]:
        wrong.append(f"{differs['scenario']} seed {differs['seed']}: {differs['how']}")
    for text in wrong:
        print(text, file=sys.stderr)
    if not wrong:
        print(
            f"{summary['tried']} trials came out alike twice, "
            f"{summary['simulated_seconds']:.0f} simulated seconds, "
            f"histories {summary['histories']}"
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

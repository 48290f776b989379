#!/usr/bin/env python3
"""Lines of `mailproof run --format json` over many seeds of a healthy target:
no FAIL, no ERROR, and of each scenario at least 95 % PASS. Exits 1 otherwise.
"""

import collections
import json
import sys

LEAST = 0.95


def main():
    verdicts = collections.defaultdict(collections.Counter)
    with open(sys.argv[1], encoding="utf-8") as lines:
        for line in lines:
            run = json.loads(line)
            verdicts[run["scenario"]][run["verdict"]] += 1
            if run["verdict"] in ("fail", "error"):
                print(f"{run['verdict']}: {run['reason']}\n  {run['reproduce']}", file=sys.stderr)
    bad = not verdicts
    for scenario, counts in sorted(verdicts.items()):
        total = sum(counts.values())
        enough = counts["pass"] >= LEAST * total and not counts["fail"] and not counts["error"]
        bad = bad or not enough
        named = ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items()))
        print(f"{'ok   ' if enough else 'WRONG'}  {scenario:<28}  {named}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

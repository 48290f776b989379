#!/usr/bin/env python3
"""Compares the summaries of two campaigns (`--format json`).

    ci/campaign/same.py A.json B.json

Everything that follows from the seeds must be the same; where and how fast
they were run may differ. Exits 1 with what differs.
"""

import json
import sys

# What says where, when, in how many pieces.
OWN = {
    "dir",
    "here",
    "seeds_per_processor_second",
    "stores",
    "counted_twice",
    "missing",
    "identity",
}


def totals(summary):
    rest = {name: value for name, value in summary.items() if name not in OWN}
    for kept in rest["kept"]:
        del kept["dir"]
    for group in rest["groups"]:
        del group["reproduce"]
    return rest


def main():
    one, other = (totals(json.load(open(name, encoding="utf-8"))) for name in sys.argv[1:3])
    differ = [name for name in sorted(one | other) if one.get(name) != other.get(name)]
    for name in differ:
        print(f"{name}: {one.get(name)} in one, {other.get(name)} in the other", file=sys.stderr)
    if not differ:
        print(
            f"the same: {one['tried']} trials, {one['verdicts']}, "
            f"{len(one['marks'])} marks, {len(one['kept'])} kept, histories {one['histories']}"
        )
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())

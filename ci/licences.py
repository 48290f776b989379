#!/usr/bin/env python3
"""Every dependency must carry a licence that this project may ship with.

Reads `cargo metadata`; exits 1 with the crates that do not fit.
"""

import json
import re
import subprocess
import sys

# Permissive licences without conditions on the rest of the program.
ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
}


def allowed(expression):
    """Whether an SPDX expression can be met with allowed licences only."""
    # Older manifests write `MIT/Apache-2.0` for OR.
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    place = 0

    def peek():
        return words[place] if place < len(words) else None

    def take():
        nonlocal place
        place += 1
        return words[place - 1]

    def one():
        if peek() == "(":
            take()
            met = either()
            if peek() != ")":
                raise ValueError(expression)
            take()
            return met
        name = take()
        if peek() == "WITH":
            take()
            name = f"{name} WITH {take()}"
        return name in ALLOWED

    def both():
        met = one()
        while peek() == "AND":
            take()
            met = one() and met
        return met

    def either():
        met = both()
        while peek() == "OR":
            take()
            met = both() or met
        return met

    met = either()
    if place != len(words):
        raise ValueError(expression)
    return met


def self_check():
    """The evaluator itself, both ways."""
    for expression, met in [
        ("MIT", True),
        ("MIT OR Apache-2.0", True),
        ("MIT/GPL-3.0", True),
        ("GPL-3.0-or-later", False),
        ("MIT AND GPL-2.0", False),
        ("(MIT OR GPL-2.0) AND ISC", True),
        ("Apache-2.0 WITH LLVM-exception", True),
    ]:
        assert allowed(expression) == met, expression


def main():
    self_check()
    metadata = json.loads(
        subprocess.run(
            ["cargo", "metadata", "--format-version", "1", "--locked"],
            check=True,
            stdout=subprocess.PIPE,
        ).stdout
    )
    bad = []
    for package in metadata["packages"]:
        licence = package.get("license")
        try:
            fits = licence is not None and allowed(licence)
        except (ValueError, IndexError):
            fits = False
        if not fits:
            bad.append(f"{package['name']} {package['version']}: {licence or 'no licence given'}")
    for line in sorted(bad):
        print(f"licence not allowed: {line}", file=sys.stderr)
    print(f"licences: {len(metadata['packages'])} packages, {len(bad)} not allowed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Tracked files name no package registry's host and no path of one machine.

A name here is put together from parts, so that this file does not match
itself. Exits 1 with the places.
"""

import re
import subprocess
import sys

HOSTS = [
    "crates" + ".io",
    "pypi" + ".org",
    "pythonhosted" + ".org",
    "npmjs" + ".",
    "deb.debian" + ".org",
    "docker" + ".io",
    "proxy.golang" + ".org",
]
PATHS = ["/" + name + "/" for name in ("work", "root", "home")]

WRONG = re.compile(
    "|".join([re.escape(host) for host in HOSTS] + [rf"(?<![\w.~-]){re.escape(p)}\w" for p in PATHS])
)

# The lock file says where each dependency comes from; cargo writes it.
LEFT_OUT = {"Cargo.lock"}


def main():
    names = subprocess.run(
        ["git", "ls-files", "-z"], check=True, stdout=subprocess.PIPE
    ).stdout.decode()
    places = []
    files = [name for name in names.split("\0") if name and name not in LEFT_OUT]
    for name in files:
        try:
            with open(name, encoding="utf-8", errors="replace") as file:
                lines = file.read().split("\n")
        except OSError:
            continue  # deleted in the work tree
        for number, line in enumerate(lines, 1):
            found = WRONG.search(line)
            if found:
                places.append(f"{name}:{number}: {found.group(0)}")
    for place in places[:50]:
        print(f"does not belong in a tracked file: {place}", file=sys.stderr)
    print(f"tidy: {len(files)} files, {len(places)} places")
    return 1 if places else 0


if __name__ == "__main__":
    sys.exit(main())

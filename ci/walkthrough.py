#!/usr/bin/env python3
"""Walks through reference-impl/README.md: runs what it shows, compares what
comes with what it shows.

    ci/walkthrough.py [MAILPROOF]    checks; MAILPROOF defaults to target/release/mailproof
    ci/walkthrough.py --update …     writes what came into the README

In the README a block marked `sh` is run as it stands. In a block marked
`console` each line after `$ ` is a command, and the lines below it are what it
prints. What differs from run to run is not compared: identities, spans of
time, the width of columns. A command that asks a node is asked again until it
shows what is expected, for at most a minute: queues move by themselves.

The ports of the README are exchanged for free ones, all files are in a
temporary folder, and every process that was started is ended.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
README = os.path.join(ROOT, "reference-impl", "README.md")
PATIENCE = 60
END = "--end-of-step--"
ASKS = re.compile(r"^mailproof queue ")


def blocks(text):
    """(language, first line number, lines) of every block to run."""
    found, lines, language, start = [], [], None, 0
    for number, line in enumerate(text.split("\n"), 1):
        if language is None:
            if line in ("```sh", "```console"):
                language, lines, start = line[3:], [], number + 1
        elif line == "```":
            found.append((language, start, lines))
            language = None
        else:
            lines.append(line)
    return found


def commands(start, lines):
    """(line number, command, expected lines) of a console block."""
    steps = []
    for number, line in enumerate(lines, start):
        if line.startswith("$ "):
            steps.append((number, line[2:], []))
        elif steps:
            steps[-1][2].append(line)
    return steps


def comparable(lines):
    text = "\n".join(lines)
    text = re.sub(r"\b[0-9a-f]{32}\b", "ID", text)
    text = re.sub(r"\b\d+ (ms|s|min|h)\b", "T", text)
    text = re.sub(r"-{3,}", "-", text)
    return [re.sub(r"\s+", " ", line).strip() for line in text.split("\n")]


class Ports:
    """The README's ports and the free ones in their place."""

    def __init__(self, text):
        self.there = {}
        sockets = []
        for port in sorted(set(re.findall(r"\b25[0-9][0-9]\b", text))):
            one = socket.socket()
            one.bind(("127.0.0.1", 0))
            sockets.append(one)
            self.there[port] = str(one.getsockname()[1])
        for one in sockets:
            one.close()
        self.back = {free: port for port, free in self.there.items()}

    @staticmethod
    def exchange(text, table):
        return re.sub(r"\b\d{4,5}\b", lambda m: table.get(m.group(0), m.group(0)), text)


class Shell:
    def __init__(self, folder, binary):
        os.symlink(os.path.abspath(binary), os.path.join(folder, "mailproof"))
        environment = dict(os.environ, PATH=folder + ":" + os.environ["PATH"], PS1="")
        self.process = subprocess.Popen(
            ["bash"], cwd=folder, env=environment, start_new_session=True, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, command):
        self.process.stdin.write(f"{command}\necho '{END}'\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            line = line.rstrip("\n")
            if line == END:
                return lines
            lines.append(line)
        raise SystemExit(f"the shell ended at: {command}")

    def end(self):
        # The shell leads a session of its own; its children are in its group.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def walk(text, binary, update):
    ports = Ports(text)
    shown = text.split("\n")
    wrong = 0
    edits = []
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell(folder, binary)
        try:
            for language, start, lines in blocks(text):
                if language == "sh":
                    said = shell.run(ports.exchange("\n".join(lines), ports.there))
                    if said:
                        wrong += 1
                        print(f"README.md:{start}: printed {said}", file=sys.stderr)
                    continue
                for number, command, expected in commands(start, lines):
                    count += 1
                    until = time.monotonic() + (8 if update else PATIENCE)
                    while True:
                        came = shell.run(ports.exchange(command, ports.there))
                        came = [ports.exchange(line, ports.back) for line in came]
                        good = comparable(came) == comparable(expected)
                        if good or not ASKS.match(command) or time.monotonic() > until:
                            break
                        time.sleep(0.1)
                    if not good:
                        wrong += 1
                        edits.append((number, len(expected), came))
                        print(f"README.md:{number}: $ {command}", file=sys.stderr)
                        for line in expected:
                            print(f"  - {line}", file=sys.stderr)
                        for line in came:
                            print(f"  + {line}", file=sys.stderr)
        finally:
            shell.end()
    if update:
        for number, length, came in reversed(edits):
            shown[number : number + length] = came
        with open(README, "w", encoding="utf-8") as file:
            file.write("\n".join(shown))
        return 0
    if count == 0:
        print("README.md shows nothing to run", file=sys.stderr)
        return 1
    print(f"walk-through: {count} commands, {wrong} differ")
    return 1 if wrong else 0


def main():
    update = "--update" in sys.argv
    names = [name for name in sys.argv[1:] if not name.startswith("-")]
    binary = names[0] if names else os.path.join(ROOT, "target", "release", "mailproof")
    with open(README, encoding="utf-8") as file:
        text = file.read()
    return walk(text, binary, update)


if __name__ == "__main__":
    sys.exit(main())

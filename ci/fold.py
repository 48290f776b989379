#!/usr/bin/env python3
"""A second judge: histories to verdicts, from the format and the rules alone.

Written from harness/model/HISTORY.md and harness/model/JUDGE.md, in plain
Python with its standard library, so that what the documents say and what the
command does are held against each other.

    fold.py HISTORY.jsonl|RUNDIR…   one JSON object for each, on a line
    fold.py --fixtures DIR          every fixture and mutant below DIR gives
                                    what stands beside it, else exit 1
    fold.py --against FILE          lines of `mailproof check --format json`:
                                    each run directory judged again, exit 1 on
                                    any difference
    fold.py --self-check            the fixtures of this repository

What it leaves out: the BLAKE3 chain is not computed (the standard library has
no BLAKE3), so a changed byte that leaves a line readable is not found; only
the places and counts of block lines and of the seal are. `mailproof check`
finds the rest.
"""

import bisect
import json
import os
import re
import sys
import tomllib

# --- the format (HISTORY.md) -------------------------------------------------

BLOCK_EVENTS = 256
PARTY = re.compile(r"client|mb|[nm]([1-9][0-9]{0,4})")
HEX64 = r"[0-9a-f]{64}"
BLOCK = re.compile(rf'\{{"block":(\d+),"events":(\d+),"hash":"({HEX64})"\}}')
SEAL = re.compile(rf'\{{"seal":\{{"events":(\d+),"root":"({HEX64})"\}}\}}')


class Altered(Exception):
    """A line that is no right line, and why."""


def number(most):
    return lambda v: type(v) is int and 0 <= v <= most


def text(v):
    return type(v) is str


def flag(v):
    return type(v) is bool


def party(v):
    found = PARTY.fullmatch(v) if type(v) is str else None
    return bool(found) and (found.group(1) is None or int(found.group(1)) <= 65535)


def link(v):
    return type(v) is str and v.count("->") == 1 and all(party(p) for p in v.split("->"))


def one_of(*names):
    return lambda v: v in names


def many(of):
    return lambda v: type(v) is list and all(of(x) for x in v)


def record(need, may=()):
    """An object with these members and no others."""
    may = dict(may)

    def check(v):
        if type(v) is not dict or any(k not in v for k in need):
            return False
        for key, value in v.items():
            of = need.get(key) or may.get(key)
            if of is None or not of(value):
                return False
        return True

    return check


U16, U32, U64 = number(2**16 - 1), number(2**32 - 1), number(2**64 - 1)
RCPTS = many(U16)
ROW = record(
    {
        "msg": lambda v: v is None or U32(v),
        "rcpts": RCPTS,
        "state": one_of("queued", "shadow", "done"),
    }
)
STORED = record({"msg": U32, "rcpt": U16, "copies": U32, "digest": text})

LIFE = {"node": party, "life": U32}
# Each event: its fields, and who may say it.
EVENTS = {
    "start": (record({**LIFE, "store": one_of("same", "empty")}), "kernel"),
    "ready": (record(LIFE), "kernel link"),
    "exit": (record({**LIFE, "status": text}), "kernel"),
    "paused": (record(LIFE), "kernel"),
    "resumed": (record(LIFE), "kernel"),
    "clock": (record({**LIFE, "wall": U64, "mono": U64}, {"fault": U32}), "kernel"),
    "dropped": (record({"node": party, "operations": U64}), "disk"),
    "disk-held": (record({"node": party, "fault": U32, "op": text, "nth": U64}), "disk"),
    "disk-released": (record({"node": party, "fault": U32}), "disk"),
    "disk-harm": (
        record(
            {
                "node": party,
                "fault": U32,
                "op": text,
                "how": one_of("eio", "enospc", "erofs", "sync-eio", "torn", "slow"),
                "amount": U64,
            }
        ),
        "disk",
    ),
    "damaged": (
        record(
            {
                "node": party,
                "fault": U32,
                "file": text,
                "how": one_of("flip-bit", "zero-block", "truncate", "delete"),
                "bytes": U64,
            }
        ),
        "disk",
    ),
    "damage-read": (record({"node": party, "fault": U32, "file": text}), "disk"),
    "store-gone": (record({"node": party}), "disk"),
    "store-read": (
        record({"node": party, "rows": many(ROW)}, {"stored": many(STORED), "damage": text}),
        "disk",
    ),
    "fault": (
        record(
            {"fault": U32, "stage": one_of("requested", "armed", "fired", "removed"), "text": text},
            {"node": party, "link": link, "conn": U32},
        ),
        "director injector",
    ),
    "happening": (record({"fault": U32, "number": U64}), "kernel"),
    "attempt": (
        record(
            {"msg": U32, "attempt": U16, "session": U16, "node": party, "rcpts": RCPTS},
            {"silent": flag},
        ),
        "client",
    ),
    "outcome": (
        record({"msg": U32, "attempt": U16, "rcpts": RCPTS, "end": RCPTS}, {"note": text}),
        "client",
    ),
    "gave-up": (record({"msg": U32}), "client"),
    "open": (record({"conn": U32}), "link"),
    "refused": (record({}, {"conn": U32, "note": text}), "link"),
    "stalled": (record({"conn": U32, "from": party}), "link"),
    "shut": (
        record({"conn": U32, "how": one_of("fin", "reset", "silent")}, {"from": party}),
        "link",
    ),
    "dot": (
        record(
            {"conn": U32, "rcpts": RCPTS, "digest": text},
            {"msg": U32, "attempt": U16, "strangers": many(text), "reverse": text},
        ),
        "link",
    ),
    "reply": (
        record(
            {"conn": U32, "to": text, "code": U16}, {"msg": U32, "attempt": U16, "rcpts": RCPTS}
        ),
        "link",
    ),
    "verb": (record({"conn": U32, "verb": text, "code": U16}), "link"),
    "opaque": (record({"conn": U32, "note": text}), "link"),
    "held": (record({"conn": U32, "fault": U32, "phase": text}), "link"),
    "released": (record({"conn": U32, "fault": U32}), "link"),
    "taken": (
        record(
            {"conn": U32, "from": party, "msg": U32, "attempt": U16, "rcpts": RCPTS, "digest": text},
            {"strangers": many(text)},
        ),
        "mailbox",
    ),
    "dsn": (
        record({"conn": U32, "from": party, "msg": U32, "action": text, "rcpts": RCPTS}),
        "mailbox",
    ),
    "phantom": (record({"conn": U32, "from": party, "note": text}), "mailbox"),
    "queues": (record({"node": party, "rows": many(ROW)}, {"others": U32}), "node"),
    "unlisted": (record({"node": party, "note": text}), "director"),
    "step": (record({"step": U32, "text": text}), "director"),
    "choice": (record({"step": U32, "of": text, "picked": party}), "director"),
    "waited": (record({"step": U32, "until": text, "came": flag}), "director"),
    "measured": (record({"name": text, "took": U64}), "director"),
    "quiet": (record({"since": U64, "lasted": U64}), "director"),
    "end": (record({"why": text}), "director"),
    "trouble": (record({"note": text}), "director"),
}
NOT_AFTER_END = {"attempt", "step", "choice", "waited", "measured", "quiet", "end"}


def once(pairs):
    """Members of an object; a name that appears twice is an error."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Altered("a name appears twice")
    return found


def loads(line):
    try:
        return json.loads(line, object_pairs_hook=once)
    except ValueError as e:
        raise Altered(f"no JSON: {e}") from None


def may_say(by, name, fields):
    """Whether this witness may say this event."""
    kind, _, of = by.partition(":")
    if kind not in EVENTS[name][1].split():
        return False
    if kind in ("disk", "node"):
        return of == fields["node"]
    if kind == "link":
        return link(of)
    if of or ":" in by:
        return False
    if name == "fault":
        return (by == "director") == (fields["stage"] == "requested")
    return True


class Event:
    """One event: id, at, by, name, fields; `link` if a link saw it."""

    __slots__ = ("id", "at", "by", "name", "f", "link")

    def __init__(self, place, at, by, name, fields):
        self.id, self.at, self.by, self.name, self.f = place, at, by, name, fields
        self.link = by[5:] if by.startswith("link:") else None


def event_of(value, due, before, ended, relaxed):
    """An event from its JSON value, held to §3 and §4 of the format."""
    if type(value) is not dict:
        raise Altered("an event is an object")
    for key in value:
        if key not in ("id", "at", "by", "ev"):
            raise Altered(f"an event has no member `{key}`")
    if "id" in value or not relaxed:
        if type(value.get("id")) is not int or value["id"] != due:
            raise Altered(f"the id must be {due}")
    at, by, ev = value.get("at"), value.get("by"), value.get("ev")
    if not U64(at) or at < before:
        raise Altered(f"its time {at} lies before that of the event before it, {before}")
    if type(by) is not str or type(ev) is not dict or len(ev) != 1:
        raise Altered("an event has a witness and one thing that was seen")
    ((name, fields),) = ev.items()
    if name not in EVENTS or not EVENTS[name][0](fields):
        raise Altered(f"`{name}` is no event, or has not the fields that it should")
    if not may_say(by, name, fields):
        raise Altered(f"`{by}` may not be the witness of `{name}`")
    late = name in NOT_AFTER_END or (name == "fault" and fields["stage"] == "requested")
    if ended and late:
        raise Altered(f"`{name}` may not follow `end`")
    return Event(due, at, by, name, fields)


def header_of(line):
    value = loads(line)
    if type(value) is not dict or set(value) != {"mailproof", "plan"}:
        raise Altered("a history begins with its header")
    if value["mailproof"] != "history/1":
        raise Altered(f"the version {value['mailproof']} is not known")
    return value["plan"]


def content(lines):
    """The relaxed form: no empty lines, no lines that begin with `#`."""
    for at, line in enumerate(lines, 1):
        line = line.strip()
        if line and not line.startswith("#"):
            yield at, line


def relaxed(lines, plan=None):
    """A hand-made history: plan, events."""
    events, ended, at = [], False, 0
    for place, line in content(lines):
        try:
            if plan is None:
                plan = header_of(line)
                continue
            event = event_of(loads(line), len(events), at, ended, True)
        except Altered as e:
            raise Altered(f"line {place}: {e}") from None
        at, ended = event.at, ended or event.name == "end"
        events.append(event)
    if plan is None:
        raise Altered("line 1: there is no header")
    return plan, events


def full(path):
    """A history as it is written: plan, events, why it is unsealed or None."""
    plan, events, ended, at = None, [], False, 0
    blocks = open_lines = 0
    due = False  # a block line must come next
    last, short, sealed = None, False, False
    with open(path, "rb") as file:
        for place, raw in enumerate(file, 1):
            if not raw.endswith(b"\n"):
                break  # torn: whatever it holds, it is not there
            try:
                line = raw[:-1].decode("utf-8")
                if sealed:
                    raise Altered("nothing may follow the seal")
                if plan is None:
                    plan, open_lines = header_of(line), 1
                elif line.startswith('{"block":'):
                    found = BLOCK.fullmatch(line)
                    if (
                        not found
                        or not open_lines
                        or short
                        or int(found[1]) != blocks
                        or int(found[2]) != len(events)
                    ):
                        raise Altered("not the block line that follows from the lines before it")
                    # The header alone, or fewer events than a block has: the
                    # seal must follow.
                    short = not due
                    blocks, open_lines, last, due = blocks + 1, 0, found[3], False
                elif line.startswith('{"seal":'):
                    found = SEAL.fullmatch(line)
                    if (
                        not found
                        or open_lines
                        or int(found[1]) != len(events)
                        or found[2] != last
                    ):
                        raise Altered("not the seal that follows from the lines before it")
                    sealed = True
                else:
                    if due or short:
                        raise Altered("a block line or the seal is missing")
                    event = event_of(loads(line), len(events), at, ended, False)
                    at, ended = event.at, ended or event.name == "end"
                    events.append(event)
                    open_lines += 1
                    due = len(events) % BLOCK_EVENTS == 0
            except (Altered, UnicodeDecodeError) as e:
                raise Altered(f"line {place}: {e}") from None
    if plan is None:
        raise Altered("it ends within its first line, so there is no plan")
    return plan, events, None if sealed else "it has no seal"


# --- spans (HISTORY.md §5) -----------------------------------------------------

UNITS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
TERM = re.compile(r"\s*([0-9_]*)(?:\.([0-9]{1,9}))?\s*([A-Za-z][A-Za-z0-9-]*)\s*(?:/\s*([0-9]+)\s*)?")


def span(written, times):
    """Nanoseconds; None if a name has no value or the sum is out of range."""
    total, sign = 0, 1
    for part in re.split(r"([+-])(?=\s*[0-9.]|\s*[A-Za-z])", written):
        if part in ("+", "-"):
            sign = 1 if part == "+" else -1
            continue
        found = TERM.fullmatch(part)
        if not found:
            return None
        whole, fraction, name, by = found.groups()
        if name in UNITS:
            base = UNITS[name]
        else:
            names = [name]
            if name.endswith("s"):
                names.append(name[:-1])
            if name.endswith("ies"):
                names.append(name[:-3] + "y")
            base = next((times[n] for n in names if n in times), None)
            if base is None:
                return None
        whole, fraction = whole.replace("_", ""), fraction or ""
        digits = whole + fraction
        factor = int(digits) if digits else 1
        total += sign * (base * factor // ((int(by) if by else 1) * 10 ** len(fraction)))
    return total if 0 <= total < (2**64 - 1) // 2 else None


def size(written):
    """Bytes: `4 KiB`."""
    digits = re.match(r"[0-9]+", written.strip()).group()
    return int(digits) << {"B": 0, "KiB": 10, "MiB": 20, "GiB": 30}[written.strip()[len(digits):].strip()]


# --- the ledger (JUDGE.md §1) ----------------------------------------------------

DISK_FAULTS = ("disk", "corrupt")
NODE_FAULTS = ("crash", "power-cut", "node-lost", "restart")


def is_node(p):
    return p[0] in "nm" and p != "mb"


def is_end(p):
    return p[0] == "m"


def ends(l):
    return tuple(l.split("->"))


def between(a, b):
    return (a, b) if a < b else (b, a)


class Hop:
    """An end of data on a link and the replies to it."""

    __slots__ = ("link", "conn", "attempt", "rcpts", "digest", "dot", "answers")

    def __init__(self, event):
        f = event.f
        self.link, self.conn = event.link, f["conn"]
        self.attempt, self.rcpts = f.get("attempt", 0), f["rcpts"]
        self.digest, self.dot, self.answers = f["digest"], event, []

    def reply(self, rcpt):
        """The first reply that speaks for a recipient of the transaction."""
        if rcpt in self.rcpts:
            for reply in self.answers:
                if "rcpts" not in reply.f or rcpt in reply.f["rcpts"]:
                    return reply
        return None

    def accepted(self, rcpt):
        reply = self.reply(rcpt)
        return reply is not None and reply.f["code"] // 100 == 2


class Try:
    """An attempt of the sender."""

    __slots__ = ("begun", "f", "hop", "outcome")

    def __init__(self, event):
        self.begun, self.f, self.hop, self.outcome = event, event.f, None, None


class Mail:
    """What one message went through."""

    __slots__ = ("rcpts", "silent", "tries", "hops", "copies", "dsns", "strangers")

    def __init__(self):
        self.rcpts, self.silent = [], False
        self.tries, self.hops, self.copies, self.dsns, self.strangers = [], [], [], [], []


class Ledger:
    """Everything a history says, by message, node and link."""

    def __init__(self, plan, events):
        self.plan, self.events = plan, events
        self.limit = plan["scenario"]["workload"]["messages"]
        self.mails, self.troubles, self.phantoms = {}, [], []
        self.lives, self.pauses = {}, {}
        self.dropped, self.gone, self.was_gone = [], {}, []
        self.stores, self.listings = {}, {}
        self.fired, self.removed, self.removals, self.stalled = {}, {}, {}, {}
        self.opaque, self.refused, self.shuts, self.held = set(), {}, {}, []
        self.asked, self.dots = {}, {}
        self.harms, self.damages, self.damage_reads = [], [], []
        self.released, self.waited, self.measured = [], [], []
        self.resumed, self.answers, self.reversed = [], {}, []
        self.clocks = []
        self.opened, self.happenings = {}, {}  # by link and connection; by fault
        self.moved = self.quiet = self.end = None
        for event in events:
            getattr(self, "on_" + event.name.replace("-", "_"), self.skip)(event, event.f)

    def skip(self, event, f):
        pass

    def until(self, fault, fired):
        """When a firing was taken back: the next removal on its link."""
        for e in self.removals.get(fault, []):
            if e.id > fired.id and e.f.get("link") == fired.f.get("link"):
                return e
        return None

    def mail(self, event):
        if event.f["msg"] >= self.limit:
            self.troubles.append(f"event {event.id} names a message that the workload has not")
            return None
        return self.mails.setdefault(event.f["msg"], Mail())

    # Nodes and disks.
    def on_start(self, event, f):
        life = {"life": f["life"], "store": f["store"], "start": event, "ready": None, "exit": None}
        self.lives.setdefault(f["node"], []).append(life)

    def life(self, f):
        found = [l for l in self.lives.get(f["node"], []) if l["life"] == f["life"]]
        return found[-1] if found else None

    def on_ready(self, event, f):
        life = self.life(f)
        if life and not life["ready"]:
            life["ready"] = event

    def on_exit(self, event, f):
        life = self.life(f)
        if not life:
            self.troubles.append(f"event {event.id} ends a life that never started")
        elif not life["exit"]:
            life["exit"] = event

    def on_paused(self, event, f):
        self.pauses.setdefault(f["node"], []).append([event, None])

    def on_resumed(self, event, f):
        pauses = self.pauses.get(f["node"])
        if pauses and not pauses[-1][1]:
            pauses[-1][1] = event

    def on_dropped(self, event, f):
        self.dropped.append(event)

    def on_store_gone(self, event, f):
        self.gone[f["node"]] = event
        self.was_gone.append(event)
        self.stores.pop(f["node"], None)

    def on_store_read(self, event, f):
        self.stores[f["node"]] = Listing(event)

    def on_queues(self, event, f):
        self.listings[f["node"]] = Listing(event)

    # Faults.
    def on_fault(self, event, f):
        if f["stage"] == "fired":
            self.fired.setdefault(f["fault"], []).append(event)
        elif f["stage"] == "removed":
            self.removed[f["fault"]] = event
            self.removals.setdefault(f["fault"], []).append(event)

    def on_clock(self, event, f):
        self.clocks.append(event)

    def on_happening(self, event, f):
        self.happenings.setdefault(f["fault"], event)

    # The client.
    def on_attempt(self, event, f):
        self.moved = event
        mail = self.mail(event)
        if mail:
            if not mail.tries:
                mail.rcpts = f["rcpts"]
            mail.silent = mail.silent or f.get("silent", False)
            mail.tries.append(Try(event))

    def on_outcome(self, event, f):
        mail = self.mail(event)
        if mail:
            for t in reversed(mail.tries):
                if t.f["attempt"] == f["attempt"] and not t.outcome:
                    t.outcome = event
                    return
            self.troubles.append(f"event {event.id} ends an attempt that never began")

    def on_gave_up(self, event, f):
        self.mail(event)

    # Links.
    def on_refused(self, event, f):
        self.refused.setdefault(event.link, []).append(event)

    def on_stalled(self, event, f):
        self.stalled.setdefault(event.link, []).append(event)

    def on_shut(self, event, f):
        self.shuts.setdefault(event.link, []).append(event)

    def on_dot(self, event, f):
        self.moved = event
        if "msg" not in f:
            return
        mail = self.mail(event)
        if not mail:
            return
        hop = Hop(event)
        self.dots.setdefault(event.link, []).append(hop)
        if not event.link.startswith("client->"):
            mail.hops.append(hop)
            if ends(event.link)[1] != "mb":
                mail.strangers += f.get("strangers", [])
            if "reverse" in f:
                self.reversed.append(event)
            return
        for t in reversed(mail.tries):
            if t.f["attempt"] == hop.attempt and not t.hop:
                t.hop = hop
                return
        self.troubles.append(f"event {event.id} is of an attempt that never began")

    def on_verb(self, event, f):
        if f["verb"] not in OPENING:
            self.answers.setdefault(event.link, []).append(event.at)
        if f["verb"] not in OPENING + GIVING:
            self.asked.setdefault(event.link, []).append((event.at, f["conn"]))

    def on_reply(self, event, f):
        self.answers.setdefault(event.link, []).append(event.at)
        if f["to"] != "dot" or "msg" not in f:
            return
        mail = self.mail(event)
        if not mail:
            return
        if event.link.startswith("client->"):
            hops = [t.hop for t in mail.tries if t.hop and t.f["attempt"] == f.get("attempt", 0)]
        else:
            hops = mail.hops
        for hop in reversed(hops):
            if hop.link == event.link and hop.conn == f["conn"]:
                hop.answers.append(event)
                return
        self.troubles.append(f"event {event.id} answers an end of data that no link saw")

    def on_open(self, event, f):
        self.opened.setdefault((event.link, f["conn"]), event)

    def on_opaque(self, event, f):
        self.opaque.add(event.link)

    def on_held(self, event, f):
        self.held.append(event)

    def on_released(self, event, f):
        self.released.append(event)

    def on_disk_harm(self, event, f):
        self.harms.append(event)

    def on_damaged(self, event, f):
        self.damages.append(event)

    def on_damage_read(self, event, f):
        self.damage_reads.append(event)

    def on_disk_released(self, event, f):
        self.released.append(event)

    # Mail's end.
    def on_taken(self, event, f):
        self.moved = event
        if f["msg"] >= self.limit:
            self.phantoms.append(event)
            return
        mail = self.mail(event)
        l = f["from"] + "->mb"
        crossed = any(h.link == l and h.conn == f["conn"] for h in mail.hops)
        if not crossed and l not in self.opaque:
            self.troubles.append(f"event {event.id} was taken, but {l} never saw it pass")
        mail.strangers += f.get("strangers", [])
        mail.copies.append(event)

    def on_dsn(self, event, f):
        self.moved = event
        mail = self.mail(event)
        if mail:
            mail.dsns.append(event)

    def on_phantom(self, event, f):
        self.moved = event
        self.phantoms.append(event)

    # The director.
    def on_waited(self, event, f):
        self.waited.append(event)

    def on_measured(self, event, f):
        self.measured.append(event)

    def on_quiet(self, event, f):
        self.quiet = event

    def on_end(self, event, f):
        self.end = event

    def on_trouble(self, event, f):
        self.troubles.append(f["note"])


class Listing:
    """A listing of queues or a reading of a store, by message."""

    def __init__(self, event):
        self.event = event
        self.damage = "damage" in event.f
        self.unknown = event.f.get("others", 0) > 0
        self.rows = {}
        for row in event.f["rows"]:
            if row["msg"] is None:
                self.unknown = True
            elif row["state"] != "done":
                self.rows.setdefault(row["msg"], []).append(row["rcpts"])

    def holds(self, msg, rcpt):
        return any(not rcpts or rcpt in rcpts for rcpts in self.rows.get(msg, ()))


# --- the judge (JUDGE.md §2 to §8) -------------------------------------------------


class Delivery:
    """A copy for a recipient at the end of the mail; or a report of failure."""

    __slots__ = ("event", "source", "attempt", "learned", "notice", "hop")

    def __init__(self, event, source, attempt, learned, notice=False, hop=None):
        self.event, self.source, self.attempt = event, source, attempt
        self.learned, self.notice, self.hop = learned, notice, hop

    @property
    def sent_at(self):
        """The time of its end of data."""
        return self.hop.dot.at if self.hop else self.event.at

    @property
    def sent(self):
        """The id of its end of data, if a link saw it."""
        return self.hop.dot.id if self.hop else self.event.id


# Verbs that begin a session and say nothing of mail.
OPENING = ("AUTH", "STARTTLS", "X-ANONYMOUSTLS", "XEXPS", "XPEER", "XPROVE")


# Verbs that hand a copy over or take it back, and ask for nothing.
GIVING = ("XSHADOW", "XSHADOWREQUEST", "XSHADOWABORT")


class Outage:
    __slots__ = ("start", "end", "seen", "emptied", "died", "own")

    def __init__(self, start, end, seen=None, emptied=False, died=False, own=True):
        self.start, self.end, self.emptied = start, end, emptied
        self.seen = start if seen is None else seen
        self.died, self.own = died, own


class Incident:
    """A fault that acted."""

    def __init__(self, fault, failure, place, begun):
        self.fault, self.failure, self.place = fault, failure, place
        self.begun = self.seen = begun
        self.back, self.conditional, self.no_duplicates = None, False, True

    def overlaps(self, since, until):
        return self.begun.at <= until and (not self.back or self.back.at >= since)


def failure_of(kind, step):
    """What claims call a fault; None for what is none."""
    if kind in ("pause", "link"):
        return kind
    if kind == "partition":
        return "link"
    if kind not in NODE_FAULTS + DISK_FAULTS:
        return None
    if step.get("back", "same") != "same":
        return "node-lost"
    if kind == "corrupt":
        return "corruption"
    if kind == "disk":
        # What only takes longer is no failure.
        if type(step["act"]) is dict:
            return None
        return "power-loss" if step["act"] == "torn" else "disk-error"
    return "process-crash" if kind in ("crash", "restart") else "power-loss"


class Judge:
    def __init__(self, plan, events, unsealed):
        self.plan, self.events, self.unsealed = plan, events, unsealed
        self.scenario, self.target = plan["scenario"], plan["target"]
        self.expect = self.scenario.get("expect", {})
        self.delivered = self.expect.get("delivered", "exactly-once")
        self.level = self.expect.get("level", "wire")
        self.steps = [next(iter(s.items())) for s in self.scenario.get("step", [])]
        self.times = plan["times"]
        self.ledger = Ledger(plan, events)
        cluster = self.scenario.get("cluster", {})
        self.stores = [f"m{n + 1}" for n in range(cluster.get("stores", 0))]
        self.nodes = [f"n{n + 1}" for n in range(cluster.get("nodes", 3))] + self.stores
        self.known_outages = {}
        self.conn_fired = {}
        for n, receipts in self.ledger.fired.items():
            act = self.steps[n][1].get("act") if n < len(self.steps) else None
            for e in receipts:
                if "conn" in e.f:
                    # What is closed towards the dialling side stays closed.
                    over = self.ledger.until(n, e) if self.lasts(n) else e
                    over = None if act == "half-close" else over
                    self.conn_fired.setdefault(e.f["conn"], []).append((e, over))
        self.opaque_inside = any(all(map(is_node, ends(l))) for l in self.ledger.opaque)
        self.shown = {}  # message, recipient: copies, digests in the mailboxes
        for m in self.stores:
            if m in self.ledger.stores:
                for row in self.ledger.stores[m].event.f.get("stored", []):
                    known = self.shown.setdefault((row["msg"], row["rcpt"]), [0, set()])
                    known[0] += row["copies"]
                    if row["copies"]:
                        known[1].add(row["digest"])
        self.deadline = self.deadline_of()
        self.rested = self.rested_of()

    def time(self, name):
        return self.times.get(name, 0)

    def links(self):
        """Every link of the cluster."""
        transport = [n for n in self.nodes if n not in self.stores]
        for n in transport:
            yield "client->" + n
            for to in transport + (self.stores or ["mb"]):
                if to != n:
                    yield f"{n}->{to}"

    # §2
    def codes(self, t, rcpt):
        """What the sender knows, and what its link saw."""
        told = None
        if t.outcome and rcpt in t.f["rcpts"]:
            place, o = t.f["rcpts"].index(rcpt), t.outcome.f
            codes = o["rcpts"]
            code = codes[place] if place < len(codes) else 0
            if code // 100 in (4, 5):
                told = code
            elif code // 100 == 2:
                nth = 0
                if len(o["end"]) > 1:
                    nth = sum(1 for c in codes[:place] if c // 100 == 2)
                told = o["end"][nth] if nth < len(o["end"]) else 0
        reply = t.hop.reply(rcpt) if t.hop else None
        return told, reply.f["code"] if reply else None

    def ended(self, t, rcpt):
        told, seen = self.codes(t, rcpt)
        if told and told // 100 == 2:
            return "accepted"
        if seen and seen // 100 == 2:
            return "reply-lost"
        if told and told // 100 in (4, 5):
            return "refused"
        if seen and seen >= 400:
            return "refused"
        if (t.hop and rcpt in t.hop.rcpts) or "client->" + t.f["node"] in self.ledger.opaque:
            return "no-reply"
        return "not-sent"

    # §3
    def outages(self, node):
        if node in self.known_outages:
            return self.known_outages[node]
        found, lives = [], self.ledger.lives.get(node, [])
        stills = NODE_FAULTS + ("pause", "corrupt")
        fired = sorted(
            (e.at, n)
            for n, es in self.ledger.fired.items()
            if n < len(self.steps) and self.steps[n][0] in stills
            for e in es
            # A disk that fails puts no node out of reach; its end does.
            if e.f.get("node") == node and all(h.f["fault"] != n for h in self.ledger.harms)
        )
        for n, life in enumerate(lives):
            if not life["exit"]:
                continue
            gone = life["exit"].at
            # A fault that was taken back before is not the cause.
            first = bisect.bisect_left(fired, (life["start"].at, -1))
            start = gone
            for at, fault in fired[first:]:
                if at > gone:
                    break
                if fault not in self.ledger.removed or self.ledger.removed[fault].at > gone:
                    start = at
                    break
            # A life that ends before it answers is part of the outage.
            back, emptied = None, False
            for after in lives[n + 1 :]:
                emptied = emptied or after["store"] == "empty"
                if after["ready"]:
                    back = after["ready"].at
                    break
            found.append(Outage(start, back, gone, emptied, died=True))
        for since, until in self.ledger.pauses.get(node, []):
            found.append(Outage(since.at, until.at if until else None))
        self.known_outages[node] = found
        return found

    def lasts(self, fault):
        """Other than what ends one connection or takes one reply."""
        if fault >= len(self.steps) or self.steps[fault][0] != "link":
            return True
        act = self.steps[fault][1]["act"]
        act = act if type(act) is str else next(iter(act))
        return act in ("hold", "blackhole", "mute", "delay", "throttle", "refuse")

    def outages_seen(self, seen, by):
        """Outages of a node as another sees them."""
        key = (seen, by)
        if key not in self.known_outages:
            found = list(self.outages(seen))
            for fault, receipts in self.ledger.fired.items():
                if not self.lasts(fault):
                    continue
                for e in receipts:
                    if "node" in e.f or "link" not in e.f:
                        continue
                    if between(*ends(e.f["link"])) == between(seen, by):
                        until = self.ledger.until(fault, e)
                        found.append(Outage(e.at, until.at if until else None, own=False))
            # A hold may have no other receipt.
            for h in self.ledger.held:
                n = h.f["fault"]
                kind, step = self.steps[n] if n < len(self.steps) else ("", {})
                if kind == "link" and step.get("act") == "hold":
                    if between(*ends(h.link)) == between(seen, by):
                        until = self.held_until(h)
                        found.append(Outage(h.at, until.at if until else None, own=False))
            self.known_outages[key] = found + self.joined(seen, by, found)
        return self.known_outages[key]

    def joined(self, seen, by, outages):
        """Outages that were one to a peer, by their number."""
        ways = (f"{seen}->{by}", f"{by}->{seen}")
        if seen[0] != "n" or by[0] != "n" or any(w in self.ledger.opaque for w in ways):
            return []
        own = self.outages(seen)
        heard = list(self.ledger.answers.get(ways[1], []))
        for at in self.ledger.answers.get(ways[0], []):
            if not any(o.start <= at and (o.end is None or at <= o.end) for o in own):
                heard.append(at)
        heard.sort()
        # The peer itself may have stood still.
        still = [Outage(o.start, o.end, own=False) for o in self.outages(by) if not o.died]
        made, outages = [], [*still, *outages]
        outages.sort(key=lambda o: o.start)
        for first, outage in enumerate(outages):
            start, end, emptied, own = outage.start, outage.end, outage.emptied, outage.own
            died = outage.died
            for later in outages[first + 1 :]:
                if end is None or later.start - end > self.time("poll"):
                    break
                last = max((at for at in heard if at <= later.start), default=0)
                if last > start:
                    if last > end:
                        break
                    start = last
                end = None if later.end is None else max(end, later.end)
                word = next((at for at in heard if at > later.start), None)
                if word is not None:
                    end = word if end is None else min(end, word)
                emptied, own = emptied or later.emptied, own or later.own
                died = died or later.died
                if later in still:
                    continue
                made.append(Outage(start, end, emptied=emptied, died=died, own=own))
        return made

    def deliveries(self, mail, rcpt):
        found = []
        for c in mail.copies:
            for _ in range(c.f["rcpts"].count(rcpt)):
                hop = None
                for h in mail.hops:
                    if (
                        h.link == c.f["from"] + "->mb"
                        and h.conn == c.f["conn"]
                        and h.dot.id < c.id
                    ):
                        hop = h
                reply = hop.reply(rcpt) if hop else None
                learned = None
                if reply and reply.f["code"] // 100 == 2:
                    learned = self.learned(hop.link, hop.conn, hop.dot, c, reply)
                found.append(Delivery(c, c.f["from"], c.f["attempt"], learned, hop=hop))
        for h in mail.hops:
            source, to = ends(h.link)
            if to != "mb" and is_end(to) and h.accepted(rcpt):
                learned = self.learned(h.link, h.conn, h.dot, h.dot, h.reply(rcpt))
                found.append(Delivery(h.dot, source, h.attempt, learned, hop=h))
        found.sort(key=lambda d: d.event.id)
        return found

    def settlements(self, mail, rcpt, deliveries):
        """Deliveries and reports of failure, in order."""
        found = list(deliveries)
        for d in mail.dsns:
            if d.f["action"] == "failed" and rcpt in d.f["rcpts"]:
                source = d.f["from"]
                learned = self.learned(source + "->mb", d.f["conn"], d, d, d)
                found.append(Delivery(d, source, 0, learned, True))
        return sorted(found, key=lambda d: d.event.id)

    def whole_link(self, name):
        """Faults on a whole link that harm a reply: fired, when over or None."""
        for n, receipts in self.ledger.fired.items():
            act = self.steps[n][1].get("act") if n < len(self.steps) else None
            kept = act if type(act) is str else next(iter(act), None) if act else None
            if kept in ("refuse", "blackhole", "delay", "throttle"):
                continue
            for e in receipts:
                if e.f.get("link") == name and "node" not in e.f and "conn" not in e.f:
                    yield e, self.ledger.until(n, e) if self.lasts(n) else e

    def learned(self, name, conn, dot, taken, reply):
        """When the deliverer had the reply; None: it may not have recorded it."""
        at, record = reply.at, self.time("record")
        source = ends(name)[0]
        for o in self.outages(source):
            if not o.died and o.start <= at + record and (o.end is None or o.end > at):
                if o.end is None:
                    return None
                at = o.end
        until = at + record
        for e, over in self.conn_fired.get(conn, ()):
            if e.at <= until and (not over or over.id >= dot.id):
                return None
        opened = self.ledger.opened.get((name, conn))
        for e, over in self.whole_link(name):
            if e.at > until:
                continue
            if not over or over.id >= dot.id:
                return None
            # What a cut kept passes when it is over, and nobody may wait for it.
            if over is not e and over.at + record >= dot.at and opened and opened.id < over.id:
                return None
        # Whoever waits gives up one day; what arrives then is heard by nobody.
        if self.kept(name, conn, dot.at, until):
            return None
        for o in self.outages(source):
            if o.died and o.start <= until:
                if o.end is None or o.end > taken.at or (opened and opened.at < o.start):
                    return None
        return at

    def kept(self, name, conn, since, until):
        """Whether a connection stood held, or its link carried nothing or late."""
        l = self.ledger
        stretches = []
        for h in l.held:
            if h.f["conn"] == conn:
                ends_at = [
                    r.at
                    for r in l.released
                    if r.link == h.link and r.f["fault"] == h.f["fault"] and r.id > h.id
                ]
                stretches.append((h.at, min(ends_at, default=None)))
        for n, fired in l.fired.items():
            kind, step = self.steps[n] if n < len(self.steps) else ("", {})
            act = step.get("act")
            slow = type(act) is dict and ("delay" in act or "throttle" in act)
            if kind != "link" or not (act == "blackhole" or slow):
                continue
            removed = l.removed.get(n)
            for e in fired:
                if e.f.get("link") == name:
                    stretches.append((e.at, removed.at if removed else None))
        return any(a <= until and (b is None or b >= since) for a, b in stretches)


    # §4
    def legal(self, outage, x):
        if outage.start > x:
            return False
        until = x if outage.end is None else min(outage.end, x)
        if until + 2 * self.time("poll") >= outage.start + self.time("takeover"):
            return True
        return outage.emptied and outage.end is not None and outage.end <= x

    def out_of_reach(self, node, by, x):
        return any(self.legal(o, x) for o in self.outages_seen(node, by))

    def givers(self, mail, to, by):
        """Nodes that gave a node the message: node, hop (None: unreadable)."""
        if self.opaque_inside:
            return [(n, None) for n in self.nodes if n[0] == "n" and n != to]
        found = [(ends(h.link), h) for h in mail.hops]
        return [(a, h) for (a, b), h in found if b == to and a[0] == "n" and h.dot.at <= by]

    def took_over(self, mail, c, before):
        """Whether a copy may come from a takeover that could not know better."""
        if "takeover" not in self.target["capabilities"]:
            return False
        own = max((e.event.id for e in before if e.source == c.source), default=-1)
        for node, hop in self.givers(mail, c.source, c.event.at):
            if hop is not None:
                if not own < hop.dot.id < c.event.id:
                    continue
                if not c.notice and hop.attempt not in (0, c.attempt):
                    continue
            if self.out_of_reach(node, c.source, c.sent_at) and not self.told(node, c, before):
                return True
        return False

    def belated(self, e, c):
        """Whether c is the earlier transmission of the two: it stood held."""
        if c.learned is not None or c.source != e.source:
            return False
        x = e.sent_at
        for h in self.ledger.held:
            if h.f["conn"] == c.event.f["conn"] and h.at <= x:
                until = self.held_until(h)
                if not until or until.at >= x:
                    return True
        if c.notice or not c.hop or not c.hop.dot.id < e.sent < c.event.id:
            return False
        return self.slow(c.hop.link, c.hop.dot.at, c.event.at)

    def slow(self, name, since, until):
        """Whether a fault that lasts lay on the whole link."""
        if self.kept(name, None, since, until):
            return True
        return any(
            self.lasts(n)
            and a.at <= until
            and (not self.ledger.until(n, a) or self.ledger.until(n, a).at >= since)
            for n, es in self.ledger.fired.items()
            for a in es
            if a.f.get("link") == name and "node" not in a.f and "conn" not in a.f
            if not self.spares(n)
        )

    def spares(self, fault):
        """A fault that leaves what stands on a link alone, or only keeps it waiting."""
        act = self.steps[fault][1].get("act") if fault < len(self.steps) else None
        name = act if type(act) is str else next(iter(act), None) if act else None
        return name in ("refuse", "blackhole", "delay", "throttle")

    def told(self, node, c, before):
        """Whether the deliverer asked a node that could have told it."""
        name, record = f"{c.source}->{node}", self.time("record")
        for e in before:
            if e.source != node or e.learned is None:
                continue
            for at, conn in self.ledger.asked.get(name, []):
                if e.learned + record < at < c.sent_at - record:
                    if not self.unheard(name, conn, at, record):
                        return True
        return False

    def unheard(self, name, conn, at, soon):
        """Whether what was said then may not have been heard."""
        if conn in self.conn_fired or self.slow(name, at, at):
            return True
        for h in self.ledger.held:
            if h.f["conn"] == conn and h.at <= at + soon:
                until = self.held_until(h)
                if not until or until.at >= at:
                    return True
        return False

    def returned(self, mail, c, before):
        """Whether the original is back after another took over from it."""
        if "takeover" not in self.target["capabilities"]:
            return False
        if any(e.source == c.source for e in before):
            return False
        if not any(
            t.f["node"] == c.source
            and (t.hop or "client->" + c.source in self.ledger.opaque)
            and c.attempt in (0, t.f["attempt"])
            for t in mail.tries
        ):
            return False
        for e in before:
            x, reached, fresh = e.sent_at, set(), {c.source}
            while fresh:
                holder = fresh.pop()
                for node in self.nodes:
                    if node[0] != "n" or node in reached or node == c.source:
                        continue
                    if not any(g == holder for g, _ in self.givers(mail, node, x)):
                        continue
                    if any(
                        self.legal(o, x)
                        and (holder != c.source or self.over_for(o, c))
                        for o in self.outages_seen(holder, node)
                    ):
                        reached.add(node)
                        fresh.add(node)
            if e.source in reached:
                return True
        return False

    def over_for(self, outage, c):
        """The node of an outage may deliver again what it had, or had sent it."""
        if outage.emptied:
            return False
        if not outage.own or (outage.end is not None and outage.end <= c.event.at):
            return True
        if c.sent_at < outage.start:
            return True
        opened = self.ledger.opened.get((c.source + "->mb", c.event.f.get("conn")))
        if not outage.died or opened is None:
            return False
        return opened.at < outage.start or any(
            life["start"].at > outage.start and life["start"].id < opened.id
            for life in self.ledger.lives.get(c.source, [])
        )

    def licences(self, mail, rcpt, deliveries):
        """Licences of the extra copies, None for one without."""
        last = max((t.f["attempt"] for t in mail.tries), default=0)
        upstream = sum(
            1
            for t in mail.tries
            if rcpt in t.f["rcpts"]
            and t.f["attempt"] != last
            and self.ended(t, rcpt) in ("reply-lost", "no-reply")
        )
        used, found = set(), []
        for n, c in enumerate(deliveries[1:], 1):
            first = c.notice or all(e.notice or e.attempt != c.attempt for e in deliveries[:n])
            # Copies of one transaction license nothing among themselves.
            before = [
                e
                for e in deliveries[:n]
                if (e.attempt == c.attempt or e.notice or c.notice) and e.event.id != c.event.id
            ]
            over = self.took_over(mail, c, before)
            licence = None
            for e in before:
                if e.learned is None and (over or e.source == c.source):
                    if (e.event.id, c.source) not in used:
                        used.add((e.event.id, c.source))
                        licence = "downstream-reply-lost"
                        break
            if not licence and (c.event.id, c.source) not in used:
                if any(self.belated(e, c) for e in before):
                    used.add((c.event.id, c.source))
                    licence = "downstream-reply-lost"
            if not licence and over and any(e.source != c.source for e in before):
                licence = "takeover-unaware"
            turn = (c.source, c.attempt, "returned")
            if not licence and turn not in used and self.returned(mail, c, before):
                used.add(turn)
                licence = "original-returned"
            if not licence and (first or c.attempt == 0) and upstream:
                upstream -= 1
                licence = "upstream-reply-lost"
            found.append(licence)
        return found

    def elsewhere(self):
        """Whether a node took or shows mail of a mailbox that is another's."""
        if len(self.stores) < 2:
            return False
        shown = [
            (m, row["msg"], row["rcpt"])
            for m in self.stores
            if m in self.ledger.stores
            for row in self.ledger.stores[m].event.f.get("stored", [])
            if row["copies"] and row["rcpt"] in getattr(self.ledger.mails.get(row["msg"]), "rcpts", [])
        ]
        taken = [
            (ends(h.link)[1], msg, rcpt)
            for msg, mail in self.ledger.mails.items()
            for h in mail.hops
            if ends(h.link)[1] in self.stores
            for rcpt in mail.rcpts
            if h.accepted(rcpt)
        ]
        homes = len(self.stores)
        return any(m != f"m{1 + (msg + rcpt) % homes}" for m, msg, rcpt in shown + taken)

    # §5
    def disturbances(self):
        """What can hold mail up or ends doing so."""
        l = self.ledger
        found = [e for of in (l.fired, l.removals) for es in of.values() for e in es]
        found += [
            life["ready"]
            for lives in l.lives.values()
            for life in lives
            if life["life"] > 1 and life["ready"]
        ]
        found += [until for pauses in l.pauses.values() for _, until in pauses if until]
        return found + l.released

    @staticmethod
    def first_delivery(mail):
        came = [c.at for c in mail.copies]
        came += [
            h.dot.at
            for h in mail.hops
            if ends(h.link)[1].startswith("m")
            and ends(h.link)[1] != "mb"
            and any(a.f["code"] // 100 == 2 for a in h.answers)
        ]
        return min(came, default=None)

    def extended(self, since, firsts):
        """The grace after a moment; each message that comes in time gives
        those behind it as much again."""
        grace = None
        if "deadline" in self.expect:
            grace = span(self.expect["deadline"], self.times)
        if grace is None:
            grace = self.time("takeover") + 2 * self.time("poll")
            grace += 4 * self.time("retry") + self.time("resend")
        deadline = since + grace
        for at in sorted(x for x in firsts if x is not None):
            if at > deadline:
                break
            deadline = max(deadline, at + grace)
        return deadline

    def deadline_of(self):
        l = self.ledger
        marks = [e.at for e in self.disturbances() + l.waited]
        marks += [t.outcome.at for m in l.mails.values() for t in m.tries if t.outcome]
        return self.extended(max(marks, default=0), map(self.first_delivery, l.mails.values()))

    def rested_of(self):
        q, moved = self.ledger.quiet, self.ledger.moved
        if not q:
            return False
        f = q.f
        enough = self.time("retry") + self.time("takeover") + self.time("poll")
        return (
            f["lasted"] >= enough
            and f["since"] + f["lasted"] <= q.at
            and (moved is None or moved.at <= f["since"])
        )

    # §6
    def holders(self, mail):
        found = {}
        for t in mail.tries:
            node = t.f["node"]
            if t.hop:
                found[node] = max(found.get(node, -1), t.hop.dot.id)
            elif "client->" + node in self.ledger.opaque:
                found[node] = max(found.get(node, -1), t.begun.id)
        for h in mail.hops:
            to = ends(h.link)[1]
            if is_node(to):
                found[to] = max(found.get(to, -1), h.dot.id)
        return found

    def whereabouts(self, msg, rcpt, holders):
        """held, nowhere or unknown."""
        l, unknown = self.ledger, self.opaque_inside
        for node, since in holders.items():
            read = l.stores.get(node)
            if read and read.event.id <= since:
                read = None
            listing = l.listings.get(node)
            if listing and l.moved and listing.event.id <= l.moved.id:
                listing = None
            counting = [x for x in (read, listing) if x]
            if any(x.holds(msg, rcpt) for x in counting):
                return "held"
            if any(x.unknown for x in counting):
                unknown = True
            elif read and not read.damage:
                pass
            elif node in l.gone and l.gone[node].id > since:
                pass
            elif read or not listing or "store-readable" in self.target["capabilities"]:
                unknown = True
        return "unknown" if unknown else "nowhere"

    @staticmethod
    def forbidden(states, deliveries):
        """How the attempt ended that was not to be delivered and was."""
        bad = ("refused", "not-sent")
        for d in deliveries:
            if d.attempt:
                found = [s for n, s in states if n == d.attempt and s in bad]
            else:
                found = [s for _, s in states] if all(s in bad for _, s in states) else []
            if found:
                return found[0]
        return None

    def class_of(self, msg, mail, rcpt, holders):
        """The class of a recipient; adds its extra copies and findings."""
        deliveries = self.deliveries(mail, rcpt)
        shown, digests = self.shown.get((msg, rcpt), (0, ()))
        mailbox = self.level == "mailbox"
        copies = shown if mailbox else len(deliveries)
        if mailbox:
            if copies > 1:
                self.unlicensed += copies - 1
                self.find("duplicate-in-mailbox", beyond=self.may_double(mail, None))
        elif copies > 1:
            found = self.licences(mail, rcpt, deliveries)
            bare = next((d.event for d, l in zip(deliveries[1:], found) if not l), None)
            for licence in found:
                if licence:
                    self.licensed[licence] = self.licensed.get(licence, 0) + 1
                else:
                    self.unlicensed += 1
            if bare:
                self.find("unlicensed-duplicate", beyond=self.may_double(mail, bare))
        states = [
            (t.f["attempt"], self.ended(t, rcpt)) for t in mail.tries if rcpt in t.f["rcpts"]
        ]
        owed = any(s in ("accepted", "reply-lost") for _, s in states)
        self.accepted += any(s == "accepted" for _, s in states)
        refused = bool(states) and all(s == "refused" for _, s in states)
        forbidden = self.forbidden(states, deliveries)
        if forbidden:
            name = "refused" if forbidden == "refused" else "unsent"
            self.find(name + "-yet-delivered")

        sent = next((t.hop.digest for t in mail.tries if t.hop), None)
        if sent is not None:
            have = {c.f["digest"] for c in mail.copies if rcpt in c.f["rcpts"]}
            have |= {
                h.digest
                for h in mail.hops
                if is_end(ends(h.link)[1]) and ends(h.link)[1] != "mb" and h.accepted(rcpt)
            }
            if mailbox:
                have |= set(digests)
            if have - {sent}:
                return "altered"
        failed = sum(
            1 for d in mail.dsns if d.f["action"] == "failed" and rcpt in d.f["rcpts"]
        )
        if failed and len(deliveries) + failed > 1:
            # A report of failure settles a recipient like a delivery does.
            every = self.settlements(mail, rcpt, deliveries)
            pairs = zip(every[1:], self.licences(mail, rcpt, every))
            bare = next((d.event for d, licence in pairs if not licence), None)
            if bare and (copies or failed > 1):
                kind = "bounced-and-delivered" if copies else "bounced-many"
                self.settled_again.append((kind, mail, bare))
        if copies:
            if failed:
                return "bounced-and-delivered"
            if forbidden == "refused":
                return "refused-yet-delivered"
            if not owed:
                return "unaccepted-yet-delivered"
            if deliveries and deliveries[0].event.at > self.deadline:
                return "late"
            return "delivered-many" if copies > 1 else "delivered-once"
        if failed:
            return "bounced-many" if failed > 1 else "bounced"
        if not owed:
            if refused:
                last = [t for t in mail.tries if rcpt in t.f["rcpts"]][-1]
                told, seen = self.codes(last, rcpt)
                code = told if told and told // 100 in (4, 5) else seen
                self.put_off += code // 100 == 4
            return "refused" if refused else "unaccepted"
        if mail.strangers:
            return "misrouted"
        where = self.whereabouts(msg, rcpt, holders)
        if where == "held":
            return "queued"
        if where == "nowhere":
            said_no = any(
                is_end(ends(h.link)[1]) and any(a.f["code"] // 100 == 5 for a in h.answers)
                for h in mail.hops
            )
            if mail.silent and said_no:
                return "silent-by-request"
            if self.rested:
                return "lost"
        return "missing"

    def check_sender(self, mail):
        """What the sender and the mailbox say must agree with the links."""
        l = self.ledger
        if not mail.tries:
            l.troubles += [f"event {c.id} was taken and never sent" for c in mail.copies]
        for t in mail.tries:
            told = t.outcome and any(c // 100 == 2 for c in t.outcome.f["end"])
            seen = t.hop and any(a.f["code"] // 100 == 2 for a in t.hop.answers)
            if told and not seen and "client->" + t.f["node"] not in l.opaque:
                l.troubles.append(f"event {t.outcome.id}: a 2yz that no link saw")

    def find(self, kind, count=1, beyond=False):
        """A finding; `beyond`: it lies outside the claims for its message."""
        of = self.excuses if beyond else self.findings
        of[kind] = of.get(kind, 0) + count

    # §8
    def overdue(self):
        l = self.ledger
        if not l.end or l.end.f["why"] not in ("finished", "deadline"):
            return False
        if not self.events or self.events[-1].at < self.deadline:
            return False
        moment = (l.quiet or self.events[-1]).id
        never = set()
        for n, (kind, step) in enumerate(self.steps):
            fired = l.fired.get(n, [])
            # A node that refuses to serve from a damaged store is gone.
            if kind == "corrupt" or (
                kind in NODE_FAULTS + DISK_FAULTS and step.get("back") == "never"
            ):
                never |= {e.f["node"] for e in fired if "node" in e.f}
            if kind == "partition" and any(not l.until(n, e) for e in fired):
                return False
            if kind == "disk" and fired and "for" in step and n not in l.removed:
                return False
            if kind == "link" and fired and n not in l.removed:
                if "for" in step or self.lasts(n):
                    return False
        return all(self.up(node, moment) for node in self.nodes if node not in never)

    def up(self, node, moment):
        """Whether a node served when an event was recorded."""
        lives = [x for x in self.ledger.lives.get(node, []) if x["start"].id <= moment]
        if not lives or not lives[-1]["ready"] or lives[-1]["ready"].id > moment:
            return False
        if lives[-1]["exit"] and lives[-1]["exit"].id <= moment:
            return False
        return not any(
            since.id <= moment and (not until or until.id > moment)
            for since, until in self.ledger.pauses.get(node, [])
        )

    # Claims.
    def incidents_of(self):
        """Faults that acted, in order."""
        l, found = self.ledger, []
        for n, (kind, step) in enumerate(self.steps):
            failure = failure_of(kind, step)
            if not failure or n in self.plan.get("disarmed", []):
                continue
            fired = l.fired.get(n, [])
            for e in fired:
                node, name = e.f.get("node"), e.f.get("link")
                incident = Incident(n, failure, node or name, e)
                if failure not in ("pause", "link") and node:
                    life = self.life_at(node, e.id)
                    if life is None:
                        continue
                    gone = l.lives[node][life]["exit"]
                    if not gone or gone.id < e.id or (l.end and gone.id > l.end.id):
                        continue
                    incident.seen = gone
                    if step.get("back") != "never":
                        later = (x["ready"] for x in l.lives[node][life + 1 :])
                        incident.back = next((e for e in later if e), None)
                elif failure == "pause" and node:
                    pause = next((p for p in l.pauses.get(node, []) if p[0].id > e.id), None)
                    if not pause:
                        continue
                    incident.seen, incident.back = pause
                elif node:
                    incident.back = l.removed.get(n)
                elif self.lasts(n):
                    incident.back = l.until(n, e)
                else:
                    incident.back = e
                if incident.place:
                    found.append(incident)
            if kind == "link" and step["act"] == "hold" and not fired:
                for e in l.held:
                    if e.f["fault"] == n:
                        incident = Incident(n, failure, e.link, e)
                        incident.back = self.held_until(e)
                        found.append(incident)
        return sorted(found, key=lambda i: i.begun.id)

    def life_at(self, node, moment):
        """The place of the life that a node had at an event."""
        lives = self.ledger.lives.get(node, [])
        found = [n for n, x in enumerate(lives) if x["start"].id < moment]
        return found[-1] if found else None

    def held_until(self, held):
        """The `released` that ends a `held`: the fault's next on that link."""
        later = [
            e
            for e in self.ledger.held
            if e.link == held.link and e.f["fault"] == held.f["fault"] and e.id > held.id
        ]
        for e in self.ledger.released:
            if e.link == held.link and e.f["fault"] == held.f["fault"] and e.id > held.id:
                # A release is that of the latest hold before it.
                return None if any(x.id < e.id for x in later) else e
        return None

    def repaired(self, incident, by):
        """When an incident was repaired, if it was by an event."""
        back = incident.back
        if not back or back.id >= by.id:
            return None
        if incident.failure != "node-lost":
            return back.at
        l, found = self.ledger, []
        found += [
            e.at
            for e in l.waited
            if e.f["until"] == "drained" and e.f["came"] and back.id < e.id < by.id
        ][:1]
        before = [m for m in l.mails.values() if self.taken_by(m, None, back)]
        settled = [
            self.settled(m, r) for m in before for r in m.rcpts if self.taken_by(m, r, back)
        ]
        if all(settled):
            last = max(settled + [back], key=lambda e: e.id)
            if last.id < by.id:
                found.append(last.at)
        since = max((e.at for e in self.disturbances() if e.id < by.id), default=back.at)
        firsts = [at for at in map(self.first_delivery, before) if at is not None and at < by.at]
        had_time = self.extended(since, firsts)
        if had_time <= by.at:
            found.append(had_time)
        return max(min(found), back.at) if found else None

    @staticmethod
    def taken_by(mail, rcpt, by):
        """Whether a node had accepted a message (for a recipient) by an event."""
        for t in mail.tries:
            for a in t.hop.answers if t.hop else ():
                if a.id < by.id and a.f["code"] // 100 == 2:
                    if rcpt is None or t.hop.reply(rcpt) is a:
                        return True
        return False

    @staticmethod
    def settled(mail, rcpt):
        """The first delivery or report of failure of a recipient."""
        found = [c for c in mail.copies if rcpt in c.f["rcpts"]]
        found += [d for d in mail.dsns if d.f["action"] == "failed" and rcpt in d.f["rcpts"]]
        for h in mail.hops:
            to = ends(h.link)[1]
            if to != "mb" and is_end(to) and h.accepted(rcpt):
                found.append(h.dot)
        return min(found, key=lambda e: e.id) if found else None

    def claims_of(self):
        """Gives each incident what is promised about it; whether all have a
        row."""
        self.incidents, last, since = self.incidents_of(), [], None
        covered = True
        for new in self.incidents:
            for old in list(last):
                at = self.repaired(old, new.begun)
                if at is not None:
                    since = at if since is None else max(since, at)
                    last.remove(old)
            span_since = None if since is None else max(new.begun.at - since, 0)
            at_once = 1
            asked = [new]
            if "->" not in new.place:
                same = next((o for o in last if o.place == new.place), None)
                if not same:
                    last.append(new)
                elif same.failure != "node-lost":
                    last[last.index(same)] = new
                at_once = len(last)
                asked += [o for o in last if o is not new]
            for o in asked:
                row, whole, once_only = self.promise(o.failure, at_once, span_since)
                covered = covered and row
                o.conditional = o.conditional or not whole
                o.no_duplicates = o.no_duplicates and once_only
        return covered

    def promise(self, failure, at_once, since):
        """Whether a row covers it; one without condition; one that promises
        that nothing is doubled."""
        model = self.scenario.get("cluster", {}).get("disk", "ext4-ordered")
        mine = self.target.get("persistence", "ext4-ordered")
        if failure == "power-loss" and model == "posix" and mine != "posix":
            return False, True, False
        rfc = (
            not self.target.get("disowns-rfc5321")
            and at_once <= 1
            and failure in ("process-crash", "power-loss", "pause", "link")
        )
        own = [c for c in self.target["claims"] if c["failure"] == failure]
        rows = [
            c
            for c in own
            if at_once <= c.get("at-once", 1) and (since is None or since >= c.get("spacing", 0))
        ]
        whole = rfc or not rows or any("condition" not in c for c in rows)
        once_only = any(c["guarantee"] == "no-loss-no-duplicates" for c in rows)
        return rfc or bool(rows), whole, once_only or (rfc and not own)

    def unshadowed(self, mail, rcpt):
        """Whether the loss of a recipient lies outside the claims, since no
        peer could hold a copy."""
        excused = False
        for t in mail.tries:
            if rcpt not in t.f["rcpts"]:
                continue
            told, seen = self.codes(t, rcpt)
            if not any(code and code // 100 == 2 for code in (told, seen)):
                continue
            if not t.hop or not t.hop.reply(rcpt) or not self.excused(mail, t, rcpt):
                return False
            excused = True
        return excused

    def excused(self, mail, t, rcpt):
        node, dot, reply = t.f["node"], t.hop.dot, t.hop.reply(rcpt)
        hit = next(
            (
                i
                for i in self.incidents
                if i.place == node and i.conditional and i.seen.id > dot.id
            ),
            None,
        )
        if not hit:
            return False
        for h in mail.hops:
            to = ends(h.link)[1]
            if to[0] == "n" and to != node and h.attempt in (0, t.f["attempt"]):
                if h.accepted(rcpt) and h.reply(rcpt).id < hit.seen.id:
                    return False
        if any(
            i.place == node and i.begun.id != hit.begun.id and i.overlaps(dot.at, reply.at)
            for i in self.incidents
        ):
            return True
        since = max(dot.at - self.time("takeover") - 2 * self.time("poll"), 0)
        for peer in self.nodes:
            if peer[0] == "n" and peer != node:
                lives = self.ledger.lives.get(peer)
                served = lives and lives[0]["ready"] and lives[0]["ready"].id < dot.id
                if served and self.within_reach(node, peer, since, reply.at):
                    return False
        return True

    def within_reach(self, node, peer, since, until):
        for i in self.incidents:
            pair = "->" in i.place and between(*ends(i.place)) == between(node, peer)
            if (i.place == peer or pair) and i.overlaps(since, until):
                return False
        for e in self.ledger.held:
            if between(*ends(e.link)) == between(node, peer) and e.at <= until:
                released = self.held_until(e)
                if not released or released.at >= since:
                    return False
        return True

    def may_double(self, mail, copy):
        """Whether a second copy lies outside the claims."""
        had = {t.f["node"] for t in mail.tries}
        for h in mail.hops:
            had |= set(ends(h.link))
        for i in self.incidents:
            hit = set(ends(i.place)) if "->" in i.place else {i.place}
            if i.no_duplicates or not hit & had:
                continue
            if i.back and i.back.id <= mail.tries[0].begun.id:
                continue
            if copy is None or i.begun.id < copy.id:
                return True
        return False

    def judge(self):
        l = self.ledger
        self.classes, self.findings, self.licensed = {}, {}, {}
        self.excuses, self.unshadowed_classes, self.settled_again = {}, {}, []
        covered = self.claims_of()
        self.unlicensed = self.accepted = self.put_off = 0
        self.delivered_by = {}
        for msg in sorted(l.mails):
            mail = l.mails[msg]
            self.check_sender(mail)
            holders = self.holders(mail)
            for rcpt in mail.rcpts:
                c = self.class_of(msg, mail, rcpt, holders)
                self.classes[c] = self.classes.get(c, 0) + 1
                if c in ("lost", "missing") and self.unshadowed(mail, rcpt):
                    self.unshadowed_classes[c] = self.unshadowed_classes.get(c, 0) + 1
        if l.phantoms:
            self.find("phantom", len(l.phantoms))
        if any(mail.strangers for mail in l.mails.values()) or self.elsewhere():
            self.find("misrouted")
        if l.reversed:
            self.find("reverse-path-changed")

        def count(c):
            return self.classes.get(c, 0)

        overdue, missing = self.overdue(), []
        for kind, mail, event in self.settled_again:
            bare = None if self.level == "mailbox" else event
            self.find(kind, beyond=self.may_double(mail, bare))
        bare = self.unshadowed_classes
        if bare.get("lost"):
            self.find("lost", bare["lost"], beyond=True)
        if count("lost") > bare.get("lost", 0):
            self.find("lost")
        for c in (
            "late",
            "altered",
            "misrouted",
            "bounced",
        ):
            if count(c):
                self.find(c, count(c))
        if count("bounced-many"):
            self.find("bounced", count("bounced-many"))
        at_most = self.delivered == "at-most-once"
        pending = count("queued") + count("missing")
        if overdue and bare.get("missing"):
            self.find("queued-past-deadline", bare["missing"], beyond=True)
        if overdue and pending > bare.get("missing", 0):
            self.find("queued-past-deadline")
        missing += Evidence(self).missing()
        if pending and not overdue and not at_most:
            missing.append("mail is still under way or not accounted for")
        at_least = self.delivered == "at-least-once"
        spared = set()
        if at_most:
            spared |= {"lost", "queued-past-deadline", "late"}
        if at_most or self.expect.get("bounces"):
            spared.add("bounced")
        if at_least:
            spared |= {"unlicensed-duplicate", "duplicate-in-mailbox"}
        failing = sorted(k for k in self.findings if k not in spared) if covered else []
        if failing:
            verdict = "fail"
        elif l.troubles:
            verdict = "error"
        elif not covered or any(k not in spared for k in self.excuses):
            verdict = "outside-claim"
        elif missing:
            verdict = "inconclusive"
        else:
            verdict = "pass"
        return {
            "verdict": verdict,
            "classes": dict(sorted(self.classes.items())),
            "licensed": dict(sorted(self.licensed.items())),
            "unlicensed": self.unlicensed,
            "findings": failing,
            "missing": len(missing),
            "lacks": missing,
            "troubles": len(l.troubles),
        }


# --- evidence (JUDGE.md §7) ----------------------------------------------------------


class Evidence:
    """What carries a PASS, and what of it is missing."""

    def __init__(self, judge):
        self.j, self.l = judge, judge.ledger
        self.lacking = []
        # Of each message, when its last recipient was first delivered.
        self.complete = {}
        for msg, mail in self.l.mails.items():
            first = {}
            for rcpt in mail.rcpts:
                found = judge.deliveries(mail, rcpt)
                first[rcpt] = found[0].event.id if found else None
            ids = list(first.values())
            self.complete[msg] = None if None in ids or not ids else max(ids)

    def lack(self, what):
        self.lacking.append(what)

    def missing(self):
        j, l = self.j, self.l
        faults = [(n, k, s) for n, (k, s) in enumerate(j.steps) if k != "wait"]
        any_will_do = j.expect.get("faults", "all") == "any"
        acted = 0
        for n, kind, step in faults:
            before = len(self.lacking)
            self.fault(n, kind, step)
            acted += len(self.lacking) == before
            if any_will_do:
                del self.lacking[before:]
        if any_will_do and faults and not acted:
            self.lack("not one of the faults was seen to act")
        if not faults:
            self.in_flight_without_fault()
            self.answered_without_fault()
        self.ends_asked_for()
        if j.delivered != "at-least-once":
            self.left_over()
        self.windows()
        for e in l.waited:
            if not e.f["came"] and e.f["until"] != "elapsed":
                self.lack(f"step {e.f['step']}: the wait ran out")
        if not j.rested:
            self.lack("quiescent: it never came to rest")
        if j.unsealed:
            self.lack("the history is not sealed")
        elif not l.end:
            self.lack("the history has no end")
        elif l.end.f["why"] not in ("finished", "deadline"):
            self.lack("the run ended early: " + l.end.f["why"])
        self.traffic()
        if j.level == "mailbox":
            self.mailboxes()
        self.inequalities()
        return self.lacking

    def mailboxes(self):
        l = self.l
        for m in self.j.stores:
            read = l.stores.get(m)
            if not read or read.damage or (l.moved and l.moved.id > read.event.id):
                self.lack(f"the store of {m} was not read whole after the last mail had moved")
                return

    # Faults.
    def fault(self, n, kind, step):
        fired = self.l.fired.get(n)
        act = step.get("act")
        if not fired:
            held = next((e for e in self.l.held if e.f["fault"] == n), None)
            if act != "hold" or not held:
                self.lack(f"fault {n} never fired")
            elif not self.passing_held(held) and not self.under_way(ends(held.link)[0], held):
                self.lack(f"in-flight during fault {n}")
            return
        first = fired[0]
        node = first.f.get("node")
        at = step["at"]
        if type(at) is dict and "event" in at:
            e = self.l.happenings.get(n)
            right = e and e.f["number"] == at["event"]
            if not right or e.id > first.id or e.at != first.at:
                self.lack(f"fault {n} did not come right after its happening")
        if kind == "partition":
            self.partition(n, step, fired)
            return
        if kind == "clock":
            self.clock(n, step, first)
            return
        if kind == "link":
            if "link" not in first.f:
                self.lack(f"fault {n} names no link")
                return
            if not self.link_effect(n, act, first):
                self.lack(f"fault-effect of fault {n}")
            if not self.passing(n, first):
                self.lack(f"in-flight during fault {n}")
            return
        if not node:
            self.lack(f"fault {n} names no node")
            return
        if kind == "pause":
            since, until = next(
                (p for p in self.l.pauses.get(node, []) if p[0].id > first.id), (None, None)
            )
            if not until:
                self.lack(f"fault-effect of fault {n}: {'resumed' if since else 'paused'}")
        elif kind == "disk":
            self.disk_effect(n, step["act"], first, node)
        else:
            self.node_effect(n, kind, step, first, node)
            if kind == "corrupt":
                self.damage_effect(n, first, node)
        if not self.under_way(node, first):
            self.lack(f"in-flight during fault {n}")

    # Clocks.
    def clock(self, n, step, first):
        l = self.l
        node = next((e.f["node"] for e in l.clocks if e.f.get("fault") == n), None)
        if node is None:
            self.lack(f"fault {n}: no clock was read")
            return
        reads, removed = [e for e in l.clocks if e.f["node"] == node], l.removed.get(n)
        if "offset" in step:
            sign = -1 if step["offset"].strip().startswith("-") else 1
            by = sign * (span(step["offset"].strip().lstrip("+-"), self.j.times) or 0)
            if not self.jumped(reads, first, by):
                self.lack(f"fault-effect of fault {n}: no jump")
            if "for" in step and not (removed and self.jumped(reads, removed, -by)):
                self.lack(f"fault-effect of fault {n}: no jump back")
        ppm = int(step.get("drift", "0 ppm").removesuffix("ppm"))
        if ppm:
            after_all = 2**64
            before = self.gain(reads, -1, first.id)
            during = self.gain(reads, first.id, removed.id if removed else after_all)
            if not before or not during or not self.drifts(before, during, ppm, ppm):
                self.lack(f"fault-effect of fault {n}: no drift")
            if "for" in step:
                later = removed and self.gain(reads, removed.id, after_all)
                if not before or not later or not self.drifts(before, later, 0, ppm):
                    self.lack(f"fault-effect of fault {n}: it drifts on")
        if not self.under_way(node, first):
            self.lack(f"in-flight during fault {n}")

    @staticmethod
    def jumped(reads, at, by):
        before = [e for e in reads if e.id < at.id]
        after = [e for e in reads if e.id > at.id]
        if not before or not after:
            return False
        wall = (after[0].f["wall"] - before[-1].f["wall"]) * 10**6
        return abs(wall - (after[0].at - before[-1].at) - by) <= 2 * 10**6

    @staticmethod
    def gain(reads, after, before):
        """What the clock gained on the run's in a life, and in what time."""
        best = None
        within = [e for e in reads if after < e.id < before]
        for e in within:
            last = [x for x in within if x.f["life"] == e.f["life"]][-1]
            time = last.at - e.at
            if time > 0 and (best is None or time > best[1]):
                best = (last.f["mono"] - e.f["mono"] - time, time)
        return best

    @staticmethod
    def drifts(before, now, ppm, scale):
        (g1, t1), (g2, t2) = before, now
        slack = abs(scale) * t2 // 10**7 + 2 * (t2 // t1 + 1)
        expected = g1 * t2 // t1 + ppm * t2 // 10**6
        return abs(scale) * t2 // 10**6 > slack and abs(g2 - expected) <= slack

    # Partitions.
    def partition(self, n, step, fired):
        l, sides = self.l, step["sides"]
        cuts = [
            (e.f["link"], e.id, u.id if u else self.after_all())
            for e in fired
            if "link" in e.f
            for u in (l.until(n, e) or l.end,)
        ]
        for side in sides[:1] if step.get("one-way") else sides:
            if not any(
                since < e.id < until and e.f["from"] in side
                for name, since, until in cuts
                for e in l.stalled.get(name, [])
            ):
                self.lack(f"fault-effect of fault {n}: nothing from {side} stood still")
        if not any(self.felt(*cut, cuts) for cut in cuts):
            self.lack(f"fault-effect of fault {n}: nobody felt it")
        if "for" in step and not self.crosses_again(n, fired, cuts):
            self.lack(f"fault-effect of fault {n}: nothing crossed after it")
        if not self.near_the_cut(sides, fired[0]):
            self.lack(f"in-flight during fault {n}")

    def after_all(self):
        return len(self.j.events)

    def felt(self, name, since, until, cuts):
        l = self.l
        for e in l.refused.get(name, []):
            stood = any(
                s.f["conn"] == e.f.get("conn") and s.id < e.id for s in l.stalled.get(name, [])
            )
            if since < e.id < until and stood:
                return True
        source, to = ends(name)
        for mail in l.mails.values() if source == "client" else ():
            for t in mail.tries:
                if t.f["node"] != to or not t.outcome or not since < t.outcome.id < until:
                    continue
                o = t.outcome.f
                if not all(c // 100 in (4, 5) for c in o["rcpts"]) and not any(o["end"]):
                    return True

        def met(h):
            return any(
                c[0] == name and h.dot.id < c[2] and h.answers[0].id > c[1] for c in cuts
            )

        answered = [h for h in l.dots.get(name, []) if h.answers]
        normal = [h.answers[0].at - h.dot.at for h in answered if not met(h)]
        return bool(normal) and any(
            h.dot.id < since
            and h.answers[0].id > until
            and h.answers[0].at - h.dot.at > max(normal)
            for h in answered
        )

    def crosses_again(self, n, fired, cuts):
        l = self.l
        if any(not l.until(n, e) for e in fired):
            return False
        last = l.removed[n].id
        links = {name for name, _, _ in cuts}
        return any(
            e.link in links and e.id > last and e.name in ("open", "reply", "verb")
            for e in self.j.events
        )

    def near_the_cut(self, sides, first):
        l = self.l

        def crosses(name):
            where = [next((k for k in (0, 1) if p in sides[k]), None) for p in ends(name)]
            return None not in where and where[0] != where[1]

        near = {p for name in self.j.links() if crosses(name) for p in ends(name) if is_node(p)}
        for msg, mail in l.mails.items():
            done = self.complete.get(msg)
            hops = [t.hop for t in mail.tries if t.hop] + mail.hops
            for h in hops:
                here = any(p in near for p in ends(h.link))
                if h.dot.id < first.id and here and (done is None or done > first.id):
                    return True
            for t in mail.tries:
                open_then = not t.outcome or t.outcome.id > first.id
                if t.begun.id < first.id and open_then and t.f["node"] in near:
                    return True
        return False

    def throttled(self, name, rate, first):
        """A transaction after the fault was as slow as the rate makes it."""
        least = size(self.j.scenario["workload"].get("size", "1 KiB..4 KiB").split("..")[0])
        least = least * 500_000_000 // size(rate.removesuffix("/s"))
        took = [
            (h.dot.id, h.answers[0].id, h.answers[0].at - h.dot.at)
            for h in self.l.dots.get(name, [])
            if h.answers
        ]
        before = max((ns for _, reply, ns in took if reply < first.id), default=0)
        return any(
            dot > first.id and ns >= least and ns >= 2 * before for dot, _, ns in took
        )

    def in_run(self, event):
        """Not of the time when the run is taken down."""
        return self.l.end is None or event.id < self.l.end.id

    def disk_effect(self, n, act, first, node):
        how = {"error": "eio", "full": "enospc", "read-only": "erofs", "sync-error": "sync-eio"}
        name = act if type(act) is str else next(iter(act))
        counts = name in ("sync-error", "torn", "slow")
        if not any(
            e.f["fault"] == n
            and e.f["node"] == node
            and e.f["how"] == how.get(name, name)
            and (e.f["amount"] or not counts)
            for e in self.l.harms
        ):
            self.lack(f"fault-effect of fault {n}: disk-harm")
        if name == "torn":
            self.node_effect(n, "torn", {}, first, node)

    def damage_effect(self, n, first, node):
        of = [e for e in self.l.damages if e.f["fault"] == n and e.f["node"] == node]
        hit = next((e for e in of if e.f["bytes"] and e.id > first.id), None)
        if not hit:
            self.lack(f"fault-effect of fault {n}: damaged")
        elif not any(e.f["node"] == node and e.f["fault"] == n for e in self.first_reads()):
            self.lack(f"fault-effect of fault {n}: damage-read")

    def node_effect(self, n, kind, step, first, node):
        l, lives = self.l, self.l.lives.get(node, [])
        exits = [x["exit"] for x in lives if x["exit"] and x["exit"].id > first.id]
        exits = [e for e in exits if self.in_run(e)]
        others = [
            e.id
            for fault, es in l.fired.items()
            if fault != n
            for e in es
            if e.f.get("node") == node and e.id > first.id
        ]
        if l.quiet:
            others.append(l.quiet.id)
        if exits and exits[0].id > min(others, default=exits[0].id):
            exits = []
        if not exits or (kind != "restart" and not exits[0].f["status"].startswith("signal 9")):
            self.lack(f"fault-effect of fault {n}: exit")
        back = next((x["ready"].id for x in lives if x["ready"] and x["ready"].id > first.id), None)
        if not any(
            node in ends(name)
            and first.id < e.id
            and (back is None or e.id < back)
            and self.in_run(e)
            for of in (l.refused, l.shuts)
            for name, es in of.items()
            for e in es
        ):
            self.lack(f"fault-effect of fault {n}: felt by a link")
        if kind == "power-cut" and not any(
            e.f["node"] == node and e.id > first.id and e.f["operations"] for e in l.dropped
        ):
            self.lack(f"fault-effect of fault {n}: dropped")
        if kind == "node-lost" and step.get("back", "same") != "same":
            if not (node in l.gone and l.gone[node].id > first.id):
                self.lack(f"fault-effect of fault {n}: store-gone")

    def link_effect(self, n, act, first):
        l = self.l
        name, conn = first.f["link"], first.f.get("conn")
        until = l.until(n, first)
        before_until = lambda e: until is None or e.id < until.id  # noqa: E731
        if act == "refuse":
            return any(e.id > first.id and before_until(e) for e in l.refused.get(name, []))
        if act == "hold":
            return any(e.f["fault"] == n for e in l.held)
        if type(act) is dict and "delay" in act:
            least = span(act["delay"], self.j.times) or 0
            return any(
                a.at - h.dot.at >= least
                for h in l.dots.get(name, [])
                if h.dot.id > first.id
                for a in h.answers
            )
        if type(act) is dict and "throttle" in act:
            return self.throttled(name, act["throttle"], first)
        source, to = ends(name)
        before = self.next_on_link(n, first)
        if source == "client":
            for mail in l.mails.values():
                for t in mail.tries:
                    if t.f["node"] == to and self.unanswered(t, act, conn, first):
                        if t.outcome.id < before:
                            return True
        elif conn is not None:
            msgs = {h.dot.f["msg"] for h in l.dots.get(name, []) if h.conn == conn}
            for msg in msgs:
                for h in l.mails[msg].hops:
                    again = ends(h.link)[0] == source and first.id < h.dot.id < before
                    if again and h.conn != conn:
                        return True
        if conn is not None and any(
            e.f["conn"] == conn and first.id < e.id < before and e.f["how"] != "fin"
            for e in l.shuts.get(name, [])
        ):
            return True
        if conn is None and act in ("reset", "blackhole"):
            after = [e.id for es in l.fired.values() for e in es if e.id > first.id]
            until = min(after, default=2**64)
            ended = [e for e in l.shuts.get(name, []) if e.f["how"] != "fin"]
            if act == "blackhole":
                ended += l.refused.get(name, [])
            if any(first.id < e.id < until for e in ended):
                return True
        return act == "blackhole" and self.stalled(name, conn, first, l.removed.get(n))

    def next_on_link(self, n, first):
        """From where on another fault can have had the effect of this one."""
        name, conn, found = first.f["link"], first.f.get("conn"), []
        for fault, es in self.l.fired.items():
            kind, step = self.j.steps[fault] if fault < len(self.j.steps) else ("", {})
            act = step.get("act")
            act = act if type(act) is str else next(iter(act), None) if act else None
            if fault == n or (kind == "link" and act in ("refuse", "hold", "delay", "throttle")):
                continue
            for e in es:
                if "node" in e.f:
                    hits = e.f["node"] in ends(name)
                else:
                    other = e.f.get("conn")
                    hits = e.f.get("link") == name and (None in (conn, other) or conn == other)
                if hits and e.id > first.id:
                    found.append(e.id)
        return min(found, default=2**64)

    def stalled(self, name, conn, first, removed):
        """A transaction that went on only when the link carried again."""
        if removed is None:
            return False
        for h in self.l.dots.get(name, []):
            if h.dot.id < first.id and conn in (None, h.conn):
                if h.answers and h.answers[0].id > removed.id:
                    return True
        source, to = ends(name)
        return source == "client" and any(
            t.f["node"] == to
            and t.begun.id < first.id
            and (not t.hop or conn in (None, t.hop.conn))
            and t.outcome
            and t.outcome.id > removed.id
            for m in self.l.mails.values()
            for t in m.tries
        )

    def passing_held(self, held):
        """Mail on the link and connection that stands held."""
        for h in self.l.dots.get(held.link, []):
            if h.dot.id < held.id and h.conn == held.f["conn"]:
                return True
        source, to = ends(held.link)
        return source == "client" and any(
            t.f["node"] == to
            and t.begun.at <= held.at
            and (not t.outcome or t.outcome.at >= held.at)
            for m in self.l.mails.values()
            for t in m.tries
        )

    @staticmethod
    def unanswered(t, act, conn, first):
        """An attempt that the fault cut off, or (`answer`) answered."""
        if not t.begun.id < first.id or not t.outcome or t.outcome.id < first.id:
            return False
        if t.hop and conn is not None and t.hop.conn != conn:
            return False
        o = t.outcome.f
        if type(act) is dict and "answer" in act:
            return not any(c // 100 == 2 for c in o["end"])
        refused = all(c // 100 in (4, 5) for c in o["rcpts"])
        return not refused and not any(o["end"])

    def passing(self, n, first):
        """Mail on the link that a fault hit."""
        l = self.l
        name, conn = first.f["link"], first.f.get("conn")
        source, to = ends(name)
        until = l.until(n, first)
        lasts = conn is None and self.j.lasts(n)
        for h in l.dots.get(name, []):
            if h.dot.id < first.id:
                if h.conn == conn or (
                    conn is None and all(a.id > first.id for a in h.answers)
                ):
                    return True

        def while_it_lasts(e):
            return lasts and e.id > first.id and (until is None or e.id < until.id)

        if source == "client":
            return any(
                t.f["node"] == to
                and (
                    while_it_lasts(t.begun)
                    or t.begun.at <= first.at
                    and (not t.outcome or t.outcome.at >= first.at)
                )
                for m in l.mails.values()
                for t in m.tries
            )
        for link_name, hops in l.dots.items():
            if ends(link_name)[1] != source:
                continue
            for h in hops:
                if h.dot.id < first.id or while_it_lasts(h.dot):
                    moment = h.dot if h.dot.id > first.id else first
                    if self.not_done(h, moment):
                        return True
        return False

    def not_done(self, hop, moment):
        """Mail of a transaction that is under way at an event."""
        mail = self.l.mails[hop.dot.f["msg"]]
        for rcpt in hop.rcpts:
            reply = hop.reply(rcpt)
            if reply and reply.id < moment.id and reply.f["code"] >= 400:
                continue
            if any(
                d.f["action"] == "failed" and rcpt in d.f["rcpts"] and d.id < moment.id
                for d in mail.dsns
            ):
                continue
            if any(rcpt in c.f["rcpts"] and c.id < moment.id for c in mail.copies):
                continue
            if any(
                is_end(ends(h.link)[1])
                and ends(h.link)[1] != "mb"
                and h.accepted(rcpt)
                and h.reply(rcpt).id < moment.id
                for h in mail.hops
            ):
                continue
            return True
        return False

    def under_way(self, node, first):
        """Mail at a node, received and not yet delivered, returned or refused."""
        for name, hops in self.l.dots.items():
            if node not in ends(name):
                continue
            for h in hops:
                if h.dot.id > first.id:
                    break
                if self.not_done(h, first):
                    return True
        return self.stands_held(node, first)

    def stands_held(self, node, first):
        """A transaction that stands held on a link of the node."""
        for e in self.l.held:
            if node not in ends(e.link) or e.id > first.id:
                continue
            if any(
                r.link == e.link and r.f["fault"] == e.f["fault"] and e.id < r.id < first.id
                for r in self.l.released
            ):
                continue
            if any(h.conn == e.f["conn"] and h.dot.id < e.id for h in self.l.dots.get(e.link, [])):
                return True
        return False

    def in_flight_without_fault(self):
        for mail in self.l.mails.values():
            dots = [t.hop.dot.id for t in mail.tries if t.hop]
            if dots and any(e.id > dots[0] for _, e in self.handed(mail)):
                return
        self.lack("in-flight: no mail was seen under way")

    def answered_without_fault(self):
        for msg, mail in self.l.mails.items():
            for t in mail.tries:
                if t.outcome and any(
                    self.j.ended(t, r) not in ("accepted", "refused") for r in t.f["rcpts"]
                ):
                    self.lack(f"message {msg} got no answer although nothing was broken")
                    return

    def ends_asked_for(self):
        """Each end of a life before the final silence is the doing of a fault."""
        if not self.l.quiet:
            return
        fired = [
            e
            for n, es in self.l.fired.items()
            if n < len(self.j.steps) and self.j.steps[n][0] in NODE_FAULTS + DISK_FAULTS
            for e in es
        ]
        for node, lives in self.l.lives.items():
            for life in lives:
                gone = life["exit"]
                if not gone or gone.id > self.l.quiet.id:
                    continue
                if not any(
                    e.f.get("node") == node and life["start"].id < e.id < gone.id
                    for e in fired + self.first_reads()
                ):
                    self.lack(f"{node} ended at event {gone.id} and no fault had asked for that")

    def first_reads(self):
        """The first reading of each damage."""
        found = {}
        for e in self.l.damage_reads:
            if any(d.f["fault"] == e.f["fault"] and d.id < e.id for d in self.l.damages):
                found.setdefault((e.f["node"], e.f["fault"]), e)
        return list(found.values())

    def left_over(self):
        l = self.l
        for of in (l.stores, l.listings):
            for node, listing in of.items():
                if l.moved and listing.event.id < l.moved.id:
                    continue
                for msg in listing.rows:
                    mail = l.mails.get(msg)
                    if mail and any(
                        listing.holds(msg, r) and self.j.deliveries(mail, r) for r in mail.rcpts
                    ):
                        self.lack(f"{node} still holds message {msg}, which was delivered")
                        return

    # Windows.
    def windows_of(self):
        j = self.j
        if "windows" in j.expect:
            return j.expect["windows"]
        found = set()
        for kind, step in j.steps:
            if kind in NODE_FAULTS:
                found.add("recovery" if step.get("back", "same") == "same" else "takeover")
            elif kind == "pause":
                planned = self.planned()
                lasts = span(step["for"], planned)
                if lasts is not None and lasts > planned["takeover"]:
                    found.add("takeover")
                found.add("resume")
            elif kind == "link" and step["act"] == "lose-reply":
                at = step["at"]
                name = at["link"] if type(at) is dict else step.get("on", "")
                if name.startswith("client->"):
                    found.add("reply-lost")
                    if j.scenario["workload"].get("sender", "mta") == "mta":
                        found.add("retry")
        return sorted(found)

    def planned(self):
        """The scenario's own times, with the plain defaults."""
        times = {}
        for name, default in (
            ("poll", 250 * 10**6),
            ("takeover", 2 * 10**9),
            ("retry", 500 * 10**6),
            ("resend", 500 * 10**6),
            ("patience", 5 * 10**9),
            ("record", 10**9),
        ):
            wish = self.j.scenario.get("time", {}).get(name)
            times[name] = span(wish, times) if wish else default
        return times

    def windows(self):
        if self.j.expect.get("faults", "all") == "any" and "windows" not in self.j.expect:
            return
        for window in self.windows_of():
            if not getattr(self, "window_" + window.replace("-", "_"))():
                self.lack(f"window {window} was not reached")

    @staticmethod
    def handed(mail):
        """Who handed a message over at the end of its way, and the event."""
        found = [(c.f["from"], c) for c in mail.copies]
        for h in mail.hops:
            source, to = ends(h.link)
            if is_end(to) and to != "mb" and any(a.f["code"] // 100 == 2 for a in h.answers):
                found.append((source, h.dot))
        return found

    @staticmethod
    def accepting(mail):
        """Nodes that took a message over from the sender, with the reply."""
        for t in mail.tries:
            reply = t.hop and next((a for a in t.hop.answers if a.f["code"] // 100 == 2), None)
            if reply:
                yield t, reply

    def window_takeover(self):
        broken = [e for es in self.l.fired.values() for e in es if "node" in e.f]
        cuts = [
            e
            for n, es in self.l.fired.items()
            if n < len(self.j.steps)
            and self.j.steps[n][0] in ("link", "partition")
            and self.j.lasts(n)
            for e in es
            if "link" in e.f
        ]
        for mail in self.l.mails.values():
            nodes = {t.f["node"] for t, _ in self.accepting(mail)}
            for source, event in self.handed(mail):
                if source not in nodes and any(
                    e.f["node"] in nodes and e.id < event.id for e in broken
                ):
                    return True
                if source not in nodes and any(
                    e.id < event.id and source in ends(e.f["link"]) and nodes & set(ends(e.f["link"]))
                    for e in cuts
                ):
                    return True
        return False

    def window_recovery(self):
        for mail in self.l.mails.values():
            for t, reply in self.accepting(mail):
                node = t.f["node"]
                born = next(
                    (
                        x["start"].id
                        for x in self.l.lives.get(node, [])
                        if x["life"] > 1 and x["start"].id > reply.id
                    ),
                    None,
                )
                if born is not None and any(
                    source == node and self.begun_after(mail, e, born)
                    for source, e in self.handed(mail)
                ):
                    return True
        return False

    def begun_after(self, mail, event, born):
        """The transaction behind a delivery ended its data after an event, on
        a connection that was not open before it."""
        if event.name == "taken":
            name = event.f["from"] + "->mb"
            hops = [
                h
                for h in mail.hops
                if h.link == name and h.conn == event.f["conn"] and h.dot.id < event.id
            ][-1:]
        else:
            hops = [h for h in mail.hops if h.dot is event]
        for h in hops:
            opened = self.l.opened.get((h.link, h.conn))
            if h.dot.id > born and not (opened and opened.id < born):
                return True
        return False

    def window_retry(self):
        for mail in self.l.mails.values():
            for t, after in zip(mail.tries, mail.tries[1:]):
                for rcpt in after.f["rcpts"]:
                    if rcpt in t.f["rcpts"] and self.j.ended(t, rcpt) in (
                        "reply-lost",
                        "no-reply",
                        "not-sent",
                    ):
                        return True
        return False

    def window_reply_lost(self):
        return any(
            t.outcome and not any(c // 100 == 2 for c in t.outcome.f["end"])
            for mail in self.l.mails.values()
            for t, _ in self.accepting(mail)
        )

    def window_resume(self):
        since = {}
        for node, pauses in self.l.pauses.items():
            ended = [until.id for _, until in pauses if until]
            if ended:
                since[node] = ended[0]
        if not since:
            return False
        for e in self.j.events:
            if e.name in ("reply", "verb"):
                node = ends(e.link)[1]
            elif e.name == "dot" and "msg" in e.f:
                node = ends(e.link)[0]
            else:
                continue
            if node in since and e.id > since[node]:
                return True
        return False

    def window_degraded(self):
        spans = [(node, o) for node in self.l.lives for o in self.j.outages(node)]
        return any(
            node != t.f["node"] and o.seen <= reply.at and (o.end is None or reply.at < o.end)
            for mail in self.l.mails.values()
            for t, reply in self.accepting(mail)
            for node, o in spans
        )

    # Traffic and times.
    def traffic(self):
        j, l = self.j, self.l
        tried = sum(1 for m in l.mails.values() if m.tries)
        if tried < l.limit:
            self.lack(f"{l.limit - tried} messages were never attempted")
        open_ends = sum(1 for m in l.mails.values() if any(not t.outcome for t in m.tries))
        if open_ends:
            self.lack(f"{open_ends} messages have an attempt without an outcome")
        if not j.accepted or 2 * j.accepted < sum(j.classes.values()):
            self.lack("fewer than half of the recipients were accepted")
        unaccepted = j.classes.get("unaccepted", 0) + j.classes.get("unaccepted-yet-delivered", 0)
        unaccepted += j.put_off
        if unaccepted and j.scenario["workload"].get("sender", "mta") == "mta":
            self.lack(f"{unaccepted} recipients were given up by the sender")

    def inequalities(self):
        j = self.j
        times = dict(j.times)
        measured = {}
        for e in self.l.measured:
            name = e.f["name"]
            measured[name] = max(measured.get(name, 0), e.f["took"])
        for name, took in measured.items():
            times[name] = max(times.get(name, 0), took)
        for written in j.scenario.get("time", {}).get("require", []):
            left, _, right = written.partition("<")
            left, right = span(left.strip(), times), span(right.strip(), times)
            if left is None or right is None or left >= right:
                self.lack(f"the inequality {written} does not hold or has no value")


def judge(plan, events, unsealed=None):
    return Judge(plan, events, unsealed).judge()


# --- fixtures -------------------------------------------------------------------------

STATED = ("verdict", "classes", "licensed", "unlicensed", "findings", "missing")


def merged(base, over):
    """A plan with some members put in the place of its own; `null` (in TOML
    the text "(none)") takes one out."""
    if type(base) is not dict or type(over) is not dict:
        return over
    out = dict(base)
    for key, value in over.items():
        if value == "(none)":
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key), value)
    return out


def plan_of(folder, beside):
    with open(os.path.join(folder, "plans", beside["plan"] + ".json"), encoding="utf-8") as file:
        return merged(json.load(file), beside.get("override", {}))


def matches(value, where):
    """Whether an event, as it is written, is the one that a mutant means."""
    ((name, fields),) = value["ev"].items()
    if where.get("ev", name) != name or where.get("by", value["by"]) != value["by"]:
        return False
    return all(fields.get(k) == v for k, v in where.get("with", {}).items())


def mutate(values, mutant):
    """The events of a history with one thing changed."""
    op, out, nth = mutant["op"], [], 0
    hit = False
    for value in values:
        if not matches(value, mutant["select"]):
            out.append(value)
            continue
        nth += 1
        if not mutant["select"].get("all") and nth != mutant["select"].get("nth", 1):
            out.append(value)
            continue
        hit = True
        ((name, fields),) = value["ev"].items()
        changed = json.loads(json.dumps(value))
        if "at" in mutant:
            changed["at"] = mutant["at"]
        if "witness" in mutant:
            changed["by"] = mutant["witness"]
        fields = merged(fields, mutant.get("set", {}))
        changed["ev"] = {mutant.get("name", name): fields}
        if op == "duplicate":
            out += [value, changed]
        elif op in ("retime", "swap-witness", "edit"):
            out.append(changed)
        elif op != "drop":
            raise SystemExit(f"`{op}` is no operation of a mutant")
    if not hit:
        raise SystemExit(f"the mutant {mutant['title']} selects no event")
    if op in ("retime", "duplicate"):
        out.sort(key=lambda v: v["at"])
    return out


def judged(plan, lines, ending):
    """What a hand-made history gives, as far as fixtures state it."""
    try:
        _, events = relaxed(lines, plan)
    except Altered as e:
        return {"verdict": "altered", "why": str(e)}
    return judge(plan, events, ending)


def differences(stated, got):
    """Each stated member that came out otherwise."""
    found = []
    for key in STATED:
        if key in stated and key in ("missing",):
            if len(stated[key]) != got.get(key):
                found.append(
                    f"missing: {len(stated[key])} stated, {got.get(key)} found: {got.get('lacks')}"
                )
        elif key in stated and stated[key] != got.get(key):
            found.append(f"{key}: {stated[key]} stated, {got.get(key)} found")
    return found


def as_stated(beside):
    """What stands beside a history, with what is left out put in."""
    out = {"classes": {}, "licensed": {}, "unlicensed": 0, "findings": [], "missing": []}
    out.update({k: beside[k] for k in STATED if k in beside})
    out["findings"] = sorted(out["findings"])
    return out


def fixtures(folder):
    """Every fixture and mutant; how many differ."""
    wrong, histories = 0, {}

    def report(name, found):
        nonlocal wrong
        wrong += bool(found)
        for line in found:
            print(f"{name}: {line}", file=sys.stderr)

    for entry in sorted(os.listdir(folder)):
        name, extension = os.path.splitext(entry)
        if extension != ".jsonl":
            continue
        with open(os.path.join(folder, name + ".toml"), "rb") as file:
            beside = tomllib.load(file)
        with open(os.path.join(folder, entry), encoding="utf-8") as file:
            lines = file.read().splitlines()
        plan = plan_of(folder, beside)
        ending = "it has no seal" if beside.get("ending") == "unsealed" else None
        got = judged(plan, lines, ending)
        if beside["verdict"] == "altered":
            report(name, differences({"verdict": "altered"}, got))
        else:
            report(name, differences(as_stated(beside), got))
        histories[name] = (plan, [json.loads(l) for _, l in content(lines)], ending, got)
    with open(os.path.join(folder, "mutants.toml"), "rb") as file:
        mutants = tomllib.load(file)["mutant"]
    for mutant in mutants:
        plan, values, ending, base = histories[mutant["base"]]
        name = f"mutant of {mutant['base']}: {mutant['title']}"
        values = mutate(values, mutant)
        got = judged(plan, [json.dumps(v) for v in values], ending)
        stated = mutant["expect"]
        if "findings" in stated:
            stated["findings"] = sorted(stated["findings"])
        if not differences(stated, base):
            report(name, ["it states nothing that its base does not give"])
        report(name, differences(stated, got))
    print(f"fold: {len(histories)} histories, {len(mutants)} mutants, {wrong} differ")
    return 1 if wrong or not histories or not mutants else 0


# --- the command ------------------------------------------------------------------------


def read(path):
    """Plan, events, why unsealed: a run directory, a full or a relaxed history."""
    if os.path.isdir(path):
        plan, events, unsealed = full(os.path.join(path, "history.jsonl"))
        if not unsealed and not os.path.exists(os.path.join(path, "run.json")):
            raise Altered("the history is sealed and run.json is missing")
        return plan, events, unsealed
    with open(path, encoding="utf-8") as file:
        lines = file.readlines(1 << 16)
    first = next((json.loads(l) for n, l in content(lines[1:]) if l.endswith("}")), {})
    if "id" in first:
        return full(path)
    with open(path, encoding="utf-8") as file:
        plan, events = relaxed(file)
    return plan, events, None


def one(path):
    try:
        got = judge(*read(path))
    except Altered as e:
        got = {"verdict": "error", "classes": {}, "licensed": {}, "unlicensed": 0}
        got |= {"findings": [], "missing": 0, "altered": str(e)}
    keys = ("verdict", "classes", "licensed", "unlicensed", "findings", "missing", "altered")
    return {"file": path, **{k: got[k] for k in keys if k in got}}


def against(path):
    """Lines of `mailproof check --format json`; how many differ."""
    wrong = seen = 0
    with open(path, encoding="utf-8") as file:
        for line in file:
            other = json.loads(line)
            if other.get("schema") != "mailproof.run/1" or not other.get("dir"):
                continue
            seen += 1
            mine = one(other["dir"])
            theirs = {
                "verdict": other["verdict"],
                "classes": other["classes"],
                "findings": sorted({f["kind"] for f in other["findings"] if f["fails"]}),
            }
            for key, value in theirs.items():
                if mine[key] != value:
                    wrong += 1
                    print(f"{other['dir']}: {key}: {value}, but here {mine[key]}", file=sys.stderr)
    print(f"fold: {seen} runs, {wrong} differences")
    return 1 if wrong or not seen else 0


def main(arguments):
    if arguments == ["--self-check"]:
        here = os.path.dirname(os.path.abspath(__file__))
        return fixtures(os.path.join(here, "..", "fixtures", "histories"))
    if len(arguments) == 2 and arguments[0] == "--fixtures":
        return fixtures(arguments[1])
    if len(arguments) == 2 and arguments[0] == "--against":
        return against(arguments[1])
    if not arguments or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    for path in arguments:
        print(json.dumps(one(path)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

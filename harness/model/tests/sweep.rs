//! The `[sweep]` table of scenario files.

#![allow(clippy::unwrap_used)] // a panic is how a test says no

use mailproof_model::scenario;

const GOOD: &str = r#"id = "sweep/good"
title = "Good sweep"
needs = ["relay"]
[cluster]
nodes = 2
[workload]
messages = 3
[expect]
bounces = true
[sweep]
over = "smtp-phase"
acts = ["crash", "lose-reply", "answer 550"]
links = ["n1->mb"]
nodes = ["n1"]
every = 2
pairs = 10
"#;

/// What is wrong once `from` is `to`: message, and where.
fn wrong(from: &str, to: &str) -> String {
    assert_eq!(GOOD.matches(from).count(), 1, "{from}");
    let text = GOOD.replace(from, to);
    let found = scenario::lint("s.toml", &text).expect_err(to);
    format!("{} ^{}", found[0], found[0].at())
}

#[test]
fn what_a_sweep_cannot_do_is_shown_at_its_place() {
    let read = scenario::lint("s.toml", GOOD).unwrap();
    let written = scenario::write(&read).unwrap();
    assert_eq!(scenario::lint("w.toml", &written).unwrap(), read);
    for (from, to, message) in [
        (
            "\"crash\", ",
            "\"crush\", ",
            "s.toml:12:9: `crush` is nothing that a sweep does; expected one of `crash`, `power-cut`, `node-lost`, `reset`, `half-close`, `lose-reply`, `cut-off`, `throttle`, `disk-error`, `sync-error`, `torn`, or `answer 451` with a code from 400 to 559 ^\"crush\"",
        ),
        (
            "\"crash\", ",
            "\"torn\", ",
            "s.toml:12:9: `torn` hits an operation of a disk; a sweep over `smtp-phase` has none ^\"torn\"",
        ),
        (
            "acts = [\"crash\", \"lose-reply\", \"answer 550\"]",
            "acts = []",
            "s.toml:12:8: a sweep that does nothing proves nothing ^[]",
        ),
        (
            "\"crash\", ",
            "\"lose-reply\", ",
            "s.toml:12:23: `lose-reply` is listed twice ^\"lose-reply\"",
        ),
        (
            "over = \"smtp-phase\"",
            "over = \"event\"",
            "s.toml:12:18: `lose-reply` needs a dialogue; a sweep over `event` can `crash`, `power-cut`, `node-lost` or `cut-off` ^\"lose-reply\"",
        ),
        (
            "bounces = true",
            "bounces = false",
            "s.toml:12:32: a next hop that refuses for good makes mail bounce ^\"answer 550\"",
        ),
        (
            "every = 2",
            "every = 0",
            "s.toml:15:9: expected 1 (every point) or more ^0",
        ),
        (
            "pairs = 10",
            "pairs = 100001",
            "s.toml:16:9: expected at most 100000 pairs ^100001",
        ),
        (
            "[sweep]",
            "[[step]]\ncrash = { node = \"n1\", at = \"start\" }\n[sweep]",
            "s.toml:10:1: `step` and `sweep` exclude each other: the sweep places the faults ^[[step]]",
        ),
    ] {
        assert_eq!(wrong(from, to), message, "{to}");
    }
    assert!(wrong("\"n1->mb\"", "\"n7->mb\"").contains("n7"));
    assert!(wrong("nodes = [\"n1\"]", "nodes = [\"n7\"]").contains("n7"));
    assert!(wrong("nodes = [\"n1\"]", "nodes = [\"mb\"]").contains("no node of the target"));
}

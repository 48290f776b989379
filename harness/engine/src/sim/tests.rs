//! Whole runs: each shape of scenario comes to its end, with its mail
//! delivered, and the same plan gives the same history.

use std::collections::{BTreeMap, BTreeSet};

use mailproof_model::event::{Rcpt, RowState, Stage, StoreState};
use mailproof_model::history::Durability;
use mailproof_model::workload::shape;
use mailproof_model::{scenario, target};

use super::*;

const REFERENCE: &str = include_str!("../../../../fixtures/targets/reference.toml");

pub(super) fn plan(text: &str, seed: u64) -> (Plan, TargetFile) {
    let text = format!("id = \"sim/test\"\ntitle = \"a test\"\n{text}");
    let scenario = scenario::parse("test.toml", &text).unwrap();
    let target = target::parse("reference.toml", REFERENCE).unwrap();
    let plan = Plan::build(&scenario, &target, "sim", seed, &format!("sim-{seed}")).unwrap();
    (plan, target)
}

/// A recipient of a message.
type Recipient = (u32, Rcpt);

/// A finished run.
pub(super) struct Run {
    plan: Plan,
    pub(super) events: Vec<Event>,
    file: Vec<u8>,
}

fn run_with(plan: Plan, target: &TargetFile) -> Run {
    let mut file = Vec::new();
    let mut events = Vec::new();
    let writer = Writer::create(&mut file, &plan, Durability::Buffered).unwrap();
    run(plan.clone(), target, writer, &mut |e| {
        events.push(e.clone());
    })
    .unwrap();
    Run { plan, events, file }
}

pub(super) fn run_of(text: &str, seed: u64) -> Run {
    let (plan, target) = plan(text, seed);
    run_with(plan, &target)
}

impl Run {
    pub(super) fn end(&self) -> &str {
        match &self.events.last().unwrap().ev {
            What::End { why } => why,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn has(&self, what: impl Fn(&What) -> bool) -> bool {
        self.events.iter().any(|e| what(&e.ev))
    }

    fn count(&self, what: impl Fn(&What) -> bool) -> usize {
        self.events.iter().filter(|e| what(&e.ev)).count()
    }

    /// How often each recipient was delivered, and which were accepted.
    pub(super) fn account(&self) -> (BTreeMap<Recipient, u32>, BTreeSet<Recipient>) {
        let mut delivered = BTreeMap::new();
        let mut accepted = BTreeSet::new();
        let mut attempts = BTreeMap::new();
        for event in &self.events {
            match &event.ev {
                What::Taken { msg, rcpts, .. } => {
                    for rcpt in rcpts {
                        *delivered.entry((*msg, *rcpt)).or_insert(0) += 1;
                    }
                }
                What::Attempt {
                    msg,
                    attempt,
                    rcpts,
                    ..
                } => {
                    attempts.insert((*msg, *attempt), rcpts.clone());
                }
                What::Outcome {
                    msg,
                    attempt,
                    rcpts,
                    end,
                    ..
                } if end.first().is_some_and(|c| c / 100 == 2) => {
                    let tried = &attempts[&(*msg, *attempt)];
                    for (rcpt, code) in tried.iter().zip(rcpts) {
                        if code / 100 == 2 {
                            accepted.insert((*msg, *rcpt));
                        }
                    }
                }
                _ => {}
            }
        }
        (delivered, accepted)
    }

    /// The run came to its end and every recipient of every message was
    /// accepted and delivered.
    fn assert_delivered(&self) {
        assert_eq!(self.end(), "finished", "{}", self.tail());
        let (delivered, accepted) = self.account();
        for msg in 0..self.plan.scenario.workload.messages {
            for rcpt in 0..shape(&self.plan, msg).rcpts {
                assert!(accepted.contains(&(msg, rcpt)), "m{msg}r{rcpt}");
                assert!(delivered.contains_key(&(msg, rcpt)), "m{msg}r{rcpt}");
            }
        }
        assert!(self.has(|w| matches!(w, What::Quiet { .. })));
        assert!(!self.has(|w| matches!(w, What::Phantom { .. })));
        assert!(!self.has(|w| matches!(w, What::Trouble { .. })));
        // Every store that is left was read, and holds nothing more.
        for event in &self.events {
            if let What::StoreRead { rows, damage, .. } = &event.ev {
                let owed = rows.iter().filter(|row| row.state != RowState::Done);
                assert_eq!((owed.count(), damage), (0, &None), "{event:?}");
            }
        }
        assert!(!self.has(|w| matches!(w, What::Unlisted { .. })));
    }

    fn duplicates(&self) -> u32 {
        self.account().0.values().map(|n| n - 1).sum()
    }

    /// The last lines, for a failed assertion.
    fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.file);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

const PLAIN: &str = "[workload]\nmessages = 60\nrecipients = \"1..3\"\n";

#[test]
fn a_plain_run_delivers_everything_once() {
    for seed in 0..8 {
        let run = run_of(PLAIN, seed);
        run.assert_delivered();
        assert_eq!(run.duplicates(), 0, "seed {seed}");
        assert!(!run.has(|w| matches!(w, What::Opaque { .. })));
        // Every byte that counts is what was sent.
        let mut digests: BTreeMap<u32, BTreeSet<&str>> = BTreeMap::new();
        for event in &run.events {
            if let What::Dot {
                msg: Some(msg),
                digest,
                ..
            }
            | What::Taken { msg, digest, .. } = &event.ev
            {
                digests.entry(*msg).or_default().insert(digest);
            }
        }
        assert_eq!(digests.len(), 60);
        assert!(digests.values().all(|d| d.len() == 1));
    }
}

#[test]
fn the_same_plan_gives_the_same_history() {
    let text = format!(
        "{PLAIN}[[step]]\npower-cut = {{ node = \"busiest\", at = \"30% accepted\", after = \"200 ms\" }}\n"
    );
    for seed in 0..4 {
        let once = run_of(&text, seed);
        let twice = run_of(&text, seed);
        assert!(once.file == twice.file, "seed {seed}");
        let mut other = run_of(&text, seed + 100).file;
        other.truncate(once.file.len());
        assert!(once.file != other);
    }
}

#[test]
fn nodes_that_break_lose_nothing() {
    for fault in [
        "crash = { node = \"busiest\", at = \"30% accepted\", after = \"100 ms\" }",
        "crash = { node = \"n2\", at = \"50% accepted\" }",
        "power-cut = { node = \"busiest\", at = \"40% accepted\", after = \"300 ms\" }",
        "node-lost = { node = \"busiest\", at = \"30% accepted\", back = \"never\" }",
        "node-lost = { node = \"n1\", at = \"30% accepted\", back = \"empty\", after = \"5 s\" }",
        "pause = { node = \"busiest\", at = \"30% accepted\", for = \"5 s\" }",
        "restart = { node = \"n3\", at = \"30% accepted\" }",
    ] {
        for seed in 0..6 {
            let run = run_of(&format!("{PLAIN}[[step]]\n{fault}\n"), seed);
            run.assert_delivered();
            assert!(run.has(|w| matches!(
                w,
                What::Fault {
                    stage: Stage::Fired,
                    ..
                }
            )));
            if fault.starts_with("pause") {
                assert!(run.has(|w| matches!(w, What::Resumed { .. })));
            } else {
                let ended = run.count(|w| matches!(w, What::Exit { .. }));
                let never = fault.contains("never");
                assert_eq!(ended, if never { 3 } else { 4 }, "{fault} seed {seed}");
            }
            let gone = run.has(|w| matches!(w, What::StoreGone { .. }));
            assert_eq!(gone, fault.starts_with("node-lost"));
            let dropped = run.has(|w| matches!(w, What::Dropped { .. }));
            assert_eq!(
                dropped,
                fault.starts_with("node-lost") || fault.starts_with("power-cut")
            );
        }
    }
}

#[test]
fn every_phase_can_be_held_and_its_node_killed() {
    for (link, phase) in [
        ("client->n1", "greeting"),
        ("client->n1", "mail"),
        ("client->n1", "data-reply"),
        ("client->n1", "content"),
        ("client->n1", "dot"),
        ("client->n1", "after-dot"),
        ("client->n1", "end-reply"),
        ("client->n1", "after-end-reply"),
        ("n1->mb", "dot"),
        ("n1->mb", "after-dot"),
        ("n1->mb", "end-reply"),
        ("n1->mb", "after-end-reply"),
    ] {
        let nth = if phase == "greeting" { 1 } else { 3 };
        let text = format!(
            "{PLAIN}[[step]]\ncrash = {{ node = \"held\", at = {{ link = \"{link}\", phase = \"{phase}\", nth = {nth} }}, after = \"500 ms\" }}\n"
        );
        for seed in 0..3 {
            let run = run_of(&text, seed);
            run.assert_delivered();
            assert!(run.has(|w| matches!(w, What::Held { phase: at, .. } if at == phase)));
            assert!(run.has(|w| matches!(w, What::Released { .. })));
            assert!(run.has(|w| matches!(
                w,
                What::Exit { node: Party::Node(1), life: 1, status } if status == "signal 9"
            )));
        }
    }
}

#[test]
fn links_that_break_lose_nothing() {
    for fault in [
        "at = { link = \"client->n1\", phase = \"end-reply\", nth = 2 }, act = \"lose-reply\"",
        "at = { link = \"n1->mb\", phase = \"end-reply\", nth = 2 }, act = \"lose-reply\"",
        "at = { link = \"client->n1\", phase = \"content\", nth = 2 }, act = \"reset\"",
        "at = { link = \"client->n2\", phase = \"end-reply\", nth = 2 }, act = { cut-at = 2 }",
        "at = { link = \"client->n2\", phase = \"rcpt\", nth = 2 }, act = { answer = \"451 4.3.2 later\" }",
        "at = { link = \"n1->mb\", phase = \"mail\", nth = 1 }, act = { answer = \"421 4.3.2 bye\" }",
        "at = { link = \"n1->mb\", phase = \"dot\", nth = 2 }, act = \"half-close\"",
        "at = { link = \"n1->mb\", phase = \"dot\", nth = 2 }, act = \"hold\", for = \"3 s\"",
        "at = { link = \"client->n1\", phase = \"after-dot\", nth = 2 }, act = \"hold\", for = \"10 s\"",
        "at = \"20% accepted\", on = \"n1->n2\", act = \"blackhole\", for = \"3 s\"",
        "at = \"20% accepted\", on = \"n1->mb\", act = \"refuse\", for = \"3 s\"",
        "at = \"20% accepted\", on = \"client->n1\", act = \"reset\"",
        "at = \"20% accepted\", on = \"client->n1\", act = { delay = \"200 ms\" }, for = \"3 s\"",
    ] {
        for seed in 0..4 {
            let run = run_of(&format!("{PLAIN}[[step]]\nlink = {{ {fault} }}\n"), seed);
            run.assert_delivered();
            assert!(
                run.has(|w| matches!(
                    w,
                    What::Fault {
                        stage: Stage::Fired,
                        ..
                    } | What::Held { .. }
                )),
                "{fault}"
            );
        }
    }
}

#[test]
fn a_target_that_owns_mailboxes_is_served_too() {
    for seed in 0..4 {
        let run = run_of(
            &format!("cluster = {{ nodes = 2, stores = 1 }}\n{PLAIN}"),
            seed,
        );
        assert_eq!(run.end(), "finished", "{}", run.tail());
        let stored = run
            .count(|w| matches!(w, What::Reply { to, code: 250, msg: Some(_), .. } if to == "dot"));
        assert!(stored >= 120, "{stored}");
    }
}

#[test]
fn a_disarmed_fault_leaves_receipts_alone() {
    let text = format!(
        "{PLAIN}[[step]]\nnode-lost = {{ node = \"n1\", at = \"30% accepted\", back = \"never\" }}\n"
    );
    let (mut plan, target) = plan(&text, 3);
    plan.disarmed = vec![0];
    let run = run_with(plan, &target);
    run.assert_delivered();
    assert!(run.has(|w| matches!(
        w,
        What::Fault {
            stage: Stage::Fired,
            ..
        }
    )));
    assert!(!run.has(|w| matches!(w, What::StoreGone { .. } | What::Dropped { .. })));
    assert_eq!(run.count(|w| matches!(w, What::Start { .. })), 3);
}

#[test]
fn a_node_comes_back_with_what_it_had_or_with_nothing() {
    let text = |back: &str| {
        format!(
            "{PLAIN}[[step]]\ncrash = {{ node = \"n1\", at = \"30% accepted\", back = \"{back}\" }}\n"
        )
    };
    for (back, store) in [("same", StoreState::Same), ("empty", StoreState::Empty)] {
        let run = run_of(&text(back), 1);
        assert!(run.has(|w| matches!(w, What::Start { life: 2, store: s, .. } if *s == store)));
        assert!(run.has(|w| matches!(w, What::Ready { life: 2, .. })));
        assert!(run.has(|w| matches!(w, What::Measured { name, .. } if name == "restart")));
    }
}

#[test]
fn what_nodes_log_can_be_read() {
    use std::sync::{Arc, Mutex};

    let (plan, target) = plan(PLAIN, 1);
    let mut file = Vec::new();
    let writer = Writer::create(&mut file, &plan, Durability::Buffered).unwrap();
    let mut world = SimWorld::new(plan.clone(), &target, writer).unwrap();
    let seen: Arc<Mutex<BTreeMap<Party, usize>>> = Arc::default();
    let counts = Arc::clone(&seen);
    world.log_to(Box::new(move |_, party, _| {
        *counts.lock().unwrap().entry(party).or_default() += 1;
    }));
    let mut director = Director::new(plan).unwrap();
    drive(&mut world, &mut director, &mut |_| {}).unwrap();
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[test]
fn what_the_world_lacks_is_refused_before_the_run() {
    let (plan, target) = plan(
        "[workload]\nmessages = 1\n[[step]]\nlink = { at = \"start\", on = \"n1->n9\", act = \"reset\" }\n",
        1,
    );
    let mut file = Vec::new();
    let writer = Writer::create(&mut file, &plan, Durability::Buffered).unwrap();
    let error = run(plan, &target, writer, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("n1->n9"), "{error}");
}

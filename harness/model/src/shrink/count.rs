//! Fewer messages, nodes, recipients, sessions, bytes, words.

use std::collections::BTreeSet;

use super::{Seen, sketch::Sketch};
use crate::party::Party;
use crate::scenario::{Count, Expect, Faults, Level, Scenario, Size, Spread, Step, Time, Trigger};

/// The size of the smallest messages that are tried, in bytes.
const BYTES: u64 = 1024;

/// Smaller numbers for `n`, the least first.
fn below(n: u32) -> impl Iterator<Item = u32> {
    let few = [1, 2, 3, 4, 5, 8];
    let parts = [n / 8, n / 4, n / 2, n / 4 * 3, n.saturating_sub(1)];
    let all: BTreeSet<u32> = few.into_iter().chain(parts).collect();
    all.into_iter().filter(move |m| (1..n).contains(m))
}

/// Fewer messages. Points count passages, which become fewer with the
/// messages: as many at most, or fewer in proportion, or the first.
pub(super) fn messages(best: &Scenario, _: &Seen) -> Vec<Scenario> {
    let all = best.workload.messages;
    let mut found = Vec::new();
    for m in below(all) {
        let clamp = |nth: u32| nth.min(m);
        let scale = |nth: u32| {
            let part = u64::from(nth) * u64::from(m) / u64::from(all.max(1));
            u32::try_from(part).unwrap_or(u32::MAX).max(1)
        };
        let passages: [&dyn Fn(u32) -> u32; 4] = [&|nth| nth, &clamp, &scale, &|_| 1];
        for passage in passages {
            let mut scenario = best.clone();
            scenario.workload.messages = m;
            scenario.steps = scenario
                .steps
                .iter()
                .map(|step| with_nth(step, passage))
                .collect();
            for to in receivers(best) {
                scenario.workload.to = to;
                found.push(scenario.clone());
            }
        }
    }
    found
}

/// Where the mail may go: as it does, or to one of the nodes that break.
fn receivers(best: &Scenario) -> Vec<Spread> {
    let mut all = vec![best.workload.to];
    for node in named(best) {
        if !all.contains(&Spread::Only(node)) {
            all.push(Spread::Only(node));
        }
    }
    all
}

/// The transport nodes that the steps name, in their order.
fn named(scenario: &Scenario) -> Vec<Party> {
    let mut found = Vec::new();
    for node in scenario
        .steps
        .iter()
        .flat_map(|step| Sketch::of(step).nodes())
    {
        if !found.contains(&node) {
            found.push(node);
        }
    }
    found
}

/// A step whose point, if it has one, is another passage.
pub(super) fn with_nth(step: &Step, passage: &dyn Fn(u32) -> u32) -> Step {
    let sketch = Sketch::of(step);
    if let Some(Trigger::Point(mut point)) = sketch.at() {
        point.nth = passage(point.nth);
        if let Some(step) = sketch.with_at(&Trigger::Point(point)).step() {
            return step;
        }
    }
    step.clone()
}

/// Fewer nodes. The nodes that the scenario names keep their names if they
/// can, else they become the first ones.
pub(super) fn nodes(best: &Scenario, _: &Seen) -> Vec<Scenario> {
    let mut found = Vec::new();
    let mut used = named(best);
    if let Spread::Only(node) = best.workload.to
        && !used.contains(&node)
    {
        used.push(node);
    }
    used.retain(|party| matches!(party, Party::Node(_)));
    let mut orders = vec![used.clone()];
    used.sort_unstable();
    orders.push(used.clone());
    for nodes in 1..best.cluster.nodes {
        let mut scenario = best.clone();
        scenario.cluster.nodes = nodes;
        let there = |party: &Party| matches!(party, Party::Node(n) if *n <= nodes);
        if used.iter().all(there) {
            found.push(scenario);
            continue;
        }
        for order in &orders {
            let name = |party: Party| {
                let place = order.iter().position(|known| *known == party);
                place.map_or(party, |place| {
                    Party::Node(u16::try_from(place + 1).unwrap_or(u16::MAX))
                })
            };
            if order.len() <= usize::from(nodes)
                && let Some(renamed) = renamed(&scenario, &name)
            {
                found.push(renamed);
            }
        }
    }
    if best.cluster.stores > 0 && best.expect.level == Level::Wire {
        let mut scenario = best.clone();
        scenario.cluster.stores = 0;
        found.push(scenario);
    }
    found
}

fn renamed(scenario: &Scenario, name: &dyn Fn(Party) -> Party) -> Option<Scenario> {
    let mut scenario = scenario.clone();
    scenario.steps = scenario
        .steps
        .iter()
        .map(|step| Sketch::of(step).renamed(name).step())
        .collect::<Option<_>>()?;
    if let Spread::Only(node) = scenario.workload.to {
        scenario.workload.to = Spread::Only(name(node));
    }
    Some(scenario)
}

/// Fewer recipients.
pub(super) fn recipients(best: &Scenario, _: &Seen) -> Vec<Scenario> {
    let now = best.workload.recipients;
    let mut found = Vec::new();
    for most in below(now.most).chain([now.most]) {
        for least in [most, now.least.min(most)] {
            let mut scenario = best.clone();
            scenario.workload.recipients = Count { least, most };
            found.push(scenario);
        }
    }
    found
}

/// Fewer sessions, to where they went or to one node.
pub(super) fn sessions(best: &Scenario, _: &Seen) -> Vec<Scenario> {
    let mut found = Vec::new();
    for sessions in below(best.workload.sessions.into()) {
        for to in receivers(best) {
            let mut scenario = best.clone();
            scenario.workload.sessions = u16::try_from(sessions).unwrap_or(u16::MAX);
            scenario.workload.to = to;
            found.push(scenario);
        }
    }
    found
}

/// Small messages, plain times, and nothing said that need not be said.
pub(super) fn rest(best: &Scenario, _: &Seen) -> Vec<Scenario> {
    let mut found = Vec::new();
    let mut with = |change: &dyn Fn(&mut Scenario)| {
        let mut scenario = best.clone();
        change(&mut scenario);
        found.push(scenario);
    };
    with(&|s| {
        s.about = None;
        s.rules.clear();
        s.drawn = None;
        s.workload.pace = None;
        s.workload.size = fixed(BYTES);
        s.time = Time::default();
        s.expect = expect(&s.expect);
    });
    let size = best.workload.size;
    for bytes in [
        BYTES,
        size.least,
        size.most / 16,
        size.most / 4,
        size.most / 2,
        size.most,
    ] {
        if bytes >= BYTES.min(size.most) {
            with(&|s| s.workload.size = fixed(bytes));
        }
    }
    with(&|s| s.about = None);
    with(&|s| s.rules.clear());
    with(&|s| s.drawn = None);
    with(&|s| s.workload.pace = None);
    with(&|s| s.expect.faults = Faults::All);
    with(&|s| s.expect.windows = None);
    with(&|s| s.expect.deadline = None);
    with(&|s| s.expect.bounces = false);
    with(&|s| s.time = Time::default());
    with(&|s| s.time.require.clear());
    with(&|s| s.time.poll = None);
    with(&|s| s.time.takeover = None);
    with(&|s| s.time.retry = None);
    with(&|s| s.time.resend = None);
    with(&|s| s.time.patience = None);
    found
}

fn fixed(bytes: u64) -> Size {
    Size {
        least: bytes,
        most: bytes,
    }
}

/// What must hold, without what only a pass needs.
fn expect(expect: &Expect) -> Expect {
    Expect {
        windows: None,
        deadline: None,
        ..expect.clone()
    }
}

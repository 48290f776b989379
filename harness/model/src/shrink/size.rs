//! How large a failing scenario is. Only what makes it smaller is tried, so
//! that shrinking ends.

use serde_json::Value;

use super::sketch::Sketch;
use crate::scenario::{Faults, Pick, Scenario, Step, Trigger};

/// The size of a scenario; what comes first weighs most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    /// Steps that break something.
    pub faults: usize,
    /// Messages of the workload.
    pub messages: u32,
    /// Nodes of the target.
    pub nodes: u16,
    /// Most recipients of a message.
    pub recipients: u32,
    /// Steps that wait.
    pub waits: usize,
    /// Sessions of the sender.
    pub sessions: u16,
    /// How much there is to say about the faults: when, whom, what.
    pub plan: u64,
    /// Bytes of the largest message.
    pub bytes: u64,
    /// Ranges, times and words that could be left out.
    pub rest: u64,
}

impl Size {
    /// The size of a scenario.
    #[must_use]
    pub fn of(scenario: &Scenario) -> Self {
        let workload = &scenario.workload;
        let waits = scenario
            .steps
            .iter()
            .filter(|step| matches!(step, Step::Wait(_)))
            .count();
        Self {
            faults: scenario.steps.len() - waits,
            messages: workload.messages,
            nodes: scenario.cluster.nodes + scenario.cluster.stores,
            recipients: workload.recipients.most,
            waits,
            sessions: workload.sessions,
            plan: scenario.steps.iter().map(plan).sum(),
            bytes: workload.size.most,
            rest: rest(scenario),
        }
    }
}

/// How much there is to say about a step. A point on a link comes before a
/// share of the workload, and that before a time: the nearer to what is seen,
/// the sooner another engine gets there too.
fn plan(step: &Step) -> u64 {
    let sketch = Sketch::of(step);
    let kind = match sketch.kind() {
        "link" | "wait" | "crash" => 0,
        "restart" => 1,
        "pause" => 2,
        "node-lost" => 3,
        "power-cut" => 4,
        // Only the simulator can do the others.
        _ => 5,
    };
    let whole_link = sketch.get("on").is_some();
    let at = match sketch.at() {
        None => 0,
        Some(Trigger::Start) if whole_link => 0,
        Some(Trigger::Point(point)) => 1_000 + u64::from(point.nth),
        Some(Trigger::Start) => 100_000,
        Some(Trigger::Accepted(share) | Trigger::Delivered(share)) => 200_000 + u64::from(share),
        Some(Trigger::After(_)) => 300_000,
        #[allow(unreachable_patterns)]
        Some(_) => 400_000,
    };
    let node = match sketch.node() {
        None | Some(Pick::Node(_)) => 0,
        Some(Pick::Held) => 10_000,
        Some(Pick::Busiest | Pick::Any) => 20_000,
    };
    let after = if sketch.get("after").is_some() {
        10_000
    } else {
        0
    };
    let hold = match sketch.get("act") {
        Some(Value::String(act)) if act == "hold" => 500,
        _ => 0,
    };
    kind * 1_000_000 + at + node + after + hold
}

fn rest(scenario: &Scenario) -> u64 {
    let (workload, time) = (&scenario.workload, &scenario.time);
    let ranges = [
        workload.size.least != workload.size.most,
        workload.recipients.least != workload.recipients.most,
    ];
    let spans = [
        &time.poll,
        &time.takeover,
        &time.retry,
        &time.resend,
        &time.patience,
    ];
    let expect = &scenario.expect;
    let words = [
        scenario.about.is_some(),
        expect.windows.is_some(),
        expect.deadline.is_some(),
        expect.bounces,
        expect.faults != Faults::All,
        scenario.drawn.is_some(),
        workload.pace.is_some(),
    ];
    let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count();
    let spans = spans.iter().filter(|span| span.is_some()).count();
    (count(&ranges) + count(&words) + spans + time.require.len() + scenario.rules.len()) as u64
}

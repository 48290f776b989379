//! Whether a scenario stays within what its target promises to survive.
//!
//! A claim is a row: a kind of failure, how many nodes may have it at once,
//! how far apart two must lie. RFC 5321 6.1 is a row of every target that
//! does not disown it: after its 250 a message survives one process crash and
//! one power loss. What breaks more than some row covers is OUTSIDE-CLAIM:
//! figures, and never the words "no loss".

use crate::plan::{Failure, Plan};
use crate::scenario::{Back, NodeFault, Pick, Step};

/// Whether the claims of a target cover a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cover {
    /// Every fault lies within a row.
    Covered,
    /// Some fault lies beyond every row; which, in one sentence.
    Outside(String),
}

impl Step {
    /// The kind of failure it is, as claims count it; `None` for a wait.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        Some(match self {
            Self::Crash(_) | Self::Restart(_) => Failure::ProcessCrash,
            Self::PowerCut(f) if f.back == Back::Same => Failure::PowerLoss,
            Self::NodeLost(f) if f.back == Back::Same => Failure::PowerLoss,
            Self::PowerCut(_) | Self::NodeLost(_) => Failure::NodeLost,
            Self::Pause(_) => Failure::Pause,
            Self::Link(_) => Failure::Link,
            Self::Wait(_) => return None,
        })
    }
}

/// Whether the target of a plan promises to survive its faults.
///
/// Faults count as "at once" when the earlier one is not known to be over
/// before the later one begins: a node that never comes back stays counted,
/// and so does one that comes back without a `wait` for it in between.
#[must_use]
pub fn covers(plan: &Plan) -> Cover {
    let mut down: Vec<(Failure, Option<Pick>)> = Vec::new();
    for (n, step) in plan.scenario.steps.iter().enumerate() {
        if let Step::Wait(wait) = step {
            // A wait that proves repair closes what comes back.
            if matches!(
                wait.until,
                crate::scenario::Until::Back | crate::scenario::Until::Drained
            ) {
                down.retain(|(failure, _)| *failure == Failure::NodeLost);
            }
            continue;
        }
        let Some(failure) = step.failure() else {
            continue;
        };
        let pick = node(step);
        // Hitting one node twice is one node at a time.
        let again = pick.is_some_and(|p| {
            matches!(p, Pick::Node(_)) && down.iter().any(|(_, other)| *other == Some(p))
        });
        if failure != Failure::Link && !again {
            down.push((failure, pick));
        }
        let at_once = u16::try_from(down.len().max(1)).unwrap_or(u16::MAX);
        if !allowed(plan, failure, at_once) {
            return Cover::Outside(outside(plan, n, failure, at_once));
        }
    }
    Cover::Covered
}

fn node(step: &Step) -> Option<Pick> {
    match step {
        Step::Crash(NodeFault { node, .. })
        | Step::PowerCut(NodeFault { node, .. })
        | Step::NodeLost(NodeFault { node, .. })
        | Step::Restart(NodeFault { node, .. }) => Some(*node),
        Step::Pause(p) => Some(p.node),
        Step::Link(_) | Step::Wait(_) => None,
    }
}

fn allowed(plan: &Plan, failure: Failure, at_once: u16) -> bool {
    let rfc5321 = !plan.target.disowns_rfc5321
        && at_once <= 1
        && matches!(
            failure,
            // A pause or a cut link is less than a crash: nothing is gone.
            Failure::ProcessCrash | Failure::PowerLoss | Failure::Pause | Failure::Link
        );
    rfc5321
        || plan
            .target
            .claims
            .iter()
            .any(|c| c.failure == failure && at_once <= c.at_once)
}

fn outside(plan: &Plan, step: usize, failure: Failure, at_once: u16) -> String {
    let name = match failure {
        Failure::ProcessCrash => "a process crash",
        Failure::PowerLoss => "a power loss",
        Failure::NodeLost => "the loss of a node with its store",
        Failure::Pause => "a pause",
        Failure::Link => "a fault on a link",
    };
    if at_once > 1 {
        format!(
            "step {step} is {name} while {} other fault(s) last; {} makes no claim about {at_once} at once",
            at_once - 1,
            plan.target.name
        )
    } else {
        format!(
            "step {step} is {name}; {} makes no claim about that",
            plan.target.name
        )
    }
}

//! How far a run is, folded from its events.

use mailproof_model::event::{Event, Stage, What};
use mailproof_model::party::{Party, Witness};
use mailproof_model::plan::Plan;
use mailproof_model::workload;

/// How far a run is.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    messages: u64,
    recipients: u64,
    accepted: u64,
    delivered: u64,
    faults: u64,
    phase: String,
}

impl Progress {
    /// Nothing has happened yet.
    pub(crate) fn new(plan: &Plan) -> Self {
        let messages = plan.scenario.workload.messages;
        Self {
            messages: u64::from(messages),
            recipients: (0..messages)
                .map(|msg| u64::from(workload::shape(plan, msg).rcpts))
                .sum(),
            accepted: 0,
            delivered: 0,
            faults: 0,
            phase: "starting nodes".to_owned(),
        }
    }

    /// Takes note of an event.
    pub(crate) fn fold(&mut self, event: &Event) {
        match &event.ev {
            What::Attempt {
                msg: 0, attempt: 1, ..
            } => "sending".clone_into(&mut self.phase),
            What::Outcome { end, .. } if end.iter().any(|code| (200..300).contains(code)) => {
                self.accepted += 1;
            }
            What::Taken { rcpts, .. } => self.delivered += rcpts.len() as u64,
            // A mailbox node's 250: what it was handed has arrived.
            What::Reply {
                to,
                msg: Some(_),
                rcpts,
                code,
                ..
            } if to == "dot" && (200..300).contains(code) && to_store(event.by) => {
                self.delivered += rcpts.as_ref().map_or(1, |r| r.len() as u64);
            }
            What::Fault {
                stage: Stage::Fired,
                ..
            } => self.faults += 1,
            What::Step { text, .. } => self.phase.clone_from(text),
            What::Waited { until, came, .. } => {
                let how = if *came { "came" } else { "ran out" };
                self.phase = format!("the wait for `{until}` {how}");
            }
            What::Quiet { .. } => "at rest".clone_into(&mut self.phase),
            What::End { .. } => "judging".clone_into(&mut self.phase),
            _ => {}
        }
    }

    /// One line about it.
    pub(crate) fn text(&self) -> String {
        let faults = match self.faults {
            0 => String::new(),
            1 => ", 1 fault".to_owned(),
            n => format!(", {n} faults"),
        };
        let phase = if self.accepted >= self.messages && self.phase == "sending" {
            "all sent; waiting until nothing moves"
        } else {
            &self.phase
        };
        format!(
            "accepted {} of {} messages, {} copies for {} recipients{faults}; {phase}",
            self.accepted, self.messages, self.delivered, self.recipients
        )
    }
}

fn to_store(by: Witness) -> bool {
    matches!(by, Witness::Link(link) if matches!(link.to, Party::Store(_)))
}

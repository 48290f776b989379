//! How far a run is, folded from its events.

use mailproof_model::event::{Event, Stage, What};
use mailproof_model::plan::Plan;

/// How far a run is.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    recipients: Option<u64>,
    messages: u32,
    accepted: u64,
    taken: u64,
    faults: u64,
    phase: String,
}

impl Progress {
    /// Nothing has happened yet.
    pub(crate) fn new(plan: &Plan) -> Self {
        let workload = &plan.scenario.workload;
        let count = workload.recipients;
        Self {
            recipients: (count.least == count.most)
                .then(|| u64::from(count.least) * u64::from(workload.messages)),
            messages: workload.messages,
            accepted: 0,
            taken: 0,
            faults: 0,
            phase: "starting nodes".to_owned(),
        }
    }

    /// Takes note of an event.
    pub(crate) fn fold(&mut self, event: &Event) {
        match &event.ev {
            What::Attempt { .. } if self.accepted == 0 && self.phase.starts_with("starting") => {
                self.phase = "sending".to_owned();
            }
            What::Outcome { end, .. } if end.iter().any(|code| (200..300).contains(code)) => {
                self.accepted += 1;
            }
            What::Taken { rcpts, .. } => self.taken += rcpts.len() as u64,
            What::Fault {
                stage: Stage::Fired,
                ..
            } => self.faults += 1,
            What::Step { text, .. } => self.phase.clone_from(text),
            What::Waited { until, came, .. } => {
                let how = if *came { "came" } else { "ran out" };
                self.phase = format!("the wait for `{until}` {how}");
            }
            What::Quiet { .. } => self.phase = "at rest".to_owned(),
            What::End { .. } => self.phase = "judging".to_owned(),
            _ => {}
        }
    }

    /// One line about it.
    pub(crate) fn text(&self) -> String {
        let copies = match self.recipients {
            Some(n) => format!("{} of {n} copies delivered", self.taken),
            None => format!("{} copies delivered", self.taken),
        };
        let faults = match self.faults {
            0 => String::new(),
            1 => ", 1 fault".to_owned(),
            n => format!(", {n} faults"),
        };
        format!(
            "{} of {} messages accepted, {copies}{faults}; {}",
            self.accepted, self.messages, self.phase
        )
    }
}

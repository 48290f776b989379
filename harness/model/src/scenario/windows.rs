//! The windows a scenario exists to reach.

use super::{Back, LinkAct, Scenario, Sender, Step, Times, Window};
use crate::party::Party;

impl Scenario {
    /// The windows that a run must have reached: those that `expect` names,
    /// or those that follow from its faults.
    #[must_use]
    pub fn windows(&self) -> Vec<Window> {
        if let Some(windows) = &self.expect.windows {
            return windows.clone();
        }
        let mut windows = Vec::new();
        for step in &self.steps {
            match step {
                Step::Crash(f) | Step::PowerCut(f) | Step::NodeLost(f) | Step::Restart(f) => {
                    windows.push(match f.back {
                        Back::Same => Window::Recovery,
                        Back::Empty | Back::Never => Window::Takeover,
                    });
                }
                Step::Pause(p) => {
                    // With the takeover time in its own span, or longer in
                    // plain figures.
                    let none = Times::new();
                    let takeover = self.time.takeover.as_ref();
                    let long = p.lasts.names().any(|n| n == "takeover")
                        || takeover
                            .and_then(|t| {
                                Some((p.lasts.resolve(&none).ok()?, t.resolve(&none).ok()?))
                            })
                            .is_some_and(|(lasts, takeover)| lasts > takeover);
                    if long {
                        windows.push(Window::Takeover);
                    }
                    windows.push(Window::Resume);
                }
                Step::Link(f) => {
                    let link = match &f.at {
                        super::Trigger::Point(p) => Some(p.link),
                        _ => f.on,
                    };
                    let upstream = link.is_some_and(|l| l.from == Party::Client);
                    if upstream && f.act == LinkAct::LoseReply {
                        windows.push(Window::ReplyLost);
                        if self.workload.sender == Sender::Mta {
                            windows.push(Window::Retry);
                        }
                    }
                }
                Step::Wait(_) => {}
            }
        }
        windows.sort_unstable();
        windows.dedup();
        windows
    }
}

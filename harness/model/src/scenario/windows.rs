//! The windows a scenario exists to reach.

use super::{Back, LinkAct, Scenario, Sender, Step, Window};
use crate::party::Party;
use crate::planning::planned;

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
                    // By the planned times; with a target that has its own,
                    // a scenario names its windows.
                    let long = planned(&self.time).is_ok_and(|times| {
                        let takeover = times.get("takeover").copied().unwrap_or(u64::MAX);
                        p.lasts.resolve(&times).is_ok_and(|lasts| lasts > takeover)
                    });
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
                // Which windows a cut opens depends on where and how long it is.
                Step::Partition(_) | Step::Clock(_) | Step::Wait(_) => {}
                // What a node makes of its disk's faults is its own affair.
                Step::Disk(_) | Step::Corrupt(_) => {}
            }
        }
        windows.sort_unstable();
        windows.dedup();
        windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows(rest: &str) -> Vec<Window> {
        let text = format!("id = 'a/b'\ntitle = 't'\n[workload]\nmessages = 9\n{rest}");
        super::super::parse("s", &text).unwrap().windows()
    }

    #[test]
    fn windows_follow_from_the_faults() {
        let pause = |lasts: &str| {
            windows(&format!(
                "[[step]]\npause = {{ node = 'n1', at = 'start', for = '{lasts}' }}"
            ))
        };
        assert_eq!(pause("takeover / 2"), [Window::Resume]);
        assert_eq!(pause("1 s"), [Window::Resume]);
        assert_eq!(
            pause("takeover + 1 poll"),
            [Window::Takeover, Window::Resume]
        );
        assert_eq!(pause("3 s"), [Window::Takeover, Window::Resume]);
        for (step, window) in [
            ("crash = { node = 'n1', at = 'start' }", Window::Recovery),
            (
                "node-lost = { node = 'n1', at = 'start', back = 'empty' }",
                Window::Takeover,
            ),
        ] {
            assert_eq!(windows(&format!("[[step]]\n{step}")), [window]);
        }
        let lose = "[[step]]\nlink = { at = { link = 'client->n1', phase = 'end-reply' }, act = 'lose-reply' }";
        assert_eq!(windows(lose), [Window::Retry, Window::ReplyLost]);
        assert_eq!(
            windows("[expect]\nwindows = ['degraded']"),
            [Window::Degraded]
        );
        assert_eq!(windows(""), []);
    }
}

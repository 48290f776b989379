//! Expectations that do not contradict the rest.

use super::{Lint, node_fault};
use crate::scenario::{Back, Delivered, Faults, Level, LinkAct, Sender, Step, Until, Window};

impl Lint<'_> {
    pub(super) fn expect(&mut self) {
        let scenario = self.scenario;
        let expect = &scenario.expect;
        if expect.level == Level::Mailbox {
            if scenario.cluster.stores == 0 {
                self.wrong_with(
                    "expect.level",
                    "the cluster has no nodes that own mailboxes, so there is nothing to judge at that level",
                    "add `stores = 1` to [cluster], or judge at level \"wire\"",
                );
            } else if !self.needs("owns-mailbox") {
                self.wrong_with(
                    "expect.level",
                    "mailboxes are judged only where the target owns them",
                    "add \"owns-mailbox\" to `needs`",
                );
            } else if expect.delivered != Delivered::AtLeastOnce
                && !self.needs("duplicate-detection")
            {
                self.wrong_with(
                    if self.document.has("expect.delivered") { "expect.delivered" } else { "expect.level" },
                    "at level \"mailbox\" no second copy may show, which only duplicate detection can grant",
                    "add \"duplicate-detection\" to `needs`",
                );
            }
        }
        if let Some(deadline) = &expect.deadline
            && let Some(value) = self.span("expect.deadline", deadline)
            && value < self.time("takeover")
            && scenario.steps.iter().any(|s| self.outlasts_takeover(s))
        {
            let takeover = crate::scenario::Span::nanoseconds(self.time("takeover"));
            self.wrong(
                "expect.deadline",
                format!("`{deadline}` is over before a takeover may begin: takeover = {takeover}"),
            );
        }
        if expect.bounces
            && scenario.sweep.is_none()
            && !scenario.steps.iter().any(|s| matches!(s, Step::Link(_)))
        {
            self.wrong(
                "expect.bounces",
                "no step makes a next hop refuse mail, so that nothing may bounce",
            );
        }
        if expect.faults == Faults::Any && scenario.steps.iter().all(|s| matches!(s, Step::Wait(_)))
        {
            self.wrong(
                "expect.faults",
                "no step is a fault: there is none of which one could act",
            );
        }
        self.windows();
        self.takeover_needed();
    }

    fn windows(&mut self) {
        let scenario = self.scenario;
        let Some(windows) = &scenario.expect.windows else {
            return;
        };
        let steps = &scenario.steps;
        for (i, window) in windows.iter().enumerate() {
            let path = format!("expect.windows[{i}]");
            if windows[..i].contains(window) {
                self.wrong(&path, "this window is listed twice");
                continue;
            }
            let (can, why) = match window {
                Window::Takeover => (
                    scenario.cluster.nodes > 1 && steps.iter().any(|s| self.outlasts_takeover(s)),
                    "no step keeps a node away for longer than its peers wait: there is nothing to take over",
                ),
                Window::Recovery => (
                    steps
                        .iter()
                        .any(|s| node_fault(s).is_some_and(|f| f.back == Back::Same)),
                    "no step takes a node away that comes back with its store",
                ),
                Window::Retry => (
                    scenario.workload.sender == Sender::Mta,
                    "a sender of kind \"once\" never tries again",
                ),
                Window::ReplyLost => (
                    steps.iter().any(|s| match s {
                        Step::Link(l) => !matches!(l.act, LinkAct::Answer(_)),
                        Step::Wait(_) => false,
                        _ => true,
                    }),
                    "no step breaks a connection on which a reply could get lost",
                ),
                Window::Resume => (
                    steps.iter().any(|s| matches!(s, Step::Pause(_))),
                    "no step pauses a node",
                ),
                Window::Degraded => (
                    steps.iter().any(|s| {
                        !matches!(
                            s,
                            Step::Link(_) | Step::Partition(_) | Step::Clock(_) | Step::Wait(_)
                        )
                    }),
                    "no step takes a node away",
                ),
            };
            if !can {
                self.wrong(&path, format!("this window can never be reached: {why}"));
            }
        }
    }

    /// A scenario that exists to see a takeover needs a target that has one.
    fn takeover_needed(&mut self) {
        if self.needs("takeover") {
            return;
        }
        let windows = self.scenario.expect.windows.as_deref().unwrap_or_default();
        let hint = "add \"takeover\" to `needs`";
        let message = "only a target that takes over can get there";
        if let Some(i) = windows.iter().position(|w| *w == Window::Takeover) {
            self.wrong_with(&format!("expect.windows[{i}]"), message, hint);
        }
        let waits = self
            .scenario
            .steps
            .iter()
            .position(|s| matches!(s, Step::Wait(w) if w.until == Until::Takeover));
        if let Some(i) = waits {
            self.wrong_with(&format!("step[{i}].wait.until"), message, hint);
        }
    }
}

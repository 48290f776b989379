//! Back pressure: what is given up, and when, as memory, disk and queue fill.
//!
//! Three things are watched, each against its budget: bytes of message content
//! in memory (`body-budget-bytes`), bytes of the store (`store-budget-bytes`)
//! and messages and copies (`queue-budget-messages`). The fullest decides.
//!
//! At *medium* the node refuses copies offered to it, so that the primary asks
//! another peer (CRE-24), and mail of everybody but authenticated peers;
//! replays from Safety Net pause. At *high* it refuses mail of peers too
//! (ADM-06). Redundancy goes first, then strangers, then the cluster itself.
//! What was accepted is delivered at any level, and what a lost primary leaves
//! is taken over: its copies are here already, and waiting would not make them
//! smaller.
//!
//! A level is left only some way below its threshold, lest it come and go with
//! each message.

use super::Queue;
use crate::event::EventKind;
use crate::mark::Mark;

/// Percent of a budget below a threshold at which its level is left.
const SLACK: u64 = 5;

/// How full the node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    Normal,
    Medium,
    High,
}

impl Pressure {
    /// Its name in events and views.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl Queue {
    /// The present level; a change is logged.
    pub(crate) fn pressure(&mut self) -> Pressure {
        let (percent, what) = self.fullest();
        let medium = u64::from(self.config.pressure_medium_percent);
        let high = u64::from(self.config.pressure_high_percent);
        let held = |level: Pressure| if self.level >= level { SLACK } else { 0 };
        let level = if percent >= high.saturating_sub(held(Pressure::High)).max(1) {
            Pressure::High
        } else if percent >= medium.saturating_sub(held(Pressure::Medium)).max(1) {
            Pressure::Medium
        } else {
            Pressure::Normal
        };
        if level != self.level {
            self.level = level;
            match level {
                Pressure::Normal => {}
                Pressure::Medium => self.mark(Mark::PressureMedium),
                Pressure::High => self.mark(Mark::PressureHigh),
            }
            let detail = format!("{}: {what} at {percent} % of the budget", level.name());
            self.log(EventKind::Pressure, None, "", "", detail);
        }
        level
    }

    /// The fullest of what is watched: percent of its budget, and its name.
    fn fullest(&self) -> (u64, &'static str) {
        let held: usize = self.peers.iter().map(|peer| peer.held.len()).sum();
        let rows = [
            (self.body_bytes, self.config.body_budget_bytes, "memory"),
            (
                self.store.bytes_on_disk(),
                self.config.store_budget_bytes,
                "store",
            ),
            (
                (self.messages.len() + held) as u64,
                self.config.queue_budget_messages,
                "queue",
            ),
        ];
        let percent = |used: u64, budget: u64| {
            let percent = u128::from(used) * 100 / u128::from(budget.max(1));
            u64::try_from(percent).unwrap_or(u64::MAX)
        };
        rows.into_iter()
            .map(|(used, budget, what)| (percent(used, budget), what))
            .max_by_key(|(percent, _)| *percent)
            .unwrap_or((0, ""))
    }

    /// Whether a copy that a peer offers is refused.
    pub(crate) fn refuses_copies(&mut self) -> bool {
        let refused = self.pressure() >= Pressure::Medium;
        if refused {
            self.counters.pressure_refused_shadows += 1;
        }
        refused
    }

    /// Whether mail is refused, of an authenticated peer or of anybody else.
    pub(crate) fn refuses_mail(&mut self, from_peer: bool) -> bool {
        let from = if from_peer {
            Pressure::High
        } else {
            Pressure::Medium
        };
        let refused = self.pressure() >= from;
        if refused {
            self.counters.pressure_refused_mail += 1;
        }
        refused
    }
}

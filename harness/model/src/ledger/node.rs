//! A node: its lives, and the stretches in which it did not serve.

use super::{Ledger, Mark};
use crate::event::{At, StoreState};
use crate::party::Party;

/// One life of a node.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Counted from 1.
    pub life: u32,
    /// Its process started.
    pub started: Mark,
    /// What it found.
    pub store: StoreState,
    /// It answered.
    pub ready: Option<Mark>,
    /// Its process ended.
    pub exit: Option<Mark>,
    /// It ended by SIGKILL.
    pub killed: bool,
}

/// A stretch in which a node did not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Since when; a node is silenced before it is killed, so that this may be
    /// the time of a receipt.
    pub start: At,
    /// Since when by the word of the kernel; for a link as `start`.
    pub seen: At,
    /// Until when; `None`: to the end.
    pub end: Option<At>,
    /// It came back with an empty store.
    pub emptied: bool,
    /// The process ended: what it had not recorded is gone.
    pub died: bool,
    /// The node itself was out; otherwise only a link to it.
    pub node: bool,
}

impl Ledger {
    /// Stretches in which a node did not serve: dead or standing still.
    /// `stills`: whether a fault is one that takes a node away or stops it.
    #[must_use]
    pub fn outages(&self, node: Party, stills: impl Fn(u32) -> bool) -> Vec<Outage> {
        let mut outages = Vec::new();
        let lives = self.lives.get(&node).map_or(&[][..], Vec::as_slice);
        for (n, life) in lives.iter().enumerate() {
            let Some(exit) = life.exit else { continue };
            // A node is silenced before it is killed: the outage begins with
            // the fault. A fault that was taken back before is not the cause.
            let start = self
                .faults
                .iter()
                .filter(|(fault, _)| stills(**fault))
                .map(|(_, f)| f)
                .filter(|f| f.removed.is_none_or(|r| r.at > exit.at))
                .flat_map(|f| &f.fired)
                .filter(|f| {
                    f.node == Some(node) && f.mark.at <= exit.at && f.mark.at >= life.started.at
                })
                .map(|f| f.mark)
                .min()
                .unwrap_or(exit);
            // A life that ends before it answers is part of the outage.
            let later = &lives[n + 1..];
            let back = later.iter().position(|l| l.ready.is_some());
            let tried = back.map_or(later, |at| &later[..=at]);
            outages.push(Outage {
                start: start.at,
                seen: exit.at,
                end: back.and_then(|at| later[at].ready).map(|m| m.at),
                emptied: tried.iter().any(|l| l.store == StoreState::Empty),
                died: true,
                node: true,
            });
        }
        for (since, until) in self.pauses.get(&node).map_or(&[][..], Vec::as_slice) {
            outages.push(Outage {
                start: since.at,
                seen: since.at,
                end: until.map(|m| m.at),
                emptied: false,
                died: false,
                node: true,
            });
        }
        outages
    }

    /// Whether a node served when an event was recorded. What came later
    /// counts as later even at the same time: in the simulator a node that is
    /// told to stop is gone at once.
    #[must_use]
    pub fn up_at(&self, node: Party, moment: Mark) -> bool {
        let alive = self
            .lives
            .get(&node)
            .and_then(|l| l.iter().rev().find(|l| l.started.id <= moment.id))
            .is_some_and(|l| {
                l.ready.is_some_and(|r| r.id <= moment.id)
                    && l.exit.is_none_or(|e| e.id > moment.id)
            });
        let paused = self.pauses.get(&node).is_some_and(|p| {
            p.iter().any(|(since, until)| {
                since.id <= moment.id && until.is_none_or(|u| u.id > moment.id)
            })
        });
        alive && !paused
    }
}

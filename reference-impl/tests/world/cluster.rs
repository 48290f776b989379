//! What tests of a whole cluster ask again and again.

use std::time::Duration;

use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;

use super::World;

/// Longer than anything takes that waits for nothing but links and disks.
pub(crate) const SHORT: Duration = Duration::from_secs(20);
/// `shadow-heartbeat-frequency` by default.
pub(crate) const POLL: Duration = Duration::from_secs(120);
/// `shadow-resubmit-time-span` by default.
pub(crate) const TAKEOVER: Duration = Duration::from_secs(3 * 3600);

impl World {
    /// Nodes that are peers of each other, whose next hop puts everything off
    /// until [`World::open`].
    pub(crate) fn stalled(count: usize) -> Self {
        let mut world = Self::cluster(count);
        world.stall();
        world
    }

    /// The next hop puts everything off.
    pub(crate) fn stall(&mut self) {
        self.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    }

    /// The next hop takes everything.
    pub(crate) fn open(&mut self) {
        self.sinks[0].rules.clear();
    }

    pub(crate) fn runs(&self, n: usize) -> bool {
        self.nodes[n].node.is_some()
    }

    /// The one running node that holds copies for node `primary`.
    pub(crate) fn holder(&self, primary: usize) -> usize {
        let name = &self.nodes[primary].config.name;
        let holds = |n: &usize| {
            let mut shadows = self.view(*n).shadows.into_iter();
            shadows.any(|s| s.origin.primary == *name)
        };
        let all: Vec<usize> = (0..self.nodes.len())
            .filter(|n| self.runs(*n))
            .filter(holds)
            .collect();
        assert_eq!(all.len(), 1, "{all:?} hold copies\n{}", self.picture());
        all[0]
    }

    /// The ids of the messages of which node `n` holds a copy, in order.
    pub(crate) fn held(&self, n: usize) -> Vec<String> {
        let shadows = self.view(n).shadows.into_iter();
        shadows.map(|s| s.x_mailproof).collect()
    }

    /// Whether nothing is queued or held at a running node, and nothing is
    /// owed to one.
    pub(crate) fn settled(&self) -> bool {
        let running: Vec<usize> = (0..self.nodes.len()).filter(|n| self.runs(*n)).collect();
        let name = |n: usize| &self.nodes[n].config.name;
        running.iter().all(|n| {
            let view = self.view(*n);
            let owed = |peer: &String| running.iter().any(|n| name(*n) == peer);
            view.messages.is_empty()
                && view.shadows.is_empty()
                && view.discards.iter().all(|d| !owed(&d.peer))
        })
    }

    /// Kills a node and starts it a second later.
    pub(crate) fn restart(&mut self, n: usize) {
        self.kill(n, Crash::DropAll);
        self.run(Duration::from_secs(1));
        self.start(n);
        self.run(Duration::from_secs(1));
    }

    /// How many takeovers there were at node `n`.
    pub(crate) fn takeovers(&self, n: usize) -> usize {
        self.count(n, EventKind::Resubmit)
    }

    /// The details of all events of a kind at node `n`, with the other server.
    pub(crate) fn said(&self, n: usize, kind: EventKind) -> Vec<(String, String)> {
        let events = self.nodes[n].events.iter();
        events
            .filter(|e| e.event == kind)
            .map(|e| (e.server.clone(), e.detail.clone()))
            .collect()
    }

    /// What went from one node to another since captures are kept.
    pub(crate) fn captured(&self, from: usize, to: usize) -> &str {
        let capture = self.capture.as_ref().expect("captures are kept");
        capture.get(&(from, to)).map_or("", String::as_str)
    }
}

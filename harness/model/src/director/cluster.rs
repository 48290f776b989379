//! Which nodes run, as the director knows it from events.

use crate::event::{At, StoreState};
use crate::party::Party;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has no process.
    Down,
    /// Its start was ordered then; it does not answer yet.
    Starting {
        /// When it was ordered.
        since: At,
    },
    /// It answers.
    Running,
    /// It stands still.
    Paused,
}

/// One node.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) party: Party,
    pub(super) state: State,
    /// Whether it may have a store on its disk.
    pub(super) store: bool,
    /// Whether it was ready once.
    pub(super) served: bool,
}

/// The nodes of the target, transport nodes first.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    nodes: Vec<Node>,
}

impl Cluster {
    pub(super) fn new(nodes: impl Iterator<Item = Party>) -> Self {
        Self {
            nodes: nodes
                .map(|party| Node {
                    party,
                    state: State::Down,
                    store: false,
                    served: false,
                })
                .collect(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter()
    }

    pub(super) fn get(&mut self, party: Party) -> Option<&mut Node> {
        self.nodes.iter_mut().find(|node| node.party == party)
    }

    pub(super) fn state(&self, party: Party) -> State {
        self.nodes
            .iter()
            .find(|node| node.party == party)
            .map_or(State::Down, |node| node.state)
    }

    /// Nodes that answer.
    pub(super) fn running(&self) -> impl Iterator<Item = Party> + '_ {
        self.nodes
            .iter()
            .filter(|node| node.state == State::Running)
            .map(|node| node.party)
    }

    /// Notes that a start is ordered.
    pub(super) fn starting(&mut self, party: Party, now: At) {
        if let Some(node) = self.get(party) {
            node.state = State::Starting { since: now };
        }
    }

    /// A process was started.
    pub(super) fn started(&mut self, party: Party, _store: StoreState) {
        if let Some(node) = self.get(party) {
            node.store = true;
        }
    }

    /// A node answers; how long its start took, when it was not its first.
    pub(super) fn ready(&mut self, party: Party, now: At) -> Option<u64> {
        let node = self.get(party)?;
        let State::Starting { since } = node.state else {
            return None;
        };
        node.state = State::Running;
        std::mem::replace(&mut node.served, true).then(|| now.saturating_sub(since))
    }

    /// Sets what a node does, if there is such a node.
    pub(super) fn set(&mut self, party: Party, state: State) {
        if let Some(node) = self.get(party) {
            node.state = state;
        }
    }
}

//! Where in the traffic a fault strikes: links, phases, passages.

use super::weighted;
use crate::party::{Link, Party};
use crate::rng::Rng;
use crate::scenario::phase::{holds_command, holds_reply};
use crate::scenario::{LinkAct, Point, Scenario, Spread};

/// Phases on any link, with weights: the end of the data is where
/// responsibility changes hands.
const DIALOGUE: [(&str, u64); 17] = [
    ("connect", 1),
    ("greeting", 1),
    ("ehlo", 1),
    ("ehlo-reply", 1),
    ("mail", 2),
    ("mail-reply", 2),
    ("rcpt", 2),
    ("rcpt-reply", 2),
    ("data", 2),
    ("data-reply", 2),
    ("content", 6),
    ("dot", 16),
    ("after-dot", 14),
    ("end-reply", 20),
    ("after-end-reply", 10),
    ("quit", 1),
    ("quit-reply", 1),
];

/// The phases at which a message is between two parties.
const PASSING: [&str; 4] = ["dot", "after-dot", "end-reply", "after-end-reply"];

/// The sides of a cluster that a link can be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Client,
    Peers,
    End,
}

/// What is known of a cluster while faults are drawn for it.
pub(super) struct Place<'a> {
    pub(super) scenario: &'a Scenario,
    /// Verbs that nodes speak between themselves.
    pub(super) verbs: &'a [String],
    /// Nodes that are gone for good.
    pub(super) gone: &'a [Party],
    /// The share of the mail, in percent, that is under way or over when the
    /// fault comes.
    pub(super) share: u8,
    /// Only where mail passes, and soon.
    pub(super) sure: bool,
    /// Also at moments that only a simulation knows: operations of disks, and
    /// its own events.
    pub(super) inside: bool,
    /// Nodes with odd numbers relay to those with even ones, which deliver.
    pub(super) hubs: bool,
}

/// Whether a node relays to others, where some do.
fn is_hub(node: Party) -> bool {
    matches!(node, Party::Node(n) if n % 2 == 1)
}

impl Place<'_> {
    /// The transport nodes that are left.
    pub(super) fn nodes(&self) -> Vec<Party> {
        (1..=self.scenario.cluster.nodes)
            .map(Party::Node)
            .filter(|n| !self.gone.contains(n))
            .collect()
    }

    /// The transport nodes that the sender's sessions begin with: the others
    /// get mail only when one of these does not answer.
    pub(super) fn served(&self) -> Vec<Party> {
        let workload = &self.scenario.workload;
        let nodes = self.nodes();
        let served: Vec<Party> = nodes
            .iter()
            .copied()
            .filter(|node| match (workload.to, node) {
                (Spread::Only(only), node) => *node == only,
                (Spread::RoundRobin, Party::Node(n)) => *n <= workload.sessions,
                (Spread::RoundRobin, _) => false,
            })
            .collect();
        if served.is_empty() { nodes } else { served }
    }

    /// A transport node that mail is mostly sent to.
    pub(super) fn busy(&self, rng: &mut Rng) -> Option<Party> {
        if self.sure || rng.below(4) > 0 {
            pick(rng, &self.served())
        } else {
            self.node(rng)
        }
    }

    /// A transport node that is left.
    pub(super) fn node(&self, rng: &mut Rng) -> Option<Party> {
        pick(rng, &self.nodes())
    }

    /// Any link that carries something; with `peers` off none between
    /// transport nodes.
    pub(super) fn link(&self, rng: &mut Rng, peers: bool) -> Option<Link> {
        let nodes = self.nodes();
        let mut sides = vec![(Side::Client, 3), (Side::End, 3)];
        let relayed = self.hubs && self.served().iter().any(|node| is_hub(*node));
        if peers && nodes.len() > 1 && (!self.sure || relayed) {
            sides.push((Side::Peers, 4));
        }
        let end = match self.scenario.cluster.stores {
            0 => Party::Mailbox,
            n => Party::Store(rng.between(1, u64::from(n)) as u16),
        };
        let node = self.busy(rng)?;
        let side = weighted(rng, &sides)?;
        if self.hubs && side != Side::Client {
            let (hubs, edges): (Vec<Party>, Vec<Party>) =
                nodes.iter().copied().partition(|node| is_hub(*node));
            // Hubs take the first edge that answers.
            let edge = if self.sure || rng.below(4) > 0 {
                edges.first().copied()
            } else {
                pick(rng, &edges)
            };
            return Some(match (side, edge) {
                (Side::Peers, Some(edge)) => Link::new(pick(rng, &hubs)?, edge),
                (_, Some(edge)) => Link::new(edge, end),
                (_, None) => Link::new(node, end),
            });
        }
        Some(match side {
            Side::Client => match self.scenario.workload.to {
                Spread::Only(only) if self.gone.contains(&only) => return None,
                Spread::Only(only) => Link::new(Party::Client, only),
                Spread::RoundRobin => Link::new(Party::Client, node),
            },
            Side::End => Link::new(node, end),
            Side::Peers => {
                let others: Vec<Party> = nodes.into_iter().filter(|n| *n != node).collect();
                Link::new(node, pick(rng, &others)?)
            }
        })
    }

    /// A point on a link at which such an act can be done (`None`: a hold,
    /// for a fault of a node).
    pub(super) fn point(&self, rng: &mut Rng, link: Link, act: Option<&LinkAct>) -> Option<Point> {
        let mut phases: Vec<(String, u64)> = DIALOGUE
            .iter()
            .map(|(phase, weight)| ((*phase).to_owned(), *weight))
            .collect();
        if matches!((link.from, link.to), (Party::Node(_), Party::Node(_))) {
            for verb in self.verbs {
                phases.push((format!("verb({verb})"), 4));
                phases.push((format!("verb-reply({verb})"), 4));
            }
        }
        if self.sure {
            phases.retain(|(phase, _)| PASSING.contains(&phase.as_str()));
        }
        phases.retain(|(phase, _)| match act {
            Some(LinkAct::LoseReply) => holds_reply(phase),
            Some(LinkAct::Answer(_)) => holds_command(phase) && phase != "ehlo" && phase != "quit",
            Some(LinkAct::CutAt(_)) => {
                !matches!(phase.as_str(), "connect" | "after-dot" | "after-end-reply")
            }
            _ => true,
        });
        let at: Vec<(usize, u64)> = phases.iter().map(|p| p.1).enumerate().collect();
        let phase = phases.swap_remove(weighted(rng, &at)?).0;
        let nth = self.passage(rng, link, &phase);
        Some(Point { link, phase, nth })
    }

    /// A passage that comes, as far as one can tell before the run: the share
    /// of the mail that goes over such a link, or the number of its
    /// connections.
    fn passage(&self, rng: &mut Rng, link: Link, phase: &str) -> u32 {
        let workload = &self.scenario.workload;
        let once = matches!(
            phase,
            "connect" | "greeting" | "ehlo" | "ehlo-reply" | "quit" | "quit-reply"
        ) || phase.contains("XPEER")
            || phase.contains("XPROVE");
        let nodes = u32::try_from(self.served().len()).unwrap_or(1).max(1);
        let peers = u32::from(self.scenario.cluster.nodes).saturating_sub(1);
        let expected = match (link.from, workload.to) {
            _ if once => 3,
            (Party::Client, Spread::Only(_)) => workload.messages,
            (Party::Client, Spread::RoundRobin) => workload.messages / nodes,
            (_, _) if phase.starts_with("verb") => 6,
            (_, _) if self.hubs => workload.messages / nodes,
            (_, _) if link.to.is_node() && !matches!(link.to, Party::Store(_)) => {
                workload.messages / nodes / peers.max(1)
            }
            // Mail for one mailbox goes to the node that owns it.
            (_, _) => workload.messages / nodes / u32::from(self.scenario.cluster.stores).max(1),
        };
        // What is left of it; the earlier ones leave more to come.
        let left = u64::from(expected) * u64::from(100 - self.share.min(90)) / 100;
        let most = if self.sure { left / 8 } else { left / 3 };
        rng.between(1, most.max(1)) as u32
    }
}

/// Any of a list.
pub(super) fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> Option<T> {
    of.get(usize::try_from(rng.below(of.len() as u64)).ok()?)
        .copied()
}

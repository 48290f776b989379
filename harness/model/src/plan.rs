//! A plan: a scenario with everything decided that can be decided before the
//! run. It is the first line of a history, so that a history can be judged
//! without any other file.

use serde::{Deserialize, Serialize};

use crate::event::Fault;
use crate::party::{Link, Party};
use crate::scenario::{Persistence, Scenario, Times};

/// A scenario, a seed, a target, an engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Plan {
    /// The run's id: unique, also in every message it sends.
    pub run: String,
    /// Version of mailproof that made it.
    pub version: String,
    /// The engine's name: `sim`, `process`, `docker`, `external`.
    pub engine: String,
    /// The source of every draw.
    pub seed: u64,
    /// The target as far as judging needs it.
    pub target: Target,
    /// The times in force, nanoseconds by name; `poll`, `takeover`, `retry`,
    /// `resend`, `patience` and `record` are always there.
    pub times: Times,
    /// The scenario as written.
    pub scenario: Scenario,
    /// Faults whose injector was replaced by one that only says it acted
    /// (`selftest`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disarmed: Vec<Fault>,
}

/// What the judge must know of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Target {
    /// Its name: `reference`, `postfix`, …
    pub name: String,
    /// Its version, as far as it can be learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// What it promises. RFC 5321 6.1 (one process crash or one power loss
    /// costs nothing) holds without being listed, unless it is disowned.
    pub claims: Vec<Claim>,
    /// Whether it disowns RFC 5321 6.1; printed in the title line.
    #[serde(default)]
    pub disowns_rfc5321: bool,
    /// The model of a disk under which its claims about a loss of power
    /// hold; those of `posix` hold under every other too.
    #[serde(default, skip_serializing_if = "Persistence::is_default")]
    pub persistence: Persistence,
    /// Changes to messages that it is known and allowed to make.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alters: Vec<crate::target::Change>,
}

/// One promise of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Claim {
    /// Which kind of failure it covers.
    pub failure: Failure,
    /// How many nodes may have it at once.
    #[serde(default = "once", rename = "at-once")]
    pub at_once: u16,
    /// Nanoseconds that must lie between the repair of one and the next.
    #[serde(default)]
    pub spacing: u64,
    /// Only for mail for which this holds; `shadowed`: accepted while a peer
    /// was within reach that could hold a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What is promised.
    pub guarantee: Guarantee,
}

fn once() -> u16 {
    1
}

/// Kinds of failure that claims speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failure {
    /// A process is killed or stopped, its disk stays.
    ProcessCrash,
    /// Power is cut; what was not synced is gone.
    PowerLoss,
    /// A node with its store is gone for good or comes back empty.
    NodeLost,
    /// Operations of a disk fail: I/O errors, no space, failed syncs.
    DiskError,
    /// Files of a store are damaged at rest.
    Corruption,
    /// A node stands still for a time.
    Pause,
    /// Connections are cut, refused, delayed; replies get lost.
    Link,
}

/// What a claim promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Nothing that was accepted is lost.
    NoLoss,
    /// Nothing is lost and no copy comes without a licence.
    NoLossNoDuplicates,
}

impl Plan {
    /// The transport nodes, then the nodes that own mailboxes.
    pub fn nodes(&self) -> impl Iterator<Item = Party> + '_ {
        let cluster = &self.scenario.cluster;
        (1..=cluster.nodes)
            .map(Party::Node)
            .chain((1..=cluster.stores).map(Party::Store))
    }

    /// Where mail ends.
    #[must_use]
    pub fn end(&self) -> Party {
        if self.scenario.cluster.stores > 0 {
            Party::Store(1)
        } else {
            Party::Mailbox
        }
    }

    /// Every link of the cluster: client to each transport node, each
    /// transport node to every other and to where mail ends.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        let cluster = &self.scenario.cluster;
        let transport = || (1..=cluster.nodes).map(Party::Node);
        let mut links = Vec::new();
        for n in transport() {
            links.push(Link::new(Party::Client, n));
            for other in transport().filter(|o| *o != n) {
                links.push(Link::new(n, other));
            }
            if cluster.stores == 0 {
                links.push(Link::new(n, Party::Mailbox));
            }
            for s in 1..=cluster.stores {
                links.push(Link::new(n, Party::Store(s)));
            }
            if self.safety_net() {
                for s in 1..=cluster.stores {
                    links.push(Link::new(Party::Store(s), n));
                }
            }
        }
        links
    }

    /// Whether mailbox nodes ask transport nodes to send mail again that a
    /// mailbox database has lost: the scenario needs `safety-net`.
    #[must_use]
    pub fn safety_net(&self) -> bool {
        self.scenario.needs.iter().any(|need| need == "safety-net")
    }

    /// Nanoseconds of the named time; 0 when the plan does not have it.
    #[must_use]
    pub fn time(&self, name: &str) -> u64 {
        self.times.get(name).copied().unwrap_or(0)
    }

    /// Nanoseconds within which accepted mail must arrive once nothing holds
    /// it up any more: `expect.deadline`, or takeover, two polls, four
    /// retries and one resend.
    #[must_use]
    pub fn grace(&self) -> u64 {
        let derived = || {
            [("takeover", 1), ("poll", 2), ("retry", 4), ("resend", 1)]
                .iter()
                .fold(0u64, |sum, (name, n)| {
                    sum.saturating_add(self.time(name).saturating_mul(*n))
                })
        };
        match &self.scenario.expect.deadline {
            Some(span) => span.resolve(&self.times).unwrap_or_else(|_| derived()),
            None => derived(),
        }
    }
}

//! Target files: everything that the harness must know of an MTA to start,
//! ask, stop and judge it. One strict TOML file each, no Rust.
//!
//! Texts of commands, files and environment are templates; the engine fills
//! them in. What a template may name:
//!
//! | name | value |
//! |---|---|
//! | `mailproof` | path of the running command |
//! | `programs` | directory of the programs that the harness carries |
//! | `node`, `role` | `n1` or `m1`; `transport` or `mailbox` |
//! | `dir`, `store` | the node's own directory; the store directory inside it |
//! | `listen`, `address`, `port` | where to listen (`127.0.0.2:2525`), its two parts; `address` is also the one to dial from |
//! | `site`, `sites` | where the node stands, `s1`…; how many sites there are |
//! | `peers` | the other transport nodes, each with `name`, `address` (of the link to it), `role` and `site`; empty for a node that owns mailboxes, unless `safety_net` |
//! | `safety_net` | whether the scenario needs `safety-net`: then nodes of both roles are peers of each other |
//! | `next_hops` | addresses of the links to where mail ends; empty for a node that owns mailboxes |
//! | `routes` | the same by domain, each with `domain` (`*`: every other) and `next_hop`; several only where several nodes own mailboxes |
//! | `network` | the network of every party, `127.0.0.0/8` |
//! | `domains` | domains whose mail ends in the mailbox: recipients and reverse paths; for one of several nodes that own mailboxes, those whose mail ends there |
//! | `cluster_key` | a secret of this run, 64 hexadecimal digits |
//! | `times` | whole milliseconds by name: `times.poll`, `times.takeover`, `times.retry`, … |
//! | `seed` | the node's own seed |

mod check;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Diagnostic;
use crate::plan::{Claim, Failure, Guarantee, Target};
use crate::scenario::{Persistence, Span, Times};
use crate::strict;

/// A target file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TargetFile {
    /// Its name on the command line: `reference`, `postfix`, …; lower case
    /// letters, digits, hyphens.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// What a reader of a report should know of this set-up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// Which model the simulator has of it; none: real engines only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sim: Option<Model>,
    /// The image that the docker engine builds it from: a folder of
    /// `fixtures/images`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What it can do; see [`CAPABILITIES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Changes to messages that it is known and allowed to make.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alters: Vec<Change>,
    /// Whether it disowns RFC 5321 6.1; printed in every title line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disowns_rfc5321: bool,
    /// The model of a disk under which its claims about a loss of power
    /// hold.
    #[serde(default, skip_serializing_if = "Persistence::is_default")]
    pub persistence: Persistence,
    /// How a node is run.
    pub node: Process,
    /// How a node that owns mailboxes is run, where that differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_node: Option<Process>,
    /// Files that a node finds in its directory.
    #[serde(default, rename = "file", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// How to tell that a node is up.
    #[serde(default)]
    pub ready: Ready,
    /// How to stop a node in order.
    #[serde(default)]
    pub stop: Stop,
    /// How to learn what a node holds.
    #[serde(default)]
    pub queue: Queue,
    /// The times it has and those that it lets the scenario set.
    #[serde(default)]
    pub times: TargetTimes,
    /// What it promises beyond RFC 5321 6.1.
    #[serde(default, rename = "claim", skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimRow>,
}

/// Models of targets that the simulator has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// The reference node; its configuration is the file `node.toml` of the
    /// target file.
    Reference,
}

/// Changes of content that a target may declare; all others are findings.
/// Header fields put on top of a message are no change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Bare CR or LF becomes CR LF.
    LineEndings,
    /// Lines beyond 998 octets are broken.
    LongLines,
    /// 8-bit content is sent on in a 7-bit encoding.
    BodyEncoding,
    /// Space at the ends of lines is removed.
    TrailingSpace,
}

/// How a process is run. Every text is a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Process {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment on top of an empty one that has only `PATH`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Working directory; nothing: the node's own directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Run to its end before the first start, in the same place: set-up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<String>,
    /// Prints the version on its first line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub version: Vec<String>,
}

/// A file in a node's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct File {
    /// Relative to the node's directory, without `..`.
    pub path: String,
    /// Template of its content.
    pub text: String,
    /// Whether it may be executed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// How to tell that a node is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Ready {
    /// It greets with 220 within this time from its start.
    pub greeting: Span,
}

impl Default for Ready {
    fn default() -> Self {
        Self {
            greeting: Span::nanoseconds(10_000_000_000),
        }
    }
}

/// How to stop a node in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Stop {
    /// The signal to its main process.
    #[serde(default)]
    pub signal: Signal,
    /// The longest it may take; then it is killed, which is recorded.
    pub max: Span,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            signal: Signal::default(),
            max: Span::nanoseconds(5_000_000_000),
        }
    }
}

/// A signal that asks a process to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// SIGTERM.
    #[default]
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
}

/// How to learn what a node holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Queue {
    /// A reader that the harness has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builtin: Option<Builtin>,
    /// A command that prints a JSON object a line: `queue_id`, `our_id`
    /// (optional; without it the evidence is weaker), `rcpt`, `state`,
    /// `next_retry`. Templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lister: Option<Vec<String>>,
    /// Makes the node try everything again at once. Templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flush: Option<Vec<String>>,
    /// The directory that holds what the node must not lose, relative to its
    /// own directory: this is what a lost store loses and what the crashable
    /// disk lies under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
}

/// Readers of queues that the harness has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Builtin {
    /// The admin socket of the reference node while it runs, its store when
    /// it does not.
    Reference,
}

/// The times of a target. One that it does not name is the scenario's (or
/// the plain default), and is only used to know how long to wait.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TargetTimes {
    /// How often a shadow holder polls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<TargetTime>,
    /// How long a primary must be unreachable before its copies are taken
    /// over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takeover: Option<TargetTime>,
    /// The longest wait before a next hop is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<TargetTime>,
    /// Within what time after the next hop's 250 a node has recorded the
    /// delivery, so that a crash no longer repeats it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<TargetTime>,
}

/// One time of a target. Spans name no other times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TargetTime {
    /// Its value where the scenario gives none, or where it is fixed.
    pub default: Span,
    /// Whether the templates carry the scenario's value into the target.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settable: bool,
    /// The least that can be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<Span>,
    /// The most that can be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<Span>,
}

impl TargetTimes {
    /// The time of that name, where the target has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TargetTime> {
        match name {
            "poll" => self.poll.as_ref(),
            "takeover" => self.takeover.as_ref(),
            "retry" => self.retry.as_ref(),
            "record" => self.record.as_ref(),
            _ => None,
        }
    }
}

/// One promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClaimRow {
    /// Which kind of failure it covers.
    pub failure: Failure,
    /// How many nodes may have it at once; 1 to 50.
    #[serde(default = "once")]
    pub at_once: u16,
    /// Time between the repair of one and the next; nothing: none needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spacing: Option<Span>,
    /// Only for mail for which this holds: `shadowed` is the one condition
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What is promised.
    pub guarantee: Guarantee,
}

fn once() -> u16 {
    1
}

/// Every capability that a scenario may need and a target may have, with
/// what it means.
pub const CAPABILITIES: [(&str, &str); 20] = [
    ("relay", "takes mail for a next hop, passes it on, retries"),
    ("shadow-copy", "keeps a copy on a peer before its 250"),
    (
        "hold-copy",
        "keeps its copy until the next hop reports delivery",
    ),
    (
        "delayed-ack",
        "withholds the 250 until delivery is verified",
    ),
    (
        "takeover",
        "a holder of copies delivers when the primary is gone",
    ),
    (
        "database-id",
        "tells a returned store from a new one by its identity",
    ),
    (
        "safety-net",
        "keeps delivered mail and can deliver it again",
    ),
    (
        "sites",
        "its nodes know in which site each stands, and protect each other across",
    ),
    ("owns-mailbox", "has nodes that own mailboxes"),
    ("duplicate-detection", "its mailboxes hide a second copy"),
    ("queue-listing", "lists what a running node holds"),
    (
        "store-readable",
        "the harness can read the store of a stopped node",
    ),
    ("dsn", "RFC 3461 parameters and RFC 3464 reports"),
    ("pipelining", "RFC 2920"),
    ("chunking", "RFC 3030 BDAT"),
    ("smtputf8", "RFC 6531"),
    ("starttls", "RFC 3207"),
    ("auth", "RFC 4954"),
    ("lmtp", "RFC 2033"),
    ("back-pressure", "defers mail when resources run short"),
];

/// Reads a target file; `file` is the name shown in messages.
///
/// # Errors
/// The first problem of the file.
pub fn parse(file: &str, text: &str) -> Result<TargetFile, Diagnostic> {
    parse_all(file, text).map_err(|mut problems| problems.swap_remove(0))
}

/// Reads a target file.
///
/// # Errors
/// Every problem of the file, in its order; at least one.
pub fn parse_all(file: &str, text: &str) -> Result<TargetFile, Vec<Diagnostic>> {
    let (target, document) = strict::read::<TargetFile>(file, text)?;
    let problems = check::check(&target, &document);
    if problems.is_empty() {
        Ok(target)
    } else {
        Err(problems)
    }
}

impl TargetFile {
    /// Whether it can do that.
    #[must_use]
    pub fn can(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|c| c == capability)
    }

    /// How a node of that role is run.
    #[must_use]
    pub fn process(&self, owns_mailboxes: bool) -> &Process {
        match &self.store_node {
            Some(process) if owns_mailboxes => process,
            _ => &self.node,
        }
    }

    /// What the judge must know of it.
    #[must_use]
    pub fn target(&self, version: Option<String>) -> Target {
        Target {
            name: self.name.clone(),
            version,
            capabilities: self.capabilities.clone(),
            claims: self.claims.iter().map(ClaimRow::claim).collect(),
            disowns_rfc5321: self.disowns_rfc5321,
            persistence: self.persistence,
            alters: self.alters.clone(),
        }
    }
}

impl ClaimRow {
    fn claim(&self) -> Claim {
        Claim {
            failure: self.failure,
            at_once: self.at_once,
            spacing: self.spacing.as_ref().map_or(0, plain),
            condition: self.condition.clone(),
            guarantee: self.guarantee,
        }
    }
}

/// The value of a span that names no times, in nanoseconds. The file was
/// checked for that when it was read; one that was not counts as endless.
pub(crate) fn plain(span: &Span) -> u64 {
    span.resolve(&Times::new()).unwrap_or(u64::MAX / 2)
}

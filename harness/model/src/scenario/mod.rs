//! The scenario language, version 1: one strict TOML file a scenario.
//!
//! These types are what a file says, before any late choice; [`crate::plan`]
//! adds seed, target and resolved times.

mod chaos;
mod clock;
mod disk;
mod lint;
mod network;
mod parse;
pub(crate) mod phase;
mod schema;
mod span;
mod sweep;
mod text;
mod windows;
mod write;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use chaos::{Chaos, ChaosKind, Within};
pub use clock::{ClockFault, Drift, Offset};
pub use disk::{Corrupt, Damage, DiskAct, DiskFault, DiskPoint, OpKind, Persistence};
pub use lint::{check, lint, lint_all};
pub use network::{Partition, Rate, Toward};
pub use parse::{parse, parse_all};
pub use phase::{PHASES, is_phase};
pub use schema::schema;
pub use span::{Inequality, Span, SpanError, Times};
pub use sweep::{Over, Sweep, SweepAct};
pub use write::write;

use crate::party::{Link, NameError, Party};

/// One scenario: a cluster, a workload, what breaks, what is expected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scenario {
    /// `family/name`, unique over all scenarios.
    pub id: String,
    /// One line that a user understands.
    pub title: String,
    /// Why the scenario exists, in a few sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The rules a pass is evidence for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Capabilities that the target must have; without them the scenario is
    /// not applicable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// The cluster to start.
    #[serde(default)]
    pub cluster: Cluster,
    /// Times for real engines and the inequalities they must meet.
    #[serde(default)]
    pub time: Time,
    /// The mail to send.
    #[serde(default)]
    pub workload: Workload,
    /// What happens, in order.
    #[serde(default, rename = "step", skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// What must hold at the end.
    #[serde(default)]
    pub expect: Expect,
    /// What each seed draws all this from, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chaos: Option<Chaos>,
    /// One fault at every point of a run, instead of steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
    /// Where a drawn scenario comes from: `chaos/copy seed 17`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<String>,
}

/// The cluster of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Cluster {
    /// Transport nodes, `n1`…; 1 to 50.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 50))]
    pub nodes: u16,
    /// Nodes of the target that own mailboxes, `m1`…; with none, mail ends
    /// in the harness's mailbox `mb`. 0 to 10.
    #[serde(default)]
    #[schemars(range(min = 0, max = 10))]
    pub stores: u16,
    /// Sites over which the transport nodes are spread: `n1` in the first,
    /// `n2` in the second, and so on in turn. All of them protect each other.
    /// 1 to 10.
    #[serde(default = "one_site", skip_serializing_if = "is_one")]
    #[schemars(range(min = 1, max = 10))]
    pub sites: u16,
    /// What the nodes' disks keep of un-synced work when power goes.
    #[serde(default, skip_serializing_if = "Persistence::is_default")]
    pub disk: Persistence,
}

fn three() -> u16 {
    3
}

fn one_site() -> u16 {
    1
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_one(sites: &u16) -> bool {
    *sites == 1
}

impl Cluster {
    /// The site of a transport node, counted from 1; of any other party the
    /// first.
    #[must_use]
    pub fn site(&self, party: Party) -> u16 {
        match party {
            Party::Node(n) => n.saturating_sub(1) % self.sites.max(1) + 1,
            _ => 1,
        }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            nodes: three(),
            stores: 0,
            sites: one_site(),
            disk: Persistence::default(),
        }
    }
}

/// Times of a scenario on real engines; `sim` uses them too unless the plan
/// says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Time {
    /// How often a shadow holder polls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<Span>,
    /// How long a primary must be unreachable before its copies are taken
    /// over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takeover: Option<Span>,
    /// How long a node waits before it tries a next hop again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Span>,
    /// How long the sender waits before it tries a message again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resend: Option<Span>,
    /// How long the sender waits for any one reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<Span>,
    /// Inequalities, `restart < takeover / 3`: checked over the planned
    /// times before the run and over the measured ones after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<Inequality>,
}

/// The mail of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Workload {
    /// How many messages; at least 1.
    #[schemars(range(min = 1, max = 10000000))]
    pub messages: u32,
    /// Size of each message, drawn evenly.
    #[serde(default)]
    pub size: Size,
    /// Recipients of each message, drawn evenly; at least 1, at most 100.
    #[serde(default)]
    pub recipients: Count,
    /// What the sender does after anything but a 250.
    #[serde(default)]
    pub sender: Sender,
    /// Sessions that send at the same time; 1 to 256.
    #[serde(default = "four")]
    #[schemars(range(min = 1, max = 256))]
    pub sessions: u16,
    /// Which node a session talks to.
    #[serde(default)]
    pub to: Spread,
    /// How long a session waits between one message and the next; nothing:
    /// not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<Span>,
}

impl Default for Workload {
    /// No mail at all: what a file without this table says.
    fn default() -> Self {
        Self {
            messages: 0,
            size: Size::default(),
            recipients: Count::default(),
            sender: Sender::default(),
            sessions: four(),
            to: Spread::default(),
            pace: None,
        }
    }
}

fn four() -> u16 {
    4
}

/// What the sender does after an attempt that did not end in a 250.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sender {
    /// As an MTA: it keeps the message and tries again, each time with the
    /// recipients that are not settled (RFC 5321 4.5.4.1).
    #[default]
    Mta,
    /// It never tries again.
    Once,
}

/// To which nodes the sender's sessions go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spread {
    /// Session by session over all transport nodes, moving on to the next
    /// node when one does not answer.
    #[default]
    RoundRobin,
    /// All to one node, again and again.
    Only(Party),
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RoundRobin => f.write_str("round-robin"),
            Self::Only(node) => write!(f, "{node}"),
        }
    }
}

impl FromStr for Spread {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        match s {
            "round-robin" => Ok(Self::RoundRobin),
            _ => s
                .parse::<Party>()
                .ok()
                .filter(|p| p.is_node())
                .map(Self::Only)
                .ok_or_else(|| NameError {
                    found: s.to_owned(),
                    expected: "`round-robin` or a node such as `n1`",
                }),
        }
    }
}

/// A number or a closed range of numbers, `3` or `"1..3"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The least.
    pub least: u32,
    /// The most, included.
    pub most: u32,
}

impl Default for Count {
    fn default() -> Self {
        Self { least: 1, most: 1 }
    }
}

/// A size or a closed range of sizes in bytes, `"1 KiB..64 KiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// The least, in bytes.
    pub least: u64,
    /// The most, in bytes, included.
    pub most: u64,
}

impl Default for Size {
    fn default() -> Self {
        Self {
            least: 1024,
            most: 4096,
        }
    }
}

/// One step. Steps begin one after another; a step that waits for its trigger
/// holds up those after it, what a fault does later (`after`, `for`) does not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// Kill a node's whole process tree; its disk stays.
    Crash(NodeFault),
    /// Cut a node's power: silence, then kill, then drop what its disk had
    /// not made durable.
    PowerCut(NodeFault),
    /// Lose a node: silence its links both ways, freeze, kill; peers get no
    /// FIN.
    NodeLost(NodeFault),
    /// Stop every thread of a node for a time.
    Pause(Pause),
    /// Ask a node to stop in order, and start it again.
    Restart(NodeFault),
    /// Do something to one connection at a point of its dialogue, or to a
    /// whole link.
    Link(LinkFault),
    /// Cut the cluster in two.
    Partition(Partition),
    /// Have operations of a node's disk fail, or take long.
    Disk(DiskFault),
    /// Kill a node, damage its files, start it again.
    Corrupt(Corrupt),
    /// Make a node's clocks go wrong.
    Clock(ClockFault),
    /// Wait for something to be seen.
    Wait(Wait),
}

impl Step {
    /// When the step acts; `None` for a wait.
    #[must_use]
    pub fn trigger(&self) -> Option<&Trigger> {
        match self {
            Self::Crash(fault)
            | Self::PowerCut(fault)
            | Self::NodeLost(fault)
            | Self::Restart(fault) => Some(&fault.at),
            Self::Pause(pause) => Some(&pause.at),
            Self::Link(fault) => Some(&fault.at),
            Self::Partition(partition) => Some(&partition.at),
            Self::Disk(fault) => Some(&fault.at),
            Self::Corrupt(fault) => Some(&fault.at),
            Self::Clock(fault) => Some(&fault.at),
            Self::Wait(_) => None,
        }
    }
}

/// A fault that ends a node's life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NodeFault {
    /// Which node.
    pub node: Pick,
    /// When.
    pub at: Trigger,
    /// Whether it comes back, and with what.
    #[serde(default)]
    pub back: Back,
    /// How long after the fault it comes back; nothing: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
}

/// A pause of a node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Pause {
    /// Which node.
    pub node: Pick,
    /// When.
    pub at: Trigger,
    /// For how long.
    #[serde(rename = "for")]
    pub lasts: Span,
}

/// A fault on a link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LinkFault {
    /// When: a point in the dialogue, which also names the link; or any
    /// other trigger together with `on`.
    pub at: Trigger,
    /// The link, for acts that hit a whole link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<Link>,
    /// What to do.
    pub act: LinkAct,
    /// How long it lasts (hold, delay, throttle, blackhole, mute, refuse);
    /// nothing: for good.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "for")]
    pub lasts: Option<Span>,
}

/// What a link does. Byte positions and counts are of the direction that the
/// phase belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum LinkAct {
    /// Keep the byte that the point is about, and all after it, for the
    /// given time; then go on.
    Hold,
    /// Reset both legs.
    Reset,
    /// Pass on everything so far, then close the leg towards the dialling
    /// side in order.
    HalfClose,
    /// Swallow the reply that stands at the point, then reset the leg
    /// towards the client: the sender never sees it.
    LoseReply,
    /// Pass on `k` bytes of what stands at the point, then reset both legs.
    CutAt(u32),
    /// Stop carrying bytes, both ways, without a word to either side.
    Blackhole,
    /// Stop carrying bytes in one direction, without a word to either side;
    /// the other direction goes on. A dial gets no answer: it needs both.
    Mute(Toward),
    /// Add this much latency to every byte.
    Delay(Span),
    /// Carry so many bytes a second, on each connection in each direction.
    Throttle(Rate),
    /// Refuse every new connection.
    Refuse,
    /// Answer the command that stands at the point with this reply instead
    /// of the server's.
    Answer(String),
}

impl LinkAct {
    /// Whether it goes on until it is taken back; the others end one
    /// connection, or touch one reply, and are over.
    #[must_use]
    pub fn lasts(&self) -> bool {
        matches!(
            self,
            Self::Hold
                | Self::Blackhole
                | Self::Mute(_)
                | Self::Delay(_)
                | Self::Throttle(_)
                | Self::Refuse
        )
    }
}

/// A wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Wait {
    /// For what.
    pub until: Until,
    /// For how long at most.
    pub max: Span,
}

/// What a wait waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Until {
    /// Mail accepted by a broken node was delivered by another.
    Takeover,
    /// Every node that is to come back answers again.
    Back,
    /// Every accepted recipient was delivered.
    Drained,
    /// Every message has its final outcome at the sender.
    Sent,
    /// Nothing: the whole of `max` passes.
    Elapsed,
}

/// A node, or a rule to pick one when the step begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This one.
    Node(Party),
    /// The transport node with the most accepted and undelivered
    /// recipients; the lowest number among equals.
    Busiest,
    /// Any running transport node, drawn from the seed.
    Any,
    /// The node at the near end of the link that stands held (`n1` of
    /// `n1->mb`, but `n1` of `client->n1`), or whose disk does.
    Held,
}

/// When a step acts.
#[derive(Clone, Debug, PartialEq)]
pub enum Trigger {
    /// As soon as the steps before it have begun.
    Start,
    /// When this share of the workload's messages, in percent (0 to 100),
    /// has been accepted.
    Accepted(u8),
    /// When this share of the workload's recipients, in percent, has been
    /// delivered.
    Delivered(u8),
    /// This long after the step begins.
    After(Span),
    /// At the nth passage of a phase on a link; the link holds there until
    /// the act is done.
    Point(Point),
    /// Right after the nth happening of the simulation, counted from 1 over
    /// the run: everything that the simulated world's clock brings about (bytes
    /// that arrive, a timer, a batch that is on disk) is one. Only the
    /// simulator counts them. One that is past when the step begins never
    /// comes.
    Event(u64),
    /// At the nth operation of a disk; the disk stands still before it until
    /// the act is done.
    Disk(DiskPoint),
}

/// A point in the dialogue on a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Point {
    /// Which link.
    pub link: Link,
    /// Which phase, as `mailproof-wire` names it: `dot`, `end-reply`, ….
    pub phase: String,
    /// Which passage of it, counted from 1 over all connections of the link.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub nth: u32,
}

fn one() -> u32 {
    1
}

/// Whether and how a node comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Back {
    /// With the store it had.
    #[default]
    Same,
    /// With an empty store.
    Empty,
    /// Never.
    Never,
}

/// What must hold at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Expect {
    /// How often each accepted recipient must be delivered.
    #[serde(default)]
    pub delivered: Delivered,
    /// Where that is judged.
    #[serde(default)]
    pub level: Level,
    /// Windows that the run must have reached; nothing: those that follow
    /// from its faults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<Window>>,
    /// How long after the last step mail may still arrive; nothing: derived
    /// from the times (`takeover + 2 polls + 4 retries + 1 resend`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Span>,
    /// Recipients that may be bounced: `true` where the scenario itself
    /// makes a next hop refuse them.
    #[serde(default)]
    pub bounces: bool,
    /// How many of the faults must have acted, and been felt.
    #[serde(default, skip_serializing_if = "Faults::is_all")]
    pub faults: Faults,
}

/// How many of a scenario's faults must be seen to act.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Faults {
    /// Each of them, and each window that follows from them.
    #[default]
    All,
    /// At least one. Whatever else did not come, or was not felt, is a remark
    /// and counts for nothing; windows too. A step whose trigger cannot come
    /// any more is passed over.
    Any,
}

impl Faults {
    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// How often each accepted recipient must be delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Delivered {
    /// At least once, and no copy without a licence. At level `mailbox` no
    /// second copy at all.
    #[default]
    ExactlyOnce,
    /// At least once.
    AtLeastOnce,
    /// No copy without a licence; missing mail is not judged.
    AtMostOnce,
}

/// Where delivery is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// What the last next hop took.
    #[default]
    Wire,
    /// What the target's mailboxes show, after duplicate detection.
    Mailbox,
}

/// A stretch of behaviour that a scenario exists to reach. A run that never
/// got there proves nothing (INCONCLUSIVE).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Window {
    /// A node delivered mail that another node had accepted, after a fault.
    Takeover,
    /// A node that came back delivered mail it had accepted in an earlier
    /// life.
    Recovery,
    /// The sender tried again after an attempt whose end it did not learn.
    Retry,
    /// The link saw a 250 that the sender did not.
    ReplyLost,
    /// A paused node went on and was heard on a link.
    Resume,
    /// A message was accepted while a node was down.
    Degraded,
}

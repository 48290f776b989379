//! The `[chaos]` table: what each seed draws a scenario from. The drawing is
//! [`crate::chaos`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Count, Delivered, Size};

/// Ranges from which a seed draws cluster, times, workload, steps and
/// expectations. A scenario with this table has none of these itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Chaos {
    /// Messages; 100 to 10000.
    #[serde(default = "messages")]
    pub messages: Count,
    /// Sizes of messages. Each seed draws a range of its own within this one:
    /// some have tiny messages only, few have large ones.
    #[serde(default = "size")]
    pub size: Size,
    /// Most recipients of a message; 1 to 100.
    #[serde(default = "recipients")]
    pub recipients: Count,
    /// Sessions that send at the same time; 1 to 256.
    #[serde(default = "sessions")]
    pub sessions: Count,
    /// Transport nodes; 1 to 50.
    #[serde(default = "nodes")]
    pub nodes: Count,
    /// Nodes that own mailboxes, where the target has such; 0 to 10.
    #[serde(default = "stores")]
    pub stores: Count,
    /// Faults; 1 to 50. Fewer are drawn where the target's claims leave no
    /// room for another.
    #[serde(default = "faults")]
    pub faults: Count,
    /// The kinds of fault; nothing: every kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<ChaosKind>>,
    /// Verbs that the target's nodes speak between themselves and that faults
    /// may strike at, beside the phases of SMTP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<String>,
    /// Whether faults may strike at moments that only the simulator knows,
    /// operations of disks and its own events, and at disks and clocks, which
    /// only it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inside: bool,
    /// How far the faults may go.
    #[serde(default)]
    pub within: Within,
    /// Whether nodes with odd numbers relay to those with even ones, and only
    /// these deliver, as in `reference-hold`: where mail passes decides where
    /// a fault meets any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hubs: bool,
    /// What every seed expects of deliveries.
    #[serde(default, skip_serializing_if = "exactly_once")]
    pub delivered: Delivered,
}

/// Serde hands over a reference.
#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn exactly_once(delivered: &Delivered) -> bool {
    *delivered == Delivered::ExactlyOnce
}

impl Default for Chaos {
    fn default() -> Self {
        Self {
            messages: messages(),
            size: size(),
            recipients: recipients(),
            sessions: sessions(),
            nodes: nodes(),
            stores: stores(),
            faults: faults(),
            kinds: None,
            verbs: Vec::new(),
            inside: false,
            hubs: false,
            delivered: Delivered::default(),
            within: Within::Claim,
        }
    }
}

fn messages() -> Count {
    range(100, 250)
}

fn size() -> Size {
    Size {
        least: 1,
        most: 64 << 10,
    }
}

fn recipients() -> Count {
    range(1, 4)
}

fn sessions() -> Count {
    range(1, 12)
}

fn nodes() -> Count {
    range(2, 6)
}

fn stores() -> Count {
    range(0, 0)
}

fn faults() -> Count {
    range(1, 6)
}

const fn range(least: u32, most: u32) -> Count {
    Count { least, most }
}

/// A kind of fault that a seed may switch on.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum ChaosKind {
    /// A process tree is killed; its disk stays.
    Crash,
    /// Power is cut; what was not made durable is gone.
    PowerCut,
    /// A node falls silent and comes back with its store.
    NodeSilent,
    /// A node is gone for good, or comes back with an empty store.
    NodeLost,
    /// Every thread of a node stands still for a time.
    Pause,
    /// A node is stopped in order and started again.
    Restart,
    /// A link keeps the byte at a point and all after it for a time.
    Hold,
    /// Connections are reset.
    Reset,
    /// A connection is closed in order, before its time.
    HalfClose,
    /// A reply is swallowed.
    LoseReply,
    /// A connection is reset in the middle of a line or of the content.
    CutAt,
    /// A link carries nothing for a time.
    Blackhole,
    /// A link is slow for a time.
    Delay,
    /// A link refuses connections for a time.
    Refuse,
    /// A command is refused for now in the server's place.
    Answer,
    /// A link carries little for a time.
    Throttle,
    /// Groups of parties are cut off from each other for a time, both ways or
    /// one way, for once or again and again.
    Partition,
    /// An operation of a disk fails, or all of them for a time.
    DiskError,
    /// A disk has no room for a time.
    DiskFull,
    /// A disk takes no changes for a time.
    ReadOnly,
    /// A sync fails, and what it was to make durable is gone.
    SyncError,
    /// Power goes in the middle of a write.
    Torn,
    /// A disk is slow for a time.
    SlowDisk,
    /// The clocks of a node are wrong.
    Clock,
}

impl ChaosKind {
    /// Every kind, in a fixed order.
    pub const ALL: [Self; 24] = [
        Self::Crash,
        Self::PowerCut,
        Self::NodeSilent,
        Self::NodeLost,
        Self::Pause,
        Self::Restart,
        Self::Hold,
        Self::Reset,
        Self::HalfClose,
        Self::LoseReply,
        Self::CutAt,
        Self::Blackhole,
        Self::Delay,
        Self::Refuse,
        Self::Answer,
        Self::Throttle,
        Self::Partition,
        Self::DiskError,
        Self::DiskFull,
        Self::ReadOnly,
        Self::SyncError,
        Self::Torn,
        Self::SlowDisk,
        Self::Clock,
    ];

    /// Whether only the simulator can do it.
    #[must_use]
    pub fn is_inside(self) -> bool {
        matches!(
            self,
            Self::DiskError
                | Self::DiskFull
                | Self::ReadOnly
                | Self::SyncError
                | Self::Torn
                | Self::SlowDisk
                | Self::Clock
        )
    }
}

/// How far the faults of a seed may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Within {
    /// Only what the target claims to survive.
    #[default]
    Claim,
    /// Also what it does not: such a seed is OUTSIDE-CLAIM.
    Anything,
}

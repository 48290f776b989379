//! What scenarios say of disks: operations, their faults, damage, models.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Back, Pick, Span, Trigger};
use crate::party::Party;

/// A kind of operation on a node's disk.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum OpKind {
    /// Create a file.
    Create,
    /// Write to a file.
    Write,
    /// Sync a file.
    Sync,
    /// Sync the directory.
    SyncDir,
    /// Rename a file.
    Rename,
    /// Remove a file.
    Remove,
    /// Any of them.
    Any,
}

impl OpKind {
    /// Every kind, `any` last.
    pub const ALL: [Self; 7] = [
        Self::Create,
        Self::Write,
        Self::Sync,
        Self::SyncDir,
        Self::Rename,
        Self::Remove,
        Self::Any,
    ];

    /// Its name in scenarios and histories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Write => "write",
            Self::Sync => "sync",
            Self::SyncDir => "sync-dir",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::Any => "any",
        }
    }

    /// Whether an operation of the kind `op` is meant.
    #[must_use]
    pub fn takes(self, op: Self) -> bool {
        self == Self::Any || self == op
    }
}

impl fmt::Display for OpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An operation of a node's disk: the disk stands still before it is carried
/// out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DiskPoint {
    /// Whose disk.
    pub disk: Party,
    /// Which kind of operation.
    pub op: OpKind,
    /// Which operation of that kind, counted from 1 over the whole run, over
    /// all lives of the node and their starts.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub nth: u64,
}

fn one() -> u64 {
    1
}

impl fmt::Display for DiskPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.op {
            OpKind::Any => "operation",
            op => op.name(),
        };
        write!(f, "{what} #{} of the disk of {}", self.nth, self.disk)
    }
}

/// What a file system keeps of un-synced work when power goes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Persistence {
    /// A sync of any file or directory commits every earlier name operation,
    /// and a file's sync its data; names never precede their file.
    #[default]
    Ext4Ordered,
    /// Only what was asked for: a file's sync covers that file's data and
    /// nothing about its name, a sync of the directory covers names. Verdicts
    /// about a loss of power only advise, unless the target claims it.
    Posix,
}

impl Persistence {
    /// Whether it is the model that is meant where none is named.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A fault of single operations of a node's disk. A node that ends itself
/// because of it is started again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DiskFault {
    /// Whose disk.
    pub node: Pick,
    /// When; at a disk operation it is that operation that is hit.
    pub at: Trigger,
    /// What happens to operations.
    pub act: DiskAct,
    /// How long it lasts; nothing: one operation (`error`, `sync-error`,
    /// `torn`), or for good.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "for")]
    pub lasts: Option<Span>,
    /// Whether a node that ended comes back: `same` or `never`.
    #[serde(default)]
    pub back: Back,
    /// How long after its end, and after that of the fault, it comes back;
    /// nothing: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
}

/// What happens to operations of a disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum DiskAct {
    /// It fails with EIO and is not carried out.
    Error,
    /// No space: creating a file fails with ENOSPC. (Writes stay within
    /// space that was allocated at creation.)
    Full,
    /// A sync fails with EIO, and what of the file was not on the medium is
    /// dropped and taken for clean, as Linux does: it can still be read until
    /// the pages are needed for something else, and no later sync writes it.
    SyncError,
    /// A write is half on the medium when the power goes.
    Torn,
    /// Every operation takes so much longer.
    Slow(Span),
    /// Every change fails with EROFS.
    ReadOnly,
}

impl DiskAct {
    /// Its name in scenarios.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Full => "full",
            Self::SyncError => "sync-error",
            Self::Torn => "torn",
            Self::Slow(_) => "slow",
            Self::ReadOnly => "read-only",
        }
    }

    /// Whether it hits one operation, unless a time is given.
    #[must_use]
    pub fn hits_one(&self) -> bool {
        matches!(self, Self::Error | Self::SyncError | Self::Torn)
    }

    /// Whether it hits operations of that kind.
    #[must_use]
    pub fn hits(&self, op: OpKind) -> bool {
        match self {
            Self::Error | Self::Slow(_) | Self::ReadOnly => true,
            Self::Full => op == OpKind::Create,
            Self::SyncError => op == OpKind::Sync,
            Self::Torn => op == OpKind::Write,
        }
    }
}

/// Damage at rest: the node is killed, its files are damaged, it comes back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Corrupt {
    /// Whose disk.
    pub node: Pick,
    /// When.
    pub at: Trigger,
    /// The damage; its place is drawn.
    pub act: Damage,
    /// Whether the node comes back: `same` or `never`.
    #[serde(default)]
    pub back: Back,
    /// How long after the fault it comes back; nothing: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Span>,
}

/// Damage to a file at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// One bit of written content is another.
    FlipBit,
    /// A block of 4096 bytes with written content is zero.
    ZeroBlock,
    /// A file ends earlier.
    Truncate,
    /// A file is gone.
    Delete,
}

impl Damage {
    /// Its name in scenarios.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FlipBit => "flip-bit",
            Self::ZeroBlock => "zero-block",
            Self::Truncate => "truncate",
            Self::Delete => "delete",
        }
    }
}

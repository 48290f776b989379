//! What scenarios say of disks: which operation is meant.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

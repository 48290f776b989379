//! A disk: where it stood still, what failed, what was damaged.

use super::Mark;
use crate::event::Harm;
use crate::party::Party;

/// A disk that stood still before an operation.
#[derive(Clone, Copy, Debug)]
pub struct DiskHold {
    /// Whose disk.
    pub node: Party,
    /// Which fault held it.
    pub fault: u32,
    /// Since when.
    pub since: Mark,
    /// Until when; `None`: to the end.
    pub until: Option<Mark>,
}

/// An operation that met a fault of its disk.
#[derive(Clone, Copy, Debug)]
pub struct DiskHarm {
    /// When.
    pub mark: Mark,
    /// Whose disk.
    pub node: Party,
    /// Which fault.
    pub fault: u32,
    /// What became of it.
    pub how: Harm,
    /// As in the event.
    pub amount: u64,
}

/// Files at rest that were damaged.
#[derive(Clone, Copy, Debug)]
pub struct Damaged {
    /// When.
    pub mark: Mark,
    /// Whose.
    pub node: Party,
    /// Which fault.
    pub fault: u32,
    /// How many bytes are others, or gone.
    pub bytes: u64,
    /// A started node read it.
    pub read: Option<Mark>,
}

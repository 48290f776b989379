//! A disk: where it stood still.

use super::Mark;
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

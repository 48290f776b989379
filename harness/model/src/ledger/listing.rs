//! What a node says that it holds, or what the harness read in its store.

use super::Mark;
use crate::event::{Row, Stored};

/// A listing of queues, or a reading of a store.
#[derive(Clone, Debug)]
pub struct Listing {
    /// When.
    pub mark: Mark,
    /// What was held.
    pub rows: Vec<Row>,
    /// Entries that name no message of the workload.
    pub others: u32,
    /// What was in the mailboxes.
    pub stored: Vec<Stored>,
    /// What could not be read.
    pub damage: Option<String>,
}

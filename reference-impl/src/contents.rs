//! What the records of a store say that its node has: for tools that look at a
//! store without running the node.

use serde::Serialize;

use crate::record;
use crate::store::Record;

/// What a node with these records would hold after its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Starts of this database so far.
    pub starts: u32,
    /// Messages that it is responsible for.
    pub messages: u64,
    /// Copies that it holds for other nodes.
    pub copies: u64,
    /// Messages that are done, of which holders of copies are to be told.
    pub notifications: u64,
    /// Messages in its mailboxes, each for one recipient.
    pub deliveries: u64,
}

impl Contents {
    /// Reads them off the records of a store, which are in their order.
    ///
    /// # Errors
    /// A record that cannot be understood: its sequence number in the store and
    /// what was expected. It is of a later version.
    pub fn of(records: &[Record]) -> Result<Self, (u64, &'static str)> {
        crate::queue::contents(records)
    }
}

/// The name of a kind of record, as `STORE.md` has it; none for one that this
/// version does not know.
#[must_use]
pub fn kind_name(kind: u8) -> Option<&'static str> {
    record::kind::name(kind)
}

//! Planted defects, for proving that a harness finds them.
//!
//! This module exists only under the feature `defects`; a node built without
//! it holds neither the code nor the names.

use serde::Deserialize;

/// A deliberate fault in the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Defect {
    /// The `250` leaves before the local record is durable.
    AckBeforeSync,
    /// The `250` leaves before the peer acknowledged the copy.
    AckBeforeCopy,
    /// Copies of a lost primary stay in the shadow queue.
    NeverTakeOver,
    /// The last recipient of a message with several is dropped at takeover.
    TakeoverForgetsRecipient,
    /// A discarded shadow message is delivered all the same.
    DeliverAfterDiscard,
    /// Every start presents a fresh database ID.
    ForgetDatabaseId,
}

impl Defect {
    /// Every defect with its configuration name.
    pub const ALL: [(&'static str, Self); 6] = [
        ("ack-before-sync", Self::AckBeforeSync),
        ("ack-before-copy", Self::AckBeforeCopy),
        ("never-take-over", Self::NeverTakeOver),
        ("takeover-forgets-recipient", Self::TakeoverForgetsRecipient),
        ("deliver-after-discard", Self::DeliverAfterDiscard),
        ("forget-database-id", Self::ForgetDatabaseId),
    ];
}

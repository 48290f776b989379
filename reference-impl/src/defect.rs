//! Planted defects, for proving that a harness finds them.
//!
//! This module exists only under the feature `defects`; a node built without
//! it holds neither the code nor the names.

use serde::Deserialize;

/// A deliberate fault in the store, for its own tests too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreDefect {
    /// Checksums of batches and bodies are not compared.
    IgnoreChecksums,
    /// A last batch that is not whole is taken, if its header is.
    AcceptTornBatch,
    /// No batch syncs the directory.
    NoDirectorySync,
    /// A batch is reported before its sync, which the next one carries out.
    SyncAfterReport,
}

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
    /// Damaged records are read as if nothing was wrong with them.
    IgnoreChecksums,
    /// A batch that was not written whole is taken at the start.
    AcceptTornBatch,
    /// Names are never synced.
    NoDirectorySync,
    /// Records count as durable when they are written, and are synced later.
    SyncAfterReport,
    /// Hold model: nothing is kept of what a next hop took.
    ForgetKept,
    /// Hold model: the `250` does not wait for delivery.
    AckUndelivered,
}

impl Defect {
    /// The fault of the store that this is, if it is one.
    pub(crate) fn of_store(self) -> Option<StoreDefect> {
        match self {
            Self::IgnoreChecksums => Some(StoreDefect::IgnoreChecksums),
            Self::AcceptTornBatch => Some(StoreDefect::AcceptTornBatch),
            Self::NoDirectorySync => Some(StoreDefect::NoDirectorySync),
            Self::SyncAfterReport => Some(StoreDefect::SyncAfterReport),
            _ => None,
        }
    }

    /// Every defect with its configuration name.
    pub const ALL: [(&'static str, Self); 12] = [
        ("ack-before-sync", Self::AckBeforeSync),
        ("ack-before-copy", Self::AckBeforeCopy),
        ("never-take-over", Self::NeverTakeOver),
        ("takeover-forgets-recipient", Self::TakeoverForgetsRecipient),
        ("deliver-after-discard", Self::DeliverAfterDiscard),
        ("forget-database-id", Self::ForgetDatabaseId),
        ("ignore-checksums", Self::IgnoreChecksums),
        ("accept-torn-batch", Self::AcceptTornBatch),
        ("no-directory-sync", Self::NoDirectorySync),
        ("sync-after-report", Self::SyncAfterReport),
        ("forget-kept", Self::ForgetKept),
        ("ack-undelivered", Self::AckUndelivered),
    ];
}

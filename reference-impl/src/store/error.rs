//! What can go wrong with the store, and what to do about it.

use std::io;

use super::{BatchId, DatabaseId, Seq};
use crate::disk::FileName;

/// Why the store refuses.
///
/// None of these changed anything on the disk: [`super::Store::open`] writes
/// only after the whole log has been read and found good.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk failed.
    #[error("store: {what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the disk said.
        source: io::Error,
    },
    /// Bytes that had been synced are not what was written.
    #[error(
        "store: {file} is damaged at byte {offset}: {what}. Durable records are affected, so the \
         store does not open, and nothing was changed. Copy the whole directory away for \
         examination; then let the node salvage what can be read (on-store-damage = \"salvage\"), or \
         start it on an empty directory: either way it has a new database ID, and its peers \
         resubmit what they hold for the old one"
    )]
    Damaged {
        /// The damaged file.
        file: FileName,
        /// Where the damage begins, as far as it can be told, in bytes.
        offset: u64,
        /// What was found there.
        what: String,
    },
    /// A file of another database lies in this directory.
    #[error(
        "store: {file} belongs to database {found}, the store to {expected}. Nothing was changed. \
         One directory holds one store: move the files that do not belong here away"
    )]
    Foreign {
        /// The file that does not belong.
        file: FileName,
        /// The database of the store: the one its mark names, or the newest
        /// segment's.
        expected: DatabaseId,
        /// The database that the file names.
        found: DatabaseId,
    },
    /// The file that says which segments a salvage made cannot be read.
    #[error(
        "store: {file} is damaged. A salvage of this store was interrupted, and without that file \
         nobody can tell the segments it made from those it replaces. Nothing was changed. Copy \
         the whole directory away; then start the node on an empty one: it has a new database ID, \
         and its peers resubmit what they hold for the old one"
    )]
    Plan {
        /// The file.
        file: FileName,
    },
    /// A record is missing between two whole batches.
    #[error(
        "store: {file}, batch at byte {offset}: expected sequence {expected}, found {found}. \
         Records are missing, so the store does not open, and nothing was changed. Let the node \
         salvage what is there (on-store-damage = \"salvage\"), or start it on an empty directory"
    )]
    Gap {
        /// The file with the batch that does not follow.
        file: FileName,
        /// Where that batch begins, in bytes.
        offset: u64,
        /// The sequence number that comes next.
        expected: Seq,
        /// The one that the batch begins with.
        found: Seq,
    },
    /// The files are of a format that this version does not know.
    #[error(
        "store: {file} has format version {found}, this program knows version {known}. Nothing \
         was changed: use the program that wrote it"
    )]
    Version {
        /// The file.
        file: FileName,
        /// Its version.
        found: u32,
        /// The one version that is known.
        known: u32,
    },
    /// A write or sync failed earlier; what is on the disk is unknown until
    /// the store is opened again.
    #[error(
        "store: out of service since {0}. The failed operation is not retried, because after a \
         failed sync the kernel may report success for data that is lost: restart the node"
    )]
    Poisoned(String),
    /// A record is over a limit.
    #[error("store: a record's {what} has {len} bytes, at most {max} are allowed")]
    TooLarge {
        /// `header` or `body`.
        what: &'static str,
        /// Its length, in bytes.
        len: u64,
        /// The limit, in bytes.
        max: u64,
    },
    /// There is no record with this sequence number (any more).
    #[error("store: no record {0}: never appended, or its segment is removed")]
    NotFound(Seq),
    /// The record is not durable yet, so it cannot be read back.
    #[error("store: record {0} is not durable yet")]
    NotDurable(Seq),
    /// A completion for a batch that is not in flight.
    #[error("store: completion of batch {0:?}, which is not in flight")]
    WrongBatch(BatchId),
    /// An option is out of range.
    #[error("store: option {what} is {found}, expected {expected}")]
    Option {
        /// The option's name.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The range.
        expected: String,
    },
}

impl StoreError {
    /// Wraps an error of the disk.
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Damage at a place.
    pub(super) fn damaged(file: &FileName, offset: u64, what: impl Into<String>) -> Self {
        Self::Damaged {
            file: file.clone(),
            offset,
            what: what.into(),
        }
    }

    /// Whether the disk's content, not the disk or the caller, is the reason.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. }
                | Self::Foreign { .. }
                | Self::Gap { .. }
                | Self::Plan { .. }
                | Self::Version { .. }
        )
    }

    /// Whether [`super::Store::salvage`] can help: durable bytes are gone or
    /// wrong, and everything else is known. What comes from another store or a
    /// later version is not damage but a mistake, to be put right by whoever
    /// made it; a disk that cannot be read may be read later.
    #[must_use]
    pub fn is_salvageable(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Gap { .. })
    }
}

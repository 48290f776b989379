//! The harness's own reader of the reference node's store: what a stopped node
//! still owes, whose copies it holds, what its mailboxes contain.
//!
//! It is written from `STORE.md` and `RECORDS.md` of the node and shares no
//! code with it, so that a mistake there cannot hide itself here.

mod bytes;
mod files;
mod layout;
mod log;

pub use files::{Files, OnDisk};
pub use layout::Record;
pub use log::End;

use std::io;

/// Hands every record of a store's log to `visit`, in order, and tells how
/// the log ends.
///
/// # Errors
/// A file cannot be read. Damage is no error but an [`End`].
pub fn records<F: Files + ?Sized>(files: &F, visit: &mut dyn FnMut(Record<'_>)) -> io::Result<End> {
    log::read(files, visit)
}

//! The harness's own reader of the reference node's store: what a stopped node
//! still owes, whose copies it holds, what its mailboxes contain.
//!
//! It shares no code with the node, so that a mistake there cannot hide
//! itself here. Log and records are read as `STORE.md` of the node has them.

mod bytes;
mod files;
mod holdings;
mod layout;
mod log;
mod record;

use std::io;

pub use files::{Files, OnDisk};
pub use holdings::{Holdings, read_store};
pub use layout::Record;
pub use log::End;

/// Hands every record of a store's log to `visit`, in order, and tells how
/// the log ends.
///
/// # Errors
/// A file cannot be read. Damage is no error but an [`End`].
pub fn records<F: Files + ?Sized>(files: &F, visit: &mut dyn FnMut(Record<'_>)) -> io::Result<End> {
    log::read(files, visit)
}

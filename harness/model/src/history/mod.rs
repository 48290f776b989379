//! Histories on disk: append-only lines of JSON, hash-chained by block, sealed
//! at the end. The format is described in `HISTORY.md` beside this crate.
//!
//! [`Writer`] writes one while a run goes on; [`Reader`] streams one and tells
//! whether it is sealed, unsealed or altered; [`load`] reads a whole one;
//! [`History::from_lines`] reads the relaxed form of hand-made fixtures.

mod chain;
mod decode;
mod encode;
mod lines;
mod reader;
mod relaxed;
mod rules;
#[cfg(test)]
mod sample;
mod sink;
#[cfg(test)]
mod tests;
mod writer;

use std::path::Path;

pub use chain::{BLOCK, Root, Seal};
pub(crate) use chain::{hex, seal_line};
pub(crate) use reader::chain_of_other_version;
pub use reader::{OpenError, Reader, Tail};
pub use relaxed::{History, LineError};
pub use sink::Sink;
pub use writer::{Durability, Writer};

use crate::event::Event;
use crate::plan::Plan;

/// The name and version of the format, as the header carries it.
pub const FORMAT: &str = "history/1";

/// The name of the history in a run directory.
pub const FILE: &str = "history.jsonl";

/// The longest line of a history in bytes, its newline included: 64 MiB,
/// room for the rows of more than a million messages in one event.
pub const MAX_LINE: usize = 64 << 20;

/// Reads a whole history into memory. For large ones use [`Reader`].
///
/// # Errors
/// The file cannot be read, or has no usable header. A history that is
/// unsealed or altered is no error: see the tail.
pub fn load(path: &Path) -> Result<(Plan, Vec<Event>, Tail), OpenError> {
    let mut reader = Reader::open(path)?;
    let mut events = Vec::new();
    let tail = loop {
        match reader.next_event()? {
            Some(event) => events.push(event),
            None => {
                if let Some(tail) = reader.tail() {
                    break tail.clone();
                }
            }
        }
    };
    Ok((reader.plan().clone(), events, tail))
}

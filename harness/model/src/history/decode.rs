//! Events from JSON lines.

use crate::event::Event;

/// Reads one event from a line without its newline.
pub(super) fn event(line: &[u8]) -> serde_json::Result<Event> {
    serde_json::from_slice(line)
}

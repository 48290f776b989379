//! What may stand in a history at all, whatever it means. Writer and reader
//! hold the same rules.

use crate::event::{Stage, What};
use crate::party::Witness;

/// Only certain witnesses may say a thing.
pub(super) fn may_say(by: Witness, what: &What) -> Result<(), String> {
    if what.admissible(by) {
        Ok(())
    } else {
        Err(format!("`{by}` may not be the witness of `{}`", name(what)))
    }
}

/// After `end` only the taking down of the run may be seen: nothing starts
/// any more and nobody asks for anything.
pub(super) fn may_follow(ended: bool, what: &What) -> Result<(), String> {
    if !ended || is_teardown(what) {
        Ok(())
    } else {
        Err(format!("`{}` may not follow `end`", name(what)))
    }
}

/// Whether observers may still see such a thing while a run is taken down.
fn is_teardown(what: &What) -> bool {
    match what {
        What::Exit { .. }
        | What::Outcome { .. }
        | What::Open { .. }
        | What::Refused { .. }
        | What::Shut { .. }
        | What::Dot { .. }
        | What::Reply { .. }
        | What::Verb { .. }
        | What::Opaque { .. }
        | What::Held { .. }
        | What::Released { .. }
        | What::Taken { .. }
        | What::Dsn { .. }
        | What::Phantom { .. }
        | What::Resumed { .. }
        | What::Trouble { .. } => true,
        What::Fault { stage, .. } => *stage == Stage::Removed,
        What::Start { .. }
        | What::Ready { .. }
        | What::Paused { .. }
        | What::Dropped { .. }
        | What::StoreGone { .. }
        | What::StoreRead { .. }
        | What::Attempt { .. }
        | What::GaveUp { .. }
        | What::Queues { .. }
        | What::Unlisted { .. }
        | What::Step { .. }
        | What::Choice { .. }
        | What::Waited { .. }
        | What::Measured { .. }
        | What::Quiet { .. }
        | What::End { .. } => false,
    }
}

/// The variant's name in a file.
pub(super) fn name(what: &What) -> &'static str {
    match what {
        What::Start { .. } => "start",
        What::Ready { .. } => "ready",
        What::Exit { .. } => "exit",
        What::Paused { .. } => "paused",
        What::Resumed { .. } => "resumed",
        What::Dropped { .. } => "dropped",
        What::StoreGone { .. } => "store-gone",
        What::StoreRead { .. } => "store-read",
        What::Fault { .. } => "fault",
        What::Attempt { .. } => "attempt",
        What::Outcome { .. } => "outcome",
        What::GaveUp { .. } => "gave-up",
        What::Open { .. } => "open",
        What::Refused { .. } => "refused",
        What::Shut { .. } => "shut",
        What::Dot { .. } => "dot",
        What::Reply { .. } => "reply",
        What::Verb { .. } => "verb",
        What::Opaque { .. } => "opaque",
        What::Held { .. } => "held",
        What::Released { .. } => "released",
        What::Taken { .. } => "taken",
        What::Dsn { .. } => "dsn",
        What::Phantom { .. } => "phantom",
        What::Queues { .. } => "queues",
        What::Unlisted { .. } => "unlisted",
        What::Step { .. } => "step",
        What::Choice { .. } => "choice",
        What::Waited { .. } => "waited",
        What::Measured { .. } => "measured",
        What::Quiet { .. } => "quiet",
        What::End { .. } => "end",
        What::Trouble { .. } => "trouble",
    }
}

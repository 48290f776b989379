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

macro_rules! names {
    ($($variant:ident => $name:literal,)*) => {
        /// The variant's name in a file.
        pub(super) fn name(what: &What) -> &'static str {
            match what {
                $(What::$variant { .. } => $name,)*
            }
        }

        /// The names of all variants.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$($name),*];
    };
}

names! {
    Start => "start",
    Ready => "ready",
    Exit => "exit",
    Paused => "paused",
    Resumed => "resumed",
    Dropped => "dropped",
    StoreGone => "store-gone",
    StoreRead => "store-read",
    Fault => "fault",
    Attempt => "attempt",
    Outcome => "outcome",
    GaveUp => "gave-up",
    Open => "open",
    Refused => "refused",
    Shut => "shut",
    Dot => "dot",
    Reply => "reply",
    Verb => "verb",
    Opaque => "opaque",
    Held => "held",
    Released => "released",
    Taken => "taken",
    Dsn => "dsn",
    Phantom => "phantom",
    Queues => "queues",
    Unlisted => "unlisted",
    Step => "step",
    Choice => "choice",
    Waited => "waited",
    Measured => "measured",
    Quiet => "quiet",
    End => "end",
    Trouble => "trouble",
}

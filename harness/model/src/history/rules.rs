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

/// After `end` the run is only taken down: observers may still see things
/// happen, but the scenario does nothing and the sender begins nothing.
pub(super) fn may_follow(ended: bool, what: &What) -> Result<(), String> {
    let of_the_scenario = matches!(
        what,
        What::Attempt { .. }
            | What::Step { .. }
            | What::Choice { .. }
            | What::Waited { .. }
            | What::Measured { .. }
            | What::Quiet { .. }
            | What::End { .. }
            | What::Fault {
                stage: Stage::Requested,
                ..
            }
    );
    if ended && of_the_scenario {
        Err(format!("`{}` may not follow `end`", name(what)))
    } else {
        Ok(())
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
    Clock => "clock",
    Dropped => "dropped",
    DiskHeld => "disk-held",
    DiskReleased => "disk-released",
    DiskHarm => "disk-harm",
    Damaged => "damaged",
    DamageRead => "damage-read",
    StoreGone => "store-gone",
    StoreRead => "store-read",
    Fault => "fault",
    Happening => "happening",
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
    Stalled => "stalled",
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

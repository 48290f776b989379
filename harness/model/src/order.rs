//! What the director tells a world to do, and the seam between them.

use crate::event::{At, Attempt, Event, Fault, Msg, Rcpt, StoreState, What};
use crate::party::{Link, Party, Witness};
use crate::scenario::{Damage, DiskAct, DiskPoint, LinkAct, Point};

/// An order to a world. It returns at once; its effects come back as events.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Start a node with what is on its disk, or with an empty store. Effect:
    /// `start`, then `ready` (or `exit`).
    Start {
        /// Which node.
        node: Party,
        /// What it shall find.
        store: StoreState,
    },
    /// Hand a message to a node. Effect: `attempt`, then `outcome`.
    Submit {
        /// The sender's session; it keeps its connection between messages to
        /// the same node.
        session: u16,
        /// Which message.
        msg: Msg,
        /// Which attempt.
        attempt: Attempt,
        /// The recipients still unsettled.
        rcpts: Vec<Rcpt>,
        /// To which node.
        node: Party,
    },
    /// Close a session in order (QUIT). No effect is awaited.
    Hangup {
        /// Which session.
        session: u16,
    },
    /// Break something, now. Effect: a `fault` receipt (`fired`), then what
    /// other witnesses see.
    Break {
        /// Which fault of the plan.
        fault: Fault,
        /// What to do.
        act: Act,
        /// Only claim to have done it (`selftest`): the receipt is written,
        /// nothing is done.
        disarmed: bool,
    },
    /// Take a lasting fault back. Effect: a `fault` receipt (`removed`).
    Mend {
        /// Which fault of the plan.
        fault: Fault,
        /// What was done.
        act: Act,
        /// As in [`Order::Break`].
        disarmed: bool,
    },
    /// Wait at a point and do something there. Effect: `fault` (`armed`),
    /// later `fault` (`fired`) or, for a hold, `held`.
    Arm {
        /// Which fault of the plan.
        fault: Fault,
        /// Where.
        point: Point,
        /// What to do there. [`LinkAct::Hold`] stops the link until
        /// [`Order::Release`].
        act: LinkAct,
        /// As in [`Order::Break`].
        disarmed: bool,
    },
    /// Wait for a happening of the simulation (see
    /// [`crate::scenario::Trigger::Event`]). Effect: `happening`, right after
    /// it; nothing if it is past.
    Await {
        /// Which fault of the plan waits.
        fault: Fault,
        /// Which happening, counted from 1 over the run.
        event: u64,
    },
    /// Wait at an operation of a disk and stop the disk before it, until
    /// [`Order::Release`]. Effect: `fault` (`armed`), later `disk-held`.
    ArmDisk {
        /// Which fault of the plan.
        fault: Fault,
        /// Where.
        point: DiskPoint,
    },
    /// Let a held link or disk go on (or notice that its ends are gone), and
    /// wait no longer at a point or for a happening that was not reached.
    /// Effect: `released` or
    /// `disk-released`, if anything was held.
    Release {
        /// Which fault held it.
        fault: Fault,
    },
    /// Ask a node for its queues. Effect: `queues` or `unlisted`.
    List {
        /// Which node.
        node: Party,
    },
    /// Read the store of a stopped node. Effect: `store-read`, or `unlisted`
    /// where the harness cannot read it.
    Read {
        /// Which node.
        node: Party,
    },
    /// Stop a node in order. Effect: `exit`.
    Stop {
        /// Which node.
        node: Party,
    },
    /// Write one of the director's own events down.
    Record(What),
}

/// What a fault does to a node or a whole link.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Kill the node's whole process tree at once; sockets close as the
    /// kernel closes them; the disk stays.
    Crash(Party),
    /// Silence the node's links both ways, kill it, drop what its disk had
    /// not made durable.
    PowerCut(Party),
    /// Silence the node's links both ways, freeze it, kill it; `wipe`: and
    /// destroy its store (`store-gone`).
    NodeLost {
        /// Which node.
        node: Party,
        /// Whether its store goes too.
        wipe: bool,
    },
    /// Stop every thread of the node. Mended by resuming it.
    Pause(Party),
    /// Ask the node to stop in order.
    Restart(Party),
    /// Have operations of the node's disk fail or take long. Effect: `fault`
    /// (`armed`), and with the first operation that is hit `fault` (`fired`)
    /// and `disk-harm`.
    Disk(Party, DiskAct),
    /// Kill the node's process tree at once and damage its files at a drawn
    /// place (`damaged`); later `damage-read`.
    Corrupt(Party, Damage),
    /// Let the node's wall clock jump and its monotonic clock drift. Mended
    /// by setting both right.
    Clock {
        /// Which node.
        node: Party,
        /// By how many nanoseconds the wall clock jumps.
        offset: i64,
        /// By how many parts per million more the monotonic clock runs.
        drift: i32,
    },
    /// Do something to every connection of a link and to new ones
    /// (`blackhole`, `delay`, `refuse`, `reset`).
    Link(Link, LinkAct),
}

/// Why a world cannot carry out an order; found before the run, for `doctor`
/// and for the reason of a NOT-APPLICABLE.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is not available here: {why}")]
pub struct Unavailable {
    /// What was asked for.
    pub what: String,
    /// Why it cannot be had, and what would make it so.
    pub why: String,
}

/// The harness itself failed: verdict `error`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WorldError(pub String);

/// Where a plan is carried out. One implementation per engine.
///
/// A world records every event in the history before it returns it (and
/// before it releases the byte that the event permits), so `next` yields just
/// what the file holds, in its order.
pub trait World {
    /// Whether the world can carry out such an order. Every order of a plan
    /// is asked before the run.
    ///
    /// # Errors
    /// [`Unavailable`] with the reason and what would make it available.
    fn offers(&self, order: &Order) -> Result<(), Unavailable>;

    /// The present moment.
    fn now(&self) -> At;

    /// Carries an order out. Returns at once.
    ///
    /// # Errors
    /// [`WorldError`] when the harness itself failed; the run then ends in
    /// verdict `error`.
    fn order(&mut self, order: Order) -> Result<(), WorldError>;

    /// The next event up to and including `until`; `None`: none came and it
    /// is now `until` (or later).
    ///
    /// # Errors
    /// [`WorldError`] when the harness itself failed.
    fn next(&mut self, until: At) -> Result<Option<Event>, WorldError>;

    /// Ends the run: every node is stopped or killed, every connection
    /// closed, nothing is left behind. Events may follow until it returns.
    ///
    /// # Errors
    /// [`WorldError`] when something could not be cleaned up.
    fn finish(&mut self) -> Result<(), WorldError>;
}

/// The witness of the events that a director records.
pub const DIRECTOR: Witness = Witness::Director;

impl What {
    /// The witness under which a world writes down what [`Order::Record`]
    /// asks for: the director's own, but the sender's word about its mail.
    #[must_use]
    pub fn recorder(&self) -> Witness {
        match self {
            Self::GaveUp { .. } => Witness::Client,
            _ => DIRECTOR,
        }
    }
}

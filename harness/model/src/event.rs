//! What happened in a run, one event at a time, and who saw it.
//!
//! An observer records an event *before* it releases the byte that the event
//! permits: the terminating dot before it is forwarded, `taken` before the
//! mailbox's 250, a reply before it is passed back. So a history never claims
//! less than what a party may already have acted on.
//!
//! The file format is described in `HISTORY.md` beside this crate.

use serde::{Deserialize, Serialize};

use crate::party::{Link, Party, Witness};
use crate::scenario::Damage;

/// A moment of a run: nanoseconds since the run began (virtual in `sim`).
pub type At = u64;

/// A message of the workload, counted from 0.
pub type Msg = u32;

/// An attempt to hand a message over, counted from 1.
pub type Attempt = u16;

/// A recipient of a message, counted from 0.
pub type Rcpt = u16;

/// A connection on a link, counted from 1 over the whole run.
pub type Conn = u32;

/// A fault of the plan: the index of its step, counted from 0.
pub type Fault = u32;

/// One event of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Dense and increasing from 0.
    pub id: u64,
    /// When it was recorded; never decreases along a history.
    pub at: At,
    /// Who saw it.
    pub by: Witness,
    /// What was seen.
    pub ev: What,
}

/// What was seen. Which witness may say what is stated at each variant;
/// [`What::admissible`] holds it to that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    // --- nodes, seen by the kernel -------------------------------------
    /// A node's process was started (kernel).
    Start {
        /// Which node.
        node: Party,
        /// Its life, counted from 1: each start begins a new one.
        life: u32,
        /// What it found on its disk.
        store: StoreState,
    },
    /// A node answers on its listening address (kernel, or the link that
    /// dialled it).
    Ready {
        /// Which node.
        node: Party,
        /// Its life.
        life: u32,
    },
    /// A node's process tree is gone; this is its wait status (kernel).
    Exit {
        /// Which node.
        node: Party,
        /// The life that ended.
        life: u32,
        /// `signal 9`, `code 0`, …
        status: String,
    },
    /// Every thread of the node stands still (kernel).
    Paused {
        /// Which node.
        node: Party,
        /// Its life.
        life: u32,
    },
    /// The node runs again (kernel).
    Resumed {
        /// Which node.
        node: Party,
        /// Its life.
        life: u32,
    },

    /// A node's clocks, read by the kernel: around a fault of its clocks and,
    /// where a plan has such a fault, when a node answers and before it is
    /// stopped (kernel).
    Clock {
        /// Which node.
        node: Party,
        /// Its life; its monotonic clock means something only within one.
        life: u32,
        /// The fault before or after which it was read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<Fault>,
        /// Its wall clock, in Unix milliseconds.
        wall: u64,
        /// Its monotonic clock, in nanoseconds.
        mono: u64,
    },

    // --- disks ----------------------------------------------------------
    /// A power cut was applied: so many un-synced operations were dropped
    /// (disk).
    Dropped {
        /// Whose disk.
        node: Party,
        /// Un-synced operations that did not survive; 0 means that the cut
        /// met nothing volatile.
        operations: u64,
    },
    /// The disk stands still before the operation that a fault named, which
    /// is not carried out yet (disk).
    DiskHeld {
        /// Whose disk.
        node: Party,
        /// Which fault.
        fault: Fault,
        /// The operation, in words.
        op: String,
        /// Which operation of the kind that the fault named, from 1.
        nth: u64,
    },
    /// A held disk goes on, or its node's process has ended (disk).
    DiskReleased {
        /// Whose disk.
        node: Party,
        /// Which fault.
        fault: Fault,
    },
    /// An operation met a fault of its disk (disk).
    DiskHarm {
        /// Whose disk.
        node: Party,
        /// Which fault.
        fault: Fault,
        /// The operation, in words.
        op: String,
        /// What became of it.
        how: Harm,
        /// `sync-eio`: how many writes of the file were dropped at least in
        /// part; `torn`: how many bytes of the write are on the medium;
        /// `slow`: nanoseconds that it took longer; otherwise 0.
        amount: u64,
    },
    /// The files of a node at rest were damaged (disk).
    Damaged {
        /// Whose.
        node: Party,
        /// Which fault.
        fault: Fault,
        /// Which file.
        file: String,
        /// How.
        how: Damage,
        /// How many bytes of it are others, or gone.
        bytes: u64,
    },
    /// A started node read what was damaged, or saw that it is gone (disk).
    DamageRead {
        /// Which node.
        node: Party,
        /// Which fault.
        fault: Fault,
        /// Which file.
        file: String,
    },
    /// The node's store was removed and the harness saw it gone (disk).
    StoreGone {
        /// Whose store.
        node: Party,
    },
    /// The harness read the store of a node itself (disk).
    StoreRead {
        /// Whose store.
        node: Party,
        /// Mail that the store still holds.
        rows: Vec<Row>,
        /// For a node that owns mailboxes: what is stored in them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        stored: Vec<Stored>,
        /// What could not be read, in words; `None` when all was read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        damage: Option<String>,
    },

    // --- faults ----------------------------------------------------------
    /// A receipt of a fault (injector; `requested` by the director).
    Fault {
        /// Which fault of the plan.
        fault: Fault,
        /// How far it has come.
        stage: Stage,
        /// What was done, in words.
        text: String,
        /// The node it hits, if one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        node: Option<Party>,
        /// The link it hits, if one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<Link>,
        /// The connection it hits, if one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conn: Option<Conn>,
    },

    /// The happening of the simulation that a fault waits for has just
    /// happened (kernel).
    Happening {
        /// Which fault of the plan.
        fault: Fault,
        /// Which happening, counted from 1 over the run.
        number: u64,
    },

    // --- the client ------------------------------------------------------
    /// The sender begins to hand a message over (client).
    Attempt {
        /// Which message.
        msg: Msg,
        /// Which attempt.
        attempt: Attempt,
        /// The sender's session.
        session: u16,
        /// To which node.
        node: Party,
        /// The recipients it is for: all of the message's at the first
        /// attempt, those still unsettled later.
        rcpts: Vec<Rcpt>,
        /// Nobody is to be told of a failure: null sender, or NOTIFY=NEVER.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        silent: bool,
    },
    /// What the sender knows at the end of an attempt (client).
    Outcome {
        /// Which message.
        msg: Msg,
        /// Which attempt.
        attempt: Attempt,
        /// The reply code to the RCPT of each recipient of the attempt, in
        /// the attempt's order; 0: none seen.
        rcpts: Vec<u16>,
        /// The reply codes to the end of data: one for all recipients, or
        /// one for each recipient with a 2yz to its RCPT in LMTP; empty: none
        /// seen.
        end: Vec<u16>,
        /// Why it ended early, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// The sender will not try this message again (client).
    GaveUp {
        /// Which message.
        msg: Msg,
    },

    // --- links -------------------------------------------------------------
    /// A connection was opened through the link, both legs (link).
    Open {
        /// Which connection.
        conn: Conn,
    },
    /// A dial through the link was refused or failed (link).
    Refused {
        /// Which connection it would have become; not told by a probe.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conn: Option<Conn>,
        /// Why, in words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// A connection ended (link).
    Shut {
        /// Which connection.
        conn: Conn,
        /// How it ended.
        how: Shut,
        /// Which party ended it; `None` when the link itself cut it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Party>,
    },
    /// The terminating dot of a transaction stands at the link and has not
    /// been forwarded yet (link).
    Dot {
        /// Which connection.
        conn: Conn,
        /// Which message; `None`: not one of the workload's (a DSN, say).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        msg: Option<Msg>,
        /// The attempt that the content names.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<Attempt>,
        /// The recipients with an accepting RCPT reply.
        rcpts: Vec<Rcpt>,
        /// Envelope recipients with one that are not this message's.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        strangers: Vec<String>,
        /// Its reverse path, where that is not this message's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reverse: Option<String>,
        /// Digest of body and harness headers, as they passed.
        digest: String,
    },
    /// A reply stands at the link and has not been passed back yet (link).
    /// Replies to the end of data are always recorded; others when they
    /// refuse (4yz, 5yz).
    Reply {
        /// Which connection.
        conn: Conn,
        /// What it answers: `dot`, `mail`, `rcpt`, `data`, `greeting`, …
        to: String,
        /// The message of the transaction, when known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        msg: Option<Msg>,
        /// Its attempt, when known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<Attempt>,
        /// The recipients it speaks for, when it is not all of the
        /// transaction's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rcpts: Option<Vec<Rcpt>>,
        /// The reply code.
        code: u16,
    },
    /// A complete exchange of a verb that carries no mail, between nodes: the
    /// reply stands at the link (link).
    Verb {
        /// Which connection.
        conn: Conn,
        /// The command's verb, upper case.
        verb: String,
        /// The reply code.
        code: u16,
    },
    /// The observer can no longer read this connection; from here on every
    /// outcome on it is unknown (link).
    Opaque {
        /// Which connection.
        conn: Conn,
        /// Why.
        note: String,
    },
    /// A cut keeps something here that this party has sent on the connection,
    /// or its dial or the answer to one: the first of each direction in each
    /// cut (link).
    Stalled {
        /// Which connection.
        conn: Conn,
        /// Who sent it.
        from: Party,
    },
    /// The link stands still at the point that a fault named (link).
    Held {
        /// Which connection.
        conn: Conn,
        /// Which fault.
        fault: Fault,
        /// The phase at which it stands.
        phase: String,
    },
    /// A held link goes on, or its connection was ended (link).
    Released {
        /// Which connection.
        conn: Conn,
        /// Which fault.
        fault: Fault,
    },

    // --- mail's end -----------------------------------------------------
    /// The mailbox took a message for these recipients; its 250 has not left
    /// yet (mailbox).
    Taken {
        /// The connection it came by.
        conn: Conn,
        /// The node that handed it over.
        from: Party,
        /// Which message its content names.
        msg: Msg,
        /// Which attempt its content names; 0: the content names none.
        attempt: Attempt,
        /// The recipients of this message it was taken for.
        rcpts: Vec<Rcpt>,
        /// Envelope recipients that are not this message's, as given.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        strangers: Vec<String>,
        /// Digest of body and harness headers, as taken.
        digest: String,
    },
    /// The mailbox took a delivery status notification about a message
    /// (mailbox).
    Dsn {
        /// The connection it came by.
        conn: Conn,
        /// The node that handed it over.
        from: Party,
        /// The message whose reverse path it was sent to.
        msg: Msg,
        /// `failed`, `delayed`, `relayed`, `delivered`, `expanded`.
        action: String,
        /// The recipients it speaks of.
        rcpts: Vec<Rcpt>,
    },
    /// The mailbox took something that is no message of this run (mailbox).
    Phantom {
        /// The connection it came by.
        conn: Conn,
        /// The node that handed it over.
        from: Party,
        /// What it was, in words.
        note: String,
    },

    // --- what nodes say of themselves ---------------------------------------
    /// A node listed its queues (node: a claim).
    Queues {
        /// Which node.
        node: Party,
        /// What it says it holds.
        rows: Vec<Row>,
        /// Entries that are not the workload's messages.
        #[serde(default, skip_serializing_if = "is_zero")]
        others: u32,
    },
    /// A node could not be asked (director).
    Unlisted {
        /// Which node.
        node: Party,
        /// Why, in words.
        note: String,
    },

    // --- the director -----------------------------------------------------
    /// A step of the scenario begins (director).
    Step {
        /// Which step, counted from 0.
        step: u32,
        /// What it is, in words.
        text: String,
    },
    /// A late choice was made; `replay` pins it (director).
    Choice {
        /// Which step.
        step: u32,
        /// What was to be chosen, `busiest` say.
        of: String,
        /// What was picked.
        picked: Party,
    },
    /// A wait of the scenario ended (director).
    Waited {
        /// Which step.
        step: u32,
        /// For what.
        until: String,
        /// Whether it came, or the wait ran out.
        came: bool,
    },
    /// A measured time, to hold against the scenario's inequalities
    /// (director).
    Measured {
        /// Its name in the scenario, `restart` say.
        name: String,
        /// Nanoseconds.
        took: u64,
    },
    /// Nothing moved on any link or in the mailbox for so long (director).
    Quiet {
        /// Since when.
        since: At,
        /// Nanoseconds of silence asked for and seen.
        lasted: u64,
    },
    /// The run is over (director). After it the run is only taken down: the
    /// director says nothing but `trouble`, and no attempt begins.
    End {
        /// Why, in words: `finished`, `deadline`, `interrupted`, …
        why: String,
    },
    /// The harness itself failed (director): bytes out of balance, an engine
    /// that could not carry out an order.
    Trouble {
        /// What went wrong.
        note: String,
    },
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// What a started node finds on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreState {
    /// The store it had.
    Same,
    /// An empty store.
    Empty,
}

/// What became of an operation of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// It failed: input/output error.
    Eio,
    /// It failed: no space left.
    Enospc,
    /// It failed: read-only file system.
    Erofs,
    /// A sync failed, and what it was to make durable was dropped.
    SyncEio,
    /// A write is half on the medium, and the power is gone.
    Torn,
    /// It took longer.
    Slow,
}

/// How far a fault has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The scenario asked for it.
    Requested,
    /// It waits at its point.
    Armed,
    /// The injector did it.
    Fired,
    /// The injector took it back.
    Removed,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shut {
    /// In order, by FIN.
    Fin,
    /// By RST.
    Reset,
    /// One side fell silent: the peer got no FIN.
    Silent,
}

/// One message in a queue or store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Which message; `None`: the entry names none of the workload's.
    pub msg: Option<Msg>,
    /// The recipients still owed; empty: unknown, so all of them.
    pub rcpts: Vec<Rcpt>,
    /// What the holder keeps it for.
    pub state: RowState,
}

/// What a holder keeps a message for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowState {
    /// To be delivered by this node.
    Queued,
    /// As the copy of another node's message.
    Shadow,
    /// Delivered; kept as history only (Safety Net, a discard to report).
    Done,
}

/// Copies of one message for one recipient in a mailbox of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// Which message.
    pub msg: Msg,
    /// Which recipient.
    pub rcpt: Rcpt,
    /// How many copies the mailbox shows.
    pub copies: u32,
    /// Digest of body and harness headers, as stored.
    pub digest: String,
}

impl What {
    /// Whether `by` may be the witness of such an event. A history in which
    /// the wrong witness speaks is not believed (verdict `error`).
    #[must_use]
    pub fn admissible(&self, by: Witness) -> bool {
        match self {
            Self::Start { .. }
            | Self::Exit { .. }
            | Self::Paused { .. }
            | Self::Resumed { .. }
            | Self::Clock { .. }
            | Self::Happening { .. } => by == Witness::Kernel,
            Self::Ready { .. } => matches!(by, Witness::Kernel | Witness::Link(_)),
            Self::Dropped { node, .. }
            | Self::DiskHeld { node, .. }
            | Self::DiskReleased { node, .. }
            | Self::DiskHarm { node, .. }
            | Self::Damaged { node, .. }
            | Self::DamageRead { node, .. }
            | Self::StoreGone { node }
            | Self::StoreRead { node, .. } => by == Witness::Disk(*node),
            Self::Fault { stage, .. } => match stage {
                Stage::Requested => by == Witness::Director,
                _ => by == Witness::Injector,
            },
            Self::Attempt { .. } | Self::Outcome { .. } | Self::GaveUp { .. } => {
                by == Witness::Client
            }
            Self::Open { .. }
            | Self::Refused { .. }
            | Self::Shut { .. }
            | Self::Dot { .. }
            | Self::Reply { .. }
            | Self::Verb { .. }
            | Self::Opaque { .. }
            | Self::Stalled { .. }
            | Self::Held { .. }
            | Self::Released { .. } => matches!(by, Witness::Link(_)),
            Self::Taken { .. } | Self::Dsn { .. } | Self::Phantom { .. } => by == Witness::Mailbox,
            Self::Queues { node, .. } => by == Witness::Node(*node),
            Self::Unlisted { .. }
            | Self::Step { .. }
            | Self::Choice { .. }
            | Self::Waited { .. }
            | Self::Measured { .. }
            | Self::Quiet { .. }
            | Self::End { .. }
            | Self::Trouble { .. } => by == Witness::Director,
        }
    }
}

//! Everything between the sessions and the store: messages of ours, copies
//! held for others, routes, peers, discards.
//!
//! Sessions call the queue directly; what the queue wants of *other* sessions
//! it leaves in `actions`, which the node carries out before it returns.

mod accept;
mod admin;
mod ageing;
mod bounce;
mod copy;
mod database;
mod delay;
mod delivery;
mod discard;
mod dsn;
mod exchange;
pub(crate) mod header;
mod heartbeat;
mod hold;
mod host;
mod inventory;
mod mailbox;
mod message;
mod peer;
mod pressure;
mod promotion;
mod recover;
pub(crate) mod redirect;
mod relocate;
mod resubmit;
mod safety;
mod salvage;
mod shadow;
mod takeover;
mod track;
mod view;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::config::Config;
use crate::date::Date;
use crate::event::{EventKind, NodeEvent};
use crate::io::{Abilities, ConnId, Now, Output};
use crate::mark::Mark;
use crate::record::{CopyKey, Header};
use crate::rng::Rng;
use crate::smtp::auth::ClusterKey;
use crate::store::{BatchId, Seq, Store};
use crate::view::Counters;

pub(crate) use copy::Attempt;
pub(crate) use database::Database;
pub(crate) use delivery::{LOCAL, Outcome, Routes};
pub(crate) use hold::Tracked;
pub(crate) use host::{Host, Work};
pub(crate) use mailbox::Mailboxes;
pub(crate) use message::{Message, name_of, push_name};
pub(crate) use peer::Peer;
pub(crate) use pressure::Pressure;
pub(crate) use recover::contents;
pub(crate) use safety::Safety;
pub(crate) use salvage::{Fate, note as salvage_note};
pub(crate) use shadow::{LINE, Offer, Report};

/// Index of a peer.
pub(crate) type PeerId = usize;
/// Index of a host: an address that is dialled.
pub(crate) type HostId = usize;

/// What the node has to do with a session on behalf of the queue.
#[derive(Debug)]
pub(crate) enum Action {
    /// Dial the host.
    Dial { conn: ConnId, host: HostId },
    /// An idle session may find work now.
    Work { conn: ConnId },
    /// An idle session, which the queue has forgotten, is to leave.
    Dismiss { conn: ConnId },
    /// The end of data of a client is answered.
    Answer {
        conn: ConnId,
        reply: Cow<'static, str>,
    },
    /// The end of data of a client is answered: its message is ours now.
    Accepted { conn: ConnId, sequence: u64 },
    /// What a peer session waited for is durable.
    Resume { conn: ConnId },
    /// The node may greet.
    Greet,
}

/// What waits for a record to become durable.
#[derive(Debug)]
pub(crate) enum Waiter {
    Boot,
    Message(u64),
    Progress(u64),
    Done(u64),
    Withdrawn(u64),
    /// All recipients are settled, and the hold model remembers it.
    Complete(u64),
    TakenOver(u64),
    Shadow {
        conn: ConnId,
        peer: PeerId,
        key: CopyKey,
    },
    /// A client session of ours goes on.
    Resume(ConnId),
    /// A server session of ours answers.
    Answer(ConnId, String),
    /// A message of local recipients alone is delivered: recipients, and
    /// whether each was new.
    Delivered {
        conn: ConnId,
        sequence: u64,
        rows: Vec<(Box<str>, bool)>,
        /// Who is to be told, and the record that says so.
        tell: Option<(Tracked, Seq)>,
    },
    /// A leg into local mailboxes is delivered.
    Mailbox {
        sequence: u64,
        leg: usize,
        duplicates: Vec<u32>,
    },
    /// Records written again elsewhere; the old ones may go.
    Moved(Vec<Seq>),
    /// A resubmit request.
    Request(u64),
    /// The administrator is answered.
    Admin(u64, String),
}

/// What is to be done at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Legs that wait for their next attempt.
    Deferred,
    /// Discard notifications that nobody asks for.
    Discards,
    /// Messages whose holders may be lost.
    Protect,
    /// Answers that are withheld.
    Answers,
    /// Messages whose delay is to be reported.
    Delays,
    /// A domain whose mail exchangers are to be asked for again.
    Route(usize),
    /// A host that was down, or a copy that waits too long for a session.
    Host(HostId),
    /// Poll or takeover.
    Peer(PeerId),
    /// Messages that wait for an inventory.
    Inventory,
    /// A disk without space is tried again.
    Space,
    /// Question to a next hop that keeps mail of ours.
    Heartbeat(PeerId),
    /// What the Safety Net has kept long enough.
    SafetyNet,
    /// Resubmit requests that wait for peers or memory.
    Requests,
    /// Time limit of a session.
    Conn(ConnId),
}

/// How often a disk without space is tried again.
const SPACE: Duration = Duration::from_secs(1);

/// The queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) config: Config,
    pub(crate) now: Now,
    pub(crate) rng: Rng,
    pub(crate) key: Option<ClusterKey>,
    pub(crate) store: Store,
    /// What the node calls its database towards others.
    pub(crate) database: crate::store::DatabaseId,
    pub(crate) boot: u32,
    /// The boot record is durable: sequences of this boot may leave.
    pub(crate) ready: bool,
    pub(crate) draining: bool,
    /// Somebody reads the log.
    pub(crate) logging: bool,
    /// Why the node cannot go on.
    pub(crate) fatal: Option<String>,
    pub(crate) out: Vec<Output>,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) timers: BTreeSet<(u64, Timer)>,
    pub(crate) messages: BTreeMap<u64, Box<Message>>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) hosts: Vec<Host>,
    /// Places in `hosts` that nothing uses.
    pub(crate) free_hosts: Vec<HostId>,
    /// Questions to the name service.
    questions_asked: BTreeMap<u64, exchange::Question>,
    next_query: u64,
    pub(crate) abilities: Abilities,
    pub(crate) routes: Routes,
    pub(crate) mailboxes: Mailboxes,
    /// The mailbox databases, as configured; none without mailboxes.
    pub(crate) databases: Vec<Database>,
    pub(crate) safety: Safety,
    pub(crate) counters: Counters,
    /// Bytes of content in memory.
    pub(crate) body_bytes: u64,
    /// The level of back pressure that was last found.
    pub(crate) level: Pressure,
    /// The route that everything takes.
    pub(crate) redirected: Option<usize>,
    waiting: VecDeque<(Seq, Waiter)>,
    /// Legs that wait: time, message, leg; and their route.
    deferred: BTreeMap<(u64, u64, usize), usize>,
    deferred_armed: u64,
    /// Peers that a DONE or WITHDRAWN record still owes a word to.
    owed: BTreeMap<Seq, u32>,
    discards_armed: u64,
    protect_armed: u64,
    /// Answers that are withheld: until when, and of which message.
    answers: BTreeSet<(u64, u64)>,
    answers_armed: u64,
    delays_armed: u64,
    /// The start of this node, on the monotonic clock.
    started: u64,
    boot_record: Seq,
    /// Databases that this one continues, the youngest first.
    predecessors: Vec<salvage::Predecessor>,
    /// Records are being moved out of the oldest segment.
    moving: bool,
    /// Bytes on the disk when that was last looked into.
    looked_at: u64,
    /// When a disk without space is tried again.
    space_armed: u64,
    next_sequence: u64,
    next_dial: u64,
    /// Which peer comes first among equals.
    turn: usize,
    scratch: Vec<u8>,
    /// The date as it stands in trace fields, and the second it is for.
    date: (u64, String),
}

impl Queue {
    /// Appends a record; nothing of it is durable before its waiter is told.
    pub(crate) fn append(&mut self, header: &Header, body: &[Bytes]) -> Seq {
        header.encode(&mut self.scratch);
        match self.store.append(header.kind(), &self.scratch, body) {
            Ok(seq) => seq,
            Err(error) => {
                self.fail(error.to_string());
                Seq(u64::MAX)
            }
        }
    }

    /// Has `waiter` told when `seq` is durable. Records are waited for in the
    /// order in which they were appended.
    pub(crate) fn wait(&mut self, seq: Seq, waiter: Waiter) {
        if seq <= self.store.durable() {
            return self.durable(waiter);
        }
        debug_assert!(self.waiting.back().is_none_or(|(last, _)| *last <= seq));
        self.waiting.push_back((seq, waiter));
    }

    /// Takes the result of a batch.
    pub(crate) fn committed(&mut self, batch: BatchId, result: std::io::Result<()>) {
        let size = self.store.bytes_on_disk();
        let durable = match self.store.batch_done(batch, result) {
            Ok(durable) => durable,
            Err(error) => return self.fail(error.to_string()),
        };
        if self.store.bytes_on_disk() < size {
            self.mark(Mark::SegmentRemoved);
        }
        if durable < self.store.appended() {
            self.mark(Mark::CommitWaited);
        }
        if self.store.full() && self.space_armed == 0 {
            self.mark(Mark::DiskFull);
            self.counters.disk_full += 1;
            let detail = "no space for the store; new mail is refused until there is".to_owned();
            self.log(EventKind::StoreDamage, None, "", "", detail);
            let at = self.later(SPACE);
            Self::arm(&mut self.timers, Timer::Space, at, &mut self.space_armed);
        }
        while let Some((seq, _)) = self.waiting.front() {
            if *seq > durable {
                break;
            }
            let Some((_, waiter)) = self.waiting.pop_front() else {
                break;
            };
            self.durable(waiter);
        }
        self.relocate();
    }

    fn durable(&mut self, waiter: Waiter) {
        match waiter {
            Waiter::Boot => {
                self.ready = true;
                self.log(
                    EventKind::Start,
                    None,
                    "",
                    "",
                    format!("boot {}", self.boot),
                );
                self.actions.push_back(Action::Greet);
                self.resume_recovered();
            }
            Waiter::Message(sequence) => {
                if let Some(message) = self.messages.get_mut(&sequence) {
                    message.local = true;
                    self.check_accept(sequence);
                }
            }
            Waiter::Progress(sequence) => self.progress_durable(sequence),
            Waiter::Done(sequence) => self.done_durable(sequence, false),
            Waiter::Withdrawn(sequence) => self.done_durable(sequence, true),
            Waiter::Complete(sequence) => self.complete_durable(sequence),
            Waiter::TakenOver(sequence) => self.taken_over(sequence),
            Waiter::Shadow { conn, peer, key } => self.shadow_durable(conn, peer, &key),
            Waiter::Resume(conn) => self.actions.push_back(Action::Resume { conn }),
            Waiter::Answer(conn, reply) => self.actions.push_back(Action::Answer {
                conn,
                reply: reply.into(),
            }),
            Waiter::Delivered {
                conn,
                sequence,
                rows,
                tell,
            } => self.delivered(conn, sequence, &rows, tell),
            Waiter::Mailbox {
                sequence,
                leg,
                duplicates,
            } => {
                self.mailbox_leg_durable(sequence, leg, &duplicates);
            }
            Waiter::Moved(old) => {
                for seq in old {
                    self.store.release(seq);
                }
                self.moving = false;
            }
            Waiter::Request(id) => self.request_durable(id),
            Waiter::Admin(ticket, answer) => self.out.push(Output::Admin { ticket, answer }),
        }
    }

    /// The store cannot promise anything any more: nothing may be answered.
    pub(crate) fn fail(&mut self, reason: String) {
        self.fatal.get_or_insert(reason);
    }

    /// The next sequence of ours.
    pub(crate) fn sequence(&mut self) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        sequence
    }

    /// The present date for a header field.
    pub(crate) fn date(&mut self) -> &str {
        let second = self.now.wall / 1000;
        if self.date.0 != second {
            self.date = (second, Date(self.now.wall).to_string());
        }
        &self.date.1
    }

    /// Books `n` bytes of content; false when the budget does not allow it.
    pub(crate) fn reserve(&mut self, n: usize) -> bool {
        let after = self.body_bytes + n as u64;
        if after > self.config.body_budget_bytes {
            return false;
        }
        self.body_bytes = after;
        true
    }

    /// Gives `n` bytes of content back.
    pub(crate) fn free(&mut self, n: usize) {
        self.body_bytes = self.body_bytes.saturating_sub(n as u64);
    }

    /// The time `after` from now.
    pub(crate) fn later(&self, after: Duration) -> u64 {
        let nanos = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
        self.now.mono.saturating_add(nanos)
    }

    /// Sets `timer` to `at` unless it goes off earlier anyway; `armed` is the
    /// time it is set to, 0 for none.
    pub(crate) fn arm(timers: &mut BTreeSet<(u64, Timer)>, timer: Timer, at: u64, armed: &mut u64) {
        let at = at.max(1);
        if *armed != 0 {
            if *armed <= at {
                return;
            }
            timers.remove(&(*armed, timer));
        }
        timers.insert((at, timer));
        *armed = at;
    }

    /// Takes every timer but those of sessions.
    pub(crate) fn timer(&mut self, timer: Timer) {
        match timer {
            Timer::Deferred => self.deferred_due(),
            Timer::Discards => self.discards_due(),
            Timer::Protect => self.protect_due(),
            Timer::Delays => self.delays_due(),
            Timer::Route(route) => self.route_due(route),
            Timer::Answers => self.answers_due(),
            Timer::Heartbeat(peer) => self.heartbeat_due(peer),
            Timer::Host(host) => self.host_due(host),
            Timer::Peer(peer) => self.peer_due(peer),
            Timer::Inventory => self.inventory_overdue(),
            Timer::Space => {
                self.space_armed = 0;
                self.store.look_for_space();
            }
            Timer::SafetyNet => self.hold_over(),
            Timer::Requests => self.requests_due(),
            Timer::Conn(_) => {}
        }
    }

    /// Logs an event, if anybody reads the log.
    pub(crate) fn log(
        &mut self,
        kind: EventKind,
        sequence: Option<u64>,
        recipient: &str,
        server: &str,
        detail: String,
    ) {
        if !self.logging {
            return;
        }
        self.out.push(Output::Log(NodeEvent {
            at: self.now.wall,
            event: kind,
            message: sequence.map(name_of).unwrap_or_default(),
            recipient: recipient.to_owned(),
            server: server.to_owned(),
            detail,
        }));
    }

    /// Says that a rare condition was reached.
    pub(crate) fn mark(&mut self, mark: Mark) {
        self.out.push(Output::Mark(mark));
    }

    /// Whether anything is under way that a drain waits for.
    pub(crate) fn busy(&self) -> bool {
        !self.waiting.is_empty()
            || self.messages.values().any(|message| {
                message.in_flight() || matches!(message.copy, message::CopyState::Trying(_))
            })
    }
}

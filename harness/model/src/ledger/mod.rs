//! The ledger: what each message went through, folded from events.
//!
//! It draws no conclusions; [`crate::judge`] does. It keeps the ids of the
//! events it was made from, so that every sentence of a report can point at
//! its witness.

mod clock;
mod disk;
mod fault;
mod listing;
mod mail;
mod node;
mod wire;

use std::collections::BTreeMap;

use crate::event::{At, Attempt, Conn, Event, Msg, Rcpt, Stage, What};
use crate::party::{Link, Party, Witness};

pub use clock::Reading;
pub use disk::{Damaged, DiskHarm, DiskHold};
pub use fault::{Fired, Receipts};
pub use listing::Listing;
pub use mail::{Answer, Copy, Digest, Ended, Hop, Mail, Notice, Outcome, Try};
pub use node::{Life, Outage};
pub use wire::{End, Held, Wire};

/// An event, by time and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// When it was recorded.
    pub at: At,
    /// Its id in the history.
    pub id: u64,
}

/// A stretch of silence.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    /// When it was noted.
    pub mark: Mark,
    /// Since when.
    pub since: At,
    /// For how long, nanoseconds.
    pub lasted: u64,
}

/// Everything a history says, by message, node and link.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The workload's messages, by number.
    pub mails: Vec<Mail>,
    /// The lives of each node.
    pub lives: BTreeMap<Party, Vec<Life>>,
    /// Pauses of each node: since, until.
    pub pauses: BTreeMap<Party, Vec<(Mark, Option<Mark>)>>,
    /// Stores seen gone.
    pub gone: BTreeMap<Party, Mark>,
    /// Un-synced operations dropped by power cuts.
    pub dropped: Vec<(Party, Mark, u64)>,
    /// Disks that stood still before an operation.
    pub disk_holds: Vec<DiskHold>,
    /// Operations that met a fault of their disk.
    pub harms: Vec<DiskHarm>,
    /// Damage at rest.
    pub damages: Vec<Damaged>,
    /// Receipts by fault.
    pub faults: BTreeMap<u32, Receipts>,
    /// Happenings of the simulation that faults waited for: when, which.
    pub happenings: BTreeMap<u32, (Mark, u64)>,
    /// What the kernel read from nodes' clocks, in order.
    pub clocks: Vec<Reading>,
    /// Links.
    pub wires: BTreeMap<Link, Wire>,
    /// The last listing of each node.
    pub listings: BTreeMap<Party, Listing>,
    /// The last reading of each store.
    pub stores: BTreeMap<Party, Listing>,
    /// Nodes that could not be asked, last.
    pub unlisted: BTreeMap<Party, (Mark, String)>,
    /// The last stretch of silence.
    pub quiet: Option<Quiet>,
    /// Waits: step, until, came.
    pub waits: Vec<(u32, Mark, String, bool)>,
    /// Measured times: name, nanoseconds.
    pub measured: Vec<(Mark, String, u64)>,
    /// Messages that are none of the run's.
    pub phantoms: Vec<(Mark, Party, String)>,
    /// The last moment mail moved: an attempt, a dot, a copy.
    pub moved: Option<Mark>,
    /// Why the run ended.
    pub end: Option<(Mark, String)>,
    /// The harness failed, or the history contradicts itself.
    pub troubles: Vec<(Mark, String)>,
    /// The last event.
    pub last: Option<Mark>,
    /// The first event.
    pub first: Option<Mark>,
    limit: u32,
}

/// Appends to a list that nearly always has one entry: room for one, not for
/// the four that a vector begins with. A ledger holds several such lists a
/// message.
fn add<T>(list: &mut Vec<T>, entry: T) {
    if list.is_empty() {
        list.reserve_exact(1);
    }
    list.push(entry);
}

impl Ledger {
    /// An empty ledger for a workload of so many messages.
    #[must_use]
    pub fn new(messages: u32) -> Self {
        let mut ledger = Self {
            limit: messages,
            ..Self::default()
        };
        // A plan may claim any number; memory follows the events, not it.
        ledger.mails.reserve(messages.min(1 << 16) as usize);
        ledger
    }

    fn mail(&mut self, msg: Msg, mark: Mark) -> Option<&mut Mail> {
        if msg >= self.limit {
            self.troubles.push((
                mark,
                format!(
                    "event {} names message {msg}, but the workload has {} messages",
                    mark.id, self.limit
                ),
            ));
            return None;
        }
        let index = msg as usize;
        if index >= self.mails.len() {
            self.mails.resize_with(index + 1, Mail::default);
        }
        self.mails.get_mut(index)
    }

    fn trouble(&mut self, mark: Mark, note: String) {
        self.troubles.push((mark, note));
    }

    /// Takes one event in.
    pub fn fold(&mut self, event: &Event) {
        let mark = Mark {
            at: event.at,
            id: event.id,
        };
        if let Some(last) = self.last
            && (mark.at < last.at || mark.id <= last.id)
        {
            self.trouble(
                mark,
                format!("event {} is out of order after event {}", mark.id, last.id),
            );
        }
        self.first.get_or_insert(mark);
        self.last = Some(mark);
        if !event.ev.admissible(event.by) {
            self.trouble(
                mark,
                format!(
                    "event {} is told by {}, which cannot have seen it",
                    mark.id, event.by
                ),
            );
            return;
        }
        let link = match event.by {
            Witness::Link(link) => Some(link),
            _ => None,
        };
        match &event.ev {
            What::Start { node, life, store } => {
                self.lives.entry(*node).or_default().push(Life {
                    life: *life,
                    started: mark,
                    store: *store,
                    ready: None,
                    exit: None,
                    killed: false,
                });
            }
            What::Ready { node, life } => {
                if let Some(l) = self.life(*node, *life) {
                    l.ready.get_or_insert(mark);
                }
            }
            What::Exit { node, life, status } => {
                if let Some(l) = self.life(*node, *life) {
                    l.exit.get_or_insert(mark);
                    l.killed = status.starts_with("signal 9");
                } else {
                    self.trouble(mark, format!("{node} ended life {life}, which never began"));
                }
            }
            What::Paused { node, .. } => {
                self.pauses.entry(*node).or_default().push((mark, None));
            }
            What::Resumed { node, .. } => {
                if let Some(p) = self.pauses.get_mut(node).and_then(|p| p.last_mut()) {
                    p.1.get_or_insert(mark);
                }
            }
            What::Dropped { node, operations } => self.dropped.push((*node, mark, *operations)),
            What::DiskHeld { node, fault, .. } => self.disk_holds.push(DiskHold {
                node: *node,
                fault: *fault,
                since: mark,
                until: None,
            }),
            What::DiskReleased { node, fault } => {
                let mut holds = self.disk_holds.iter_mut().rev();
                if let Some(h) = holds.find(|h| h.node == *node && h.fault == *fault) {
                    h.until.get_or_insert(mark);
                }
            }
            What::DiskHarm {
                node,
                fault,
                how,
                amount,
                ..
            } => self.harms.push(DiskHarm {
                mark,
                node: *node,
                fault: *fault,
                how: *how,
                amount: *amount,
            }),
            What::Damaged {
                node, fault, bytes, ..
            } => self.damages.push(Damaged {
                mark,
                node: *node,
                fault: *fault,
                bytes: *bytes,
                read: None,
            }),
            What::DamageRead { node, fault, .. } => {
                let mut damages = self.damages.iter_mut();
                if let Some(d) = damages.find(|d| d.node == *node && d.fault == *fault) {
                    d.read.get_or_insert(mark);
                }
            }
            What::StoreGone { node } => {
                self.gone.insert(*node, mark);
                self.stores.remove(node);
            }
            What::StoreRead {
                node,
                rows,
                stored,
                damage,
            } => {
                self.stores.insert(
                    *node,
                    Listing {
                        mark,
                        rows: rows.clone(),
                        others: 0,
                        stored: stored.clone(),
                        damage: damage.clone(),
                    },
                );
            }
            What::Fault {
                fault,
                stage,
                node,
                link,
                conn,
                ..
            } => {
                let f = self.faults.entry(*fault).or_default();
                match stage {
                    Stage::Requested => {
                        f.requested.get_or_insert(mark);
                    }
                    Stage::Armed => {
                        f.armed.get_or_insert(mark);
                    }
                    Stage::Fired => f.fired.push(Fired {
                        mark,
                        node: *node,
                        link: *link,
                        conn: *conn,
                    }),
                    Stage::Removed => {
                        f.removed = Some(mark);
                        f.removals.push((mark, *link));
                    }
                }
            }
            What::Attempt {
                msg,
                attempt,
                node,
                rcpts,
                silent,
                ..
            } => {
                self.moved = Some(mark);
                let (attempt, node, silent) = (*attempt, *node, *silent);
                if let Some(mail) = self.mail(*msg, mark) {
                    if mail.tries.is_empty() {
                        mail.rcpts.clone_from(rcpts);
                    }
                    mail.silent |= silent;
                    let begun = Try {
                        attempt,
                        node,
                        begun: mark,
                        rcpts: rcpts.clone(),
                        hop: None,
                        outcome: None,
                    };
                    add(&mut mail.tries, begun);
                }
            }
            What::Outcome {
                msg,
                attempt,
                rcpts,
                end,
                ..
            } => self.outcome(mark, *msg, *attempt, rcpts, end),
            What::GaveUp { msg } => {
                if let Some(mail) = self.mail(*msg, mark) {
                    mail.gave_up = Some(mark);
                }
            }
            What::Clock {
                node,
                life,
                fault,
                wall,
                mono,
            } => self.clocks.push(Reading {
                mark,
                node: *node,
                life: *life,
                fault: *fault,
                wall: *wall,
                mono: *mono,
            }),
            What::Happening { fault, number } => {
                self.happenings.entry(*fault).or_insert((mark, *number));
            }
            What::Open { conn } => {
                if let Some(w) = self.wire(link) {
                    w.opened.push((mark, *conn));
                }
            }
            What::Stalled { conn, from } => {
                if let Some(w) = self.wire(link) {
                    w.stalled.push((mark, *conn, *from));
                }
            }
            What::Refused { conn, .. } => {
                if let Some(w) = self.wire(link) {
                    w.refused.push(mark);
                    w.failed.extend(conn.map(|conn| (mark, conn)));
                }
            }
            What::Shut { conn, how, from } => {
                if let Some(w) = self.wire(link) {
                    w.ended.push(End {
                        mark,
                        conn: *conn,
                        how: *how,
                        from: *from,
                    });
                }
            }
            What::Dot {
                conn,
                msg,
                attempt,
                rcpts,
                strangers,
                reverse,
                digest,
            } => {
                self.moved = Some(mark);
                if let (Some(link), Some(msg)) = (link, msg) {
                    self.dot(mark, link, *conn, *msg, attempt.unwrap_or(0), rcpts, digest);
                    self.odd(mark, link, *msg, strangers, reverse.as_ref());
                }
            }
            What::Reply {
                conn,
                to,
                msg,
                attempt,
                rcpts,
                code,
            } => {
                if let Some(link) = link {
                    if let Some(w) = self.wire(Some(link)) {
                        w.exchanges.push(mark);
                        w.told.push(mark);
                    }
                    if let (Some(msg), "dot") = (msg, to.as_str()) {
                        let answer = Answer {
                            code: *code,
                            mark,
                            rcpts: rcpts.clone(),
                        };
                        self.answer(link, *conn, *msg, attempt.unwrap_or(0), answer);
                    }
                }
            }
            What::Verb { conn, verb, .. } => {
                if let Some(w) = self.wire(link) {
                    w.exchanges.push(mark);
                    if !wire::OPENING.contains(&verb.as_str()) {
                        w.told.push(mark);
                        if !wire::GIVING.contains(&verb.as_str()) {
                            w.asked.push((mark, *conn));
                        }
                    }
                }
            }
            What::Opaque { .. } => {
                if let Some(w) = self.wire(link) {
                    w.opaque = true;
                }
            }
            What::Held { conn, fault, .. } => {
                if let Some(w) = self.wire(link) {
                    w.held.push(Held {
                        fault: *fault,
                        conn: *conn,
                        since: mark,
                        until: None,
                    });
                }
            }
            What::Released { fault, .. } => {
                if let Some(w) = self.wire(link)
                    && let Some(h) = w.held.iter_mut().rev().find(|h| h.fault == *fault)
                {
                    h.until.get_or_insert(mark);
                }
            }
            What::Taken {
                conn,
                from,
                msg,
                attempt,
                rcpts,
                strangers,
                digest,
            } => {
                self.moved = Some(mark);
                let copy = Copy {
                    mark,
                    conn: *conn,
                    from: *from,
                    attempt: *attempt,
                    rcpts: rcpts.clone(),
                    digest: Digest::of(digest),
                };
                self.taken(*msg, copy, strangers);
            }
            What::Dsn {
                conn,
                from,
                msg,
                action,
                rcpts,
                ..
            } => {
                self.moved = Some(mark);
                let notice = Notice {
                    mark,
                    conn: *conn,
                    from: *from,
                    failed: action == "failed",
                    rcpts: rcpts.clone(),
                };
                if let Some(mail) = self.mail(*msg, mark) {
                    mail.notices.push(notice);
                }
            }
            What::Phantom { from, note, .. } => {
                self.moved = Some(mark);
                self.phantoms.push((mark, *from, note.clone()));
            }
            What::Queues { node, rows, others } => {
                self.unlisted.remove(node);
                self.listings.insert(
                    *node,
                    Listing {
                        mark,
                        rows: rows.clone(),
                        others: *others,
                        stored: Vec::new(),
                        damage: None,
                    },
                );
            }
            What::Unlisted { node, note } => {
                self.unlisted.insert(*node, (mark, note.clone()));
            }
            What::Step { .. } | What::Choice { .. } => {}
            What::Waited { step, until, came } => {
                self.waits.push((*step, mark, until.clone(), *came));
            }
            What::Measured { name, took } => self.measured.push((mark, name.clone(), *took)),
            What::Quiet { since, lasted } => {
                self.quiet = Some(Quiet {
                    mark,
                    since: *since,
                    lasted: *lasted,
                });
            }
            What::End { why } => self.end = Some((mark, why.clone())),
            What::Trouble { note } => self.trouble(mark, note.clone()),
        }
    }

    fn life(&mut self, node: Party, life: u32) -> Option<&mut Life> {
        self.lives
            .get_mut(&node)?
            .iter_mut()
            .rev()
            .find(|l| l.life == life)
    }

    fn wire(&mut self, link: Option<Link>) -> Option<&mut Wire> {
        Some(self.wires.entry(link?).or_default())
    }

    fn outcome(&mut self, mark: Mark, msg: Msg, attempt: Attempt, rcpts: &[u16], end: &[u16]) {
        let mut broken = None;
        if let Some(mail) = self.mail(msg, mark) {
            match mail
                .tries
                .iter_mut()
                .rev()
                .find(|t| t.attempt == attempt && t.outcome.is_none())
            {
                Some(t) => {
                    t.outcome = Some(Outcome {
                        mark,
                        rcpts: rcpts.to_vec(),
                        end: end.to_vec(),
                    });
                }
                None => {
                    broken = Some(format!(
                        "message {msg} has an outcome of attempt {attempt}, which never began"
                    ));
                }
            }
        }
        if let Some(note) = broken {
            self.trouble(mark, note);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one event")]
    fn dot(
        &mut self,
        mark: Mark,
        link: Link,
        conn: Conn,
        msg: Msg,
        attempt: Attempt,
        rcpts: &[Rcpt],
        digest: &str,
    ) {
        let hop = Hop {
            link,
            conn,
            attempt,
            dot: mark,
            rcpts: rcpts.to_vec(),
            digest: Digest::of(digest),
            answers: Vec::new(),
        };
        let mut broken = None;
        if let Some(mail) = self.mail(msg, mark) {
            if link.from == Party::Client {
                match mail
                    .tries
                    .iter_mut()
                    .rev()
                    .find(|t| t.attempt == attempt && t.hop.is_none())
                {
                    Some(t) => t.hop = Some(hop),
                    None => {
                        broken = Some(format!(
                            "{link} carried message {msg}, attempt {attempt}, which the sender never began"
                        ));
                    }
                }
            } else {
                add(&mut mail.hops, hop);
            }
        }
        if let Some(note) = broken {
            self.trouble(mark, note);
        }
    }

    /// What is odd about the envelope of a transaction beyond the client's link.
    /// Strangers that the mailbox takes, it says itself.
    fn odd(
        &mut self,
        mark: Mark,
        link: Link,
        msg: Msg,
        strangers: &[String],
        reverse: Option<&String>,
    ) {
        if link.from == Party::Client || (strangers.is_empty() && reverse.is_none()) {
            return;
        }
        if let Some(mail) = self.mail(msg, mark) {
            if link.to != Party::Mailbox {
                let strangers = strangers.iter().map(|s| (mark, s.clone()));
                mail.strangers.extend(strangers);
            }
            if let Some(reverse) = reverse {
                mail.reversed.push((mark, link, reverse.clone()));
            }
        }
    }

    fn answer(&mut self, link: Link, conn: Conn, msg: Msg, attempt: Attempt, answer: Answer) {
        let mark = answer.mark;
        let mut broken = None;
        if let Some(mail) = self.mail(msg, mark) {
            let hop = if link.from == Party::Client {
                mail.tries
                    .iter_mut()
                    .rev()
                    .filter(|t| t.attempt == attempt)
                    .find_map(|t| t.hop.as_mut().filter(|h| h.conn == conn))
            } else {
                mail.hops
                    .iter_mut()
                    .rev()
                    .find(|h| h.link == link && h.conn == conn)
            };
            match hop {
                Some(hop) => add(&mut hop.answers, answer),
                None => {
                    broken = Some(format!(
                        "{link} saw a reply to the end of message {msg}, but not the end itself"
                    ));
                }
            }
        }
        if let Some(note) = broken {
            self.trouble(mark, note);
        }
    }

    fn taken(&mut self, msg: Msg, copy: Copy, strangers: &[String]) {
        if msg >= self.limit {
            self.phantoms.push((
                copy.mark,
                copy.from,
                format!("it names message {msg}, which this run never sent"),
            ));
            return;
        }
        let link = Link::new(copy.from, Party::Mailbox);
        let opaque = self.wires.get(&link).is_some_and(|w| w.opaque);
        let mut broken = None;
        let mark = copy.mark;
        if let Some(mail) = self.mail(msg, mark) {
            let crossed = mail
                .hops
                .iter()
                .any(|h| h.link == link && h.conn == copy.conn && h.dot.id < mark.id);
            if !crossed && !opaque {
                broken = Some(format!(
                    "the mailbox took message {msg} from {}, but {link} never saw it pass",
                    copy.from
                ));
            }
            for s in strangers {
                mail.strangers.push((mark, s.clone()));
            }
            add(&mut mail.copies, copy);
        }
        if let Some(note) = broken {
            self.trouble(mark, note);
        }
    }
}

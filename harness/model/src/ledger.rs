//! The ledger: what each message went through, folded from events.
//!
//! It draws no conclusions; [`crate::judge`] does. It keeps the ids of the
//! events it was made from, so that every sentence of a report can point at
//! its witness.

use std::collections::BTreeMap;

use crate::event::{
    At, Attempt, Conn, Event, Msg, Rcpt, Row, Shut, Stage, StoreState, Stored, What,
};
use crate::party::{Link, Party, Witness};

/// An event, by time and id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// When it was recorded.
    pub at: At,
    /// Its id in the history.
    pub id: u64,
}

/// A content digest, reduced to what comparing needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(u128);

impl Digest {
    /// From its text form; texts that differ give digests that differ.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let hex = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match u128::from_str_radix(text, 16) {
            Ok(n) if hex => Self(n),
            _ => {
                let mut first = [0; 16];
                first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
                Self(u128::from_be_bytes(first))
            }
        }
    }
}

/// A reply to the end of data as a link saw it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The reply code.
    pub code: u16,
    /// When.
    pub mark: Mark,
    /// The recipients it speaks for; `None`: all of the transaction's.
    pub rcpts: Option<Vec<Rcpt>>,
}

/// The end of data of one transaction as a link saw it.
#[derive(Clone, Debug)]
pub struct Hop {
    /// Which link.
    pub link: Link,
    /// Which connection.
    pub conn: Conn,
    /// The attempt that the content names; 0: none.
    pub attempt: Attempt,
    /// When the dot stood at the link.
    pub dot: Mark,
    /// The recipients it was for.
    pub rcpts: Vec<Rcpt>,
    /// The content.
    pub digest: Digest,
    /// The replies to it.
    pub answers: Vec<Answer>,
}

impl Hop {
    /// The reply that speaks for a recipient, if the link saw one. None
    /// speaks for a recipient that was refused at RCPT: it is not part of the
    /// transaction.
    #[must_use]
    pub fn answer(&self, rcpt: Rcpt) -> Option<&Answer> {
        if !self.rcpts.contains(&rcpt) {
            return None;
        }
        self.answers
            .iter()
            .find(|a| a.rcpts.as_ref().is_none_or(|r| r.contains(&rcpt)))
    }

    /// Whether the dialled side accepted it for this recipient.
    #[must_use]
    pub fn accepted(&self, rcpt: Rcpt) -> bool {
        self.answer(rcpt).is_some_and(|a| a.code / 100 == 2)
    }
}

/// What the sender knew at the end of an attempt.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// When.
    pub mark: Mark,
    /// Reply codes to RCPT, parallel to the attempt's recipients; 0: none.
    pub rcpts: Vec<u16>,
    /// Reply codes to the end of data.
    pub end: Vec<u16>,
}

/// One attempt of the sender.
#[derive(Clone, Debug)]
pub struct Try {
    /// Which attempt.
    pub attempt: Attempt,
    /// To which node.
    pub node: Party,
    /// When it began.
    pub begun: Mark,
    /// For which recipients.
    pub rcpts: Vec<Rcpt>,
    /// Its end of data on the client's link.
    pub hop: Option<Hop>,
    /// What the sender knew at the end.
    pub outcome: Option<Outcome>,
}

/// How an attempt ended for one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// A 250 reached the sender.
    Accepted,
    /// The link saw a 2yz that the sender did not.
    ReplyLost,
    /// The node may have committed; nobody saw a reply.
    NoReply,
    /// A 4yz or 5yz was given.
    Refused(u16),
    /// The end of data never reached the node.
    NotSent,
}

/// A copy that the harness's mailbox took.
#[derive(Clone, Debug)]
pub struct Copy {
    /// When.
    pub mark: Mark,
    /// By which connection.
    pub conn: Conn,
    /// Who handed it over.
    pub from: Party,
    /// The attempt that the content names; 0: none.
    pub attempt: Attempt,
    /// For which recipients.
    pub rcpts: Vec<Rcpt>,
    /// The content.
    pub digest: Digest,
}

/// A delivery status notification about a message.
#[derive(Clone, Debug)]
pub struct Notice {
    /// When.
    pub mark: Mark,
    /// Who sent it.
    pub from: Party,
    /// Whether it reports a failure for good.
    pub failed: bool,
    /// For which recipients.
    pub rcpts: Vec<Rcpt>,
}

/// One message of the workload.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    /// Its recipients, as the first attempt named them.
    pub rcpts: Vec<Rcpt>,
    /// Nobody is to be told of failures.
    pub silent: bool,
    /// The sender's attempts, in order.
    pub tries: Vec<Try>,
    /// Transactions between nodes and towards the mailbox that carried it.
    pub hops: Vec<Hop>,
    /// What the mailbox took.
    pub copies: Vec<Copy>,
    /// What the mailbox was told of it.
    pub notices: Vec<Notice>,
    /// The sender stopped trying.
    pub gave_up: Option<Mark>,
    /// Envelope recipients that were not this message's.
    pub strangers: Vec<(Mark, String)>,
}

impl Mail {
    /// How an attempt ended for one recipient, by what the sender and its
    /// link saw.
    #[must_use]
    pub fn ended(&self, t: &Try, rcpt: Rcpt, opaque: bool) -> Ended {
        let seen = t.hop.as_ref().and_then(|h| h.answer(rcpt)).map(|a| a.code);
        let dot = t.hop.as_ref().is_some_and(|h| h.rcpts.contains(&rcpt));
        let told = t.outcome.as_ref().and_then(|o| {
            let place = t.rcpts.iter().position(|r| *r == rcpt)?;
            let code = o.rcpts.get(place).copied().unwrap_or(0);
            match code / 100 {
                4 | 5 => return Some(code),
                2 => {}
                _ => return None,
            }
            match o.end.as_slice() {
                [] => None,
                [one] => Some(*one),
                // LMTP: one reply for each recipient with a 2yz to its RCPT.
                many => {
                    let nth = o.rcpts[..place].iter().filter(|c| *c / 100 == 2).count();
                    many.get(nth).copied()
                }
            }
            .filter(|code| *code != 0)
        });
        match (told, seen) {
            (Some(t), _) if t / 100 == 2 => Ended::Accepted,
            // The node said 2yz, whatever the sender was told: the node holds
            // the message.
            (_, Some(s)) if s / 100 == 2 => Ended::ReplyLost,
            (Some(t), _) if matches!(t / 100, 4 | 5) => Ended::Refused(t),
            (_, Some(s)) if s >= 400 => Ended::Refused(s),
            _ if dot || opaque => Ended::NoReply,
            _ => Ended::NotSent,
        }
    }
}

/// One life of a node.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Counted from 1.
    pub life: u32,
    /// Its process started.
    pub started: Mark,
    /// What it found.
    pub store: StoreState,
    /// It answered.
    pub ready: Option<Mark>,
    /// Its process ended.
    pub exit: Option<Mark>,
    /// It ended by SIGKILL.
    pub killed: bool,
}

/// One receipt trail of a fault.
#[derive(Clone, Debug, Default)]
pub struct Receipts {
    /// The scenario asked for it.
    pub requested: Option<Mark>,
    /// The injector waited.
    pub armed: Option<Mark>,
    /// The injector acted, each time.
    pub fired: Vec<Fired>,
    /// The injector took it back.
    pub removed: Option<Mark>,
}

/// One firing of a fault.
#[derive(Clone, Copy, Debug)]
pub struct Fired {
    /// When.
    pub mark: Mark,
    /// On which node.
    pub node: Option<Party>,
    /// On which link.
    pub link: Option<Link>,
    /// On which connection.
    pub conn: Option<Conn>,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// When.
    pub mark: Mark,
    /// Which connection.
    pub conn: Conn,
    /// How.
    pub how: Shut,
    /// Who ended it.
    pub from: Option<Party>,
}

/// A link that stood still at a point.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Which fault held it.
    pub fault: u32,
    /// Which connection.
    pub conn: Conn,
    /// Since when.
    pub since: Mark,
    /// Until when; `None`: to the end.
    pub until: Option<Mark>,
}

/// What one link saw besides mail.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// Connections that were opened.
    pub opened: Vec<(Mark, Conn)>,
    /// Dials that failed.
    pub refused: Vec<Mark>,
    /// Connections that ended.
    pub ended: Vec<End>,
    /// Completed exchanges: a reply stood at the link.
    pub exchanges: Vec<Mark>,
    /// Those of them that carried no mail: the dialling side asked something
    /// and was answered.
    pub asked: Vec<Mark>,
    /// It stood held.
    pub held: Vec<Held>,
    /// At some time it could not be read.
    pub opaque: bool,
}

/// A listing of queues, or a reading of a store.
#[derive(Clone, Debug)]
pub struct Listing {
    /// When.
    pub mark: Mark,
    /// What was held.
    pub rows: Vec<Row>,
    /// Entries that name no message of the workload.
    pub others: u32,
    /// What was in the mailboxes.
    pub stored: Vec<Stored>,
    /// What could not be read.
    pub damage: Option<String>,
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
    /// Receipts by fault.
    pub faults: BTreeMap<u32, Receipts>,
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
                    Stage::Removed => f.removed = Some(mark),
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
                    mail.tries.push(Try {
                        attempt,
                        node,
                        begun: mark,
                        rcpts: rcpts.clone(),
                        hop: None,
                        outcome: None,
                    });
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
            What::Open { conn } => {
                if let Some(w) = self.wire(link) {
                    w.opened.push((mark, *conn));
                }
            }
            What::Refused { .. } => {
                if let Some(w) = self.wire(link) {
                    w.refused.push(mark);
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
                digest,
            } => {
                self.moved = Some(mark);
                if let (Some(link), Some(msg)) = (link, msg) {
                    self.dot(mark, link, *conn, *msg, attempt.unwrap_or(0), rcpts, digest);
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
            What::Verb { .. } => {
                if let Some(w) = self.wire(link) {
                    w.exchanges.push(mark);
                    w.asked.push(mark);
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
                from,
                msg,
                action,
                rcpts,
                ..
            } => {
                self.moved = Some(mark);
                let notice = Notice {
                    mark,
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
                mail.hops.push(hop);
            }
        }
        if let Some(note) = broken {
            self.trouble(mark, note);
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
                Some(hop) => hop.answers.push(answer),
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
            mail.copies.push(copy);
        }
        if let Some(note) = broken {
            self.trouble(mark, note);
        }
    }

    /// Stretches in which a node did not serve: dead or standing still.
    #[must_use]
    pub fn outages(&self, node: Party) -> Vec<Outage> {
        let mut outages = Vec::new();
        let lives = self.lives.get(&node).map_or(&[][..], Vec::as_slice);
        for (n, life) in lives.iter().enumerate() {
            let Some(exit) = life.exit else { continue };
            // A node is silenced before it is killed: the outage begins with
            // the fault. A fault that was taken back before is not the cause.
            let start = self
                .faults
                .values()
                .filter(|f| f.removed.is_none_or(|r| r.at > exit.at))
                .flat_map(|f| &f.fired)
                .filter(|f| {
                    f.node == Some(node) && f.mark.at <= exit.at && f.mark.at >= life.started.at
                })
                .map(|f| f.mark)
                .min()
                .unwrap_or(exit);
            let next = lives.get(n + 1);
            outages.push(Outage {
                start: start.at,
                end: next.and_then(|l| l.ready.or(Some(l.started))).map(|m| m.at),
                emptied: next.is_some_and(|l| l.store == StoreState::Empty),
                node: true,
            });
        }
        for (since, until) in self.pauses.get(&node).map_or(&[][..], Vec::as_slice) {
            outages.push(Outage {
                start: since.at,
                end: until.map(|m| m.at),
                emptied: false,
                node: true,
            });
        }
        outages
    }

    /// Stretches in which `seen` could not be reached from `from`: its own
    /// outages, and faults on the links between the two that `last`: what
    /// only ends one connection does not put a node out of reach.
    #[must_use]
    pub fn outages_between(
        &self,
        from: Party,
        seen: Party,
        last: impl Fn(u32) -> bool,
    ) -> Vec<Outage> {
        let mut outages = self.outages(seen);
        for (_, f) in self.faults.iter().filter(|(n, _)| last(**n)) {
            for fired in &f.fired {
                let between = fired
                    .link
                    .is_some_and(|l| l.touches(from) && l.touches(seen));
                if between && fired.node.is_none() {
                    outages.push(Outage {
                        start: fired.mark.at,
                        end: f.removed.map(|m| m.at),
                        emptied: false,
                        node: false,
                    });
                }
            }
        }
        outages
    }

    /// Whether a node served when an event was recorded. What came later
    /// counts as later even at the same time: in the simulator a node that is
    /// told to stop is gone at once.
    #[must_use]
    pub fn up_at(&self, node: Party, moment: Mark) -> bool {
        let alive = self
            .lives
            .get(&node)
            .and_then(|l| l.iter().rev().find(|l| l.started.id <= moment.id))
            .is_some_and(|l| {
                l.ready.is_some_and(|r| r.id <= moment.id)
                    && l.exit.is_none_or(|e| e.id > moment.id)
            });
        let paused = self.pauses.get(&node).is_some_and(|p| {
            p.iter().any(|(since, until)| {
                since.id <= moment.id && until.is_none_or(|u| u.id > moment.id)
            })
        });
        alive && !paused
    }
}

/// A stretch in which a node did not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Since when.
    pub start: At,
    /// Until when; `None`: to the end.
    pub end: Option<At>,
    /// It came back with an empty store.
    pub emptied: bool,
    /// The node itself was out; otherwise only a link to it.
    pub node: bool,
}

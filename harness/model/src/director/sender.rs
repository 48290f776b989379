//! The workload's sender, and what is known of every message's way.
//!
//! With `sender = "mta"` it behaves as RFC 5321 4.5.4.1 asks: whatever was
//! neither accepted nor refused for good is tried again after `resend`, with
//! the recipients that are left.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::event::{At, Attempt, Msg, Rcpt, What};
use crate::order::Order;
use crate::party::Party;
use crate::plan::Plan;
use crate::scenario::{Sender as Kind, Spread};
use crate::workload;

/// A set of recipients of one message; [`workload::MAX_RCPTS`] fit.
pub(super) type Set = u128;

pub(super) fn set(rcpts: &[Rcpt]) -> Set {
    rcpts
        .iter()
        .filter(|r| **r < 128)
        .fold(0, |set, r| set | 1 << r)
}

fn members(set: Set) -> impl Iterator<Item = Rcpt> {
    let mut left = set;
    std::iter::from_fn(move || {
        let rcpt = Rcpt::try_from(left.trailing_zeros()).ok()?;
        (left != 0).then(|| {
            left &= left - 1;
            rcpt
        })
    })
}

/// What is known of one message.
#[derive(Clone, Debug)]
struct Mail {
    /// Recipients that the sender still has to bring to an end.
    unsettled: Set,
    accepted: Set,
    delivered: Set,
    /// Reported to the sender as failed.
    bounced: Set,
    /// Transport nodes that the client handed content to, by number.
    handed: u64,
    /// The node that accepted it last.
    owner: Option<Party>,
    attempt: Attempt,
    session: u16,
    busy: bool,
    gave_up: bool,
    /// It is not settled, and its last attempt that ended, if any, had no reply.
    unheard: bool,
}

#[derive(Clone, Debug)]
struct Session {
    /// Index of its node among the sender's nodes.
    node: usize,
    busy: bool,
    /// Whether it may have a connection open.
    open: bool,
    /// When it may send the next message.
    free: At,
}

/// The sender, and the account of the mail it sent.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    kind: Kind,
    nodes: Vec<Party>,
    /// Until a message is tried again, in nanoseconds.
    pub(super) resend: u64,
    /// How long a session waits for any one reply, in nanoseconds.
    pub(super) patience: u64,
    /// Between two messages of a session.
    pace: u64,
    mail: Vec<Mail>,
    sessions: Vec<Session>,
    /// The first message not tried yet.
    next: usize,
    again: BinaryHeap<Reverse<(At, Msg)>>,
    running: bool,
    stopped: bool,

    busy: usize,
    settled: usize,
    /// Messages that are so.
    unheard: usize,
    accepted: usize,
    total_rcpts: u64,
    delivered_rcpts: u64,
    owed: u64,
    /// When the account last changed for the better.
    pub(super) progress: At,
    /// When a message first had an outcome, or was tried at all, last.
    pub(super) first_outcome: At,
}

impl Sender {
    pub(super) fn new(plan: &Plan) -> Self {
        let workload = &plan.scenario.workload;
        let nodes: Vec<Party> = match workload.to {
            Spread::Only(node) => vec![node],
            Spread::RoundRobin => (1..=plan.scenario.cluster.nodes).map(Party::Node).collect(),
        };
        let mut total_rcpts = 0;
        let mail = (0..workload.messages)
            .map(|msg| {
                let rcpts = workload::shape(plan, msg).rcpts;
                total_rcpts += u64::from(rcpts);
                Mail {
                    unsettled: Set::MAX >> (128 - u32::from(rcpts)),
                    accepted: 0,
                    delivered: 0,
                    bounced: 0,
                    handed: 0,
                    owner: None,
                    attempt: 0,
                    session: 0,
                    busy: false,
                    gave_up: false,
                    unheard: true,
                }
            })
            .collect();
        let sessions = (0..usize::from(workload.sessions.max(1)))
            .map(|i| Session {
                node: i % nodes.len().max(1),
                busy: false,
                open: false,
                free: 0,
            })
            .collect();
        Self {
            kind: workload.sender,
            nodes,
            resend: plan.time("resend"),
            patience: plan.time("patience"),
            pace: workload
                .pace
                .as_ref()
                .and_then(|span| span.resolve(&plan.times).ok())
                .unwrap_or(0),
            mail,
            sessions,
            next: 0,
            again: BinaryHeap::new(),
            running: false,
            stopped: false,
            busy: 0,
            settled: 0,
            unheard: workload.messages as usize,
            accepted: 0,
            total_rcpts,
            delivered_rcpts: 0,
            owed: 0,
            progress: 0,
            first_outcome: 0,
        }
    }

    /// Begins to send.
    pub(super) fn start(&mut self, now: At, out: &mut Vec<Order>) {
        self.running = true;
        self.wake(now, out);
    }

    /// Gives every idle session what is due.
    pub(super) fn wake(&mut self, now: At, out: &mut Vec<Order>) {
        for session in 0..self.sessions.len() {
            let state = &self.sessions[session];
            if !state.busy && state.free <= now && !self.dispatch(session, now, out) {
                break;
            }
        }
    }

    /// When a message is due again and a session is free for it.
    pub(super) fn next_wake(&self) -> Option<At> {
        if self.busy == self.sessions.len() {
            return None;
        }
        let again = self.again.peek().map(|Reverse((at, _))| *at);
        if self.pace == 0 {
            return again;
        }
        let idle = self.sessions.iter().filter(|s| !s.busy);
        let free = idle.map(|s| s.free).min()?;
        if self.running && !self.stopped && self.next < self.mail.len() {
            Some(free)
        } else {
            again.map(|at| at.max(free))
        }
    }

    /// Whether a session got a message.
    ///
    /// With a pace, a session whose time has not come gets none.
    fn dispatch(&mut self, session: usize, now: At, out: &mut Vec<Order>) -> bool {
        if !self.running || self.stopped || self.nodes.is_empty() {
            return false;
        }
        if self.sessions[session].free > now {
            return false;
        }
        let due = matches!(self.again.peek(), Some(Reverse((at, _))) if *at <= now);
        let msg = if due {
            self.again.pop().map(|Reverse((_, msg))| msg as usize)
        } else if self.next < self.mail.len() {
            self.next += 1;
            Some(self.next - 1)
        } else {
            None
        };
        let Some(msg) = msg else {
            return false;
        };
        let (state, mail) = (&mut self.sessions[session], &mut self.mail[msg]);
        state.busy = true;
        state.open = true;
        self.busy += 1;
        mail.busy = true;
        mail.attempt += 1;
        // At most 256 sessions.
        mail.session = session as u16;
        out.push(Order::Submit {
            session: mail.session,
            msg: msg as Msg,
            attempt: mail.attempt,
            rcpts: members(mail.unsettled).collect(),
            node: self.nodes[state.node],
        });
        true
    }

    /// An attempt ended: `rcpts` and `end` as in [`What::Outcome`].
    pub(super) fn outcome(
        &mut self,
        now: At,
        msg: Msg,
        rcpts: &[u16],
        end: &[u16],
        out: &mut Vec<Order>,
    ) {
        let Some(mail) = self.mail.get_mut(msg as usize).filter(|m| m.busy) else {
            return;
        };
        mail.busy = false;
        self.busy -= 1;
        let session = usize::from(mail.session);
        let node = self.nodes[self.sessions[session].node];

        let heard = rcpts.iter().filter(|code| is(**code, 2)).count();
        let mut accepted: Set = 0;
        let mut refused: Set = 0;
        let mut unanswered = false;
        let mut silent = false;
        let mut taken = 0;
        for (i, rcpt) in members(mail.unsettled).enumerate() {
            let mut code = rcpts.get(i).copied().unwrap_or(0);
            if is(code, 2) {
                code = match end {
                    [one] => *one,
                    each if each.len() == heard => each[taken],
                    _ => 0,
                };
                taken += 1;
            }
            match code / 100 {
                2 => accepted |= 1 << rcpt,
                5 => refused |= 1 << rcpt,
                _ => {
                    unanswered |= code == 0 || code == 421;
                    silent |= code == 0;
                }
            }
        }
        if mail.attempt == 1 {
            self.first_outcome = now;
        }
        if accepted != 0 {
            if mail.accepted == 0 {
                self.accepted += 1;
            }
            mail.owner = Some(node);
            mail.handed |= bit(node);
            let settled = mail.accepted | mail.delivered | mail.bounced;
            self.owed += u64::from((accepted & !settled).count_ones());
            mail.accepted |= accepted;
        }
        mail.unsettled &= !(accepted | refused);
        if accepted | refused != 0 {
            self.progress = now;
        }
        if mail.unsettled == 0 {
            self.settled += 1;
        } else if self.kind == Kind::Once || self.stopped || mail.attempt == Attempt::MAX {
            mail.gave_up = true;
            self.settled += 1;
            out.push(Order::Record(What::GaveUp { msg }));
        } else {
            self.again
                .push(Reverse((now.saturating_add(self.resend), msg)));
        }
        let unheard = silent && mail.unsettled != 0 && !mail.gave_up;
        match (std::mem::replace(&mut mail.unheard, unheard), unheard) {
            (true, false) => self.unheard -= 1,
            (false, true) => self.unheard += 1,
            _ => {}
        }

        let state = &mut self.sessions[session];
        state.busy = false;
        state.free = now.saturating_add(self.pace);
        if unanswered && self.nodes.len() > 1 {
            state.node = (state.node + 1) % self.nodes.len();
        }
        if self.pace > 0 {
            if self.stopped || self.next == self.mail.len() {
                self.hang_up(out);
            }
            return;
        }
        if !self.dispatch(session, now, out) && self.sessions[session].open {
            self.sessions[session].open = false;
            // At most 256 sessions.
            let session = session as u16;
            out.push(Order::Hangup { session });
        }
    }

    /// Closes the connections of idle sessions: with a pace, a session stays
    /// connected until nothing new is left to send.
    fn hang_up(&mut self, out: &mut Vec<Order>) {
        for (session, state) in (0_u16..).zip(&mut self.sessions) {
            if !state.busy && std::mem::take(&mut state.open) {
                out.push(Order::Hangup { session });
            }
        }
    }

    /// The longest that nothing happens because of the pace, in nanoseconds.
    pub(super) fn lull(&self) -> u64 {
        self.pace
    }

    /// The client handed the content of a message to a node.
    pub(super) fn handed(&mut self, msg: Msg, node: Party) {
        if let Some(mail) = self.mail.get_mut(msg as usize) {
            mail.handed |= bit(node);
        }
    }

    /// A message was delivered. Tells whether it was handed over by a node
    /// that did not have it from the client, though one accepted it.
    pub(super) fn delivered(&mut self, now: At, msg: Msg, rcpts: Set, by: Party) -> bool {
        let Some(mail) = self.mail.get_mut(msg as usize) else {
            return false;
        };
        let new = rcpts & !mail.delivered;
        if new != 0 {
            mail.delivered |= new;
            self.owed -= u64::from((new & mail.accepted & !mail.bounced).count_ones());
            self.delivered_rcpts += u64::from(new.count_ones());
            self.progress = now;
        }
        mail.accepted & rcpts != 0 && mail.handed & bit(by) == 0
    }

    /// The sender was told that delivery failed; nobody owes it any more.
    pub(super) fn bounced(&mut self, now: At, msg: Msg, rcpts: Set) {
        let Some(mail) = self.mail.get_mut(msg as usize) else {
            return;
        };
        let new = rcpts & !mail.bounced;
        if new != 0 {
            mail.bounced |= new;
            self.owed -= u64::from((new & mail.accepted & !mail.delivered).count_ones());
            self.progress = now;
        }
    }

    /// Sends nothing more; whatever is not settled is given up, what is under
    /// way when it ends.
    pub(super) fn stop(&mut self, out: &mut Vec<Order>) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        self.again.clear();
        for (msg, mail) in self.mail.iter_mut().enumerate() {
            if mail.unsettled != 0 && !mail.busy && !mail.gave_up {
                mail.gave_up = true;
                self.settled += 1;
                out.push(Order::Record(What::GaveUp { msg: msg as Msg }));
            }
        }
    }

    /// The transport node with the most accepted and undelivered recipients
    /// among those that `may`; the lowest number among equals.
    pub(super) fn busiest(&self, may: impl Iterator<Item = Party>) -> Option<Party> {
        let mut owed: Vec<(Party, u32)> = may.map(|node| (node, 0)).collect();
        for mail in &self.mail {
            let count = (mail.accepted & !mail.delivered & !mail.bounced).count_ones();
            if let Some(entry) = owed
                .iter_mut()
                .find(|(n, _)| count > 0 && Some(*n) == mail.owner)
            {
                entry.1 += count;
            }
        }
        owed.into_iter()
            .min_by_key(|(node, count)| (Reverse(*count), *node))
            .map(|(node, _)| node)
    }

    /// Whether this share of the messages has been accepted.
    pub(super) fn share_accepted(&self, percent: u8) -> bool {
        self.accepted * 100 >= usize::from(percent) * self.mail.len()
    }

    /// Whether this share of the recipients has been delivered.
    pub(super) fn share_delivered(&self, percent: u8) -> bool {
        self.delivered_rcpts * 100 >= u64::from(percent) * self.total_rcpts
    }

    /// Whether every message is settled: accepted, refused or given up.
    pub(super) fn is_settled(&self) -> bool {
        self.settled == self.mail.len()
    }

    /// Whether some message may still be waiting for a reply that never comes.
    pub(super) fn is_unheard(&self) -> bool {
        self.unheard > 0
    }

    /// Whether every accepted recipient was delivered, or reported as failed.
    pub(super) fn is_drained(&self) -> bool {
        self.owed == 0
    }

    /// Whether no attempt is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.busy == 0
    }
}

fn is(code: u16, class: u16) -> bool {
    code / 100 == class
}

/// A transport node's bit; 0 for any other party. Clusters have at most 50.
fn bit(node: Party) -> u64 {
    match node {
        Party::Node(n) if n < 64 => 1 << n,
        _ => 0,
    }
}

//! Delivery into local mailboxes, with duplicate detection.
//!
//! One record is the delivery and its key at once, so neither can exist
//! without the other. The key is (recipient, Message-ID, Date) as documented
//! for the mailbox store; a message without one of the two fields has no key
//! and is never taken for a duplicate. A duplicate is answered `250`.
//!
//! A message whose recipients are all local is delivered before its `250`; it
//! never enters the queue, and no copy of it is made.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::database::Delivery;
use super::dsn::{Kind, Report, Row};
use super::message::{LegState, RecipientState};
use super::{Action, LOCAL, Queue, Tracked, Waiter, header, name_of};
use crate::event::EventKind;
use crate::io::ConnId;
use crate::mark::Mark;
use crate::record::hold::Hold;
use crate::record::{Envelope, Header, NOTIFY_SUCCESS, Settled};
use crate::store::Seq;

/// A key of duplicate detection.
pub(crate) type Key = [u8; 16];

/// What the mailboxes remember.
#[derive(Debug, Default)]
pub(crate) struct Mailboxes {
    /// Each with the time when it is forgotten.
    seen: BTreeMap<Key, u64>,
    /// When each is forgotten (Unix milliseconds), oldest first.
    order: VecDeque<(u64, Key)>,
}

impl Mailboxes {
    /// Remembers a delivery until `until`, unix milliseconds.
    pub(crate) fn remember(&mut self, key: Key, until: u64) {
        if self.seen.insert(key, until) != Some(until) {
            self.order.push_back((until, key));
        }
    }

    /// Forgets a delivery: its database has lost it.
    pub(crate) fn forget(&mut self, key: &Key) {
        self.seen.remove(key);
    }

    /// Forgets what is older than its window.
    fn sweep(&mut self, wall: u64) -> u64 {
        let mut forgotten = 0;
        while let Some((until, old)) = self.order.front() {
            if *until > wall {
                break;
            }
            if self.seen.get(old) == Some(until) {
                self.seen.remove(old);
                forgotten += 1;
            }
            self.order.pop_front();
        }
        forgotten
    }

    /// Whether `key` was delivered and is still remembered at `wall`.
    fn knows(&self, key: &Key, wall: u64) -> bool {
        self.seen.get(key).is_some_and(|until| *until > wall)
    }
}

/// The key of a message for one recipient; `None` when it has no Message-ID or
/// no Date.
fn key(recipient: &str, content: &[u8]) -> Option<Key> {
    let (id, date) = (
        header::value(content, "Message-ID"),
        header::value(content, "Date"),
    );
    if id.is_empty() || date.is_empty() {
        return None;
    }
    let mut hasher = blake3::Hasher::new_derive_key("mailproof node duplicate detection 1");
    for part in [recipient.to_lowercase().as_bytes(), id, date] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut key = [0; 16];
    key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Some(key)
}

impl Queue {
    /// Whether every recipient has its mailbox here, in a database that is
    /// mounted.
    pub(crate) fn all_local(&self, envelope: &Envelope) -> bool {
        let here = |r: &str| self.routes.is_local(r) && self.mounted_for(r);
        envelope.recipients.iter().all(|r| here(r))
    }

    /// Delivers a message whose recipients are all local; the answer follows
    /// when every record is durable.
    pub(crate) fn deliver_to_mailboxes(
        &mut self,
        conn: ConnId,
        sequence: u64,
        envelope: &Envelope,
        body: Bytes,
        from: Option<Tracked>,
    ) {
        self.free(body.len());
        let rows = envelope
            .recipients
            .iter()
            .map(|recipient| {
                let new = self.put(recipient, &envelope.sender, &body, None);
                (recipient.clone(), new)
            })
            .collect();
        let success: Vec<u32> = (0..envelope.recipients.len() as u32)
            .filter(|at| envelope.wants(*at, NOTIFY_SUCCESS))
            .collect();
        if !success.is_empty() {
            self.report_mailboxes(envelope, &body, &success);
        }
        // Delivered is done: the sender that keeps a shadow may be told.
        let tell = from.map(|from| {
            let party = (self.peers[from.peer].name.clone(), from.key.clone());
            let complete = Hold::Complete {
                sequence,
                tell: Some(party),
            };
            let record = self.append(&Header::Hold(complete), &[]);
            (from, record)
        });
        let last = self.store.appended();
        self.wait(
            last,
            Waiter::Delivered {
                conn,
                sequence,
                rows,
                tell,
            },
        );
    }

    /// Reports success about some recipients (by index) of a message that
    /// never was in the queue.
    fn report_mailboxes(&mut self, envelope: &Envelope, body: &Bytes, about: &[u32]) {
        let rows = about
            .iter()
            .map(|at| Row {
                recipient: envelope.recipients[*at as usize].clone(),
                orcpt: envelope.orcpt(*at).into(),
                why: "250 2.0.0 Delivered".into(),
                remote: "".into(),
            })
            .collect();
        let report = Report {
            kind: Kind::Delivered,
            arrival: self.now.wall,
            retried_until: None,
            envelope,
            content: body,
            rows,
        };
        self.send_report(&report, None);
    }

    /// Writes one delivery, unless it is a duplicate; true when it is new.
    fn put(
        &mut self,
        recipient: &str,
        sender: &str,
        body: &Bytes,
        settles: Option<(u64, u32)>,
    ) -> bool {
        let key = key(recipient, body);
        let wall = self.now.wall;
        for _ in 0..self.mailboxes.sweep(wall) {
            self.mark(Mark::DuplicateForgotten);
        }
        if key.is_some_and(|key| self.mailboxes.knows(&key, wall)) {
            return false;
        }
        let database = self.database_of(recipient).unwrap_or(0);
        let header = Header::Mailbox {
            mailbox_database: self.config.databases[database].as_str().into(),
            recipient: recipient.into(),
            sender: sender.into(),
            arrival: wall,
            key: key.unwrap_or_default(),
            settles,
        };
        let record = self.append(&header, std::slice::from_ref(body));
        let delivery = Delivery {
            wall,
            key: key.unwrap_or_default(),
            queued: settles.is_some(),
        };
        self.note_delivery(database, record, delivery);
        if let Some(key) = key {
            self.mailboxes
                .remember(key, wall.saturating_add(self.window()));
        }
        true
    }

    /// `duplicate-detection-window` in milliseconds.
    pub(crate) fn window(&self) -> u64 {
        u64::try_from(self.config.duplicate_detection_window.as_millis()).unwrap_or(u64::MAX)
    }

    /// Deliveries of a message that is local as a whole are durable.
    pub(crate) fn delivered(
        &mut self,
        conn: ConnId,
        sequence: u64,
        rows: &[(Box<str>, bool)],
        tell: Option<(Tracked, Seq)>,
    ) {
        if let Some((from, record)) = tell {
            self.owe_record(record, 1);
            self.owe_report(from, sequence, record);
        }
        self.counters.accepted += 1;
        self.log(EventKind::Receive, Some(sequence), "", "", String::new());
        for (recipient, new) in rows {
            self.log_delivery(sequence, recipient, *new);
        }
        let reply = format!("250 2.6.0 {} Delivered\r\n", name_of(sequence));
        self.actions.push_back(Action::Answer {
            conn,
            reply: reply.into(),
        });
    }

    fn log_delivery(&mut self, sequence: u64, recipient: &str, new: bool) {
        let kind = if new {
            self.counters.mailbox_delivered += 1;
            EventKind::Deliver
        } else {
            self.counters.mailbox_duplicates += 1;
            self.mark(Mark::DuplicateSuppressed);
            EventKind::DuplicateDeliver
        };
        let server = self.config.name.clone();
        self.log(kind, Some(sequence), recipient, &server, String::new());
    }

    /// Delivers the local leg of a queued message.
    pub(crate) fn mailbox_leg(&mut self, sequence: u64, leg: usize) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        let database = self.databases.get(message.legs[leg].route - LOCAL);
        if !database.is_some_and(|database| database.mounted) {
            return self.database_waits(sequence, leg);
        }
        message.legs[leg].state = LegState::InFlight;
        let body = if message.trace.is_empty() {
            message.body.clone()
        } else {
            Bytes::from([message.trace.as_ref(), message.body.as_ref()].concat())
        };
        let sender = message.envelope.sender.clone();
        let rows: Vec<(u32, Box<str>)> = message.legs[leg]
            .recipients
            .iter()
            .map(|at| (*at, message.envelope.recipients[*at as usize].clone()))
            .collect();
        let mut duplicates = Vec::new();
        for (at, recipient) in rows {
            if !self.put(&recipient, &sender, &body, Some((sequence, at))) {
                duplicates.push(at);
            }
        }
        // In the same batch as the deliveries, so that a crash leaves both or
        // neither.
        if let Some(message) = self.messages.get(&sequence) {
            let local = message.legs[leg].recipients.clone();
            let success = self.success_wanted(sequence, &local);
            self.tell_sender(sequence, Kind::Delivered, &success);
        }
        let last = self.store.appended();
        self.wait(
            last,
            Waiter::Mailbox {
                sequence,
                leg,
                duplicates,
            },
        );
    }

    /// The local leg of a queued message is durable; only duplicates are not
    /// settled by a record of their own.
    pub(crate) fn mailbox_leg_durable(&mut self, sequence: u64, leg: usize, duplicates: &[u32]) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        message.legs[leg].state = LegState::Done;
        let mut rows = Vec::new();
        for at in &message.legs[leg].recipients {
            message.recipients[*at as usize].state = RecipientState::Delivered;
            let recipient = message.envelope.recipients[*at as usize].clone();
            rows.push((recipient, !duplicates.contains(at)));
        }
        for (recipient, new) in rows {
            self.log_delivery(sequence, &recipient, new);
        }
        let newly = duplicates
            .iter()
            .map(|at| (*at, Settled::Delivered))
            .collect();
        self.settle(sequence, newly);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_needs_both_fields_and_all_of_them_count() {
        let base = b"Message-ID: <1@x>\r\nDate: now\r\nSubject: a\r\n\r\nbody\r\n";
        let one = key("a@b", base);
        assert!(one.is_some());
        assert_eq!(
            one,
            key("A@B", b"date: now\r\nmessage-id: <1@x>\r\n\r\nother\r\n")
        );
        assert_ne!(one, key("c@b", base));
        assert_ne!(one, key("a@b", b"Message-ID: <1@x>\r\nDate: later\r\n\r\n"));
        assert_eq!(key("a@b", b"Message-ID: <1@x>\r\n\r\n"), None);
        assert_eq!(key("a@b", b"Date: now\r\n\r\nMessage-ID: <1@x>\r\n"), None);
    }

    #[test]
    fn keys_are_forgotten_after_their_time() {
        let mut mailboxes = Mailboxes::default();
        mailboxes.remember([1; 16], 100);
        assert!(mailboxes.knows(&[1; 16], 99));
        assert!(!mailboxes.knows(&[1; 16], 100));
        mailboxes.remember([1; 16], 200);
        assert_eq!(mailboxes.sweep(150), 0);
        assert!(mailboxes.knows(&[1; 16], 150));
        mailboxes.forget(&[1; 16]);
        assert!(!mailboxes.knows(&[1; 16], 150));
        mailboxes.remember([2; 16], 300);
        assert_eq!(mailboxes.sweep(300), 1);
        assert!(mailboxes.seen.is_empty() && mailboxes.order.is_empty());
    }
}

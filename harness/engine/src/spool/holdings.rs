//! What a store holds, in the history's terms.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use mailproof_model::event::{Msg, Rcpt, Row, RowState, Stored, What};
use mailproof_model::party::Party;
use mailproof_model::workload;
use mailproof_wire::{body_digest, identify};

use super::files::Files;
use super::layout::Record;
use super::log::{self, End};
use super::record::{CopyName, Entry, Fork, Kept, Sequence};

/// What the store of a stopped node holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Mail that it still has to deliver, and copies that it keeps for
    /// others. A DSN that is still to be sent counts as the message that it is
    /// about: the node has not yet told what became of it.
    pub rows: Vec<Row>,
    /// What its mailboxes contain of the workload's messages. A copy in the
    /// mailbox of another message's recipient stands under that recipient,
    /// with a digest that is not the one sent.
    pub stored: Vec<Stored>,
    /// What could not be read, in words; `None`: all was read.
    pub damage: Option<String>,
}

impl Holdings {
    /// The event that says so; its witness is the node's disk.
    #[must_use]
    pub fn event(self, node: Party) -> What {
        What::StoreRead {
            node,
            rows: self.rows,
            stored: self.stored,
            damage: self.damage,
        }
    }
}

/// Reads the store of a stopped node. `run` is the run's id, as its messages
/// carry it.
///
/// # Errors
/// The files cannot be read. A damaged store is no error.
pub fn read_store<F: Files + ?Sized>(files: &F, run: &str) -> io::Result<Holdings> {
    let mut fold = Fold {
        run,
        ..Fold::default()
    };
    let end = log::read(files, &mut |record| fold.take(&record))?;
    if let End::Damaged(why) = end {
        fold.damage(why);
    }
    Ok(fold.holdings())
}

/// A message or copy in the store.
#[derive(Clone, Debug, Default)]
struct Held {
    /// Which of the workload's messages its content is.
    msg: Option<Msg>,
    recipients: Vec<String>,
    /// Recipients, by index, for which nothing is owed any more.
    settled: BTreeSet<u32>,
    /// For a DSN: what it stands for.
    about: Option<About>,
    /// What is kept for next hops that took it.
    forks: Vec<Fork>,
    /// Nothing is owed for it any more, and it is there for its forks.
    complete: bool,
}

/// The message that a DSN is about, and for which of its recipients it
/// stands; empty: not known.
#[derive(Clone, Debug)]
struct About {
    msg: Msg,
    rcpts: Vec<Rcpt>,
}

/// A message in a mailbox.
struct Delivery {
    database: String,
    recipient: String,
    at: u64,
    msg: Option<Msg>,
    /// Which recipient's mailbox it is, and the digest of what is there.
    stored: Option<(Msg, Rcpt, String)>,
}

#[derive(Default)]
struct Fold<'a> {
    run: &'a str,
    messages: BTreeMap<Sequence, Held>,
    shadows: BTreeMap<CopyName, Held>,
    /// What is over: owed to nobody, and named again only when the Safety Net
    /// sends it once more.
    past: BTreeMap<Kept, Held>,
    /// Deliveries by their record's number.
    deliveries: BTreeMap<u64, Delivery>,
    damage: Option<String>,
}

impl Fold<'_> {
    fn take(&mut self, record: &Record<'_>) {
        match Entry::read(record.kind, record.header) {
            Ok(entry) => self.entry(record.seq, entry, record.body),
            Err(why) => self.damage(format!(
                "record {} of kind {} cannot be read: {why}",
                record.seq, record.kind
            )),
        }
    }

    /// A record about something that is not there any more changes nothing:
    /// the record that brought it went with an old segment.
    fn entry(&mut self, record: u64, entry: Entry, body: &[u8]) {
        match entry {
            Entry::Other => {}
            Entry::Message {
                sequence,
                recipients,
                about,
            } => {
                // The DSN is what its node owes those recipients from now on.
                if let Some((of, indices)) = about
                    && let Some(parent) = self.messages.get_mut(&of)
                {
                    parent.settled.extend(indices);
                }
                let held = self.held(recipients, body);
                self.messages.insert(sequence, held);
            }
            Entry::Progress { sequence, settled } => {
                if let Some(held) = self.messages.get_mut(&sequence) {
                    held.settled.extend(settled);
                }
            }
            Entry::Over { sequence } => {
                if let Some(held) = self.messages.remove(&sequence) {
                    self.past.insert(Kept::Own(sequence), held);
                }
            }
            Entry::Shadow { copy, recipients } => {
                let held = self.held(recipients, body);
                self.shadows.insert(copy, held);
            }
            Entry::Removed { copies } => {
                for copy in &copies {
                    self.shadows.remove(copy);
                }
            }
            Entry::Rebound { copies } => {
                for (from, to) in copies {
                    if let Some(held) = self.shadows.remove(&from) {
                        self.shadows.insert(to, held);
                    }
                }
            }
            Entry::TakenOver {
                copy,
                sequence,
                without,
            } => {
                if let Some(mut held) = self.shadows.remove(&copy) {
                    held.settled.extend(without);
                    self.messages.insert(sequence, held);
                }
            }
            Entry::Mailbox {
                database,
                recipient,
                at,
                settles,
            } => {
                let stored = workload::read_address(recipient.as_bytes())
                    .map(|(msg, rcpt)| (msg, rcpt, digest(body)));
                let delivery = Delivery {
                    database,
                    recipient,
                    at,
                    msg: self.message(body),
                    stored,
                };
                self.deliveries.insert(record, delivery);
                if let Some((sequence, index)) = settles
                    && let Some(held) = self.messages.get_mut(&sequence)
                {
                    held.settled.insert(index);
                }
            }
            Entry::Moved {
                sequence,
                recipients,
                settled,
            } => {
                let mut held = self.held(recipients, body);
                held.settled.extend(settled);
                self.messages.insert(sequence, held);
            }
            Entry::Kept { sequence, fork } => {
                if let Some(held) = self.messages.get_mut(&sequence) {
                    held.settled.extend(&fork.recipients);
                    held.forks.push(fork);
                }
            }
            Entry::Complete { sequence } => {
                if let Some(held) = self.messages.get_mut(&sequence) {
                    held.complete = true;
                    if held.forks.is_empty() {
                        self.messages.remove(&sequence);
                    }
                }
            }
            Entry::Released { copies } => {
                for copy in &copies {
                    self.release(copy);
                }
                self.forget_complete();
            }
            Entry::Restated {
                sequence,
                recipients,
                settled,
                forks,
                complete,
                origin,
            } => {
                if let Some(origin) = origin {
                    self.release(&origin);
                    self.forget_complete();
                }
                let mut held = self.held(recipients, body);
                held.settled.extend(settled);
                held.forks = forks;
                held.complete = complete;
                self.messages.insert(sequence, held);
            }
            Entry::Lost { database, as_of } => {
                let lost: Vec<u64> = self
                    .deliveries
                    .iter()
                    .filter(|(_, d)| d.database == database && d.at > as_of)
                    .map(|(record, _)| *record)
                    .collect();
                for record in lost {
                    if let Some(delivery) = self.deliveries.remove(&record) {
                        let held = Held {
                            msg: delivery.msg,
                            recipients: vec![delivery.recipient],
                            ..Held::default()
                        };
                        self.past.insert(Kept::Lost(record), held);
                    }
                }
            }
            Entry::KeptCopy { copy } => {
                if let Some(held) = self.shadows.remove(&copy) {
                    self.past.insert(Kept::Copy(copy), held);
                }
            }
            Entry::Resubmitted {
                sequence,
                what,
                recipients,
            } => {
                let moved = match &what {
                    Kept::Lost(record) => self.deliveries.get(record).map(|d| Held {
                        msg: d.msg,
                        recipients: vec![d.recipient.clone()],
                        ..Held::default()
                    }),
                    _ => None,
                };
                if let Some(held) = self.past.get(&what).or(moved.as_ref()) {
                    let held = Held {
                        msg: held.msg,
                        recipients: recipients
                            .iter()
                            .filter_map(|at| held.recipients.get(*at as usize).cloned())
                            .collect(),
                        settled: BTreeSet::new(),
                        about: held.about.clone(),
                        ..Held::default()
                    };
                    self.messages.insert(sequence, held);
                }
            }
        }
    }

    /// What was kept for a next hop under this name is kept no more.
    fn release(&mut self, name: &CopyName) {
        for held in self.messages.values_mut() {
            held.forks.retain(|fork| fork.name != *name);
        }
    }

    /// Drops what is complete and kept for nobody.
    fn forget_complete(&mut self) {
        self.messages
            .retain(|_, held| !held.complete || !held.forks.is_empty());
    }

    fn held(&self, recipients: Vec<String>, body: &[u8]) -> Held {
        let msg = self.message(body);
        let about = if msg.is_none() {
            About::read(&recipients, body)
        } else {
            None
        };
        Held {
            msg,
            recipients,
            settled: BTreeSet::new(),
            about,
            forks: Vec::new(),
            complete: false,
        }
    }

    /// Which of this run's messages some content is.
    fn message(&self, content: &[u8]) -> Option<Msg> {
        let identity = identify(content).filter(|identity| identity.run == self.run)?;
        Msg::try_from(identity.message).ok()
    }

    /// Keeps the first.
    fn damage(&mut self, why: String) {
        self.damage.get_or_insert(why);
    }

    fn holdings(self) -> Holdings {
        let mut rows = Vec::new();
        for held in self.messages.values() {
            if !held.complete {
                held.rows(RowState::Queued, &mut rows);
            }
            held.fork_rows(&mut rows);
        }
        for held in self.shadows.values() {
            held.rows(RowState::Shadow, &mut rows);
        }
        let mut copies: BTreeMap<(Msg, Rcpt, String), u32> = BTreeMap::new();
        for stored in self.deliveries.into_values().filter_map(|d| d.stored) {
            *copies.entry(stored).or_default() += 1;
        }
        let stored = copies.into_iter();
        Holdings {
            rows,
            stored: stored
                .map(|((msg, rcpt, digest), copies)| Stored {
                    msg,
                    rcpt,
                    copies,
                    digest,
                })
                .collect(),
            damage: self.damage,
        }
    }
}

impl Held {
    /// What is kept of it for next hops that took it.
    fn fork_rows(&self, rows: &mut Vec<Row>) {
        for fork in &self.forks {
            let all = self.recipients.iter().zip(0_u32..);
            let settled = all
                .filter(|(_, at)| !fork.recipients.contains(at))
                .map(|(_, at)| at);
            let part = Self {
                settled: settled.collect(),
                forks: Vec::new(),
                ..self.clone()
            };
            part.rows(RowState::Shadow, rows);
        }
    }

    fn rows(&self, state: RowState, rows: &mut Vec<Row>) {
        let owed = self
            .recipients
            .iter()
            .zip(0_u32..)
            .filter(|(_, at)| !self.settled.contains(at));
        let owed: Vec<&String> = owed.map(|(address, _)| address).collect();
        if let Some(About { msg, rcpts }) = &self.about {
            if !owed.is_empty() && !rcpts.is_empty() {
                rows.push(Row {
                    msg: Some(*msg),
                    rcpts: rcpts.clone(),
                    state,
                });
            }
            return;
        }
        let mut rcpts = Vec::new();
        let mut strange = false;
        for address in &owed {
            match self.msg.and_then(|msg| rcpt_of(address, msg)) {
                Some(rcpt) => rcpts.push(rcpt),
                None => strange = true,
            }
        }
        if let Some(msg) = self.msg
            && !rcpts.is_empty()
        {
            rows.push(Row {
                msg: Some(msg),
                rcpts,
                state,
            });
        }
        // Owed to somebody who is no recipient of the message, or content
        // that is none of the run's: it cannot be said what this is.
        if strange {
            rows.push(Row {
                msg: None,
                rcpts: Vec::new(),
                state,
            });
        }
        // With nobody left it is only kept until its end is written down.
        if owed.is_empty()
            && let Some(msg) = self.msg
        {
            rows.push(Row {
                msg: Some(msg),
                rcpts: self
                    .recipients
                    .iter()
                    .filter_map(|address| rcpt_of(address, msg))
                    .collect(),
                state: RowState::Done,
            });
        }
    }
}

/// The recipient of `msg` that an address names.
fn rcpt_of(address: &str, msg: Msg) -> Option<Rcpt> {
    let (of, rcpt) = workload::read_address(address.as_bytes())?;
    (of == msg).then_some(rcpt)
}

impl About {
    /// What a DSN is about, by the reverse path that it goes to and the
    /// recipients that its report names (RFC 3464 2.3).
    fn read(to: &[String], content: &[u8]) -> Option<Self> {
        let msg = to
            .iter()
            .find_map(|address| workload::read_sender(address.as_bytes()))?;
        let named = content.split(|b| *b == b'\n').filter_map(|line| {
            let colon = line.iter().position(|b| *b == b':')?;
            let (name, value) = line.split_at(colon);
            let field = [&b"final-recipient"[..], b"original-recipient"]
                .iter()
                .any(|field| name.eq_ignore_ascii_case(field));
            let address = value.rsplit(|b| *b == b';').next().filter(|_| field)?;
            let (of, rcpt) = workload::read_address(address.trim_ascii())?;
            (of == msg).then_some(rcpt)
        });
        // A report of a delay stands for nobody: what it is about is queued
        // itself, or lost.
        let delayed = content.split(|b| *b == b'\n').any(|line| {
            let line = line.trim_ascii_end();
            line.eq_ignore_ascii_case(b"Action: delayed")
        });
        let rcpts: BTreeSet<Rcpt> = if delayed {
            BTreeSet::new()
        } else {
            named.collect()
        };
        Some(Self {
            msg,
            rcpts: rcpts.into_iter().collect(),
        })
    }
}

/// The digest as histories carry it.
fn digest(content: &[u8]) -> String {
    body_digest(content)[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

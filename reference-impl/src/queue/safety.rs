//! The Safety Net: what is processed is kept for a while, so that it can be
//! sent again when a mailbox database has lost it.
//!
//! The *primary* Safety Net keeps messages of ours that are done, the *shadow*
//! one copies whose primary reported the message done. A third kind are
//! deliveries of this node into a database of its own that the database has
//! lost since. Time alone ends all three: `safety-net-hold-time` after the
//! delivery (or the acknowledgement) they are gone, however much or little
//! there is.
//!
//! Nothing is written twice: the record that holds the content stays live, and
//! a KEPT record beside it says for whom. In memory there is the envelope and
//! never the content. What is replayed shares that content, so every content
//! record is counted. No tombstones are needed: time tells after a restart,
//! too, and segments go oldest first, so that whatever is said about a content
//! record outlives it. These records are never moved; a segment waits for the
//! end of their time.
//!
//! Only recipients whose mailboxes are in the organisation's databases are
//! kept: what crossed the boundary is never sent again, so it need not stay.

use std::collections::{BTreeMap, BTreeSet};

use super::message::{Message, RecipientState};
use super::resubmit::Request;
use super::{PeerId, Queue, Timer};
use crate::event::EventKind;
use crate::mark::Mark;
use crate::record::{CopyKey, Envelope, Header, Kept};
use crate::store::Seq;

/// One thing that is kept.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The record that holds the content.
    pub(crate) content: Seq,
    /// Its KEPT record; none for a lost delivery.
    pub(crate) record: Option<Seq>,
    /// Unix milliseconds of the first acceptance.
    pub(crate) arrival: u64,
    /// Unix milliseconds of the delivery, or of the acknowledgement.
    pub(crate) wall: u64,
    pub(crate) envelope: Envelope,
    /// Recipients (by index) that may be replayed.
    pub(crate) recipients: Vec<u32>,
    /// The database of a lost delivery; its envelope stays on the disk.
    pub(crate) database: Option<usize>,
    /// When it goes, on the monotonic clock.
    pub(crate) until: u64,
}

/// What a message is a replay of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replay {
    pub(crate) what: Kept,
    pub(crate) request: u64,
    /// The record that holds the content.
    pub(crate) content: Seq,
    /// For each recipient of the message its index in what is kept.
    pub(crate) recipients: Vec<u32>,
}

/// The Safety Net and the requests to it.
#[derive(Debug, Default)]
pub(crate) struct Safety {
    pub(crate) entries: BTreeMap<Kept, Box<Entry>>,
    ends: BTreeSet<(u64, Kept)>,
    /// How often each content record is needed.
    contents: BTreeMap<Seq, u32>,
    pub(crate) requests: BTreeMap<u64, Request>,
    pub(crate) next_request: u64,
    /// The record of the last request, if that is removed: numbers only grow.
    pub(crate) last_request: Option<Seq>,
    pub(crate) reads: BTreeMap<u64, super::resubmit::Reading>,
    pub(crate) next_read: u64,
    /// Since when nothing is missing, Unix milliseconds.
    pub(crate) since: u64,
    pub(crate) since_record: Seq,
    /// Commands that came before the start was durable.
    pub(crate) early: Vec<(u64, crate::admin::Command)>,
    pub(crate) armed: u64,
    pub(crate) ends_armed: u64,
}

impl Safety {
    pub(crate) fn hold_content(&mut self, content: Seq) {
        *self.contents.entry(content).or_default() += 1;
    }
}

impl Queue {
    /// Whether anything can ever be kept.
    pub(crate) fn has_safety_net(&self) -> bool {
        !self.config.mailbox_domains.is_empty() || !self.config.local_domains.is_empty()
    }

    /// Notes, before a message of ours is done, what the Safety Net keeps of
    /// it.
    pub(crate) fn keep_before_done(&mut self, sequence: u64) {
        if !self.has_safety_net() {
            return;
        }
        let Some(message) = self.messages.get(&sequence) else {
            return;
        };
        // The hold model is of the time before the Safety Net, and its
        // messages end in their own way.
        if self.config.holds() || message.upstream.is_some() || !message.forks.is_empty() {
            return;
        }
        let recipients = self.replayable(message);
        if recipients.is_empty() {
            return;
        }
        let wall = self.now.wall;
        let header = Header::Kept {
            what: Kept::Own(sequence),
            wall,
            recipients: recipients.clone(),
        };
        let record = self.append(&header, &[]);
        if let Some(message) = self.messages.get_mut(&sequence) {
            message.kept = Some((record, wall, recipients));
        }
    }

    /// Recipients of a message that is over whose mailboxes are in databases
    /// and got it: from us, or (where an old primary reported so) from it.
    fn replayable(&self, message: &Message) -> Vec<u32> {
        let got = |state: RecipientState| match state {
            RecipientState::Delivered => true,
            RecipientState::Closed => message.cancelled,
            RecipientState::Waiting | RecipientState::Failed => false,
        };
        message
            .recipients
            .iter()
            .enumerate()
            .filter(|(at, recipient)| {
                got(recipient.state)
                    && self
                        .database_of(&message.envelope.recipients[*at])
                        .is_some()
            })
            .map(|(at, _)| at as u32)
            .collect()
    }

    /// A message of ours is over: the Safety Net takes what it keeps of it,
    /// and the rest of its records goes.
    pub(crate) fn keep_done(&mut self, sequence: u64, message: &mut Message) {
        let content = match &message.replay {
            Some(replay) => Some(replay.content),
            None => message.records.first().copied(),
        };
        let kept = message.kept.take();
        for seq in &message.records {
            if kept.is_none() || Some(*seq) != content {
                self.store.release(*seq);
            }
        }
        if let (Some((record, wall, recipients)), Some(content)) = (kept, content) {
            if let Some(replay) = &message.replay {
                self.superseded(&replay.what, &replay.recipients, &recipients);
            }
            let entry = Entry {
                content,
                record: Some(record),
                arrival: message.arrival,
                wall,
                envelope: std::mem::take(&mut message.envelope),
                recipients,
                database: None,
                until: self.hold_until(wall),
            };
            self.keep_entry(Kept::Own(sequence), entry);
        }
        if let Some(replay) = message.replay.take() {
            self.drop_content(replay.content);
            self.replay_over(replay.request, sequence);
        }
    }

    /// What was delivered anew is kept under its new delivery, and no longer
    /// under the old one.
    fn superseded(&mut self, what: &Kept, indices: &[u32], delivered: &[u32]) {
        let Some(entry) = self.safety.entries.get_mut(what) else {
            return;
        };
        let old: Vec<u32> = delivered
            .iter()
            .filter_map(|at| indices.get(*at as usize).copied())
            .collect();
        entry.recipients.retain(|at| !old.contains(at));
        if entry.recipients.is_empty() {
            self.drop_entry(what);
        }
    }

    /// The primary is done with a message whose copy is held here: the copy
    /// goes into the Safety Net, if anything of it may be replayed.
    pub(crate) fn keep_copy(&mut self, peer: PeerId, key: &CopyKey) -> bool {
        let Some(held) = self.peers[peer].held.get(key) else {
            return false;
        };
        let recipients: Vec<u32> = held
            .envelope
            .recipients
            .iter()
            .enumerate()
            .filter(|(_, address)| self.database_of(address).is_some())
            .map(|(at, _)| at as u32)
            .collect();
        if recipients.is_empty() || !self.config.shadow_redundancy_enabled {
            return false;
        }
        let wall = self.now.wall;
        let what = Kept::Copy(self.peers[peer].name.clone(), key.clone());
        let header = Header::Kept {
            what: what.clone(),
            wall,
            recipients: recipients.clone(),
        };
        let record = self.append(&header, &[]);
        let Some(held) = self.peers[peer].held.remove(key) else {
            return false;
        };
        self.free(held.body.len());
        let entry = Entry {
            content: held.record,
            record: Some(record),
            arrival: held.arrival,
            wall,
            envelope: held.envelope,
            recipients,
            database: None,
            until: self.hold_until(wall),
        };
        self.keep_entry(what, entry);
        true
    }

    /// A database has lost a delivery that only its own record holds.
    pub(crate) fn keep_lost(&mut self, record: Seq, database: usize, wall: u64) {
        let entry = Entry {
            content: record,
            record: None,
            arrival: wall,
            wall,
            envelope: Envelope::default(),
            recipients: vec![0],
            database: Some(database),
            until: self.hold_until(wall),
        };
        self.keep_entry(Kept::Lost(record.0), entry);
    }

    /// Takes an entry; one whose time is over goes at once.
    pub(crate) fn keep_entry(&mut self, what: Kept, entry: Entry) {
        self.safety.hold_content(entry.content);
        let until = entry.until;
        self.mark(match what {
            Kept::Own(_) => Mark::KeptPrimary,
            Kept::Copy(..) => Mark::KeptShadow,
            Kept::Lost(_) => Mark::KeptLost,
        });
        self.safety.ends.insert((until, what.clone()));
        self.safety.entries.insert(what.clone(), Box::new(entry));
        if until <= self.now.mono {
            return self.drop_entry(&what);
        }
        self.arm_ends();
    }

    /// When something delivered at `wall` goes.
    pub(crate) fn hold_until(&self, wall: u64) -> u64 {
        let age = std::time::Duration::from_millis(self.now.wall.saturating_sub(wall));
        self.later(self.config.safety_net_hold().saturating_sub(age))
    }

    fn arm_ends(&mut self) {
        let Some((first, _)) = self.safety.ends.first() else {
            return;
        };
        // Not for each one alone: there may be very many.
        let grain = self.later(self.config.safety_net_hold() / 1000);
        let at = (*first).max(grain.min(self.later(std::time::Duration::from_secs(1))));
        Self::arm(
            &mut self.timers,
            Timer::SafetyNet,
            at,
            &mut self.safety.ends_armed,
        );
    }

    /// What was kept long enough goes.
    pub(crate) fn hold_over(&mut self) {
        self.safety.ends_armed = 0;
        while let Some((until, what)) = self.safety.ends.first().cloned() {
            if until > self.now.mono {
                break;
            }
            self.mark(Mark::HoldTimeOver);
            self.drop_entry(&what);
        }
        self.arm_ends();
    }

    pub(crate) fn drop_entry(&mut self, what: &Kept) {
        let Some(entry) = self.safety.entries.remove(what) else {
            return;
        };
        self.safety.ends.remove(&(entry.until, what.clone()));
        if let Some(record) = entry.record {
            self.store.release(record);
        }
        self.drop_content(entry.content);
    }

    /// A content record is needed once less.
    pub(crate) fn drop_content(&mut self, content: Seq) {
        if let Some(count) = self.safety.contents.get_mut(&content) {
            *count -= 1;
            if *count == 0 {
                self.safety.contents.remove(&content);
                self.store.release(content);
            }
        }
    }

    /// Records, at the first start with a Safety Net, since when it is.
    pub(crate) fn begin_safety_net(&mut self) {
        if self.safety.since_record == Seq(0) {
            self.safety.since = self.now.wall;
            if self.has_safety_net() {
                self.move_since();
            }
        }
        for warning in self.config.warnings() {
            self.log(EventKind::Warning, None, "", "", warning);
        }
    }

    /// Writes down since when it is; answers with the old record.
    pub(crate) fn move_since(&mut self) -> Seq {
        let since = self.safety.since;
        let record = self.append(&Header::SafetyNet { since }, &[]);
        std::mem::replace(&mut self.safety.since_record, record)
    }
}

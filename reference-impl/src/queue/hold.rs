//! The hold model at the sending side: what a next hop took stays here, as a
//! shadow, until the next hop reports that *its* next hop took it.
//!
//! Each transaction with a next hop that tracks gets a shadow id of its own, so
//! that a transmission that was repeated after a lost reply is never taken for
//! the first one. What one next hop took is one *fork* of the message; forks
//! are released and resubmitted each by itself. A fork is bound to (next hop,
//! its database ID, shadow id): what another server or a new database reports
//! releases nothing.
//!
//! A report may overtake the `250` of its own message, on another session: ids
//! reported before they are known are remembered, and what is taken under one
//! of them later is not kept at all.

use std::ops::Bound;

use super::message::{Message, Phase};
use super::peer::Peer;
use super::{PeerId, Queue, Waiter};
use crate::event::EventKind;
use crate::mark::Mark;
use crate::record::hold::{Hold, Part};
use crate::record::{CopyKey, Header, Settled};
use crate::store::{DatabaseId, Seq};

/// A part of a message that one next hop took and has not reported done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fork {
    pub(crate) peer: PeerId,
    /// The next hop's database, and our shadow id.
    pub(crate) key: CopyKey,
    /// Its recipients, by index.
    pub(crate) recipients: Vec<u32>,
    /// When the next hop was last asked after it, and which of its starts
    /// answered.
    asked_at: u64,
    asked_boot: u32,
}

/// A server that tracks a transaction, and the id it knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tracked {
    pub(crate) peer: PeerId,
    pub(crate) key: CopyKey,
}

impl Fork {
    /// A fork as the store tells it.
    pub(crate) fn recovered(peer: PeerId, part: Part, now: u64) -> Self {
        Self {
            peer,
            key: part.key,
            recipients: part.recipients,
            asked_at: now,
            asked_boot: 0,
        }
    }
}

impl Peer {
    /// Whether there is anything to learn from this peer about what is kept
    /// for it.
    pub(crate) fn keeps_us_asking(&self) -> bool {
        let hold = &self.hold;
        !hold.kept.is_empty() || !hold.resubmitted.is_empty() || hold.curious_until != 0
    }
}

impl Queue {
    /// A next hop that tracks took these recipients: they are settled, and
    /// what we have becomes their shadow. What is left to be recorded as
    /// settled is answered with.
    pub(crate) fn keep(
        &mut self,
        sequence: u64,
        tracked: Tracked,
        delivered: Vec<(u32, Settled)>,
    ) -> Vec<(u32, Settled)> {
        let Tracked { peer, key } = tracked;
        #[cfg(feature = "defects")]
        if self.config.has(crate::defect::Defect::ForgetKept) {
            return delivered;
        }
        if self.peers[peer].gone.contains(&key) {
            // Its report was faster than its reply.
            self.mark(Mark::ReportBeforeReply);
            return delivered;
        }
        let (now, boot) = (self.now.mono, self.peers[peer].boot);
        let Some(message) = self.messages.get_mut(&sequence) else {
            return delivered;
        };
        let recipients: Vec<u32> = delivered.iter().map(|(at, _)| *at).collect();
        message.forks.push(Fork {
            peer,
            key: key.clone(),
            recipients: recipients.clone(),
            asked_at: now,
            asked_boot: boot,
        });
        let forks = message.forks.len();
        let part = Part {
            peer: self.peers[peer].name.clone(),
            key: key.clone(),
            recipients,
        };
        let seq = self.append(&Header::Hold(Hold::Kept { sequence, part }), &[]);
        if let Some(message) = self.messages.get_mut(&sequence) {
            message.progress = seq;
            message.records.push(seq);
        }
        self.wait(seq, Waiter::Progress(sequence));
        let entry = &mut self.peers[peer];
        if !entry.keeps_us_asking() {
            entry.hold.answered_at = now;
        }
        entry.hold.kept.insert(key, sequence);
        self.counters.shadows_kept += 1;
        if forks > 1 {
            self.mark(Mark::ForksKept);
        }
        if self.logging {
            let name = self.peers[peer].name.to_string();
            let detail = "kept until it reports".to_owned();
            self.log(EventKind::HaRedirect, Some(sequence), "", &name, detail);
        }
        self.arm_heartbeat(peer);
        Vec::new()
    }

    /// The next hop, with this database, is done with these: their shadows go,
    /// and nothing else. Answers with the record to wait for before that may
    /// be confirmed.
    pub(crate) fn release_kept(&mut self, peer: PeerId, database: DatabaseId, ids: &[u64]) -> Seq {
        // Should the confirmation be lost, it is asked again although nothing
        // is kept for it any more.
        self.peers[peer].hold.curious_until =
            self.later(self.config.shadow_message_auto_discard_interval);
        let mut released = Vec::new();
        for id in ids {
            let key = CopyKey {
                database,
                sequence: *id,
            };
            if self.peers[peer].hold.kept.contains_key(&key) {
                released.push(*id);
            } else if let Some(ours) = self.peers[peer].hold.resubmitted.get(&key).copied() {
                self.cancel(ours, peer);
            } else {
                let known = self.peers[peer].gone.contains(&key);
                self.peers[peer].note_gone(key);
                self.mark(if known {
                    Mark::DiscardRepeated
                } else {
                    Mark::DiscardNotHeld
                });
            }
        }
        self.counters.shadows_released += released.len() as u64;
        self.drop_kept(peer, database, released, "");
        self.store.appended()
    }

    /// The next hop, with this database, does not know these: it reported them
    /// long ago, and the report expired or its confirmation was never heard.
    pub(crate) fn kept_unknown(&mut self, peer: PeerId, database: DatabaseId, ids: &[u64]) -> Seq {
        let kept = &self.peers[peer].hold.kept;
        let known: Vec<u64> = ids
            .iter()
            .copied()
            .filter(|id| {
                kept.contains_key(&CopyKey {
                    database,
                    sequence: *id,
                })
            })
            .collect();
        self.counters.shadows_orphaned += known.len() as u64;
        for _ in &known {
            self.mark(Mark::KeptUnknown);
        }
        self.drop_kept(peer, database, known, "unknown to its next hop");
        self.store.appended()
    }

    /// Drops shadows durably.
    fn drop_kept(&mut self, peer: PeerId, database: DatabaseId, ids: Vec<u64>, why: &str) {
        if ids.is_empty() {
            return;
        }
        let name = self.peers[peer].name.clone();
        let header = Header::Hold(Hold::Released {
            peer: name.clone(),
            database,
            ids: ids.clone(),
        });
        let tombstone = self.append(&header, &[]);
        for id in ids {
            let key = CopyKey {
                database,
                sequence: id,
            };
            self.peers[peer].note_gone(key.clone());
            if let Some(sequence) = self.forget_fork(peer, &key) {
                self.log(
                    EventKind::HaDiscard,
                    Some(sequence),
                    "",
                    &name,
                    why.to_owned(),
                );
            }
        }
        // It stands behind what it kills in the log, and goes with it.
        self.store.release(tombstone);
    }

    /// Takes a fork off its message, whose record says so already; what is
    /// over with it goes. Answers with the message.
    pub(crate) fn forget_fork(&mut self, peer: PeerId, key: &CopyKey) -> Option<u64> {
        let sequence = self.peers[peer].hold.kept.remove(key)?;
        let message = self.messages.get_mut(&sequence)?;
        message
            .forks
            .retain(|fork| fork.peer != peer || fork.key != *key);
        if message.phase == Phase::Kept && message.forks.is_empty() {
            self.end_kept(sequence);
        }
        Some(sequence)
    }

    /// Nothing of a complete message is kept for anybody any more.
    fn end_kept(&mut self, sequence: u64) {
        let Some(message) = self.messages.remove(&sequence) else {
            return;
        };
        self.free(message.body.len());
        for seq in &message.records {
            self.store.release(*seq);
        }
        self.settle_debt(message.complete);
    }

    /// The next shadows to ask this next hop about: those that it took before
    /// its present start, and those not asked after for a third of the time in
    /// which it would count as failed.
    pub(crate) fn questions_kept(&mut self, peer: PeerId) -> Vec<u64> {
        let now = self.now.mono;
        let stale = self.failure_span() / 3;
        let entry = &mut self.peers[peer];
        let (Some(database), boot) = (entry.database, entry.boot) else {
            return Vec::new();
        };
        let from = match entry.hold.asked_up_to.take() {
            Some(key) => Bound::Excluded(key),
            None => Bound::Unbounded,
        };
        let mut asked = Vec::new();
        for (key, sequence) in entry.hold.kept.range((from, Bound::Unbounded)) {
            let fork = self
                .messages
                .get_mut(sequence)
                .and_then(|m| m.forks.iter_mut().find(|f| f.key == *key));
            let Some(fork) = fork else { continue };
            let due = fork.asked_boot < boot || now.saturating_sub(fork.asked_at) >= stale;
            if key.database == database && due {
                fork.asked_boot = boot;
                fork.asked_at = now;
                asked.push(key.sequence);
                if asked.len() == super::LINE {
                    entry.hold.asked_up_to = Some(key.clone());
                    break;
                }
            }
        }
        asked
    }

    /// Records that all recipients of a message are settled, where the hold
    /// model has something to remember about it; false where it has not.
    pub(crate) fn complete(&mut self, sequence: u64) -> bool {
        let Some(message) = self.messages.get(&sequence) else {
            return false;
        };
        if message.upstream.is_none() && message.forks.is_empty() {
            return false;
        }
        let tell = message
            .upstream
            .as_ref()
            .map(|up| (self.peers[up.peer].name.clone(), up.key.clone()));
        let seq = self.append(&Header::Hold(Hold::Complete { sequence, tell }), &[]);
        if let Some(message) = self.messages.get_mut(&sequence) {
            message.complete = seq;
        }
        self.wait(seq, Waiter::Complete(sequence));
        true
    }

    /// That a message is complete is durable: its sender may be told, and what
    /// is not kept for a next hop goes.
    pub(crate) fn complete_durable(&mut self, sequence: u64) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        message.phase = Phase::Kept;
        let (record, upstream) = (message.complete, message.upstream.take());
        let kept = !message.forks.is_empty();
        if let Some(from) = message.taken_from.clone() {
            let entry = &mut self.peers[from.peer];
            entry.taken.remove(&from.key);
            entry.hold.resubmitted.remove(&from.key);
        }
        // It is needed by the message, as long as that stays, and by the
        // report, as long as that is not confirmed.
        let debts = 1 + u32::from(upstream.is_some());
        self.owe_record(record, debts);
        if let Some(up) = upstream {
            self.owe_report(up, sequence, record);
        }
        if !kept {
            self.end_kept(sequence);
        }
    }

    /// A message as one record of the hold model, for one that has to be
    /// written again.
    pub(crate) fn restated(&self, sequence: u64, message: &Message) -> Header {
        let name = |peer: PeerId| self.peers[peer].name.clone();
        Header::Hold(Hold::Restated {
            sequence,
            arrival: message.arrival,
            envelope: message.envelope.clone(),
            settled: message.settled(),
            tracked: message
                .upstream
                .as_ref()
                .map(|up| (name(up.peer), up.key.clone())),
            parts: message
                .forks
                .iter()
                .map(|fork| Part {
                    peer: name(fork.peer),
                    key: fork.key.clone(),
                    recipients: fork.recipients.clone(),
                })
                .collect(),
            complete: message.phase == Phase::Kept,
            origin: message
                .taken_from
                .as_ref()
                .map(|from| ((name(from.peer), from.key.clone()), from.wall)),
        })
    }
}

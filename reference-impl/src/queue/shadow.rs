//! Copies held for other servers.
//!
//! A copy is bound to (primary, the primary's database ID, the primary's
//! sequence); only that primary, authenticated and with that database, can
//! have it dropped. A copy whose message the primary never kept (it crashed
//! between sending the copy and writing its own record) would stay for ever:
//! so the holder asks after copies that are older than the primary's present
//! start, and once in a while after all others.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::message::{CopyState, boot_of};
use super::{Action, PeerId, Queue, Waiter};
use crate::event::EventKind;
use crate::io::ConnId;
use crate::mark::Mark;
use crate::record::{CopyKey, Envelope, Header};
use crate::store::{DatabaseId, Seq};

/// Largest number of sequences in one question or withdrawal.
pub(crate) const LINE: usize = 50;

/// One copy.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) record: Seq,
    pub(crate) arrival: u64,
    pub(crate) envelope: Envelope,
    pub(crate) body: Bytes,
    pub(crate) durable: bool,
    /// When it is dropped at the latest, on the monotonic clock.
    pub(crate) expires: u64,
    /// When the primary was last asked after it (or when it was taken), and
    /// which of its starts answered.
    pub(crate) asked_at: u64,
    pub(crate) asked_boot: u32,
}

/// A message that its primary is done with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) sequence: u64,
    /// It was refused (`451`): nothing of it may ever be delivered.
    pub(crate) refused: bool,
}

/// What the primary said when it asked to hold a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) peer: PeerId,
    pub(crate) key: CopyKey,
    /// Unix milliseconds of the first acceptance.
    pub(crate) arrival: u64,
}

impl Queue {
    /// Whether a copy may still be taken: not after the primary said that it
    /// is done with the message, nor after we took the message over.
    pub(crate) fn may_hold(&self, offer: &Offer) -> bool {
        let peer = &self.peers[offer.peer];
        !peer.gone.contains(&offer.key) && !peer.taken.contains_key(&offer.key)
    }

    /// Takes a copy; its bytes are booked already. The answer comes as
    /// [`Action::Answer`] when it is durable.
    pub(crate) fn hold(&mut self, conn: ConnId, offer: Offer, envelope: Envelope, body: Vec<u8>) {
        if !self.may_hold(&offer) {
            self.mark(Mark::CopyTooLate);
            self.free(body.len());
            return self.answer(conn, "550 5.7.0 This message is done with\r\n");
        }
        let Offer { peer, key, arrival } = offer;
        // The end of its content is a word of the primary like any other.
        self.heard(peer);
        if self.peers[peer].held.contains_key(&key) {
            // The primary asks again because it missed our answer.
            self.free(body.len());
            self.mark(Mark::CopySentTwice);
            let last = self.store.appended();
            return self.wait(last, Waiter::Shadow { conn, peer, key });
        }
        let header = Header::Shadow {
            primary: self.peers[peer].name.clone(),
            key: key.clone(),
            arrival,
            envelope,
        };
        let body = Bytes::from(body);
        let record = self.append(&header, std::slice::from_ref(&body));
        let Header::Shadow { envelope, .. } = header else {
            return;
        };
        let held = Held {
            record,
            arrival,
            envelope,
            body,
            durable: false,
            expires: self.copy_expiry(),
            asked_at: self.now.mono,
            asked_boot: boot_of(key.sequence),
        };
        let entry = &mut self.peers[peer];
        if !entry.of_interest() {
            entry.reported_at = self.now.mono;
        }
        entry.held.insert(key.clone(), held);
        self.wait(record, Waiter::Shadow { conn, peer, key });
    }

    fn answer(&mut self, conn: ConnId, reply: &'static str) {
        self.actions.push_back(Action::Answer {
            conn,
            reply: reply.into(),
        });
    }

    /// A copy is durable.
    pub(crate) fn shadow_durable(&mut self, conn: ConnId, peer: PeerId, key: &CopyKey) {
        let entry = &mut self.peers[peer];
        let Some(held) = entry.held.get_mut(key) else {
            // Withdrawn before it was durable.
            self.mark(Mark::CopyWithdrawnInFlight);
            return self.answer(conn, "451 4.7.0 Withdrawn\r\n");
        };
        if !held.durable {
            held.durable = true;
            self.counters.shadows_held += 1;
            if self.logging {
                let name = self.peers[peer].name.to_string();
                let detail = super::name_of(key.sequence);
                self.log(EventKind::HaReceive, None, "", &name, detail);
            }
        }
        self.answer(conn, "250 2.6.0 Copy held\r\n");
        self.arm_peer(peer);
        self.take_over_foreign(peer);
    }

    /// The primary, with this database, is done with these messages: their
    /// copies go, and nothing else. Answers with the record to wait for before
    /// that may be confirmed. Copies of messages that were refused go for good,
    /// the others into the Safety Net.
    pub(crate) fn discard(
        &mut self,
        peer: PeerId,
        database: DatabaseId,
        sequences: &[Report],
    ) -> Seq {
        // Should the confirmation be lost, the primary is asked again although
        // nothing is held for it any more.
        self.stay_curious(peer);
        let mut removed: BTreeMap<DatabaseId, Vec<u64>> = BTreeMap::new();
        for Report { sequence, refused } in sequences {
            // A database that continues another one speaks for it.
            let database = self.binding(peer, database, *sequence);
            let key = CopyKey {
                database,
                sequence: *sequence,
            };
            #[cfg(feature = "defects")]
            let refused =
                &(*refused || self.config.has(crate::defect::Defect::DeliverAfterDiscard));
            if self.peers[peer].held.contains_key(&key) {
                self.peers[peer].note_finished(key.clone());
                if !refused && self.keep_copy(peer, &key) {
                    self.counters.shadows_discarded += 1;
                    self.peers[peer].note_gone(key);
                    self.log_discard(peer, *sequence, "");
                } else {
                    removed.entry(database).or_default().push(*sequence);
                }
            } else if let Some(ours) = self.peers[peer].taken.get(&key).copied() {
                self.cancel(ours, peer);
            } else {
                let known = self.peers[peer].gone.contains(&key);
                self.peers[peer].note_finished(key);
                self.mark(if known {
                    Mark::DiscardRepeated
                } else {
                    Mark::DiscardNotHeld
                });
            }
        }
        for (database, removed) in removed {
            self.counters.shadows_discarded += removed.len() as u64;
            self.remove_held(peer, database, removed, "");
        }
        self.store.appended()
    }

    /// The primary, with this database, does not know these messages: it
    /// never answered for them, or is done with them.
    pub(crate) fn orphaned(
        &mut self,
        peer: PeerId,
        database: DatabaseId,
        sequences: &[u64],
    ) -> Seq {
        let held = &self.peers[peer].held;
        let removed: Vec<u64> = sequences
            .iter()
            .copied()
            .filter(|sequence| {
                held.contains_key(&CopyKey {
                    database,
                    sequence: *sequence,
                })
            })
            .collect();
        self.counters.shadows_orphaned += removed.len() as u64;
        for _ in &removed {
            self.mark(Mark::OrphanDropped);
        }
        self.remove_held(peer, database, removed, "unknown to its primary");
        self.store.appended()
    }

    pub(crate) fn remove_held(
        &mut self,
        peer: PeerId,
        database: DatabaseId,
        sequences: Vec<u64>,
        detail: &str,
    ) {
        if sequences.is_empty() {
            return;
        }
        #[cfg(feature = "defects")]
        if self.config.has(crate::defect::Defect::DeliverAfterDiscard) {
            let keys = sequences
                .iter()
                .map(|s| CopyKey {
                    database,
                    sequence: *s,
                })
                .collect();
            self.take_over(peer, keys, "discarded");
            return;
        }
        let primary = self.peers[peer].name.clone();
        let header = Header::Removed {
            primary,
            database,
            sequences,
        };
        let tombstone = self.append(&header, &[]);
        let Header::Removed { sequences, .. } = header else {
            return;
        };
        for sequence in sequences {
            let key = CopyKey { database, sequence };
            let Some(held) = self.peers[peer].held.remove(&key) else {
                continue;
            };
            self.free(held.body.len());
            self.store.release(held.record);
            self.peers[peer].note_gone(key);
            self.log_discard(peer, sequence, detail);
        }
        // It stands behind what it kills in the log, and goes with it.
        self.store.release(tombstone);
    }

    fn log_discard(&mut self, peer: PeerId, sequence: u64, detail: &str) {
        if !self.logging {
            return;
        }
        let name = self.peers[peer].name.to_string();
        let mut text = super::name_of(sequence);
        if !detail.is_empty() {
            text = format!("{text}: {detail}");
        }
        self.log(EventKind::HaDiscard, None, "", &name, text);
    }

    /// The next copies to ask this peer about: those older than its present
    /// start, and those not asked after for a third of
    /// `shadow-resubmit-time-span`.
    pub(crate) fn questions(&mut self, peer: PeerId) -> Vec<u64> {
        let now = self.now.mono;
        let stale = (self.later(self.config.shadow_resubmit_time_span) - now) / 3;
        let entry = &mut self.peers[peer];
        let (Some(database), boot) = (entry.database, entry.boot) else {
            return Vec::new();
        };
        let mut asked = Vec::new();
        let from = match entry.asked_up_to.take() {
            Some(key) => Bound::Excluded(key),
            None => Bound::Unbounded,
        };
        let anew = from != Bound::Unbounded;
        for (key, held) in entry.held.range_mut((from, Bound::Unbounded)) {
            let due = held.asked_boot < boot || now.saturating_sub(held.asked_at) >= stale;
            if held.durable && key.database == database && due {
                held.asked_boot = boot;
                held.asked_at = now;
                asked.push(key.sequence);
                if asked.len() == LINE {
                    entry.asked_up_to = Some(key.clone());
                    break;
                }
            }
        }
        if asked.is_empty() && anew {
            // Those before may have become due meanwhile.
            return self.questions(peer);
        }
        asked
    }

    /// Answers a holder's question: of which of these messages it need not keep
    /// its copy, because we know nothing of them or another peer has one as
    /// well. For the others the peer is noted as holder.
    pub(crate) fn unknown_to_us(&mut self, peer: PeerId, sequences: &[u64]) -> Vec<u64> {
        let mut unknown = Vec::new();
        for sequence in sequences {
            let message = self.messages.get(sequence);
            if message.is_some_and(|message| self.surplus(message, peer)) {
                self.mark(Mark::CopySurplus);
                unknown.push(*sequence);
            } else if let Some(message) = self.messages.get_mut(sequence) {
                let noted = message.holders.iter().any(|h| h.peer == peer);
                message.add_holder(peer, true);
                if message.copy == CopyState::Failed {
                    message.copy = CopyState::Made;
                }
                if !noted {
                    self.mark(Mark::HolderLearnt);
                    self.record_holder(*sequence, peer);
                }
            } else if !self.peers[peer].discards.contains_key(sequence) {
                unknown.push(*sequence);
            }
        }
        unknown
    }

    /// A primary withdraws messages that it refused. Answers with the record
    /// to wait for, and how many of them were taken over already.
    pub(crate) fn withdrawn_by(
        &mut self,
        peer: PeerId,
        database: DatabaseId,
        sequences: &[Report],
    ) -> (Seq, usize) {
        let taken = sequences
            .iter()
            .filter(|report| {
                let key = CopyKey {
                    database: self.binding(peer, database, report.sequence),
                    sequence: report.sequence,
                };
                self.peers[peer].taken.contains_key(&key)
            })
            .count();
        if taken > 0 {
            self.mark(Mark::AbortAfterTakeover);
        }
        (self.discard(peer, database, sequences), taken)
    }
}

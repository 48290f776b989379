//! Telling peers which copies they may drop.
//!
//! A notification is durable with the DONE (or WITHDRAWN) record that caused
//! it, is repeated until the peer confirms that its removal is durable, and is
//! dropped unasked for after `shadow-message-auto-discard-interval` (counted
//! anew from a restart of this node).
//!
//! Some are also pushed: withdrawals, for a refused message must not be
//! resubmitted, and those for a peer that never acknowledged its copy, for it
//! may hold none and so have no reason to ask. A withdrawal that no peer confirms within `shadow-resubmit-time-span` is counted as
//! `withdrawals-unconfirmed`: the peer may have taken the copy over.

use super::peer::Discard;
use std::time::Duration;

use super::message::Holder;
use super::{PeerId, Queue, Report, Timer};
use crate::event::EventKind;
use crate::mark::Mark;
use crate::record::Header;
use crate::store::Seq;

/// Largest number of notifications in one report.
pub(crate) const BATCH: usize = 1000;

impl Queue {
    /// Files a durable DONE or WITHDRAWN record for the peers to be told.
    pub(crate) fn owe(&mut self, record: Seq, sequence: u64, told: &[Holder], withdrawn: bool) {
        if told.is_empty() {
            self.store.release(record);
            return;
        }
        let expires = self.later(self.config.shadow_message_auto_discard_interval);
        let residual_at = if withdrawn {
            self.later(self.config.shadow_resubmit_time_span)
        } else {
            u64::MAX
        };
        for holder in told {
            let entry = &mut self.peers[holder.peer];
            entry.discards.insert(
                sequence,
                Discard {
                    record,
                    withdrawn,
                    expires,
                    residual_at,
                    reported: false,
                },
            );
            if withdrawn || !holder.acknowledged {
                entry.pushed.insert(sequence);
            }
        }
        self.owed.insert(record, told.len() as u32);
        let due = expires.min(residual_at);
        Self::arm(
            &mut self.timers,
            Timer::Discards,
            due,
            &mut self.discards_armed,
        );
    }

    /// Pushes what is to be pushed to these peers.
    pub(crate) fn push(&mut self, told: &[PeerId]) {
        for peer in told {
            let entry = &self.peers[*peer];
            if let Some(host) = entry.host
                && !entry.pushed.is_empty()
            {
                self.hosts[host].withdraw_due = true;
                self.kick_host(host);
            }
            self.arm_peer(*peer);
        }
    }

    /// A peer acknowledged what was pushed; `taken` is its word on how many it
    /// had taken over already.
    pub(crate) fn pushes_told(&mut self, peer: PeerId, sequences: &[u64], taken: &str) {
        let refused = |s: &u64| {
            let known = self.peers[peer].discards.get(s);
            known.is_some_and(|discard| discard.withdrawn)
        };
        if !taken.ends_with("taken-over=0") && sequences.iter().any(refused) {
            let name = self.peers[peer].name.to_string();
            self.counters.withdrawals_unconfirmed += 1;
            self.mark(Mark::AbortUnconfirmed);
            self.log(EventKind::Withdraw, None, "", &name, taken.to_owned());
        }
        self.confirmed(peer, sequences);
    }

    /// What to report to a peer that asks: the oldest notifications for it,
    /// and whether there are more.
    pub(crate) fn report(&mut self, peer: PeerId) -> (Vec<Report>, bool) {
        let discards = &mut self.peers[peer].discards;
        let more = discards.len() > BATCH;
        let mut again = false;
        let sequences = discards
            .iter_mut()
            .take(BATCH)
            .map(|(sequence, discard)| {
                again |= std::mem::replace(&mut discard.reported, true);
                Report {
                    sequence: *sequence,
                    refused: discard.withdrawn,
                }
            })
            .collect();
        if more {
            self.mark(Mark::DiscardInParts);
        }
        if again {
            self.mark(Mark::DiscardUnconfirmed);
        }
        (sequences, more)
    }

    /// The peer confirmed: these notifications are forgotten. Unknown ones
    /// are ignored.
    pub(crate) fn confirmed(&mut self, peer: PeerId, sequences: &[u64]) {
        let known = self.drop_discards(peer, sequences);
        self.counters.discards_confirmed += known;
    }

    /// Forgets notifications durably; answers with how many there were.
    fn drop_discards(&mut self, peer: PeerId, sequences: &[u64]) -> u64 {
        let entry = &mut self.peers[peer];
        let mut dropped = Vec::with_capacity(sequences.len());
        let mut records = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            entry.pushed.remove(sequence);
            if let Some(discard) = entry.discards.remove(sequence) {
                dropped.push(*sequence);
                records.push(discard.record);
            }
        }
        if dropped.is_empty() {
            return 0;
        }
        let peer = entry.name.clone();
        let count = dropped.len() as u64;
        let tombstone = self.append(
            &Header::Confirmed {
                peer,
                sequences: dropped,
            },
            &[],
        );
        for record in records {
            self.settle_debt(record);
        }
        // It stands behind what it kills in the log, and goes with it.
        self.store.release(tombstone);
        count
    }

    /// A record is needed by so many.
    pub(crate) fn owe_record(&mut self, record: Seq, debts: u32) {
        self.owed.insert(record, debts);
    }

    /// One of those that need a record does so no more.
    pub(crate) fn settle_debt(&mut self, record: Seq) {
        if let Some(count) = self.owed.get_mut(&record) {
            *count -= 1;
            if *count == 0 {
                self.owed.remove(&record);
                self.store.release(record);
            }
        }
    }

    /// Drops notifications that nobody asked for in time, and counts
    /// withdrawals that stayed unconfirmed.
    pub(crate) fn discards_due(&mut self) {
        self.discards_armed = 0;
        let now = self.now.mono;
        let mut next = self.reports_due();
        for peer in 0..self.peers.len() {
            let entry = &mut self.peers[peer];
            let mut expired = Vec::new();
            let mut residual = Vec::new();
            for (sequence, discard) in &entry.discards {
                if discard.expires <= now {
                    expired.push(*sequence);
                    continue;
                }
                next = next.min(discard.expires);
                if discard.residual_at <= now {
                    residual.push(*sequence);
                } else {
                    next = next.min(discard.residual_at);
                }
            }
            for sequence in &residual {
                if let Some(discard) = entry.discards.get_mut(sequence) {
                    discard.residual_at = u64::MAX;
                }
            }
            let name = entry.name.to_string();
            self.counters.withdrawals_unconfirmed += residual.len() as u64;
            for sequence in residual {
                self.mark(Mark::AbortUnconfirmed);
                let detail = "not confirmed within shadow-resubmit-time-span".to_owned();
                self.log(EventKind::Withdraw, Some(sequence), "", &name, detail);
            }
            for _ in &expired {
                self.mark(Mark::DiscardExpired);
            }
            self.counters.discards_expired += self.drop_discards(peer, &expired);
        }
        if next != u64::MAX {
            // Not for each one alone: there may be very many.
            let grain = self.later(self.config.shadow_message_auto_discard_interval / 100);
            next = next.max(grain.min(self.later(Duration::from_secs(1))));
            Self::arm(
                &mut self.timers,
                Timer::Discards,
                next,
                &mut self.discards_armed,
            );
        }
    }
}

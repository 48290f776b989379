//! Telling peers which copies they may drop.
//!
//! A notification is durable with the DONE (or WITHDRAWN) record that caused
//! it, is repeated until the peer confirms that its removal is durable, and is
//! dropped unasked for after `shadow-message-auto-discard-interval` (counted
//! anew from a restart of this node).
//!
//! A withdrawal is also pushed, for a refused message must not be resubmitted.
//! One that no peer confirms within `shadow-resubmit-time-span` is counted as
//! `withdrawals-unconfirmed`: the peer may have taken the copy over.

use super::peer::Discard;
use super::{PeerId, Queue, Timer};
use crate::event::EventKind;
use crate::record::Header;
use crate::store::Seq;

/// Largest number of notifications in one report.
pub(crate) const BATCH: usize = 1000;

impl Queue {
    /// Files a durable DONE or WITHDRAWN record for the peers to be told.
    pub(crate) fn owe(&mut self, record: Seq, sequence: u64, told: &[PeerId], withdrawn: bool) {
        if told.is_empty() {
            self.store.release(record);
            return;
        }
        let expires = self.later(self.config.shadow_message_auto_discard_interval);
        let residual_at = self.later(self.config.shadow_resubmit_time_span);
        for peer in told {
            let entry = &mut self.peers[*peer];
            entry.discards.insert(
                sequence,
                Discard {
                    record,
                    withdrawn,
                    expires,
                    residual_at,
                },
            );
            if withdrawn {
                entry.withdrawn.insert(sequence);
            }
        }
        self.owed.insert(record, told.len() as u32);
        let due = if withdrawn {
            expires.min(residual_at)
        } else {
            expires
        };
        Self::arm(
            &mut self.timers,
            Timer::Discards,
            due,
            &mut self.discards_armed,
        );
    }

    /// Pushes the withdrawals that wait for these peers.
    pub(crate) fn push_withdrawals(&mut self, told: &[PeerId]) {
        for peer in told {
            let entry = &self.peers[*peer];
            if let Some(host) = entry.host
                && !entry.withdrawn.is_empty()
            {
                self.hosts[host].withdraw_due = true;
                self.kick_host(host);
            }
        }
    }

    /// A peer acknowledged withdrawals; `taken` is its word on how many it
    /// had taken over already.
    pub(crate) fn withdrawals_told(&mut self, peer: PeerId, sequences: &[u64], taken: &str) {
        if !taken.ends_with("taken-over=0") {
            let name = self.peers[peer].name.to_string();
            self.counters.withdrawals_unconfirmed += 1;
            self.log(EventKind::Withdraw, None, "", &name, taken.to_owned());
        }
        self.confirmed(peer, sequences);
    }

    /// What to report to a peer that asks: the oldest notifications for it,
    /// and whether there are more.
    pub(crate) fn report(&self, peer: PeerId) -> (Vec<u64>, bool) {
        let discards = &self.peers[peer].discards;
        let sequences = discards.keys().take(BATCH).copied().collect();
        (sequences, discards.len() > BATCH)
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
            entry.withdrawn.remove(sequence);
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

    fn settle_debt(&mut self, record: Seq) {
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
        let mut next = u64::MAX;
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
                if entry.withdrawn.contains(sequence) {
                    if discard.residual_at <= now {
                        residual.push(*sequence);
                    } else {
                        next = next.min(discard.residual_at);
                    }
                }
            }
            for sequence in &residual {
                entry.withdrawn.remove(sequence);
            }
            let name = entry.name.to_string();
            self.counters.withdrawals_unconfirmed += residual.len() as u64;
            for sequence in residual {
                let detail = "not confirmed within shadow-resubmit-time-span".to_owned();
                self.log(EventKind::Withdraw, Some(sequence), "", &name, detail);
            }
            self.counters.discards_expired += self.drop_discards(peer, &expired);
        }
        if next != u64::MAX {
            Self::arm(
                &mut self.timers,
                Timer::Discards,
                next,
                &mut self.discards_armed,
            );
        }
    }
}

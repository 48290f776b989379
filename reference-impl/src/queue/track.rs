//! The hold model at the accepting side: whom a message came from, and the
//! reports that it is done.
//!
//! A message is complete when every recipient is settled here, that is when
//! *our* next hop (or mailbox) took it, or its DSN is safe. That is durable
//! before it is reported. A report is repeated until it is confirmed, survives
//! restarts, and is dropped when nobody asks for
//! `shadow-message-auto-discard-interval`, or when the sender comes back with
//! another database: it has no shadows left then.

use std::time::Duration;

use super::discard::BATCH;
use super::hold::Tracked;
use super::{PeerId, Queue, Timer};
use crate::mark::Mark;
use crate::record::hold::Hold;
use crate::record::{CopyKey, Header};
use crate::store::{DatabaseId, Seq};

/// That a message is done, for the server that sent it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    /// The COMPLETE record.
    pub(crate) record: Seq,
    /// Our name for the message.
    pub(crate) sequence: u64,
    /// When it is dropped unasked for.
    expires: u64,
    reported: bool,
}

impl Queue {
    /// Records who keeps a shadow of a message of ours.
    pub(crate) fn track(&mut self, sequence: u64, from: &Tracked) -> Seq {
        let header = Header::Hold(Hold::Tracked {
            sequence,
            peer: self.peers[from.peer].name.clone(),
            key: from.key.clone(),
        });
        let entry = &mut self.peers[from.peer].hold;
        entry.tracking.insert(from.key.clone(), sequence);
        self.append(&header, &[])
    }

    /// Files the report of a message whose COMPLETE record is durable.
    pub(crate) fn owe_report(&mut self, to: Tracked, sequence: u64, record: Seq) {
        let expires = self.later(self.config.shadow_message_auto_discard_interval);
        let entry = &mut self.peers[to.peer];
        entry.hold.tracking.remove(&to.key);
        let void = entry.database.is_some_and(|now| now != to.key.database);
        entry.hold.reports.insert(
            to.key.clone(),
            Report {
                record,
                sequence,
                expires,
                reported: false,
            },
        );
        if void {
            self.drop_reports(to.peer, vec![to.key]);
            return;
        }
        Self::arm(
            &mut self.timers,
            Timer::Discards,
            expires,
            &mut self.discards_armed,
        );
    }

    /// What to report to a peer that asks with this database: the oldest, and
    /// whether there is more.
    pub(crate) fn report_done(&mut self, peer: PeerId, database: DatabaseId) -> (Vec<u64>, bool) {
        let (least, most) = (0, u64::MAX);
        let key = |sequence| CopyKey { database, sequence };
        let mut ids = Vec::new();
        let (mut more, mut again) = (false, false);
        let reports = &mut self.peers[peer].hold.reports;
        for (key, report) in reports.range_mut(key(least)..=key(most)) {
            if ids.len() == BATCH {
                more = true;
                break;
            }
            again |= std::mem::replace(&mut report.reported, true);
            ids.push(key.sequence);
        }
        if more {
            self.mark(Mark::DiscardInParts);
        }
        if again {
            self.mark(Mark::DiscardUnconfirmed);
        }
        (ids, more)
    }

    /// The peer confirmed: these reports are forgotten. Unknown ones are
    /// ignored.
    pub(crate) fn report_confirmed(&mut self, peer: PeerId, database: DatabaseId, ids: &[u64]) {
        let keys = ids
            .iter()
            .map(|id| CopyKey {
                database,
                sequence: *id,
            })
            .collect();
        self.counters.discards_confirmed += self.drop_reports(peer, keys);
    }

    /// Forgets reports durably; answers with how many there were.
    fn drop_reports(&mut self, peer: PeerId, keys: Vec<CopyKey>) -> u64 {
        let reports = &mut self.peers[peer].hold.reports;
        let dropped: Vec<Report> = keys.iter().filter_map(|key| reports.remove(key)).collect();
        if dropped.is_empty() {
            return 0;
        }
        let header = Header::Confirmed {
            peer: self.peers[peer].name.clone(),
            sequences: dropped.iter().map(|report| report.sequence).collect(),
        };
        let tombstone = self.append(&header, &[]);
        for report in &dropped {
            self.settle_debt(report.record);
        }
        // It stands behind what it kills in the log, and goes with it.
        self.store.release(tombstone);
        dropped.len() as u64
    }

    /// Of these ids of a sender with this database, those that we know nothing
    /// of: neither are we at work on them, nor is there a report to come.
    pub(crate) fn not_tracked(&self, peer: PeerId, database: DatabaseId, ids: &[u64]) -> Vec<u64> {
        let hold = &self.peers[peer].hold;
        let known = |id: u64| {
            let key = CopyKey {
                database,
                sequence: id,
            };
            hold.tracking.contains_key(&key) || hold.reports.contains_key(&key)
        };
        ids.iter().copied().filter(|id| !known(*id)).collect()
    }

    /// A sender came back with another database: what it kept is gone, and
    /// reports about it are void.
    pub(crate) fn reports_void(&mut self, peer: PeerId, database: DatabaseId) {
        let void: Vec<CopyKey> = self.peers[peer]
            .hold
            .reports
            .keys()
            .filter(|key| key.database != database)
            .cloned()
            .collect();
        self.drop_reports(peer, void);
    }

    /// Drops reports that nobody asked for in time; answers with the time of
    /// the next.
    pub(crate) fn reports_due(&mut self) -> u64 {
        let now = self.now.mono;
        let mut next = u64::MAX;
        for peer in 0..self.peers.len() {
            let mut expired = Vec::new();
            for (key, report) in &self.peers[peer].hold.reports {
                if report.expires <= now {
                    expired.push(key.clone());
                } else {
                    next = next.min(report.expires);
                }
            }
            for _ in &expired {
                self.mark(Mark::DiscardExpired);
            }
            self.counters.discards_expired += self.drop_reports(peer, expired);
        }
        next
    }

    /// The time that the hold model gives a next hop before it counts as
    /// failed, in nanoseconds.
    pub(crate) fn failure_span(&self) -> u64 {
        let count = u32::from(self.config.shadow_heartbeat_retry_count);
        let span: Duration = self
            .config
            .shadow_heartbeat_timeout_interval
            .saturating_mul(count);
        u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
    }
}

//! Keeping the log short: segments go oldest first, so one old record holds
//! all that came after it. When the log is much longer than what lives in it,
//! the live records of the oldest segment are written again at its end.
//!
//! Mailbox records stay where they are: a store that holds mailboxes grows.
//! So does what the Safety Net keeps: its segments go when its time is over.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::message::Phase;
use super::peer::Discard;
use super::{PeerId, Queue, Waiter};
use crate::mark::Mark;
use crate::record::hold::Hold;
use crate::record::{CopyKey, Header, Tell};
use crate::store::Seq;

/// What a record belongs to.
enum Owner {
    Boot,
    Message(u64),
    Held(PeerId, CopyKey),
    Debt(u64),
    Predecessor(usize),
    /// A COMPLETE record, about this message.
    Complete(u64),
    Database(usize),
    Request(u64),
    LastRequest,
    SafetyNet,
}

impl Queue {
    /// Moves the oldest live records if that is worth it.
    pub(crate) fn relocate(&mut self) {
        if self.moving || self.fatal.is_some() {
            return;
        }
        // Looking costs time, so once for each new segment is enough.
        let size = self.store.bytes_on_disk();
        if size <= self.looked_at {
            self.looked_at = size;
            return;
        }
        self.looked_at = size;
        let oldest = self.store.oldest_segment_live();
        if oldest.active || oldest.records == 0 {
            return;
        }
        let sparse = oldest.bytes * 4 <= oldest.segment_bytes;
        let segments = 4 * self.config.segment_bytes;
        let long = size > 3 * self.store.live_bytes() + segments;
        if !(sparse || long) {
            return;
        }
        let records: Vec<Seq> = self.store.oldest_live_records().collect();
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return;
        };
        let owners = self.owners(*first..=*last);
        let mut movable = BTreeMap::new();
        for seq in &records {
            match owners.get(seq) {
                // A mailbox, or a message about to be done: it would not help
                // to move the others.
                None => return,
                Some(owner) => {
                    let busy = matches!(owner, Owner::Message(s) if !self.settled_down(*s));
                    if busy {
                        return;
                    }
                    movable.insert(*seq, owner);
                }
            }
        }
        let mut old = Vec::new();
        for (seq, owner) in movable {
            if !old.contains(&seq) {
                self.rewrite(seq, owner, &mut old);
            }
        }
        self.moving = true;
        self.mark(Mark::RecordsMoved);
        let last = self.store.appended();
        self.wait(last, Waiter::Moved(old));
    }

    /// Whether a message waits and may go on waiting.
    fn settled_down(&self, sequence: u64) -> bool {
        self.messages
            .get(&sequence)
            // A replay keeps its content where the Safety Net has it.
            .is_some_and(|m| {
                matches!(m.phase, Phase::Active | Phase::Kept)
                    && m.children == 0
                    && m.replay.is_none()
            })
    }

    /// Whose the records in `range` are.
    fn owners(&self, range: RangeInclusive<Seq>) -> BTreeMap<Seq, Owner> {
        let mut owners = BTreeMap::new();
        if range.contains(&self.boot_record) {
            owners.insert(self.boot_record, Owner::Boot);
        }
        for (at, predecessor) in self.predecessors.iter().enumerate() {
            if range.contains(&predecessor.record) {
                owners.insert(predecessor.record, Owner::Predecessor(at));
            }
        }
        for (sequence, message) in &self.messages {
            for seq in message.records.iter().filter(|seq| range.contains(seq)) {
                owners.insert(*seq, Owner::Message(*sequence));
            }
            if message.phase == Phase::Kept && range.contains(&message.complete) {
                owners.insert(message.complete, Owner::Complete(*sequence));
            }
        }
        for (at, peer) in self.peers.iter().enumerate() {
            for (key, held) in &peer.held {
                if range.contains(&held.record) {
                    owners.insert(held.record, Owner::Held(at, key.clone()));
                }
            }
            for report in peer.hold.reports.values() {
                if range.contains(&report.record) {
                    owners.insert(report.record, Owner::Complete(report.sequence));
                }
            }
            for (sequence, discard) in &peer.discards {
                if range.contains(&discard.record) {
                    owners.insert(discard.record, Owner::Debt(*sequence));
                }
            }
        }
        for (at, database) in self.databases.iter().enumerate() {
            if range.contains(&database.record) {
                owners.insert(database.record, Owner::Database(at));
            }
        }
        for (id, request) in &self.safety.requests {
            if range.contains(&request.record()) {
                owners.insert(request.record(), Owner::Request(*id));
            }
        }
        if let Some(last) = self.safety.last_request {
            owners.insert(last, Owner::LastRequest);
        }
        if self.safety.since_record != Seq(0) {
            owners.insert(self.safety.since_record, Owner::SafetyNet);
        }
        owners
    }

    /// Writes again what `owner` is; what becomes superfluous goes into `old`.
    fn rewrite(&mut self, seq: Seq, owner: &Owner, old: &mut Vec<Seq>) {
        match owner {
            Owner::Boot => {
                let header = Header::Boot {
                    number: self.boot,
                    wall: self.now.wall,
                };
                self.boot_record = self.append(&header, &[]);
                old.push(seq);
            }
            Owner::Predecessor(at) => self.write_predecessor(*at),
            Owner::Message(sequence) => self.rewrite_message(*sequence, old),
            Owner::Database(at) => old.push(self.move_database(*at)),
            Owner::Request(id) => old.extend(self.move_request(*id)),
            Owner::LastRequest => old.extend(self.move_last_request()),
            Owner::SafetyNet => old.push(self.move_since()),
            Owner::Held(peer, key) => {
                let primary = self.peers[*peer].name.clone();
                let Some(held) = self.peers[*peer].held.get_mut(key) else {
                    return;
                };
                let (arrival, body) = (held.arrival, held.body.clone());
                let envelope = held.envelope.clone();
                let header = Header::Shadow {
                    primary,
                    key: key.clone(),
                    arrival,
                    envelope,
                };
                let record = self.append(&header, std::slice::from_ref(&body));
                if let Some(held) = self.peers[*peer].held.get_mut(key) {
                    held.record = record;
                }
                old.push(seq);
            }
            Owner::Complete(sequence) => {
                let sequence = *sequence;
                let tell = self.peers.iter().find_map(|peer| {
                    let mut reports = peer.hold.reports.iter();
                    let (key, _) = reports.find(|(_, report)| report.record == seq)?;
                    Some((peer.name.clone(), key.clone()))
                });
                let record = self.append(&Header::Hold(Hold::Complete { sequence, tell }), &[]);
                for report in self
                    .peers
                    .iter_mut()
                    .flat_map(|p| p.hold.reports.values_mut())
                {
                    if report.record == seq {
                        report.record = record;
                    }
                }
                if let Some(message) = self.messages.get_mut(&sequence)
                    && message.complete == seq
                {
                    message.complete = record;
                }
                if let Some(count) = self.owed.remove(&seq) {
                    self.owed.insert(record, count);
                }
                old.push(seq);
            }
            Owner::Debt(sequence) => {
                let sequence = *sequence;
                let owed = |peer: &super::Peer| {
                    peer.discards
                        .get(&sequence)
                        .copied()
                        .filter(|d| d.record == seq)
                };
                let tell: Vec<Tell> = self
                    .peers
                    .iter()
                    .filter(|peer| owed(peer).is_some())
                    .map(|peer| Tell {
                        peer: peer.name.clone(),
                        acknowledged: !peer.pushed.contains(&sequence),
                    })
                    .collect();
                let withdrawn = self
                    .peers
                    .iter()
                    .find_map(owed)
                    .is_some_and(|d: Discard| d.withdrawn);
                let header = if withdrawn {
                    Header::Withdrawn { sequence, tell }
                } else {
                    Header::Done { sequence, tell }
                };
                let record = self.append(&header, &[]);
                for peer in &mut self.peers {
                    if let Some(discard) = peer.discards.get_mut(&sequence)
                        && discard.record == seq
                    {
                        discard.record = record;
                    }
                }
                if let Some(count) = self.owed.remove(&seq) {
                    self.owed.insert(record, count);
                }
                old.push(seq);
            }
        }
    }

    fn rewrite_message(&mut self, sequence: u64, old: &mut Vec<Seq>) {
        let Some(message) = self.messages.get(&sequence) else {
            return;
        };
        let held = message.taken_from.as_ref().is_some_and(|from| from.held);
        let hold = held || message.upstream.is_some() || !message.forks.is_empty();
        let moved = || Header::Moved {
            sequence,
            arrival: message.arrival,
            envelope: message.envelope.clone(),
            settled: message.settled(),
            holders: message
                .holders
                .iter()
                .map(|h| self.peers[h.peer].name.clone())
                .collect(),
            origin: message.taken_from.as_ref().map(|from| {
                (
                    self.peers[from.peer].name.clone(),
                    from.key.clone(),
                    from.wall,
                )
            }),
        };
        let header = if hold {
            self.restated(sequence, message)
        } else {
            moved()
        };
        let body = message.body.clone();
        let seq = self.append(&header, std::slice::from_ref(&body));
        if let Some(message) = self.messages.get_mut(&sequence) {
            old.append(&mut message.records);
            message.records.push(seq);
        }
    }
}

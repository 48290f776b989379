//! What a node does whose store was salvaged: its database has a new ID, and
//! what is left of the mail of the old one is here *and*, as copies, at peers,
//! which take over when they see a new ID (HB-05). So that nothing is sent
//! twice:
//!
//! * On every session the node says which databases its own one continues.
//! * A message of an old database that some peer may have a copy of waits,
//!   until each such peer has made its inventory with us (PROTOCOL.md, 9), or
//!   until `shadow-resubmit-time-span` and two polls have passed: by then a
//!   peer that lives has taken over, or never will. Rather twice than never:
//!   these are counted as `salvage_unanswered`.
//! * In its inventory a peer names the copies that it has: those that are ours
//!   still it keeps for us, those that we are done with it drops, the others
//!   it takes over, for our record of them is lost.
//! * Of a message that waits and that the peer does not name it can know that
//!   we had told it done: then our record of that is what was lost.
//!
//! All of it stands in one record, SALVAGED, which is replaced when a peer has
//! made its inventory and goes when all have.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::message::{CopyState, LegState, Phase, RecipientState, boot_of, first_sequence};
use super::{PeerId, Queue, Timer};
use crate::config::Place;
use crate::event::EventKind;
use crate::mark::Mark;
use crate::record::{Header, kind};
use crate::store::{DatabaseId, Note, Record, Salvage, Seq};

/// Starts that are left out at a salvage: the records of the last ones may be
/// among the lost, and their sequences must not be used again.
const SKIPPED_BOOTS: u32 = 4096;

/// Longest list of messages that one reply asks about.
const UNSURE: usize = 20;

/// A database that this one continues.
#[derive(Debug)]
pub(crate) struct Predecessor {
    pub(crate) database: DatabaseId,
    /// Sequences below are of this database or an earlier one.
    pub(crate) before: u64,
    wall: u64,
    saved: u64,
    lost: u64,
    /// Peers that have made their inventory.
    pub(crate) counted: BTreeSet<Box<str>>,
    /// Messages of it that are done with.
    settled: BTreeSet<u64>,
    pub(crate) record: Seq,
}

/// What the record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) before: u64,
    pub(crate) wall: u64,
    pub(crate) saved: u64,
    pub(crate) lost: u64,
    pub(crate) counted: Vec<Box<str>>,
    pub(crate) record: Seq,
}

/// What becomes of a copy that a peer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The message is ours: the copy stays one.
    Kept,
    /// We are done with the message.
    Done,
    /// We know nothing of it, or leave it to the peer that took it over.
    Yours,
}

/// The record that a salvage leaves for the node.
///
/// # Errors
/// A record cannot be understood: it is of a later version, and the store must
/// be left as it is.
pub(crate) fn note(
    salvage: &Salvage,
    records: &[Record],
    wall: u64,
) -> Result<Note, (Seq, &'static str)> {
    let mut boot = 0;
    let mut settled = BTreeSet::new();
    for record in records {
        let header = Header::decode(record.kind, &record.header).map_err(|e| (record.seq, e))?;
        let sequence = match &header {
            Header::Boot { number, .. } => {
                boot = boot.max(*number);
                continue;
            }
            Header::Salvaged { before, .. } => *before,
            Header::Message { sequence, .. }
            | Header::Holder { sequence, .. }
            | Header::Progress { sequence, .. }
            | Header::TakenOver { sequence, .. }
            | Header::Moved { sequence, .. } => *sequence,
            Header::Done { sequence, .. } | Header::Withdrawn { sequence, .. } => {
                settled.insert(*sequence);
                *sequence
            }
            Header::Confirmed { sequences, .. } => {
                settled.extend(sequences);
                sequences.iter().copied().max().unwrap_or_default()
            }
            _ => continue,
        };
        boot = boot.max(boot_of(sequence));
    }
    let header = Header::Salvaged {
        predecessor: salvage.predecessor.unwrap_or(DatabaseId(0)),
        before: first_sequence(boot.saturating_add(SKIPPED_BOOTS)),
        wall,
        saved: salvage.saved,
        lost: salvage.lost,
        counted: Vec::new(),
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    Ok(Note {
        kind: kind::SALVAGED,
        header: bytes,
        body: encode_settled(&settled),
    })
}

fn encode_settled(settled: &BTreeSet<u64>) -> Bytes {
    let bytes: Vec<u8> = settled.iter().flat_map(|s| s.to_le_bytes()).collect();
    bytes.into()
}

fn decode_settled(body: &[u8]) -> BTreeSet<u64> {
    let (words, _) = body.as_chunks::<8>();
    words.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

impl Queue {
    /// Restores what the records say of databases before this one; `body` reads
    /// the body of a record.
    pub(crate) fn restore_predecessors<E>(
        &mut self,
        found: BTreeMap<DatabaseId, Found>,
        live: &mut BTreeSet<Seq>,
        body: impl Fn(&Self, Seq) -> Result<Bytes, E>,
    ) -> Result<(), E> {
        for (database, found) in found {
            let settled = decode_settled(&body(self, found.record)?);
            let predecessor = Predecessor {
                database,
                before: found.before,
                wall: found.wall,
                saved: found.saved,
                lost: found.lost,
                counted: found.counted.into_iter().collect(),
                settled,
                record: found.record,
            };
            // The last record of one that is over is released with it.
            if self.outstanding(&predecessor).next().is_some() {
                live.insert(found.record);
                self.predecessors.push(predecessor);
            }
        }
        // The youngest first: it is the one that most copies are bound to.
        self.predecessors
            .sort_by_key(|p| std::cmp::Reverse(p.before));
        if self.predecessors.is_empty() {
            return Ok(());
        }
        let waits: Vec<(u64, Vec<PeerId>)> = self
            .messages
            .iter()
            .map(|(sequence, message)| {
                let holders = message.holders.iter().map(|h| h.peer);
                (
                    *sequence,
                    holders.filter(|h| self.uncounted(*sequence, *h)).collect(),
                )
            })
            .collect();
        for (sequence, peers) in waits {
            if let Some(message) = self.messages.get_mut(&sequence) {
                message.waits_for = peers;
            }
        }
        let grace =
            self.config.shadow_resubmit_time_span + 2 * self.config.shadow_heartbeat_frequency;
        let at = self.later(grace);
        self.timers.insert((at, Timer::Inventory));
        Ok(())
    }

    /// Says what the salvage at this start found.
    pub(crate) fn salvaged(&mut self, salvage: &Salvage) {
        self.mark(Mark::Salvaged);
        self.counters.records_salvaged = salvage.saved;
        self.counters.records_lost = salvage.lost;
        for what in &salvage.damage {
            self.log(EventKind::StoreDamage, None, "", "", what.clone());
        }
        let old = salvage
            .predecessor
            .map_or("of unknown ID".to_owned(), |id| id.to_string());
        let mut lost = String::new();
        for (first, last) in &salvage.ranges {
            lost.push_str(&format!(" {first}-{last}"));
        }
        let files: Vec<String> = salvage
            .quarantined
            .iter()
            .map(ToString::to_string)
            .collect();
        let detail = format!(
            "database {old} salvaged into {}: {} records saved, {} lost{}{lost}; put aside: {}",
            salvage.database,
            salvage.saved,
            salvage.lost,
            if lost.is_empty() { "" } else { ":" },
            files.join(" ")
        );
        self.log(EventKind::StoreDamage, None, "", "", detail);
    }

    /// Configured peers that have not made their inventory of a database.
    fn outstanding<'a>(
        &'a self,
        predecessor: &'a Predecessor,
    ) -> impl Iterator<Item = PeerId> + 'a {
        let named = predecessor.database.0 != 0;
        self.peers
            .iter()
            .enumerate()
            .filter(move |(_, peer)| {
                named
                    && peer.host.is_some()
                    && peer.place != Place::Outside
                    && !predecessor.counted.contains(&peer.name)
            })
            .map(|(at, _)| at)
    }

    /// Whether a peer has yet to say whether it has a copy of this message.
    fn uncounted(&self, sequence: u64, peer: PeerId) -> bool {
        self.predecessors
            .iter()
            .filter(|p| sequence < p.before)
            .any(|p| self.outstanding(p).any(|other| other == peer))
    }

    /// The databases that this one continues, as they are told on sessions:
    /// nothing, or a space and their IDs, separated by commas.
    pub(crate) fn predecessors_claim(&self) -> String {
        let mut claim = String::new();
        for predecessor in &self.predecessors {
            claim.push(if claim.is_empty() { ' ' } else { ',' });
            claim.push_str(&predecessor.database.to_string());
        }
        claim
    }

    /// Has every peer met at once, so that it learns of the new database.
    pub(crate) fn announce_salvage(&mut self) {
        if self.predecessors.is_empty() {
            return;
        }
        let peers: BTreeSet<PeerId> = self
            .predecessors
            .iter()
            .flat_map(|p| self.outstanding(p))
            .collect();
        for peer in peers {
            if let Some(host) = self.peers[peer].host {
                self.hosts[host].poll_due = true;
                self.kick_host(host);
            }
        }
    }

    /// Whether this is a database that ours continues.
    pub(crate) fn continues(&self, database: DatabaseId) -> bool {
        self.predecessors.iter().any(|p| p.database == database)
    }

    /// A peer has copies of these messages of an old database of ours.
    pub(crate) fn copies_found(&mut self, peer: PeerId, sequences: &[u64]) -> Vec<Fate> {
        let fates = sequences.iter().map(|sequence| {
            let Some(message) = self.messages.get_mut(sequence) else {
                let fate = self.fate_of_unknown(peer, *sequence);
                if fate == Fate::Yours {
                    self.mark(Mark::InventoryLost);
                }
                return fate;
            };
            if matches!(message.phase, Phase::Completing | Phase::Withdrawing) {
                return Fate::Done;
            }
            let noted = message.holders.iter().any(|h| h.peer == peer);
            message.add_holder(peer, true);
            if message.copy == CopyState::Failed {
                message.copy = CopyState::Made;
            }
            if !noted {
                self.record_holder(*sequence, peer);
            }
            self.mark(Mark::InventoryKept);
            self.waits_no_longer(*sequence, peer);
            Fate::Kept
        });
        fates.collect()
    }

    fn fate_of_unknown(&mut self, peer: PeerId, sequence: u64) -> Fate {
        let done = self.peers[peer].discards.contains_key(&sequence)
            || self
                .predecessors
                .iter()
                .any(|p| p.settled.contains(&sequence));
        if done {
            self.mark(Mark::InventoryDone);
            Fate::Done
        } else {
            Fate::Yours
        }
    }

    /// A peer has taken these messages over before it knew that we still have
    /// them: they are left to it, unless a session is sending them already.
    pub(crate) fn takeovers_found(&mut self, peer: PeerId, sequences: &[u64]) -> Vec<Fate> {
        let fates = sequences.iter().map(|sequence| {
            let Some(message) = self.messages.get_mut(sequence) else {
                return self.fate_of_unknown(peer, *sequence);
            };
            // It must not be told that the message is done: it is not.
            message.holders.retain(|h| h.peer != peer);
            self.mark(Mark::InventoryCeded);
            self.give_up(*sequence);
            Fate::Yours
        });
        fates.collect()
    }

    /// Messages that wait for this peer, which it has not named.
    pub(crate) fn unsure_of(&self, peer: PeerId) -> Vec<u64> {
        self.messages
            .iter()
            .filter(|(_, message)| message.waits_for.contains(&peer))
            .map(|(sequence, _)| *sequence)
            .take(UNSURE)
            .collect()
    }

    /// The peer has none of the messages `asked`; of those in `gone` it knows
    /// that we had told it done.
    pub(crate) fn copies_missing(&mut self, peer: PeerId, asked: &[u64], gone: &[u64]) {
        for sequence in asked {
            if gone.contains(sequence) {
                self.mark(Mark::InventoryGone);
                self.give_up(*sequence);
            } else {
                self.waits_no_longer(*sequence, peer);
            }
        }
    }

    /// The peer has named everything.
    pub(crate) fn inventory_made(&mut self, peer: PeerId, database: DatabaseId) {
        let name = self.peers[peer].name.clone();
        let Some(at) = self
            .predecessors
            .iter()
            .position(|p| p.database == database)
        else {
            return;
        };
        if !self.predecessors[at].counted.insert(name.clone()) {
            return;
        }
        self.mark(Mark::SalvageWithInventory);
        let detail = format!("inventory of {database} made");
        self.log(EventKind::StoreDamage, None, "", &name, detail);
        self.write_predecessor(at);
        let predecessor = &self.predecessors[at];
        if self.outstanding(predecessor).next().is_none() {
            // It says itself that it is over, and goes with the one before.
            let record = predecessor.record;
            self.store.release(record);
            self.predecessors.remove(at);
        }
    }

    /// Writes the record of a predecessor anew.
    pub(crate) fn write_predecessor(&mut self, at: usize) {
        let predecessor = &self.predecessors[at];
        let header = Header::Salvaged {
            predecessor: predecessor.database,
            before: predecessor.before,
            wall: predecessor.wall,
            saved: predecessor.saved,
            lost: predecessor.lost,
            counted: predecessor.counted.iter().cloned().collect(),
        };
        let body = encode_settled(&predecessor.settled);
        let old = predecessor.record;
        let record = self.append(&header, &[body]);
        self.predecessors[at].record = record;
        self.store.release(old);
    }

    /// A message of an old database is done with: a copy that turns up later
    /// is to be dropped.
    pub(crate) fn note_settled(&mut self, sequence: u64) {
        for predecessor in &mut self.predecessors {
            if sequence < predecessor.before {
                predecessor.settled.insert(sequence);
            }
        }
    }

    /// A message need not wait for this peer any more.
    fn waits_no_longer(&mut self, sequence: u64, peer: PeerId) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        let waited = !message.waits_for.is_empty();
        message.waits_for.retain(|other| *other != peer);
        if waited && message.waits_for.is_empty() {
            self.activate(sequence);
        }
    }

    /// Nobody answers: what still waits is delivered.
    pub(crate) fn inventory_overdue(&mut self) {
        let waiting: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, message)| !message.waits_for.is_empty())
            .map(|(sequence, _)| *sequence)
            .collect();
        for sequence in waiting {
            self.counters.salvage_unanswered += 1;
            self.mark(Mark::InventoryUnanswered);
            let detail = "no inventory of its holder came; delivered all the same".to_owned();
            self.log(EventKind::StoreDamage, Some(sequence), "", "", detail);
            if let Some(message) = self.messages.get_mut(&sequence) {
                message.waits_for.clear();
            }
            self.activate(sequence);
        }
    }

    /// Gives up every recipient of a message that no session works on; what a
    /// session works on now is not tried again.
    fn give_up(&mut self, sequence: u64) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        message.waits_for.clear();
        message.cancelled = true;
        if message.phase != Phase::Active {
            return;
        }
        let busy: BTreeSet<u32> = message
            .legs
            .iter_mut()
            .filter_map(|leg| {
                if leg.state == LegState::InFlight {
                    return Some(leg.recipients.clone());
                }
                leg.state = LegState::Done;
                None
            })
            .flatten()
            .collect();
        for (at, recipient) in (0..).zip(&mut message.recipients) {
            let open = matches!(
                recipient.state,
                RecipientState::Waiting | RecipientState::Failed
            );
            if open && !busy.contains(&at) {
                recipient.state = RecipientState::Closed;
            }
        }
        self.settle(sequence, Vec::new());
    }
}

//! What a holder does whose primary's store was salvaged: before it takes over
//! what is bound to the old database it goes through its copies with the
//! primary ([`super::salvage`] is the other side).
//!
//! HB-05 has copies taken over no later than one poll after a new database is
//! seen; so has this: what the primary has not answered for by then is taken
//! over.

use super::message::Phase;
use super::{PeerId, Queue, Report};
use crate::mark::Mark;
use crate::record::{CopyKey, Header};
use crate::smtp::inventory::Part;
use crate::store::{DatabaseId, Seq};

use super::shadow::LINE;

/// How a holder stands with the inventory of a primary.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    /// The databases that the primary's present one continues.
    pub(crate) chain: Vec<DatabaseId>,
    /// Of these, those whose inventory is made.
    made: Vec<DatabaseId>,
    /// When the rest is taken over; 0 when nothing is to be done.
    pub(crate) due: u64,
}

impl Inventory {
    /// The first database whose inventory is to be made.
    fn next(&self) -> Option<DatabaseId> {
        let open = |database: &&DatabaseId| !self.made.contains(database);
        self.chain.iter().find(open).copied()
    }
}

impl Queue {
    /// A primary says which databases its present one continues.
    pub(crate) fn salvage_announced(&mut self, peer: PeerId, chain: &[DatabaseId]) {
        let due = self.later(self.config.shadow_heartbeat_frequency);
        let inventory = &mut self.peers[peer].inventory;
        if inventory.chain != chain {
            inventory.chain = chain.to_vec();
            inventory.made.retain(|made| chain.contains(made));
        }
        if inventory.next().is_none() {
            inventory.due = 0;
            return;
        }
        if inventory.due == 0 {
            inventory.due = due;
            self.mark(Mark::SalvageSeen);
        }
        if let Some(host) = self.peers[peer].host {
            self.hosts[host].poll_due = true;
            self.kick_host(host);
        }
    }

    /// Whether copies bound to this database wait for an inventory.
    pub(crate) fn awaits_inventory(&self, peer: PeerId, database: DatabaseId) -> bool {
        let inventory = &self.peers[peer].inventory;
        inventory.due != 0 && inventory.chain.contains(&database)
    }

    /// What to name next to this primary, whose present database is `database`:
    /// an old database and some of its messages. None: the inventory is made.
    pub(crate) fn inventory_next(
        &self,
        peer: PeerId,
        database: DatabaseId,
        told: &std::collections::BTreeSet<u64>,
    ) -> Option<(DatabaseId, Part, Vec<u64>)> {
        let entry = &self.peers[peer];
        if entry.database != Some(database) {
            return None;
        }
        let old = entry.inventory.next()?;
        let held = entry.held.iter().filter(|(_, held)| held.durable);
        let held: Vec<u64> = of_database(old, held.map(|(key, _)| key)).collect();
        if !held.is_empty() {
            return Some((old, Part::Held, held));
        }
        let durable = |ours: &u64| {
            let message = self.messages.get(ours);
            message.is_some_and(|message| message.phase != Phase::TakingOver)
        };
        let taken = entry
            .taken
            .iter()
            .filter(|(key, ours)| durable(ours) && !told.contains(&key.sequence));
        let taken: Vec<u64> = of_database(old, taken.map(|(key, _)| key)).collect();
        if !taken.is_empty() {
            return Some((old, Part::Taken, taken));
        }
        Some((old, Part::End, Vec::new()))
    }

    /// The primary's word on copies of its old database. Answers with the
    /// record to wait for before the next word.
    pub(crate) fn copies_sorted(
        &mut self,
        peer: PeerId,
        old: DatabaseId,
        kept: Vec<u64>,
        done: &[u64],
        yours: &[u64],
    ) -> Seq {
        self.rebind(peer, old, kept);
        if !done.is_empty() {
            // Nothing tells any more which of them were refused: nothing of
            // them may be kept for a replay.
            let done: Vec<Report> = done
                .iter()
                .map(|sequence| Report {
                    sequence: *sequence,
                    refused: true,
                })
                .collect();
            self.discard(peer, old, &done);
        }
        if !yours.is_empty() {
            let keys = yours.iter().map(|sequence| CopyKey {
                database: old,
                sequence: *sequence,
            });
            self.take_over(peer, keys.collect(), "its record is lost");
        }
        self.store.appended()
    }

    /// Copies of an old database are copies of the one that continues it.
    fn rebind(&mut self, peer: PeerId, from: DatabaseId, sequences: Vec<u64>) {
        let entry = &mut self.peers[peer];
        let Some(to) = entry.database else { return };
        let mut bound = Vec::new();
        let mut twice = Vec::new();
        for sequence in sequences {
            let old = CopyKey {
                database: from,
                sequence,
            };
            let new = CopyKey {
                database: to,
                sequence,
            };
            if entry.held.contains_key(&new) {
                twice.push(sequence);
            } else if let Some(held) = entry.held.remove(&old) {
                entry.held.insert(new, held);
                bound.push(sequence);
            }
        }
        // The primary had one more made meanwhile.
        if !twice.is_empty() {
            self.remove_held(peer, from, twice, "held twice");
        }
        if bound.is_empty() {
            return;
        }
        let header = Header::Rebound {
            primary: self.peers[peer].name.clone(),
            from,
            to,
            sequences: bound,
        };
        let seq = self.append(&header, &[]);
        // It stands behind the copies in the log, and goes with them.
        self.store.release(seq);
    }

    /// Of these messages of an old database: which of them the primary itself
    /// had told done, or were taken over and settled here.
    pub(crate) fn known_done(&self, peer: PeerId, sequences: &[u64]) -> Vec<u64> {
        let entry = &self.peers[peer];
        let databases = || entry.inventory.chain.iter().chain(&entry.database);
        let done = |sequence: &u64| {
            databases().any(|database| {
                entry.finished.contains(&CopyKey {
                    database: *database,
                    sequence: *sequence,
                })
            })
        };
        sequences.iter().copied().filter(done).collect()
    }

    /// The primary has our inventory of this database, or does not want it.
    pub(crate) fn inventory_told(&mut self, peer: PeerId, old: DatabaseId, wanted: bool) {
        let inventory = &mut self.peers[peer].inventory;
        if !inventory.made.contains(&old) {
            inventory.made.push(old);
        }
        if !wanted {
            inventory.chain.retain(|database| *database != old);
        }
        if inventory.next().is_none() {
            inventory.due = 0;
        }
        // What came in late, or has no place there, is taken over.
        self.take_over_foreign(peer);
    }

    /// The primary has not answered in time.
    pub(crate) fn inventory_late(&mut self, peer: PeerId) {
        let inventory = &mut self.peers[peer].inventory;
        if inventory.due == 0 || inventory.due > self.now.mono {
            return;
        }
        inventory.due = 0;
        self.mark(Mark::InventoryLate);
        self.take_over_foreign(peer);
    }

    /// The database under which something about this message of the peer is
    /// known: `database`, or one that it continues.
    pub(crate) fn binding(&self, peer: PeerId, database: DatabaseId, sequence: u64) -> DatabaseId {
        let entry = &self.peers[peer];
        if entry.database != Some(database) {
            return database;
        }
        let known = |database: &&DatabaseId| {
            let key = CopyKey {
                database: **database,
                sequence,
            };
            entry.held.contains_key(&key) || entry.taken.contains_key(&key)
        };
        let chain = &entry.inventory.chain;
        std::iter::once(&database)
            .chain(chain)
            .find(known)
            .copied()
            .unwrap_or(database)
    }
}

/// The sequences of the first keys of a database, as many as one line takes.
fn of_database<'a>(
    database: DatabaseId,
    keys: impl Iterator<Item = &'a CopyKey>,
) -> impl Iterator<Item = u64> {
    keys.filter(move |key| key.database == database)
        .map(|key| key.sequence)
        .take(LINE)
}

//! Starting from the records that the store kept.
//!
//! Records are read in order; a record about something whose own record is
//! gone already is ignored. A message whose record is durable is delivered,
//! whether or not it was answered before the crash: only a WITHDRAWN record
//! says that it was refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::hold::{Fork, Tracked};
use super::message::{
    CopyState, Holder, LAST_BOOT, Message, Phase, RecipientState, TakenFrom, boot_of,
    first_sequence,
};
use super::salvage;
use super::shadow::Held;
use super::{Host, Mailboxes, Peer, Pressure, Queue, Routes, Waiter};
use crate::config::Place;
use crate::config::TlsPolicy;
use crate::contents::Contents;
use crate::disk::Disk;
use crate::event::EventKind;
use crate::mark::Mark;
use crate::node::{Boot, BootError};
use crate::record::hold::{Hold, Part, Party};
use crate::record::{CopyKey, Envelope, Header, Settled, Tell};
use crate::rng::Rng;
use crate::smtp::auth::ClusterKey;
use crate::store::{DatabaseId, Record, Seq};
use crate::view::Counters;

/// A message while records are read.
struct Found {
    arrival: u64,
    envelope: Envelope,
    /// The record that holds its content.
    content: Seq,
    records: Vec<Seq>,
    settled: BTreeMap<u32, Settled>,
    holders: Vec<Box<str>>,
    origin: Option<(Box<str>, CopyKey, u64)>,
    /// Of the hold model.
    hold: FoundHold,
}

/// What the hold model remembers of a message.
#[derive(Default)]
struct FoundHold {
    tracked: Option<Party>,
    parts: Vec<Part>,
    complete: bool,
    /// The COMPLETE record, if there is one.
    record: Option<Seq>,
    /// The origin is a next hop that took it, and no primary.
    resubmitted: bool,
}

impl Found {
    fn new(arrival: u64, envelope: Envelope, content: Seq) -> Self {
        Self {
            arrival,
            envelope,
            content,
            records: vec![content],
            settled: BTreeMap::new(),
            holders: Vec::new(),
            origin: None,
            hold: FoundHold::default(),
        }
    }
}

/// A copy while records are read.
struct FoundCopy {
    arrival: u64,
    envelope: Envelope,
    record: Seq,
}

/// A notification while records are read: record, peer, our sequence, and
/// whether the message was refused.
type Debt = (Seq, Tell, u64, bool);

#[derive(Default)]
struct State {
    boot: u32,
    messages: BTreeMap<u64, Found>,
    copies: BTreeMap<(Box<str>, CopyKey), FoundCopy>,
    debts: Vec<Debt>,
    /// Deliveries: key and arrival.
    keys: Vec<([u8; 16], u64)>,
    mailbox: BTreeSet<Seq>,
    predecessors: BTreeMap<DatabaseId, salvage::Found>,
    /// Which message is kept for whom under which id.
    kept: BTreeMap<Party, u64>,
    /// Reports, by our sequence: record, and for whom.
    reports: BTreeMap<u64, (Seq, Party)>,
}

impl State {
    fn take(&mut self, seq: Seq, header: Header) {
        match header {
            Header::Boot { number, .. } => self.boot = self.boot.max(number),
            Header::Message {
                sequence,
                arrival,
                envelope,
                about,
                holder,
            } => {
                if let Some(about) = about
                    && let Some(parent) = self.messages.get_mut(&about.sequence)
                {
                    // The log goes oldest first, so this record outlives the
                    // parent's own.
                    let settled = about.recipients.into_iter().map(|at| (at, about.how));
                    parent.settled.extend(settled);
                }
                let holders = if holder.is_empty() {
                    vec![]
                } else {
                    vec![holder]
                };
                let found = Found {
                    holders,
                    ..Found::new(arrival, envelope, seq)
                };
                self.messages.insert(sequence, found);
            }
            Header::Holder { sequence, peer } => {
                if let Some(found) = self.messages.get_mut(&sequence) {
                    found.holders.push(peer);
                    found.records.push(seq);
                }
            }
            Header::Progress { sequence, settled } => {
                if let Some(found) = self.messages.get_mut(&sequence) {
                    found.settled.extend(settled);
                    found.records.push(seq);
                }
            }
            Header::Done { sequence, tell } => self.over(seq, sequence, tell, false),
            Header::Withdrawn { sequence, tell } => self.over(seq, sequence, tell, true),
            Header::Confirmed { peer, sequences } => {
                for sequence in &sequences {
                    let to = |(_, (name, _)): &(Seq, Party)| *name == peer;
                    if self.reports.get(sequence).is_some_and(to) {
                        self.reports.remove(sequence);
                    }
                }
                let confirmed: BTreeSet<u64> = sequences.into_iter().collect();
                self.debts.retain(|(_, to, sequence, _)| {
                    to.peer != peer || !confirmed.contains(sequence)
                });
            }
            Header::Shadow {
                primary,
                key,
                arrival,
                envelope,
            } => {
                self.copies.insert(
                    (primary, key),
                    FoundCopy {
                        arrival,
                        envelope,
                        record: seq,
                    },
                );
            }
            Header::Removed {
                primary,
                database,
                sequences,
            } => {
                for sequence in sequences {
                    self.copies
                        .remove(&(primary.clone(), CopyKey { database, sequence }));
                }
            }
            Header::TakenOver {
                primary,
                key,
                sequence,
                wall,
                without,
            } => {
                if let Some(copy) = self.copies.remove(&(primary.clone(), key.clone())) {
                    let settled = without.into_iter().map(|at| (at, Settled::Failed));
                    let found = Found {
                        records: vec![copy.record, seq],
                        settled: settled.collect(),
                        origin: Some((primary, key, wall)),
                        ..Found::new(copy.arrival, copy.envelope, copy.record)
                    };
                    self.messages.insert(sequence, found);
                }
            }
            Header::Mailbox {
                key,
                arrival,
                settles,
                ..
            } => {
                self.mailbox.insert(seq);
                if key != [0; 16] {
                    self.keys.push((key, arrival));
                }
                if let Some((sequence, at)) = settles
                    && let Some(found) = self.messages.get_mut(&sequence)
                {
                    found.settled.insert(at, Settled::Delivered);
                }
            }
            Header::Moved {
                sequence,
                arrival,
                envelope,
                settled,
                holders,
                origin,
            } => {
                let found = Found {
                    settled: settled.into_iter().collect(),
                    holders,
                    origin,
                    ..Found::new(arrival, envelope, seq)
                };
                self.messages.insert(sequence, found);
            }
            Header::Salvaged {
                predecessor,
                before,
                wall,
                saved,
                lost,
                counted,
            } => {
                self.boot = self.boot.max(boot_of(before).saturating_sub(1));
                let found = salvage::Found {
                    before,
                    wall,
                    saved,
                    lost,
                    counted,
                    record: seq,
                };
                self.predecessors.insert(predecessor, found);
            }
            Header::Rebound {
                primary,
                from,
                to,
                sequences,
            } => {
                for sequence in sequences {
                    let key = |database| (primary.clone(), CopyKey { database, sequence });
                    if let Some(copy) = self.copies.remove(&key(from)) {
                        self.copies.insert(key(to), copy);
                    }
                }
            }
            Header::Hold(hold) => self.hold(seq, hold),
        }
    }

    fn hold(&mut self, seq: Seq, hold: Hold) {
        match hold {
            Hold::Tracked {
                sequence,
                peer,
                key,
            } => {
                if let Some(found) = self.messages.get_mut(&sequence) {
                    found.hold.tracked = Some((peer, key));
                    found.records.push(seq);
                }
            }
            Hold::Kept { sequence, part } => {
                if let Some(found) = self.messages.get_mut(&sequence) {
                    let settled = part.recipients.iter().map(|at| (*at, Settled::Delivered));
                    found.settled.extend(settled);
                    found.records.push(seq);
                    let name = (part.peer.clone(), part.key.clone());
                    self.kept.insert(name, sequence);
                    found.hold.parts.push(part);
                }
            }
            Hold::Complete { sequence, tell } => {
                if let Some(to) = tell {
                    self.reports.insert(sequence, (seq, to));
                }
                if let Some(found) = self.messages.get_mut(&sequence) {
                    found.hold.complete = true;
                    found.hold.record = Some(seq);
                    found.hold.tracked = None;
                }
                self.maybe_over(sequence);
            }
            Hold::Released {
                peer,
                database,
                ids,
            } => {
                for sequence in ids {
                    self.released(peer.clone(), CopyKey { database, sequence });
                }
            }
            Hold::Restated {
                sequence,
                arrival,
                envelope,
                settled,
                tracked,
                parts,
                complete,
                origin,
            } => {
                if let Some(((peer, key), _)) = origin.clone() {
                    self.released(peer, key);
                }
                for part in &parts {
                    self.kept
                        .insert((part.peer.clone(), part.key.clone()), sequence);
                }
                let record = self.messages.get(&sequence).and_then(|f| f.hold.record);
                let found = Found {
                    settled: settled.into_iter().collect(),
                    origin: origin.map(|((peer, key), wall)| (peer, key, wall)),
                    hold: FoundHold {
                        tracked,
                        parts,
                        complete,
                        record,
                        resubmitted: true,
                    },
                    ..Found::new(arrival, envelope, seq)
                };
                self.messages.insert(sequence, found);
            }
        }
    }

    /// What was kept for a next hop under this key is kept no more.
    fn released(&mut self, peer: Box<str>, key: CopyKey) {
        let name = (peer, key);
        if let Some(sequence) = self.kept.remove(&name)
            && let Some(found) = self.messages.get_mut(&sequence)
        {
            let (peer, key) = &name;
            found
                .hold
                .parts
                .retain(|part| part.peer != *peer || part.key != *key);
            self.maybe_over(sequence);
        }
    }

    /// A complete message of which nothing is kept is over.
    fn maybe_over(&mut self, sequence: u64) {
        let over = |found: &Found| found.hold.complete && found.hold.parts.is_empty();
        if self.messages.get(&sequence).is_some_and(over) {
            self.messages.remove(&sequence);
        }
    }

    fn over(&mut self, seq: Seq, sequence: u64, tell: Vec<Tell>, withdrawn: bool) {
        self.messages.remove(&sequence);
        self.debts.retain(|(_, _, about, _)| *about != sequence);
        self.debts.extend(
            tell.into_iter()
                .map(|peer| (seq, peer, sequence, withdrawn)),
        );
    }
}

/// What the records of a store say that its node has.
///
/// # Errors
/// The first record that cannot be understood: its sequence number in the
/// store, and what was expected.
pub(crate) fn contents(records: &[Record]) -> Result<Contents, (u64, &'static str)> {
    let mut state = State::default();
    for record in records {
        let header = Header::decode(record.kind, &record.header).map_err(|e| (record.seq.0, e))?;
        state.take(record.seq, header);
    }
    let told: BTreeSet<Seq> = state.debts.iter().map(|(record, ..)| *record).collect();
    Ok(Contents {
        starts: state.boot,
        messages: state.messages.len() as u64,
        copies: state.copies.len() as u64,
        notifications: told.len() as u64,
        deliveries: state.mailbox.len() as u64,
    })
}

impl Queue {
    /// Builds the queue of a node that starts. The first batch holds the BOOT
    /// record; nothing is answered before it is durable.
    pub(crate) fn recover(boot: Boot, disk: &dyn Disk) -> Result<Self, BootError> {
        let Boot {
            config,
            seed,
            now,
            store,
            records,
        } = boot;
        config.check()?;
        let mut state = State::default();
        let all: Vec<Seq> = records.iter().map(|record| record.seq).collect();
        for record in records {
            let header = Header::decode(record.kind, &record.header).map_err(|expected| {
                BootError::Record {
                    seq: record.seq.0,
                    expected,
                }
            })?;
            state.take(record.seq, header);
        }
        let mut queue = Self::empty(config, seed, now, store);
        if queue.store.torn_tail() {
            queue.mark(Mark::TornTail);
        }
        if queue.store.unreported_batch() {
            queue.mark(Mark::UnreportedBatch);
        }
        queue.boot = state.boot + 1;
        if queue.boot > LAST_BOOT {
            return Err(BootError::Exhausted);
        }
        let salvaged = queue.store.salvage().cloned();
        if let Some(salvaged) = salvaged {
            queue.salvaged(&salvaged);
        }
        queue.next_sequence = first_sequence(queue.boot);
        queue.restore(state, &all, disk)?;
        let header = Header::Boot {
            number: queue.boot,
            wall: now.wall,
        };
        queue.boot_record = queue.append(&header, &[]);
        queue.wait(queue.boot_record, Waiter::Boot);
        Ok(queue)
    }

    fn empty(
        config: crate::Config,
        seed: u64,
        now: crate::Now,
        store: crate::store::Store,
    ) -> Self {
        let mut hosts: Vec<Host> = Vec::new();
        let mut host = |address, tls: TlsPolicy, name: &str| {
            let name = if tls == TlsPolicy::Verified { name } else { "" };
            hosts
                .iter()
                .position(|h| h.address == address && h.tls == tls && *h.tls_name == *name)
                .unwrap_or_else(|| {
                    let mut host = Host::new(address);
                    host.tls = tls;
                    host.tls_name = name.into();
                    hosts.push(host);
                    hosts.len() - 1
                })
        };
        let routes = Routes::new(&config, &mut host);
        let mut peers = Vec::new();
        for peer in &config.peers {
            let mut entry = Peer::new(&peer.name, now.mono);
            entry.host = Some(host(peer.address, peer.tls, &peer.tls_name));
            entry.place = config.place(peer);
            entry.tracks = config.tracks(peer);
            peers.push(entry);
        }
        for (at, peer) in peers.iter().enumerate() {
            if let Some(host) = peer.host {
                hosts[host].peer = Some(at);
            }
        }
        for (at, route) in routes.list.iter().enumerate() {
            for hop in &route.hops {
                if !hosts[*hop].routes.contains(&at) {
                    hosts[*hop].routes.push(at);
                }
            }
        }
        let mut rng = Rng::new(seed);
        #[cfg(feature = "defects")]
        let database = if config.has(crate::defect::Defect::ForgetDatabaseId) {
            crate::store::DatabaseId(u128::from(rng.next()) << 64 | u128::from(rng.next()))
        } else {
            store.database_id()
        };
        #[cfg(not(feature = "defects"))]
        let database = store.database_id();
        let turn = (rng.next() % 1024) as usize;
        Self {
            key: config.cluster_key.as_deref().map(ClusterKey::new),
            config,
            now,
            rng,
            database,
            store,
            boot: 0,
            ready: false,
            draining: false,
            logging: true,
            fatal: None,
            out: Vec::new(),
            actions: VecDeque::new(),
            timers: BTreeSet::new(),
            messages: BTreeMap::new(),
            peers,
            hosts,
            free_hosts: Vec::new(),
            questions_asked: BTreeMap::new(),
            next_query: 1,
            abilities: crate::io::Abilities::default(),
            routes,
            mailboxes: Mailboxes::default(),
            counters: Counters::default(),
            body_bytes: 0,
            level: Pressure::Normal,
            redirected: None,
            waiting: VecDeque::new(),
            deferred: BTreeMap::new(),
            deferred_armed: 0,
            owed: BTreeMap::new(),
            discards_armed: 0,
            answers: BTreeSet::new(),
            answers_armed: 0,
            protect_armed: 0,
            delays_armed: 0,
            started: now.mono,
            boot_record: Seq(0),
            predecessors: Vec::new(),
            moving: false,
            looked_at: 0,
            space_armed: 0,
            next_sequence: 0,
            next_dial: 0,
            turn,
            scratch: Vec::new(),
            date: (u64::MAX, String::new()),
        }
    }

    fn restore(&mut self, state: State, all: &[Seq], disk: &dyn Disk) -> Result<(), BootError> {
        let mut live = state.mailbox;
        let mut completes: BTreeMap<Seq, u32> = BTreeMap::new();
        for (sequence, found) in state.messages {
            if let Some(record) = found.hold.record {
                *completes.entry(record).or_default() += 1;
            }
            let body = self.store.read(disk, found.content)?;
            live.extend(&found.records);
            self.restore_message(sequence, found, body);
        }
        for ((primary, key), copy) in state.copies {
            let body = self.store.read(disk, copy.record)?;
            live.insert(copy.record);
            self.body_bytes += body.len() as u64;
            let peer = self.peer_named(&primary);
            let held = Held {
                record: copy.record,
                arrival: copy.arrival,
                envelope: copy.envelope,
                body,
                durable: true,
                expires: self.copy_expiry_from(copy.arrival),
                asked_at: self.now.mono,
                asked_boot: 0,
            };
            self.peers[peer].held.insert(key, held);
        }
        self.restore_predecessors(state.predecessors, &mut live, |queue, seq| {
            queue.store.read(disk, seq)
        })?;
        let mut debts: BTreeMap<Seq, (u64, bool, Vec<Holder>)> = BTreeMap::new();
        for (record, tell, sequence, withdrawn) in state.debts {
            let peer = self.peer_named(&tell.peer);
            let holder = Holder {
                peer,
                acknowledged: tell.acknowledged,
            };
            let entry = debts
                .entry(record)
                .or_insert((sequence, withdrawn, Vec::new()));
            entry.2.push(holder);
        }
        for (record, (sequence, withdrawn, told)) in debts {
            live.insert(record);
            self.mark(Mark::RecoveredDiscards);
            self.owe(record, sequence, &told, withdrawn);
        }
        for (record, _) in state.reports.values() {
            *completes.entry(*record).or_default() += 1;
        }
        for (record, debts) in completes {
            live.insert(record);
            self.owe_record(record, debts);
        }
        for (sequence, (record, (name, key))) in state.reports {
            let peer = self.peer_named(&name);
            self.mark(Mark::RecoveredDiscards);
            self.owe_report(Tracked { peer, key }, sequence, record);
        }
        let window = self.window();
        for (key, arrival) in state.keys {
            let until = arrival.saturating_add(window);
            if until > self.now.wall {
                self.mailboxes.remember(key, until);
            }
        }
        for seq in all {
            if !live.contains(seq) {
                self.store.release(*seq);
            }
        }
        for peer in 0..self.peers.len() {
            let outside = self.peers[peer].place == Place::Outside;
            if self.config.copies() && !outside {
                self.stay_curious(peer);
            }
            self.arm_peer(peer);
            if self.config.holds() {
                self.peers[peer].hold.curious_until =
                    self.later(self.config.shadow_message_auto_discard_interval);
            }
            self.peers[peer].hold.answered_at = self.now.mono;
            self.arm_heartbeat(peer);
        }
        Ok(())
    }

    fn restore_message(&mut self, sequence: u64, found: Found, body: Bytes) {
        self.body_bytes += body.len() as u64;
        let expires = self.expires_from(found.arrival);
        let mut message = Box::new(Message::new(found.arrival, expires, found.envelope, body));
        message.records = found.records;
        message.local = true;
        if found.settled.values().any(|how| *how != Settled::Delayed) {
            self.mark(Mark::RecoveredPartly);
        }
        message.phase = Phase::Active;
        if self.config.copies() {
            // Who holds a copy is learnt when the holders ask.
            message.copy = CopyState::Failed;
        }
        for (at, how) in found.settled {
            if let Some(recipient) = message.recipients.get_mut(at as usize) {
                match how {
                    Settled::Delivered => recipient.state = RecipientState::Delivered,
                    Settled::Failed => recipient.state = RecipientState::Closed,
                    Settled::Delayed => recipient.delay_told = true,
                }
            }
        }
        for holder in found.holders {
            let peer = self.peer_named(&holder);
            message.add_holder(peer, false);
        }
        if let Some((primary, key, wall)) = found.origin {
            let peer = self.peer_named(&primary);
            message.trace = self.trace(&primary, sequence, &key, wall);
            let held = found.hold.resubmitted;
            let entry = &mut self.peers[peer];
            let taken = if held {
                &mut entry.hold.resubmitted
            } else {
                &mut entry.taken
            };
            if !found.hold.complete {
                taken.insert(key.clone(), sequence);
            }
            self.mark(Mark::RecoveredTakeover);
            message.taken_from = Some(TakenFrom {
                peer,
                key,
                wall,
                held,
            });
        }
        if let Some((name, key)) = found.hold.tracked {
            let peer = self.peer_named(&name);
            self.peers[peer].hold.tracking.insert(key.clone(), sequence);
            message.upstream = Some(Tracked { peer, key });
        }
        for part in found.hold.parts {
            let peer = self.peer_named(&part.peer);
            self.mark(Mark::RecoveredKept);
            let hold = &mut self.peers[peer].hold;
            hold.kept.insert(part.key.clone(), sequence);
            message
                .forks
                .push(Fork::recovered(peer, part, self.now.mono));
        }
        if found.hold.complete {
            message.phase = Phase::Kept;
            message.complete = found.hold.record.unwrap_or(Seq(0));
        }
        self.messages.insert(sequence, message);
    }

    /// Goes on with what was recovered, now that the start is durable.
    pub(crate) fn resume_recovered(&mut self) {
        let sequences: Vec<u64> = self.messages.keys().copied().collect();
        for sequence in sequences {
            let kept = |m: &Box<Message>| m.phase == Phase::Kept;
            if self.messages.get(&sequence).is_some_and(kept) {
                continue;
            }
            self.log(EventKind::Load, Some(sequence), "", "", String::new());
            let Some(message) = self.messages.get(&sequence) else {
                continue;
            };
            // A message that nobody may hold a copy of gets one now.
            if !message.waits_for.is_empty() {
                self.mark(Mark::InventoryAwaited);
                continue;
            }
            if self.config.copies() && message.holders.is_empty() {
                self.mark(Mark::CopyAfterRecovery);
                self.copy_again(sequence);
            }
            self.activate(sequence);
        }
        self.announce_salvage();
        self.arm_protect();
        let peers: Vec<usize> = (0..self.peers.len()).collect();
        self.push(&peers);
    }
}

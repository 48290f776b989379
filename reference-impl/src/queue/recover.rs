//! Starting from the records that the store kept.
//!
//! Records are read in order; a record about something whose own record is
//! gone already is ignored. A message whose record is durable is delivered,
//! whether or not it was answered before the crash: only a WITHDRAWN record
//! says that it was refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::database::Delivery;
use super::hold::{Fork, Tracked};
use super::message::{
    CopyState, Holder, LAST_BOOT, Message, Phase, RecipientState, TakenFrom, boot_of,
    first_sequence,
};
use super::resubmit::{Request, silent_envelope};
use super::safety::{Entry, Replay};
use super::salvage;
use super::shadow::Held;
use super::{Database, Host, Mailboxes, Peer, Pressure, Queue, Routes, Safety, Waiter};
use crate::config::{Place, Role, TlsPolicy};
use crate::contents::Contents;
use crate::disk::Disk;
use crate::event::EventKind;
use crate::mark::Mark;
use crate::node::{Boot, BootError};
use crate::record::hold::{Hold, Part, Party};
use crate::record::{CopyKey, EIGHT_BIT, Envelope, Header, Kept, Resubmit, Settled, Tell};
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
    /// For a replay: what, the request, when, and recipients of it by index.
    replay: Option<(Kept, u64, u64, Vec<u32>)>,
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
            replay: None,
            hold: FoundHold::default(),
        }
    }
}

/// Something in the Safety Net while records are read.
struct FoundKept {
    content: Seq,
    record: Option<Seq>,
    arrival: u64,
    wall: u64,
    envelope: Envelope,
    recipients: Vec<u32>,
    /// For a lost delivery: whose.
    database: Option<Box<str>>,
}

/// A delivery while records are read.
#[derive(Clone)]
struct FoundDelivery {
    database: Box<str>,
    recipient: Box<str>,
    sender: Box<str>,
    delivery: Delivery,
}

impl FoundDelivery {
    /// The same as something that its database has lost.
    fn lost(self, seq: Seq) -> FoundKept {
        FoundKept {
            content: seq,
            record: None,
            arrival: self.delivery.wall,
            wall: self.delivery.wall,
            envelope: silent_envelope(EIGHT_BIT, &self.sender, [&*self.recipient]),
            recipients: vec![0],
            database: Some(self.database),
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
    /// Deliveries, with their databases.
    deliveries: BTreeMap<Seq, FoundDelivery>,
    /// What the Safety Net keeps once it is over, by sequence.
    notes: BTreeMap<u64, (Seq, u64, Vec<u32>)>,
    safety: BTreeMap<Kept, FoundKept>,
    requests: BTreeMap<u64, (Resubmit, Seq)>,
    /// Mounted, the peer that has it instead, the record.
    databases: BTreeMap<Box<str>, (bool, Box<str>, Seq)>,
    since: Option<(u64, Seq)>,
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
                mailbox_database,
                recipient,
                sender,
                key,
                arrival,
                settles,
            } => {
                let delivery = Delivery {
                    wall: arrival,
                    key,
                    queued: settles.is_some(),
                };
                let found = FoundDelivery {
                    database: mailbox_database,
                    recipient,
                    sender,
                    delivery,
                };
                self.deliveries.insert(seq, found);
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
            Header::Database {
                name,
                mounted,
                at,
                as_of,
            } => {
                if let Some(as_of) = as_of {
                    self.lose_after(&name, as_of);
                }
                self.databases.insert(name, (mounted, at, seq));
            }
            Header::Kept {
                what,
                wall,
                recipients,
            } => self.keep(seq, what, wall, recipients),
            Header::Resubmitted {
                sequence,
                what,
                wall,
                request,
                recipients,
            } => self.resubmitted(seq, sequence, (what, request, wall, recipients)),
            Header::Request(request) => {
                self.requests.insert(request.id, (request, seq));
            }
            Header::SafetyNet { since } => self.since = Some((since, seq)),
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

    /// A database lost what was delivered into it after a time.
    fn lose_after(&mut self, name: &str, as_of: u64) {
        let lost: Vec<Seq> = self
            .deliveries
            .iter()
            .filter(|(_, d)| &*d.database == name && d.delivery.wall > as_of)
            .map(|(seq, _)| *seq)
            .collect();
        for seq in lost {
            if let Some(found) = self.deliveries.remove(&seq)
                && !found.delivery.queued
            {
                self.safety.insert(Kept::Lost(seq.0), found.lost(seq));
            }
        }
    }

    /// A message of ours will be kept when it is over; a copy is kept now.
    fn keep(&mut self, seq: Seq, what: Kept, wall: u64, recipients: Vec<u32>) {
        match what {
            Kept::Own(sequence) => {
                if let Some(found) = self.messages.get_mut(&sequence) {
                    found.records.push(seq);
                    self.notes.insert(sequence, (seq, wall, recipients));
                }
            }
            Kept::Copy(primary, key) => {
                if let Some(copy) = self.copies.remove(&(primary.clone(), key.clone())) {
                    let kept = FoundKept {
                        content: copy.record,
                        record: Some(seq),
                        arrival: copy.arrival,
                        wall,
                        envelope: copy.envelope,
                        recipients,
                        database: None,
                    };
                    self.safety.insert(Kept::Copy(primary, key), kept);
                }
            }
            Kept::Lost(_) => {}
        }
    }

    /// Something kept became a message of ours.
    fn resubmitted(&mut self, seq: Seq, sequence: u64, replay: (Kept, u64, u64, Vec<u32>)) {
        let moved;
        let kept = match (self.safety.get(&replay.0), &replay.0) {
            (Some(kept), _) => kept,
            // Of a database that has moved away.
            (None, Kept::Lost(record)) => match self.deliveries.get(&Seq(*record)) {
                Some(found) => {
                    moved = found.clone().lost(Seq(*record));
                    &moved
                }
                None => return,
            },
            (None, _) => return,
        };
        let from = &kept.envelope;
        let recipients = replay.3.iter();
        let chosen = recipients.filter_map(|at| from.recipients.get(*at as usize));
        let envelope = silent_envelope(from.flags, &from.sender, chosen.map(|r| &**r));
        let found = Found {
            arrival: kept.arrival,
            envelope,
            content: kept.content,
            records: vec![seq],
            settled: BTreeMap::new(),
            holders: Vec::new(),
            origin: None,
            replay: Some(replay),
            hold: FoundHold::default(),
        };
        self.messages.insert(sequence, found);
    }

    /// A message that is done goes into the Safety Net, if that was noted.
    fn done(&mut self, sequence: u64, found: Found) {
        let Some((record, wall, recipients)) = self.notes.remove(&sequence) else {
            return;
        };
        if let Some((what, _, _, indices)) = &found.replay
            && let Some(old) = self.safety.get_mut(what)
        {
            // It is kept under its new delivery from now on.
            let again: Vec<u32> = recipients
                .iter()
                .filter_map(|at| indices.get(*at as usize).copied())
                .collect();
            old.recipients.retain(|at| !again.contains(at));
            if old.recipients.is_empty() {
                self.safety.remove(what);
            }
        }
        let kept = FoundKept {
            content: found.content,
            record: Some(record),
            arrival: found.arrival,
            wall,
            envelope: found.envelope,
            recipients,
            database: None,
        };
        self.safety.insert(Kept::Own(sequence), kept);
    }

    fn over(&mut self, seq: Seq, sequence: u64, tell: Vec<Tell>, withdrawn: bool) {
        if let Some(found) = self.messages.remove(&sequence)
            && !withdrawn
        {
            self.done(sequence, found);
        }
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
        deliveries: state.deliveries.len() as u64,
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
            entry.holds = peer.role == Role::Transport;
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
        let databases = match config.role {
            Role::Mailbox => config.databases.iter().map(|n| Database::new(n)).collect(),
            Role::Transport => Vec::new(),
        };
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
            databases,
            safety: Safety::default(),
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
        let mut live: BTreeSet<Seq> = state.deliveries.keys().copied().collect();
        let mut completes: BTreeMap<Seq, u32> = BTreeMap::new();
        for found in state.messages.values() {
            if let Some(record) = found.hold.record {
                *completes.entry(record).or_default() += 1;
            }
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
        self.restore_deliveries(state.deliveries, state.databases, &mut live);
        self.restore_safety_net(state.safety, &mut live);
        for (sequence, found) in state.messages {
            let body = self.store.read(disk, found.content)?;
            live.extend(&found.records);
            live.insert(found.content);
            self.restore_message(sequence, found, body);
        }
        self.restore_predecessors(state.predecessors, &mut live, |queue, seq| {
            queue.store.read(disk, seq)
        })?;
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
        if let Some((since, record)) = state.since {
            self.safety.since = since;
            self.safety.since_record = record;
            live.insert(record);
        }
        self.restore_requests(state.requests, &mut live);
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

    fn restore_deliveries(
        &mut self,
        deliveries: BTreeMap<Seq, FoundDelivery>,
        databases: BTreeMap<Box<str>, (bool, Box<str>, Seq)>,
        live: &mut BTreeSet<Seq>,
    ) {
        let window = self.window();
        for (seq, found) in deliveries {
            let (name, delivery) = (found.database, found.delivery);
            let until = delivery.wall.saturating_add(window);
            if delivery.key != [0; 16] && until > self.now.wall {
                self.mailboxes.remember(delivery.key, until);
            }
            let at = self.databases.iter().position(|d| d.name == name);
            if let Some(at) = at {
                self.databases[at].deliveries.insert(seq, delivery);
            }
        }
        for (name, (mounted, at, record)) in databases {
            let at = self.find_peer(&at);
            if let Some(database) = self.databases.iter_mut().find(|d| d.name == name) {
                database.mounted = mounted;
                database.at = at;
                database.record = record;
                live.insert(record);
            }
        }
    }

    fn restore_safety_net(&mut self, kept: BTreeMap<Kept, FoundKept>, live: &mut BTreeSet<Seq>) {
        for (what, found) in kept {
            let shadow = matches!(what, Kept::Copy(..));
            if shadow && !self.config.shadow_redundancy_enabled {
                // Without shadow redundancy there is no shadow Safety Net.
                continue;
            }
            self.mark(Mark::RecoveredSafetyNet);
            live.insert(found.content);
            live.extend(found.record);
            let entry = Entry {
                content: found.content,
                record: found.record,
                arrival: found.arrival,
                wall: found.wall,
                envelope: found.envelope,
                recipients: found.recipients,
                database: found.database.and_then(|name| self.database_number(&name)),
                until: self.hold_until(found.wall),
            };
            self.keep_entry(what, entry);
        }
    }

    fn restore_requests(
        &mut self,
        requests: BTreeMap<u64, (Resubmit, Seq)>,
        live: &mut BTreeSet<Seq>,
    ) {
        let last = requests.keys().next_back().copied().unwrap_or(0);
        self.safety.next_request = last + 1;
        for (id, (kept, record)) in requests {
            if kept.removed {
                if id == last {
                    self.safety.last_request = Some(record);
                    live.insert(record);
                }
                continue;
            }
            live.insert(record);
            let mut request = Request::new(kept, record, self.now.mono);
            for (sequence, message) in &self.messages {
                if message.replay.as_ref().is_some_and(|r| r.request == id) {
                    request.reopen(*sequence);
                }
            }
            self.safety.requests.insert(id, request);
        }
    }

    fn restore_message(&mut self, sequence: u64, mut found: Found, body: Bytes) {
        self.body_bytes += body.len() as u64;
        let mut from = found.arrival;
        let mut replay = None;
        if let Some((what, request, wall, recipients)) = found.replay.take() {
            if matches!(what, Kept::Lost(_)) {
                if body.is_ascii() {
                    found.envelope.flags &= !EIGHT_BIT;
                }
                if !self.safety.entries.contains_key(&what) {
                    // Its mailbox needs it, too.
                    self.safety.hold_content(found.content);
                }
            }
            from = wall;
            self.safety.hold_content(found.content);
            self.mark(Mark::RecoveredReplay);
            let trace = self.replay_trace(sequence, request, wall);
            let content = found.content;
            replay = Some((
                Replay {
                    what,
                    request,
                    content,
                    recipients,
                },
                trace,
            ));
        }
        let expires = self.expires_from(from);
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
        if let Some((replay, trace)) = replay {
            message.replay = Some(replay);
            message.trace = trace;
        }
        self.messages.insert(sequence, message);
    }

    /// Goes on with what was recovered, now that the start is durable.
    pub(crate) fn resume_recovered(&mut self) {
        self.begin_safety_net();
        self.first_mounts();
        let requests: Vec<u64> = self.safety.requests.keys().copied().collect();
        let sequences: Vec<u64> = self.messages.keys().copied().collect();
        for sequence in sequences {
            let message = self.messages.get(&sequence);
            if message.is_some_and(|m| m.phase == Phase::Kept) {
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
        // Those that this very start made are looked up when they are durable.
        for request in requests {
            if self.safety.requests[&request].record() <= self.store.durable() {
                self.request_durable(request);
            }
        }
        self.early_commands();
    }
}

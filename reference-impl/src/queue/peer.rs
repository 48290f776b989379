//! What the node knows of each other node: contact, polls, and the bookkeeping
//! of both directions.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::heartbeat::Keeping;
use super::shadow::Held;
use super::{HostId, PeerId, Queue, Timer};
use crate::config::Place;
use crate::event::EventKind;
use crate::mark::Mark;
use crate::record::CopyKey;
use crate::store::{DatabaseId, Seq};

/// A notification that waits for a peer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Discard {
    /// The DONE or WITHDRAWN record that holds it.
    pub(crate) record: Seq,
    /// The message was refused.
    pub(crate) withdrawn: bool,
    /// When it is dropped unasked for.
    pub(crate) expires: u64,
    /// When an unconfirmed withdrawal counts as residual.
    pub(crate) residual_at: u64,
    /// It stood in a report before.
    pub(crate) reported: bool,
}

/// Another node.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: Box<str>,
    /// Where it is dialled; none for a name that only the store knows.
    pub(crate) host: Option<HostId>,
    /// Where it stands.
    pub(crate) place: Place,
    /// It is inside the boundary as the hold model sees it.
    pub(crate) tracks: bool,
    /// It may be asked to hold copies.
    pub(crate) holds: bool,
    /// The database and start that it presented last.
    pub(crate) database: Option<DatabaseId>,
    pub(crate) boot: u32,
    /// Last proof of life; the start of this node at first, because how long
    /// a peer was unreachable while we were down cannot be known.
    pub(crate) last_contact: u64,
    pub(crate) reachable: bool,
    /// When the last poll began; polls that hang must not pile up.
    pub(crate) polled_at: u64,
    /// When it answered the last question for discards, or the first copy came
    /// about which it could have been asked. Other contact is proof of life
    /// and no answer: where nodes hold copies for each other there is always
    /// some.
    pub(crate) reported_at: u64,
    /// Questions for discards that it has not answered.
    pub(crate) asking: u32,
    /// Copies held for it.
    pub(crate) held: BTreeMap<CopyKey, Held>,
    /// The copy after which the next question about copies begins; none: at
    /// the first.
    pub(crate) asked_up_to: Option<CopyKey>,
    /// Copies of it that became messages of ours and are not settled yet.
    pub(crate) taken: BTreeMap<CopyKey, u64>,
    /// Until when it is asked for notifications although nothing is held for
    /// it: it may have some since before our start, or come back after a
    /// takeover, or not have heard our confirmation. It keeps them for
    /// `shadow-message-auto-discard-interval`. 0 for not.
    pub(crate) curious_until: u64,
    /// Copies named as done that we did not hold: one that still arrives on
    /// an old connection is refused. Oldest first in the list.
    pub(crate) gone: BTreeSet<CopyKey>,
    pub(crate) gone_order: VecDeque<CopyKey>,
    /// Of these, those that the peer itself had told done, or that were settled
    /// here after a takeover.
    pub(crate) finished: BTreeSet<CopyKey>,
    /// What is known of a salvage of its store.
    pub(crate) inventory: super::inventory::Inventory,
    /// Notifications for it, by our sequence.
    pub(crate) discards: BTreeMap<u64, Discard>,
    /// The subset that is pushed: the peer may not know that it has something
    /// to ask for, or must not be left time to take it over.
    pub(crate) pushed: BTreeSet<u64>,
    /// Copies being made there now.
    pub(crate) copying: u32,
    pub(crate) armed: u64,
    /// It offers to hold copies, as far as is known.
    pub(crate) takes_copies: bool,
    /// The hold model.
    pub(crate) hold: Keeping,
}

/// How many copies that are gone are remembered for each peer.
const GONE_LIMIT: usize = 65_536;

impl Peer {
    pub(crate) fn new(name: &str, now: u64) -> Self {
        Self {
            name: name.into(),
            host: None,
            place: Place::Outside,
            tracks: false,
            holds: true,
            database: None,
            boot: 0,
            last_contact: now,
            reachable: true,
            polled_at: 0,
            reported_at: now,
            asking: 0,
            held: BTreeMap::new(),
            asked_up_to: None,
            taken: BTreeMap::new(),
            curious_until: 0,
            gone: BTreeSet::new(),
            gone_order: VecDeque::new(),
            finished: BTreeSet::new(),
            inventory: super::inventory::Inventory::default(),
            discards: BTreeMap::new(),
            pushed: BTreeSet::new(),
            copying: 0,
            armed: 0,
            takes_copies: true,
            hold: Keeping::default(),
        }
    }

    /// Whether there is anything to learn from this peer.
    pub(crate) fn of_interest(&self) -> bool {
        !self.held.is_empty()
            || !self.taken.is_empty()
            || self.curious_until != 0
            || self.inventory.due != 0
    }

    /// Remembers that this copy must not be taken any more.
    pub(crate) fn note_gone(&mut self, key: CopyKey) {
        if self.gone.insert(key.clone()) {
            self.gone_order.push_back(key);
            if self.gone_order.len() > GONE_LIMIT
                && let Some(oldest) = self.gone_order.pop_front()
            {
                self.gone.remove(&oldest);
                self.finished.remove(&oldest);
            }
        }
    }

    /// Remembers the same of a copy whose message is done with.
    pub(crate) fn note_finished(&mut self, key: CopyKey) {
        self.note_gone(key.clone());
        self.finished.insert(key);
    }
}

/// Nanoseconds before a due timer that could not act goes off again.
const AGAIN: u64 = 20_000_000;

impl Queue {
    /// The peer of this name; names only the store knows are added.
    pub(crate) fn peer_named(&mut self, name: &str) -> PeerId {
        self.find_peer(name).unwrap_or_else(|| {
            self.peers.push(Peer::new(name, self.now.mono));
            self.peers.len() - 1
        })
    }

    /// The peer of this name, if there is one.
    pub(crate) fn find_peer(&self, name: &str) -> Option<PeerId> {
        self.peers
            .iter()
            .position(|peer| peer.name.eq_ignore_ascii_case(name))
    }

    /// An authenticated peer spoke, in either direction: the unreachability
    /// timer starts anew. What it says of its database may trigger a takeover.
    /// `chain` are the databases that its present one continues.
    pub(crate) fn contact(
        &mut self,
        peer: PeerId,
        database: DatabaseId,
        boot: u32,
        chain: &[DatabaseId],
    ) {
        let entry = &mut self.peers[peer];
        entry.last_contact = self.now.mono;
        entry.boot = boot;
        entry.hold.missed = 0;
        if !entry.reachable {
            entry.reachable = true;
            let name = entry.name.to_string();
            self.log(
                EventKind::Heartbeat,
                None,
                "",
                &name,
                "reached again".to_owned(),
            );
        }
        let entry = &mut self.peers[peer];
        let before = entry.database.replace(database);
        if before.is_some_and(|before| before != database) {
            let name = entry.name.to_string();
            let detail = format!("now {database}");
            self.log(EventKind::DatabaseChanged, None, "", &name, detail);
            let kept = before.is_some_and(|before| chain.contains(&before));
            self.holder_lost(peer, kept);
        } else if before.is_none()
            && self.peers[peer]
                .taken
                .keys()
                .any(|k| k.database == database)
        {
            self.mark(Mark::ReturnDuringTakeover);
        }
        self.salvage_announced(peer, chain);
        if before != Some(database) {
            self.reports_void(peer, database);
        }
        self.take_over_foreign(peer);
        self.resubmit_foreign(peer);
        self.arm_peer(peer);
    }

    /// Any sign of life on a session whose peer has said everything before.
    pub(crate) fn heard(&mut self, peer: PeerId) {
        self.peers[peer].last_contact = self.now.mono;
        self.peers[peer].hold.missed = 0;
    }

    /// Has the peer asked until it answers once more, however long that takes.
    pub(crate) fn stay_curious(&mut self, peer: PeerId) {
        self.peers[peer].curious_until =
            self.later(self.config.shadow_message_auto_discard_interval);
    }

    /// Sets the timer for the next poll or takeover.
    pub(crate) fn arm_peer(&mut self, peer: PeerId) {
        let frequency = self.config.shadow_heartbeat_frequency;
        let span = self.config.shadow_resubmit_time_span;
        let entry = &self.peers[peer];
        if !entry.of_interest() && entry.pushed.is_empty() {
            return;
        }
        let after = |from: u64, time: std::time::Duration| {
            from.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
        };
        let poll = after(entry.reported_at.max(entry.polled_at), frequency);
        let mut at = poll;
        if !entry.held.is_empty() {
            at = at.min(after(entry.last_contact, span));
        }
        if entry.inventory.due != 0 {
            at = at.min(entry.inventory.due);
        }
        // A takeover that is due and cannot happen yet (its copies are on
        // their way to the disk) is looked at again after a while, not at once
        // and for ever.
        let at = at.max(self.now.mono.saturating_add(AGAIN));
        let entry = &mut self.peers[peer];
        Self::arm(&mut self.timers, Timer::Peer(peer), at, &mut entry.armed);
    }

    /// A timer of the peer went off: poll it, take its copies over, or
    /// neither if it was heard of meanwhile.
    pub(crate) fn peer_due(&mut self, peer: PeerId) {
        let now = self.now.mono;
        let frequency = self.later(self.config.shadow_heartbeat_frequency) - now;
        let span = self.later(self.config.shadow_resubmit_time_span) - now;
        let entry = &mut self.peers[peer];
        let late = now.saturating_sub(entry.armed);
        entry.armed = 0;
        // A timer that goes off later by more than a poll means that this node
        // stood still itself, and its silence is not the peer's: the peer gets
        // two more polls before its copies are taken over.
        if late > frequency {
            let chance = now
                .saturating_sub(span)
                .saturating_add(frequency.saturating_mul(2));
            entry.last_contact = entry.last_contact.max(chance.min(now));
        }
        if !entry.held.is_empty() && now.saturating_sub(entry.last_contact) >= span {
            self.take_over_all(peer, "unreachable for shadow-resubmit-time-span");
        }
        self.inventory_late(peer);
        self.age_copies(peer);
        let entry = &mut self.peers[peer];
        if entry.curious_until <= now {
            entry.curious_until = 0;
        }
        let last = entry.reported_at.max(entry.polled_at);
        if entry.of_interest() && now.saturating_sub(last) >= frequency {
            entry.polled_at = now;
            match entry.host {
                Some(host) => {
                    // A poll that found no session since the last time is a
                    // failed one.
                    if self.hosts[host].poll_due {
                        self.poll_failed(peer, "no session");
                    }
                    self.hosts[host].poll_due = true;
                    self.kick_host(host);
                }
                None => self.poll_failed(peer, "not configured as a peer any more"),
            }
        }
        if !self.peers[peer].pushed.is_empty() && now.saturating_sub(last) >= frequency {
            self.peers[peer].polled_at = now;
            self.push(&[peer]);
        }
        self.arm_peer(peer);
    }

    /// The server at the address of a peer did not prove to be that peer:
    /// what waits for it fails.
    pub(crate) fn peer_absent(&mut self, host: HostId, why: &str) {
        if std::mem::take(&mut self.hosts[host].poll_due)
            && let Some(peer) = self.hosts[host].peer
        {
            self.poll_failed(peer, why);
        }
        self.hosts[host].withdraw_due = false;
        self.requests_stranded(host, why);
        let stranded = std::mem::take(&mut self.hosts[host].copies);
        for attempt in stranded {
            self.copy_failed(attempt, why, false);
        }
    }

    /// A poll came to nothing.
    pub(crate) fn poll_failed(&mut self, peer: PeerId, why: &str) {
        self.counters.heartbeats_failed += 1;
        let entry = &mut self.peers[peer];
        entry.reachable = false;
        let name = entry.name.to_string();
        self.log(
            EventKind::HeartbeatFail,
            None,
            "",
            &name,
            format!("event 22004: {why}"),
        );
        self.heartbeat_failed(peer);
    }
}

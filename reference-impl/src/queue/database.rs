//! Mailbox databases: which are mounted here, what was delivered into each,
//! and what an older copy of one has not got.
//!
//! A recipient belongs to one database of the organisation, by a stable hash
//! of its address; every node knows their names. A node of role `mailbox`
//! mounts some of them. Mail for one that is not mounted waits in a delivery
//! queue named after it, or goes to the peer where the administrator says that
//! it is mounted.
//!
//! There is no replication here. What stands for a copy that lags is the
//! database itself, mounted as of an earlier time: what was delivered into it
//! later is lost to it, and so is what duplicate detection knew of that. A
//! node that finds no record of a database it is to mount (its store is new)
//! has a copy that never got anything. Both activations issue a resubmit
//! request by themselves.
//!
//! Deliveries are mail: they stay for ever, and so do the segments they lie
//! in. Only keys of duplicate detection are forgotten.

use std::collections::BTreeMap;

use super::mailbox::Key;
use super::message::LegState;
use super::{LOCAL, PeerId, Queue, Waiter};
use crate::admin::AsOf;
use crate::config::Place;
use crate::event::EventKind;
use crate::mark::Mark;
use crate::record::{Header, Kept};
use crate::smtp::address;
use crate::store::Seq;

/// By how much clocks of nodes may differ (and a request reaches further than
/// what was lost), in milliseconds.
const SKEW: u64 = 300_000;

/// One delivery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivery {
    /// Unix milliseconds.
    pub(crate) wall: u64,
    /// Zero when the message has none.
    pub(crate) key: Key,
    /// It came from the queue, whose Safety Net keeps it; else its record is
    /// all there is.
    pub(crate) queued: bool,
}

/// A mailbox database of a mailbox node.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) name: Box<str>,
    pub(crate) mounted: bool,
    /// The peer where it is mounted instead.
    pub(crate) at: Option<PeerId>,
    /// Its last DATABASE record; 0: none yet.
    pub(crate) record: Seq,
    pub(crate) deliveries: BTreeMap<Seq, Delivery>,
}

impl Database {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            mounted: false,
            at: None,
            record: Seq(0),
            deliveries: BTreeMap::new(),
        }
    }
}

impl Queue {
    /// The database of an address; `None` when its mailbox is in none.
    pub(crate) fn database_of(&self, address: &str) -> Option<usize> {
        let domains = &self.config.mailbox_domains;
        let known = self.routes.is_local(address)
            || !domains.is_empty()
                && address::split(address)
                    .1
                    .is_some_and(|d| domains.iter().any(|m| m.eq_ignore_ascii_case(d)));
        known.then(|| {
            let hash = blake3::hash(address.to_lowercase().as_bytes());
            usize::from(hash.as_bytes()[0]) % self.config.databases.len()
        })
    }

    /// The route of a local recipient: its database here, or the peer that
    /// has it.
    pub(crate) fn local_route(&self, address: &str) -> usize {
        let at = self.database_of(address).unwrap_or(0);
        self.database_route(at)
    }

    fn database_route(&self, at: usize) -> usize {
        self.databases
            .get(at)
            .filter(|database| !database.mounted)
            .and_then(|database| database.at)
            .and_then(|peer| self.routes.peers.get(&peer).copied())
            .unwrap_or(LOCAL + at)
    }

    /// Whether mail for this address can be delivered on the spot.
    pub(crate) fn mounted_for(&self, address: &str) -> bool {
        self.database_of(address)
            .and_then(|at| self.databases.get(at))
            .is_some_and(|database| database.mounted)
    }

    /// Notes a delivery.
    pub(crate) fn note_delivery(&mut self, at: usize, record: Seq, delivery: Delivery) {
        if let Some(database) = self.databases.get_mut(at) {
            database.deliveries.insert(record, delivery);
        }
    }

    /// A leg for a database that is not mounted waits.
    pub(crate) fn database_waits(&mut self, sequence: u64, leg: usize) {
        let later = self.later(self.config.mailbox_delivery_queue_retry_interval);
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        let at = later.min(message.expires).max(self.now.mono + 1);
        let entry = &mut message.legs[leg];
        entry.state = LegState::Retry(at);
        entry.attempts = entry.attempts.saturating_add(1);
        let name = self.config.databases[entry.route - LOCAL].clone();
        let why = format!("451 4.3.2 Mailbox database {name} is not mounted");
        for index in &entry.recipients {
            message.recipients[*index as usize].last_error = Some(why.as_str().into());
        }
        self.counters.deferred += entry.recipients.len() as u64;
        self.deferred.insert((at, sequence, leg), entry.route);
        self.mark(Mark::DatabaseAway);
        self.log(EventKind::Defer, Some(sequence), "", "", why);
        Self::arm(
            &mut self.timers,
            super::Timer::Deferred,
            at,
            &mut self.deferred_armed,
        );
    }

    /// The next attempt of a leg into a mailbox has come.
    pub(crate) fn retry_local(&mut self, sequence: u64, leg: usize) {
        let now = self.now.mono;
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        if message.expires <= now {
            return self.expire(sequence, leg);
        }
        let database = message.legs[leg].route - LOCAL;
        let route = self.database_route(database);
        if route >= LOCAL {
            return self.mailbox_leg(sequence, leg);
        }
        if let Some(message) = self.messages.get_mut(&sequence) {
            message.legs[leg].route = route;
            message.legs[leg].state = LegState::Ready;
        }
        self.routes.list[route].ready.push_back((sequence, leg));
        self.kick_route(route);
    }

    /// Has everything that waits for a database tried again.
    fn kick_database(&mut self, at: usize) {
        let mut legs = Vec::new();
        for (sequence, message) in &self.messages {
            for (leg, entry) in message.legs.iter().enumerate() {
                if entry.route == LOCAL + at
                    && let LegState::Retry(at) = entry.state
                {
                    legs.push((at, *sequence, leg));
                }
            }
        }
        for waiting in legs {
            self.deferred.remove(&waiting);
            self.retry_local(waiting.1, waiting.2);
        }
    }

    /// The databases that the store says nothing of are mounted as configured.
    /// One without any delivery is a copy that never got anything.
    pub(crate) fn first_mounts(&mut self) {
        for at in 0..self.databases.len() {
            if self.databases[at].record != Seq(0) {
                continue;
            }
            let name = self.databases[at].name.to_string();
            let wanted = self.config.mounted_databases.as_ref();
            let mounted = wanted.is_none_or(|names| names.contains(&name));
            self.databases[at].mounted = mounted;
            self.record_database(at, None);
            if mounted && self.databases[at].deliveries.is_empty() {
                let hold = self.config.safety_net_hold().as_millis() as u64;
                let now = self.now.wall;
                self.request_after_mount(&name, now.saturating_sub(hold), now);
            }
        }
    }

    fn record_database(&mut self, at: usize, as_of: Option<u64>) {
        let old = self.append_database(at, as_of);
        // It stands before what follows it, so whatever it took away goes
        // first.
        self.store.release(old);
    }

    /// Writes a database's state again; answers with the old record.
    pub(crate) fn move_database(&mut self, at: usize) -> Seq {
        self.append_database(at, None)
    }

    fn append_database(&mut self, at: usize, as_of: Option<u64>) -> Seq {
        let database = &self.databases[at];
        let header = Header::Database {
            name: database.name.clone(),
            mounted: database.mounted,
            at: database.at.map_or("", |peer| &self.peers[peer].name).into(),
            as_of,
        };
        let old = database.record;
        let record = self.append(&header, &[]);
        self.databases[at].record = record;
        old
    }

    /// Mounts a database; answers with the request that follows, if any.
    pub(crate) fn mount(&mut self, name: &str, as_of: AsOf) -> Result<Option<u64>, String> {
        let at = self.find_database(name)?;
        let now = self.now.wall;
        let ago = |lag: std::time::Duration| now.saturating_sub(lag.as_millis() as u64);
        let time = match as_of {
            AsOf::Now => None,
            AsOf::Time(time) if time > now => {
                return Err("expected a time in the past after as-of=".to_owned());
            }
            AsOf::Time(time) => Some(time),
            AsOf::Lag(lag) => Some(ago(lag)),
            AsOf::Lagged => Some(ago(self.config.replay_lag_time)),
        };
        if self.databases[at].mounted {
            return Err(format!("the database {name} is mounted already"));
        }
        if let Some(time) = time {
            self.lose_after(at, time);
        }
        self.databases[at].mounted = true;
        self.databases[at].at = None;
        self.record_database(at, time);
        self.mark(Mark::DatabaseMounted);
        let detail = match time {
            Some(time) => format!("{name} as of {time}"),
            None => name.to_owned(),
        };
        self.log(EventKind::Mount, None, "", "", detail);
        let request = time.and_then(|time| {
            if now.saturating_sub(time) > self.config.safety_net_hold().as_millis() as u64 {
                self.log(
                    EventKind::Warning,
                    None,
                    "",
                    "",
                    format!("{name} is mounted as of a time before safety-net-hold-time"),
                );
            }
            self.request_after_mount(name, time, now)
        });
        self.kick_database(at);
        Ok(request)
    }

    /// Dismounts a database.
    pub(crate) fn dismount(&mut self, name: &str, to: Option<&str>) -> Result<(), String> {
        let at = self.find_database(name)?;
        let to = match to {
            None => None,
            Some(peer) => Some(
                self.find_peer(peer)
                    .filter(|peer| self.routes.peers.contains_key(peer))
                    .ok_or_else(|| format!("expected a peer of role mailbox, not {peer}"))?,
            ),
        };
        if !self.databases[at].mounted && self.databases[at].at == to {
            return Err(format!("the database {name} is not mounted"));
        }
        self.databases[at].mounted = false;
        self.databases[at].at = to;
        self.record_database(at, None);
        self.log(EventKind::Dismount, None, "", "", name.to_owned());
        if to.is_some() {
            self.kick_database(at);
        }
        Ok(())
    }

    fn find_database(&self, name: &str) -> Result<usize, String> {
        let found = self.databases.iter().position(|d| &*d.name == name);
        found.ok_or_else(|| format!("this node has no mailbox database {name}"))
    }

    /// A database loses what was delivered into it after a time. What came
    /// from no queue is kept in the Safety Net from now on.
    fn lose_after(&mut self, at: usize, time: u64) {
        let lost: Vec<(Seq, Delivery)> = self.databases[at]
            .deliveries
            .iter()
            .filter(|(_, delivery)| delivery.wall > time)
            .map(|(seq, delivery)| (*seq, *delivery))
            .collect();
        for (seq, delivery) in lost {
            self.databases[at].deliveries.remove(&seq);
            self.mailboxes.forget(&delivery.key);
            self.mark(Mark::DeliveryLost);
            self.counters.mailbox_lost += 1;
            if delivery.queued {
                self.store.release(seq);
            } else {
                self.keep_lost(seq, at, delivery.wall);
            }
        }
    }

    /// The request that follows a mount by itself.
    fn request_after_mount(&mut self, name: &str, start: u64, end: u64) -> Option<u64> {
        let own = self
            .safety
            .entries
            .keys()
            .any(|what| matches!(what, Kept::Lost(_)));
        let outside = |peer: &super::Peer| peer.place == Place::Outside;
        if !own && self.peers.iter().all(outside) {
            return None;
        }
        let start = start.saturating_sub(SKEW);
        Some(self.request(name, start, end.saturating_add(SKEW), "", "", &[]))
    }

    /// Answers when everything appended so far is durable.
    pub(crate) fn answer_admin(&mut self, ticket: u64, answer: String) {
        self.wait(self.store.appended(), Waiter::Admin(ticket, answer));
    }
}

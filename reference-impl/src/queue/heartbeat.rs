//! The hold model's heartbeat: asking next hops for what they have reported
//! done, and resubmitting what they will not do.
//!
//! A next hop is asked at the end of every session with it, and when it was
//! not asked for `shadow-heartbeat-timeout-interval`. An attempt that comes to
//! nothing is a time-out; any word of the authenticated peer sets their number
//! back to none. After `shadow-heartbeat-retry-count` in a row the peer counts
//! as failed: each fork that it took is resubmitted *if another route exists*,
//! that is if the route of its recipients has a next hop that is not down (or
//! ends in a mailbox here). Otherwise the shadow stays: it expires with nobody,
//! no DSN is made of it, and every further time-out looks again.
//!
//! A next hop that comes back with another database has lost what it took:
//! every fork bound to the old one is resubmitted at once, to the same server
//! if that is where the route leads. One that comes back with its database has
//! its own queue; it delivers and reports.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::hold::Fork;
use super::message::{Message, Phase, TakenFrom};
use super::track::Report;
use super::{LOCAL, PeerId, Queue, Timer, Waiter};
use crate::event::EventKind;
use crate::mark::Mark;
use crate::record::CopyKey;

/// What the hold model knows of a peer, in both directions.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    /// Forks that it took: the message of ours.
    pub(crate) kept: BTreeMap<CopyKey, u64>,
    /// Forks that it took and that became messages of ours again, not settled
    /// yet.
    pub(crate) resubmitted: BTreeMap<CopyKey, u64>,
    /// Until when it is asked although nothing is kept for it; 0 for not. See
    /// [`Peer::curious_until`](super::Peer).
    pub(crate) curious_until: u64,
    /// When it last answered a question for discards, or the first fork came
    /// about which it could have been asked.
    pub(crate) answered_at: u64,
    /// When the last heartbeat began, and whether it is still open.
    tried_at: u64,
    trying: bool,
    /// Time-outs in a row.
    pub(crate) missed: u32,
    armed: u64,
    /// The fork after which the next question begins; none: at the first.
    pub(crate) asked_up_to: Option<CopyKey>,
    /// Messages of ours whose shadows it keeps.
    pub(crate) tracking: BTreeMap<CopyKey, u64>,
    /// Reports for it.
    pub(crate) reports: BTreeMap<CopyKey, Report>,
}

impl Queue {
    /// Sets the timer for the next heartbeat.
    pub(crate) fn arm_heartbeat(&mut self, peer: PeerId) {
        let entry = &self.peers[peer];
        if !entry.keeps_us_asking() {
            return;
        }
        let at = self.heartbeat_due_at(peer).max(self.now.mono + 1);
        let entry = &mut self.peers[peer].hold;
        Self::arm(
            &mut self.timers,
            Timer::Heartbeat(peer),
            at,
            &mut entry.armed,
        );
    }

    fn heartbeat_due_at(&self, peer: PeerId) -> u64 {
        let interval = self.later(self.config.shadow_heartbeat_timeout_interval) - self.now.mono;
        let hold = &self.peers[peer].hold;
        hold.answered_at.max(hold.tried_at).saturating_add(interval)
    }

    /// The timer of a heartbeat went off.
    pub(crate) fn heartbeat_due(&mut self, peer: PeerId) {
        self.peers[peer].hold.armed = 0;
        let now = self.now.mono;
        let hold = &mut self.peers[peer].hold;
        if hold.curious_until <= now {
            hold.curious_until = 0;
        }
        if !self.peers[peer].keeps_us_asking() {
            return;
        }
        if self.heartbeat_due_at(peer) > now {
            return self.arm_heartbeat(peer);
        }
        // The last one never came to an end.
        if self.peers[peer].hold.trying {
            self.poll_failed(peer, "no answer");
        }
        let entry = &mut self.peers[peer];
        entry.hold.tried_at = now;
        entry.hold.trying = true;
        match entry.host {
            Some(host) => {
                self.hosts[host].poll_due = true;
                self.kick_host(host);
            }
            None => self.poll_failed(peer, "not configured as a peer any more"),
        }
        self.arm_heartbeat(peer);
    }

    /// A poll came to nothing: one more time-out, if it was a heartbeat.
    pub(crate) fn heartbeat_failed(&mut self, peer: PeerId) {
        let hold = &mut self.peers[peer].hold;
        if !std::mem::take(&mut hold.trying) {
            return;
        }
        hold.missed = hold.missed.saturating_add(1);
        if hold.missed >= u32::from(self.config.shadow_heartbeat_retry_count) {
            self.next_hop_failed(peer);
        }
    }

    /// A next hop answered the question for discards.
    pub(crate) fn heartbeat_answered(&mut self, peer: PeerId) {
        let now = self.now.mono;
        let hold = &mut self.peers[peer].hold;
        hold.trying = false;
        hold.missed = 0;
        hold.answered_at = now;
        hold.curious_until = 0;
        self.arm_heartbeat(peer);
    }

    /// A next hop counts as failed: what it took is resubmitted where another
    /// route exists.
    fn next_hop_failed(&mut self, peer: PeerId) {
        let keys: Vec<CopyKey> = self.peers[peer].hold.kept.keys().cloned().collect();
        if keys.is_empty() {
            return;
        }
        let (go, stay): (Vec<CopyKey>, Vec<CopyKey>) = keys
            .into_iter()
            .partition(|key| self.other_route(peer, key));
        if !stay.is_empty() {
            self.mark(Mark::FailedWithoutRoute);
            let name = self.peers[peer].name.to_string();
            let detail = format!("failed; {} shadows stay: no other route", stay.len());
            self.log(EventKind::HeartbeatFail, None, "", &name, detail);
        }
        if !go.is_empty() {
            self.mark(Mark::ResubmitBySilence);
            self.resubmit(peer, go, "its next hop counts as failed");
        }
    }

    /// Whether what `peer` took under `key` can go another way.
    fn other_route(&self, peer: PeerId, key: &CopyKey) -> bool {
        let Some((message, fork)) = self.fork(peer, key) else {
            return false;
        };
        let now = self.now.mono;
        fork.recipients.iter().all(|at| {
            let address = &message.envelope.recipients[*at as usize];
            match self.routes.queue_of(address) {
                None => false,
                Some(LOCAL) => true,
                Some(route) => self.routes.list[route].hops.iter().any(|hop| {
                    Some(*hop) != self.peers[peer].host && self.hosts[*hop].down_until <= now
                }),
            }
        })
    }

    fn fork(&self, peer: PeerId, key: &CopyKey) -> Option<(&Message, &Fork)> {
        let sequence = self.peers[peer].hold.kept.get(key)?;
        let message = self.messages.get(sequence)?;
        let fork = message
            .forks
            .iter()
            .find(|fork| fork.peer == peer && fork.key == *key)?;
        Some((message, fork))
    }

    /// Resubmits what is bound to another database than the peer has now.
    pub(crate) fn resubmit_foreign(&mut self, peer: PeerId) {
        let Some(database) = self.peers[peer].database else {
            return;
        };
        // They are in the order of their databases.
        let kept = &self.peers[peer].hold.kept;
        let ends = [kept.first_key_value(), kept.last_key_value()];
        let own = |(key, _): (&CopyKey, _)| key.database == database;
        if ends.into_iter().flatten().all(own) {
            return;
        }
        let keys: Vec<CopyKey> = kept
            .keys()
            .filter(|key| key.database != database)
            .cloned()
            .collect();
        if !keys.is_empty() {
            self.mark(Mark::ResubmitByDatabase);
            self.resubmit(peer, keys, "its next hop has another database now");
        }
    }

    /// Makes messages of ours of forks; each is delivered when that is
    /// durable.
    fn resubmit(&mut self, peer: PeerId, keys: Vec<CopyKey>, why: &str) {
        let server = self.peers[peer].name.to_string();
        self.peers[peer].hold.curious_until =
            self.later(self.config.shadow_message_auto_discard_interval);
        for key in keys {
            let Some((old, fork)) = self.fork(peer, &key) else {
                continue;
            };
            let envelope = old.envelope.part(&fork.recipients);
            let body = if old.trace.is_empty() {
                old.body.clone()
            } else {
                Bytes::from([old.trace.as_ref(), old.body.as_ref()].concat())
            };
            let arrival = old.arrival;
            let partly = old.forks.len() > 1 || old.phase == Phase::Active;
            let sequence = self.sequence();
            let wall = self.now.wall;
            let expires = self.expires_from(arrival);
            let mut message = Box::new(Message::new(arrival, expires, envelope, body));
            message.phase = Phase::TakingOver;
            message.local = true;
            message.trace = self.trace(&server, sequence, &key, wall);
            message.taken_from = Some(TakenFrom {
                peer,
                key: key.clone(),
                wall,
                held: true,
            });
            let header = self.restated(sequence, &message);
            let seq = self.append(&header, std::slice::from_ref(&message.body));
            message.records.push(seq);
            self.body_bytes += message.body.len() as u64;
            self.messages.insert(sequence, message);
            // The record says that the shadow is gone.
            self.forget_fork(peer, &key);
            self.peers[peer].hold.resubmitted.insert(key, sequence);
            self.counters.shadows_taken_over += 1;
            if partly {
                self.mark(Mark::ForkResubmitted);
            }
            self.log(
                EventKind::Resubmit,
                Some(sequence),
                "",
                &server,
                why.to_owned(),
            );
            self.wait(seq, Waiter::TakenOver(sequence));
        }
        self.arm_heartbeat(peer);
    }
}

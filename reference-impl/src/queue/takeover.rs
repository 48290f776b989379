//! Taking over: copies of a lost primary become messages of ours.
//!
//! It happens when the primary was unreachable for `shadow-resubmit-time-span`
//! (counted from the last contact, or from our own start if that is later), or
//! at once when it presents another database ID. Only copies bound to it, or
//! to its old database, are concerned. The promotion is durable before the
//! first attempt; the message is categorised from the start and another copy
//! is made meanwhile.
//!
//! An old primary that comes back with its database may report a message done
//! that we resubmitted. Recipients that are not being sent at that moment are
//! then dropped: the primary settled them all. An attempt under way ends as it
//! ends, and is the last one.

use bytes::Bytes;

use super::message::{CopyState, Message, Phase, RecipientState, TakenFrom};
use super::{PeerId, Queue, Waiter, name_of};
use crate::date::Date;
use crate::event::EventKind;
use crate::mark::Mark;
use crate::record::{CopyKey, Header};

impl Queue {
    /// Takes over everything held for `peer`.
    pub(crate) fn take_over_all(&mut self, peer: PeerId, why: &str) {
        let entry = &self.peers[peer];
        let (unheard, asking) = (entry.database.is_none(), entry.asking > 0);
        let keys: Vec<CopyKey> = entry.held.keys().cloned().collect();
        if self.take_over(peer, keys, why) == 0 {
            return;
        }
        self.mark(Mark::TakeoverBySilence);
        if unheard {
            self.mark(Mark::TakeoverAfterOwnStart);
        }
        if asking {
            self.mark(Mark::TakeoverDuringReport);
        }
    }

    /// Takes over what is bound to another database than the peer has now.
    pub(crate) fn take_over_foreign(&mut self, peer: PeerId) {
        let entry = &self.peers[peer];
        let Some(database) = entry.database else {
            return;
        };
        // They are in the order of their databases.
        let ends = [entry.held.first_key_value(), entry.held.last_key_value()];
        let own = |(key, _): (&CopyKey, _)| key.database == database;
        let simple = entry.inventory.chain.is_empty();
        if simple && ends.into_iter().flatten().all(own) {
            return;
        }
        let waits = |key: &CopyKey| self.awaits_inventory(peer, key.database);
        let keys: Vec<CopyKey> = entry
            .held
            .iter()
            .filter(|(key, held)| key.database != database && held.durable && !waits(key))
            .map(|(key, _)| key.clone())
            .collect();
        if !keys.is_empty() && self.take_over(peer, keys, "its database is another one now") > 0 {
            self.mark(Mark::TakeoverByDatabase);
        }
    }

    /// Promotes copies; answers with how many. Those not durable yet are left
    /// to their primary.
    pub(crate) fn take_over(&mut self, peer: PeerId, keys: Vec<CopyKey>, why: &str) -> usize {
        #[cfg(feature = "defects")]
        if self.config.has(crate::defect::Defect::NeverTakeOver) {
            return 0;
        }
        let server = self.peers[peer].name.to_string();
        self.stay_curious(peer);
        let mut promoted = 0;
        for key in keys {
            let entry = &mut self.peers[peer].held;
            if !entry.get(&key).is_some_and(|held| held.durable) {
                self.mark(Mark::TakeoverSparesCopy);
                continue;
            }
            let Some(held) = entry.remove(&key) else {
                continue;
            };
            let sequence = self.sequence();
            let wall = self.now.wall;
            #[cfg(feature = "defects")]
            let without = match held.envelope.recipients.len() as u32 {
                n if n > 1
                    && self
                        .config
                        .has(crate::defect::Defect::TakeoverForgetsRecipient) =>
                {
                    vec![n - 1]
                }
                _ => Vec::new(),
            };
            #[cfg(not(feature = "defects"))]
            let without = Vec::new();
            let header = Header::TakenOver {
                primary: self.peers[peer].name.clone(),
                key: key.clone(),
                sequence,
                wall,
                without: without.clone(),
            };
            let seq = self.append(&header, &[]);
            let expires = self.expires_from(held.arrival);
            let mut message = Box::new(Message::new(
                held.arrival,
                expires,
                held.envelope,
                held.body,
            ));
            for at in without {
                message.recipients[at as usize].state = RecipientState::Closed;
            }
            message.phase = Phase::TakingOver;
            message.local = true;
            message.records = vec![held.record, seq];
            message.trace = self.trace(&server, sequence, &key, wall);
            message.taken_from = Some(TakenFrom {
                peer,
                key: key.clone(),
                wall,
                held: false,
            });
            self.messages.insert(sequence, message);
            self.peers[peer].taken.insert(key, sequence);
            self.counters.shadows_taken_over += 1;
            self.log(
                EventKind::Resubmit,
                Some(sequence),
                "",
                &server,
                why.to_owned(),
            );
            self.wait(seq, Waiter::TakenOver(sequence));
            promoted += 1;
        }
        self.arm_peer(peer);
        promoted
    }

    /// When a message of this first acceptance is returned.
    pub(crate) fn expires_from(&self, arrival: u64) -> u64 {
        let age = std::time::Duration::from_millis(self.now.wall.saturating_sub(arrival));
        self.later(self.config.message_expiration_timeout.saturating_sub(age))
    }

    /// The trace field of a message taken over.
    pub(crate) fn trace(&self, server: &str, sequence: u64, key: &CopyKey, wall: u64) -> Bytes {
        Bytes::from(format!(
            "Received: by {} with ShadowRedundancy id {}\r\n\
             \t(taken over from {server}, database {}, message {});\r\n\
             \t{}\r\n",
            self.config.name,
            name_of(sequence),
            key.database,
            name_of(key.sequence),
            Date(wall)
        ))
    }

    /// A promotion is durable: the message is delivered, and protected anew.
    pub(crate) fn taken_over(&mut self, sequence: u64) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        message.phase = Phase::Active;
        let cancelled = message.cancelled;
        if cancelled {
            self.activate(sequence);
            self.drop_waiting(sequence);
            self.settle(sequence, Vec::new());
            return;
        }
        if self.config.copies() {
            message.copy = CopyState::Failed;
            self.arm_protect();
            self.copy_again(sequence);
        }
        self.activate(sequence);
    }

    /// The old primary is done with a message that we took over.
    pub(crate) fn cancel(&mut self, sequence: u64, peer: PeerId) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        if std::mem::replace(&mut message.cancelled, true) {
            return;
        }
        let active = message.phase == Phase::Active;
        let mark = match message.phase {
            Phase::TakingOver => Mark::DiscardDuringPromotion,
            _ if message.in_flight() => Mark::DiscardDuringDelivery,
            _ => Mark::DiscardAfterTakeover,
        };
        self.mark(mark);
        let server = self.peers[peer].name.to_string();
        let detail = "after takeover; not tried again".to_owned();
        self.log(EventKind::HaDiscard, Some(sequence), "", &server, detail);
        if active {
            self.drop_waiting(sequence);
            self.settle(sequence, Vec::new());
        }
    }
}

//! Promotion (hold model): a message that would be acknowledged unverified is
//! relayed to another transport server of the site, which becomes its primary;
//! what stays here is the shadow.
//!
//! Only mail of senders without shadow support is ever waited for, so only
//! that is promoted: what a peer relays to us is tracked, and goes no further
//! round. A message is promoted once, and never to a server that its own
//! routes lead to. What is being sent to its next hop at that moment is not
//! taken back, and is acknowledged unverified. Where no server takes it within
//! `shadow-attempt-timeout`, the message goes back into its queues and is
//! accepted plainly.

use super::message::{Leg, LegState, Phase};
use super::{LOCAL, PeerId, Queue};
use crate::config::Place;
use crate::event::EventKind;
use crate::mark::Mark;

/// Where the promotion of a message stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Promotion {
    /// Peers asked, in order.
    asked: Vec<PeerId>,
    /// No further peer is asked after this time.
    deadline: u64,
    /// It is over, for good or bad.
    over: bool,
}

impl Queue {
    /// Begins to relay what waits of a message to another transport server;
    /// false when that cannot be, or is over.
    pub(crate) fn promote(&mut self, sequence: u64) -> bool {
        let Some(message) = self.messages.get(&sequence) else {
            return false;
        };
        if message.promotion.is_some() {
            // It takes too long: the sender waits no more, but it goes on.
            return false;
        }
        let waits = |leg: &Leg| {
            leg.route < LOCAL
                && matches!(
                    leg.state,
                    LegState::Ready | LegState::Retry(_) | LegState::Recording
                )
        };
        let legs: Vec<usize> = (0..message.legs.len())
            .filter(|at| waits(&message.legs[*at]))
            .collect();
        if legs.len()
            < message
                .legs
                .iter()
                .filter(|l| l.state != LegState::Done)
                .count()
        {
            self.mark(Mark::PromotionLeavesPart);
        }
        let Some(message) = self.messages.get(&sequence) else {
            return false;
        };
        let recipients: Vec<u32> = legs
            .iter()
            .flat_map(|at| message.legs[*at].recipients.iter().copied())
            .filter(|at| message.waits(*at))
            .collect();
        if recipients.is_empty() {
            return false;
        }
        let Some(peer) = self.promotion_peer(sequence, &[]) else {
            self.mark(Mark::PromotionWithoutPeer);
            return false;
        };
        let deadline = self.later(self.config.shadow_attempt_timeout);
        let mut left = Vec::new();
        if let Some(message) = self.messages.get_mut(&sequence) {
            message.promotion = Some(Promotion {
                asked: Vec::new(),
                deadline,
                over: false,
            });
            for at in legs {
                let leg = &mut message.legs[at];
                let state = std::mem::replace(&mut leg.state, LegState::Done);
                left.push((leg.route, at, state));
            }
        }
        for (route, leg, state) in left {
            let entry = &mut self.routes.list[route];
            entry.ready.retain(|entry| *entry != (sequence, leg));
            if let LegState::Retry(at) = state
                && self.deferred.remove(&(at, sequence, leg)).is_some()
            {
                entry.put_off = entry.put_off.saturating_sub(1);
            }
        }
        self.answer_at(sequence, deadline);
        self.promote_to(sequence, peer, recipients);
        true
    }

    /// The peer to relay a message to next: one that can be dialled, that its
    /// routes do not lead to and that was not asked.
    fn promotion_peer(&mut self, sequence: u64, asked: &[PeerId]) -> Option<PeerId> {
        let message = self.messages.get(&sequence)?;
        let routes: Vec<usize> = message
            .envelope
            .recipients
            .iter()
            .filter_map(|address| self.routes.queue_of(address))
            .filter(|route| *route != LOCAL)
            .collect();
        self.turn = self.turn.wrapping_add(1);
        let (turn, count, now) = (self.turn, self.peers.len(), self.now.mono);
        let leads_to = |host| {
            routes
                .iter()
                .any(|route| self.routes.list[*route].hops.contains(&host))
        };
        (0..count)
            .filter(|at| !asked.contains(at))
            .filter(|at| self.routes.promotion(*at).is_some())
            .filter(|at| self.peers[*at].place == Place::Local && self.peers[*at].tracks)
            .filter_map(|at| Some((at, self.peers[at].host?)))
            .filter(|(_, host)| !leads_to(*host))
            .min_by_key(|(at, host)| {
                let down = self.hosts[*host].down_until > now;
                (down, (*at + turn) % count)
            })
            .map(|(at, _)| at)
    }

    fn promote_to(&mut self, sequence: u64, peer: PeerId, recipients: Vec<u32>) {
        let Some(route) = self.routes.promotion(peer) else {
            return;
        };
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        if let Some(promotion) = &mut message.promotion {
            promotion.asked.push(peer);
        }
        let leg = message.legs.len();
        message.legs.push(Leg {
            route,
            recipients,
            attempts: 0,
            state: LegState::Ready,
        });
        self.routes.list[route].ready.push_back((sequence, leg));
        self.kick_route(route);
    }

    /// The attempt to promote a leg ended; `taken` when the peer has it now.
    pub(crate) fn promotion_ended(&mut self, sequence: u64, leg: usize, taken: bool) {
        let now = self.now.mono;
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        message.legs[leg].state = LegState::Done;
        let recipients: Vec<u32> = message.legs[leg]
            .recipients
            .iter()
            .copied()
            .filter(|at| message.waits(*at))
            .collect();
        let Some(promotion) = &mut message.promotion else {
            return;
        };
        if taken {
            promotion.over = true;
            let peer = promotion.asked.last().copied();
            self.counters.promoted += 1;
            self.mark(Mark::Promoted);
            if let Some(peer) = peer {
                let name = self.peers[peer].name.to_string();
                let detail = "promoted".to_owned();
                self.log(EventKind::HaRedirect, Some(sequence), "", &name, detail);
            }
            if self.route_is_back(sequence) {
                self.mark(Mark::PromotionMeetsReturn);
            }
        } else {
            let asked = promotion.asked.clone();
            let (over, wanted) = (promotion.deadline <= now, message.phase == Phase::Active);
            if wanted
                && !over
                && let Some(peer) = self.promotion_peer(sequence, &asked)
            {
                return self.promote_to(sequence, peer, recipients);
            }
            self.mark(Mark::PromotionFailed);
            if let Some(promotion) = self
                .messages
                .get_mut(&sequence)
                .and_then(|m| m.promotion.as_mut())
            {
                promotion.over = true;
            }
            self.requeue(sequence, &recipients);
        }
        // What is not verified by now will not be.
        let open = self
            .messages
            .get(&sequence)
            .is_some_and(|m| m.client.is_some());
        if open && !taken {
            self.answer_unverified(sequence, "no server to promote it to");
        }
    }

    /// Whether a next hop of the message can be tried now.
    fn route_is_back(&self, sequence: u64) -> bool {
        self.messages.get(&sequence).is_some_and(|message| {
            message.envelope.recipients.iter().any(|address| {
                self.routes.queue_of(address).is_some_and(|route| {
                    route != LOCAL
                        && self.routes.list[route]
                            .hops
                            .iter()
                            .any(|hop| self.hosts[*hop].down_until == 0)
                })
            })
        })
    }

    /// Whether a leg leads to a peer that is to become the primary.
    pub(crate) fn is_promotion(&self, sequence: u64, leg: usize) -> bool {
        self.messages
            .get(&sequence)
            .and_then(|m| m.legs.get(leg))
            .is_some_and(|leg| self.routes.is_promotion(leg.route))
    }

    /// Gives up what waits for sessions to a peer that cannot be reached.
    pub(crate) fn promotions_stranded(&mut self, route: usize) {
        let stranded: Vec<(u64, usize)> = self.routes.list[route].ready.drain(..).collect();
        for (sequence, leg) in stranded {
            self.promotion_ended(sequence, leg, false);
        }
    }
}

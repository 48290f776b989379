//! Delayed acknowledgement (hold model): a sender that keeps no shadow of its
//! own gets its `250` when delivery to all recipients is verified, or when
//! `max-acknowledgement-delay` has passed.
//!
//! A recipient is verified when our next hop (or mailbox) took it, or its DSN
//! is safe: the moment at which the message is complete here. The wait is
//! skipped where it is hopeless, judged once, when the message is durable:
//!
//! - the destination queue is in Retry: every next hop of the route is down,
//!   or mail waits there and the last attempt put off all it carried; or
//! - the destination queue is longer than `delayed-ack-skipping-queue-length`.
//!
//! One such destination is enough, for the wait covers the slowest. What would
//! be acknowledged unverified is promoted first, if that is on.

use super::message::Phase;
use super::{Action, LOCAL, Queue, Timer};
use crate::mark::Mark;

impl Queue {
    /// Whether the answer to this message waits for its delivery.
    pub(crate) fn withholds(&self, sequence: u64) -> bool {
        #[cfg(feature = "defects")]
        if self.config.has(crate::defect::Defect::AckUndelivered) {
            return false;
        }
        let wanted = self.config.holds() && !self.config.max_acknowledgement_delay.is_zero();
        wanted
            && self
                .messages
                .get(&sequence)
                .is_some_and(|m| m.upstream.is_none() && m.parent.is_none() && m.client.is_some())
    }

    /// Why it is no use to wait for the delivery of a message; asked before
    /// it joins any queue.
    pub(crate) fn hopeless(&self, sequence: u64) -> Option<&'static str> {
        if !self.config.delayed_ack_skipping_enabled {
            return None;
        }
        let message = self.messages.get(&sequence)?;
        let longest = self.config.delayed_ack_skipping_queue_length as usize;
        let mut routes: Vec<usize> = message
            .envelope
            .recipients
            .iter()
            .filter_map(|address| self.routes.queue_of(address))
            .filter(|route| *route != LOCAL)
            .collect();
        routes.sort_unstable();
        routes.dedup();
        for route in routes {
            let entry = &self.routes.list[route];
            let length = entry.ready.len() + entry.put_off;
            let down = |hop: &usize| self.hosts[*hop].down_until > self.now.mono;
            let all_down = !entry.hops.is_empty() && entry.hops.iter().all(down);
            if all_down || (entry.stuck && length > 0) {
                return Some("the destination queue is in Retry");
            }
            if length > longest {
                return Some("the destination queue is too long");
            }
        }
        None
    }

    /// Withholds the answer to a message that is on its way by now.
    pub(crate) fn delay_answer(&mut self, sequence: u64, hopeless: Option<&str>) {
        let waits = |m: &super::Message| m.phase == Phase::Active && m.client.is_some();
        if !self.messages.get(&sequence).is_some_and(|m| waits(m)) {
            return;
        }
        if let Some(why) = hopeless {
            self.mark(Mark::AckSkipped);
            return self.unverified(sequence, why);
        }
        self.counters.acknowledgements_delayed += 1;
        let until = self.later(self.config.max_acknowledgement_delay);
        self.answer_at(sequence, until);
    }

    /// Has the answer to a message looked at again at a time.
    pub(crate) fn answer_at(&mut self, sequence: u64, at: u64) {
        self.answers.insert((at, sequence));
        Self::arm(
            &mut self.timers,
            Timer::Answers,
            at,
            &mut self.answers_armed,
        );
    }

    /// Answers for which the time is up.
    pub(crate) fn answers_due(&mut self) {
        self.answers_armed = 0;
        while let Some((at, sequence)) = self.answers.first().copied() {
            if at > self.now.mono {
                Self::arm(
                    &mut self.timers,
                    Timer::Answers,
                    at,
                    &mut self.answers_armed,
                );
                break;
            }
            self.answers.pop_first();
            if self
                .messages
                .get(&sequence)
                .is_some_and(|m| m.client.is_some())
            {
                self.unverified(sequence, "max-acknowledgement-delay");
            }
        }
    }

    /// Delivery of a message is verified: its sender is answered.
    pub(crate) fn verified(&mut self, sequence: u64) {
        let message = self.messages.get_mut(&sequence);
        if let Some(conn) = message.and_then(|m| m.client.take()) {
            self.counters.accepted += 1;
            self.actions.push_back(Action::Accepted { conn, sequence });
        }
    }

    /// The answer can wait no longer: another server gets the message, or it
    /// is acknowledged without protection.
    fn unverified(&mut self, sequence: u64, why: &str) {
        if self.config.shadow_redundancy_promotion_enabled && self.promote(sequence) {
            return;
        }
        self.answer_unverified(sequence, why);
    }

    /// Acknowledges a message that nobody else is known to have.
    pub(crate) fn answer_unverified(&mut self, sequence: u64, why: &str) {
        let message = self.messages.get_mut(&sequence);
        if let Some(conn) = message.and_then(|m| m.client.take()) {
            self.counters.accepted += 1;
            self.counters.accepted_unverified += 1;
            self.mark(Mark::AckUnverified);
            let kind = crate::event::EventKind::Defer;
            let detail = format!("acknowledged unverified: {why}");
            self.log(kind, Some(sequence), "", "", detail);
            self.actions.push_back(Action::Accepted { conn, sequence });
        }
    }
}

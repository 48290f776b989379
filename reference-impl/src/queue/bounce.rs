//! When DSNs are made (RFC 3461 section 5): about failures, about delays,
//! about success where the sender asked for it, all from the null sender, and
//! never about a message from the null sender.
//!
//! One DSN is about all recipients that ended together. Its record also
//! settles them, so that a crash can neither lose the DSN nor make a second
//! one. The message that it is about stays open, and its copies stay where
//! they are, until the DSN is as well protected as any accepted message.
//!
//! A report of success comes from whoever is the last to know: from the node
//! with the mailbox (*delivered*), and from us where the next hop does not
//! offer DSN (*relayed*). Elsewhere the request travels on.

use bytes::Bytes;

use super::dsn::{Kind, Report, Row};
use super::message::{Message, Phase, RecipientState};
use super::{Queue, Timer, name_of};
use crate::event::EventKind;
use crate::mark::Mark;
use crate::record::{
    About, EIGHT_BIT, Envelope, NOTIFY_DELAY, NOTIFY_FAILURE, NOTIFY_SUCCESS, Settled, UTF8,
};

impl Queue {
    /// Closes the failed recipients of a message. Answers with those of which
    /// nobody is told: their sender is null, or asked not to hear of it.
    pub(crate) fn bounce(&mut self, sequence: u64, failed: &[u32]) -> Vec<u32> {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return Vec::new();
        };
        let mut rows = Vec::with_capacity(failed.len());
        for at in failed {
            let recipient = &mut message.recipients[*at as usize];
            recipient.state = RecipientState::Closed;
            rows.push(row(message, *at, "550 5.0.0 Failed"));
        }
        let (told, silent): (Vec<u32>, Vec<u32>) = failed
            .iter()
            .partition(|at| message.envelope.wants(**at, NOTIFY_FAILURE));
        let unasked = silent.len();
        let null = message.envelope.sender.is_empty();
        if message.taken_from.is_some() {
            self.mark(Mark::BounceAfterTakeover);
        }
        if unasked > 0 && !null {
            self.mark(Mark::FailureUnreported);
        }
        self.counters.failed += failed.len() as u64;
        for row in &rows {
            let why = row.why.to_string();
            self.log(EventKind::Fail, Some(sequence), &row.recipient, "", why);
        }
        self.replay_bounced(sequence, &rows);
        self.tell_sender(sequence, Kind::Failed, &told);
        silent
    }

    /// A replay failed for good for some recipients: nobody is told (it asks
    /// for no DSN), but it is an event of its own.
    fn replay_bounced(&mut self, sequence: u64, rows: &[Row]) {
        let message = self.messages.get(&sequence);
        if message.is_none_or(|message| message.replay.is_none()) {
            return;
        }
        self.counters.resubmits_failed += rows.len() as u64;
        self.mark(Mark::ReplayFailed);
        for row in rows {
            let why = format!("SAFETYNET: {}", row.why);
            let kind = EventKind::ResubmitFail;
            self.log(kind, Some(sequence), &row.recipient, "", why);
        }
    }

    /// Makes the DSN about some recipients (by index) of a message of ours;
    /// none without recipients.
    pub(crate) fn tell_sender(&mut self, sequence: u64, kind: Kind, about: &[u32]) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        if about.is_empty() {
            return;
        }
        message.children += 1;
        let fallback = match kind {
            Kind::Failed => "550 5.0.0 Failed",
            Kind::Delayed => "451 4.4.0 No attempt came to an answer",
            Kind::Delivered | Kind::Relayed => "250 2.0.0 Taken",
        };
        let rows = about.iter().map(|at| row(message, *at, fallback)).collect();
        let until = kind == Kind::Delayed;
        let expires = message.expires;
        let (envelope, content) = (message.envelope.clone(), message.body.clone());
        let arrival = message.arrival;
        let left = expires.saturating_sub(self.now.mono) / 1_000_000;
        let report = Report {
            kind,
            arrival,
            retried_until: until.then(|| self.now.wall.saturating_add(left)),
            envelope: &envelope,
            content: &content,
            rows,
        };
        let settles = About {
            sequence,
            how: match kind {
                Kind::Failed => Settled::Failed,
                Kind::Delayed => Settled::Delayed,
                Kind::Delivered | Kind::Relayed => Settled::Delivered,
            },
            recipients: about.to_vec(),
        };
        self.send_report(&report, Some(settles));
    }

    /// Makes a DSN and queues it; `about` names the message of ours that it
    /// settles recipients of, if that is still in the queue.
    pub(crate) fn send_report(&mut self, report: &Report<'_>, about: Option<About>) {
        let dsn = self.sequence();
        let text = report.text(&self.config, self.database, &name_of(dsn), self.now.wall);
        let mut flags = report.envelope.flags & UTF8;
        if !text.is_ascii() {
            flags |= EIGHT_BIT;
        }
        let mut envelope = Envelope::new(flags, "", "");
        envelope.push(&report.envelope.sender, 0, "");
        // A DSN may exceed the budget: not sending it would lose mail.
        self.body_bytes += text.len() as u64;
        self.counters.dsns += 1;
        if report.kind != Kind::Failed {
            self.mark(Mark::DsnOtherThanFailure);
        }
        let detail = match &about {
            Some(about) => format!("{} about {}", report.kind.action(), name_of(about.sequence)),
            None => report.kind.action().to_owned(),
        };
        let to = envelope.recipients[0].to_string();
        self.log(EventKind::Dsn, Some(dsn), &to, "", detail);
        let expires = self.expiry();
        let body = Bytes::from(text);
        let mut message = Box::new(Message::new(self.now.wall, expires, envelope, body));
        message.parent = about.as_ref().map(|about| about.sequence);
        message.report = true;
        self.protect(dsn, message, about);
    }

    /// A DSN about `parent` is protected.
    pub(crate) fn child_protected(&mut self, parent: u64) {
        if let Some(message) = self.messages.get_mut(&parent) {
            message.children = message.children.saturating_sub(1);
            self.check_complete(parent);
        }
    }

    /// The recipients among `delivered` whose sender wants to hear of it.
    pub(crate) fn success_wanted(&self, sequence: u64, delivered: &[u32]) -> Vec<u32> {
        let Some(message) = self.messages.get(&sequence) else {
            return Vec::new();
        };
        let wants = |at: &u32| message.envelope.wants(*at, NOTIFY_SUCCESS);
        delivered.iter().copied().filter(wants).collect()
    }

    /// Sets the time at which the delay of `sequence` is reported, unless a
    /// look at all messages is due before.
    pub(crate) fn arm_delay(&mut self, sequence: u64) {
        if self.config.delay_notification_timeout.is_zero() {
            return;
        }
        let Some(message) = self.messages.get(&sequence) else {
            return;
        };
        if message.envelope.sender.is_empty() {
            return;
        }
        let at = self.delayed_at(message).max(self.now.mono);
        Self::arm(&mut self.timers, Timer::Delays, at, &mut self.delays_armed);
    }

    /// When a message counts as delayed, on the monotonic clock.
    fn delayed_at(&self, message: &Message) -> u64 {
        let nanos = |d: std::time::Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let accepted = message
            .expires
            .saturating_sub(nanos(self.config.message_expiration_timeout));
        accepted.saturating_add(nanos(self.config.delay_notification_timeout))
    }

    /// Reports the delay of every message that waits for too long, once for
    /// each recipient. All messages are looked at, so this is not done more
    /// often than 64 times in the delay itself.
    pub(crate) fn delays_due(&mut self) {
        self.delays_armed = 0;
        let now = self.now.mono;
        let mut due = Vec::new();
        let mut next = u64::MAX;
        for (sequence, message) in &self.messages {
            if message.envelope.sender.is_empty() || message.expires <= now {
                continue;
            }
            let at = self.delayed_at(message);
            let waiting: Vec<u32> = (0..message.recipients.len() as u32)
                .filter(|at| {
                    message.waits(*at)
                        && !message.recipients[*at as usize].delay_told
                        && message.envelope.wants(*at, NOTIFY_DELAY)
                })
                .collect();
            if waiting.is_empty() {
                continue;
            }
            if at > now || message.phase == Phase::Pending {
                next = next.min(at.max(now + 1));
            } else if message.phase == Phase::Active && !message.cancelled {
                due.push((*sequence, waiting));
            }
        }
        for (sequence, waiting) in due {
            if let Some(message) = self.messages.get_mut(&sequence) {
                for at in &waiting {
                    message.recipients[*at as usize].delay_told = true;
                }
            }
            self.tell_sender(sequence, Kind::Delayed, &waiting);
        }
        if next != u64::MAX {
            let pause = self.later(self.config.delay_notification_timeout / 64);
            Self::arm(
                &mut self.timers,
                Timer::Delays,
                next.max(pause),
                &mut self.delays_armed,
            );
        }
    }
}

/// What is known of one recipient.
fn row(message: &Message, at: u32, fallback: &str) -> Row {
    let recipient = &message.recipients[at as usize];
    Row {
        recipient: message.envelope.recipients[at as usize].clone(),
        orcpt: message.envelope.orcpt(at).into(),
        why: recipient.last_error.as_deref().unwrap_or(fallback).into(),
        remote: recipient.remote.clone(),
    }
}

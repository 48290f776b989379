//! Taking responsibility for a message: its record and its copy, then the
//! answer.
//!
//! The record is committed while the copy travels. The `250` leaves when the
//! record is durable and a peer acknowledged the copy, or when every attempt
//! failed and `reject-message-on-shadow-failure` is false. A refusal leaves
//! when it is durable itself: from then on no restart can revive the message.
//!
//! A crash in between leaves a record and no answer; the message is then
//! delivered (RFC 5321 6.1 leaves that to the server), and the sender, who saw
//! no reply, may send it again.

use bytes::Bytes;

use super::message::{CopyState, Holder, Message, Phase};
use super::{Action, Queue, Tracked, Waiter};
use crate::event::EventKind;
use crate::io::ConnId;
use crate::mark::Mark;
use crate::record::{About, Envelope, Header, Tell};

impl Queue {
    /// Takes a message from the session `conn`; its bytes are booked already.
    /// The answer comes as [`Action::Answer`].
    pub(crate) fn submit(
        &mut self,
        conn: ConnId,
        sequence: u64,
        envelope: Envelope,
        body: Vec<u8>,
        from: Option<Tracked>,
    ) {
        let body = Bytes::from(body);
        if self.all_local(&envelope) {
            return self.deliver_to_mailboxes(conn, sequence, &envelope, body, from);
        }
        let mut message = Box::new(Message::new(self.now.wall, self.expiry(), envelope, body));
        message.client = Some(conn);
        message.upstream = from;
        self.protect(sequence, message, None);
    }

    /// The time at which a message accepted now is returned.
    pub(crate) fn expiry(&self) -> u64 {
        self.later(self.config.message_expiration_timeout)
    }

    /// Records a new message and asks the first peer for a copy. `about`
    /// is what a DSN settles.
    pub(crate) fn protect(
        &mut self,
        sequence: u64,
        mut message: Box<Message>,
        about: Option<About>,
    ) {
        let first = if self.config.copies() {
            message.copy = CopyState::Failed;
            self.choose_peer(&message)
        } else {
            None
        };
        let header = Header::Message {
            sequence,
            arrival: message.arrival,
            envelope: std::mem::take(&mut message.envelope),
            about,
            holder: first.map_or("", |peer| &self.peers[peer].name).into(),
        };
        let seq = self.append(&header, std::slice::from_ref(&message.body));
        if let Header::Message { envelope, .. } = header {
            message.envelope = envelope;
        }
        message.records.push(seq);
        let mut last = seq;
        if let Some(from) = message.upstream.clone() {
            last = self.track(sequence, &from);
            message.records.push(last);
        }
        self.wait(last, Waiter::Message(sequence));
        #[cfg(feature = "defects")]
        if self.config.has(crate::defect::Defect::AckBeforeSync) {
            message.local = true;
        }
        let wanted = message.copy != CopyState::NotWanted;
        self.messages.insert(sequence, message);
        if wanted {
            self.arm_protect();
            self.try_copy(sequence, first);
        } else {
            self.check_accept(sequence);
        }
    }

    /// Answers a pending message if everything it needs is there.
    pub(crate) fn check_accept(&mut self, sequence: u64) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        if message.phase != Phase::Pending {
            return;
        }
        #[cfg(feature = "defects")]
        let early = self.config.has(crate::defect::Defect::AckBeforeCopy);
        #[cfg(not(feature = "defects"))]
        let early = false;
        match message.copy {
            CopyState::Trying(_) if !early => return,
            CopyState::Failed
                if self.config.reject_message_on_shadow_failure && !message.report =>
            {
                return self.withdraw(sequence);
            }
            _ => {}
        }
        if !message.local {
            return;
        }
        message.phase = Phase::Active;
        let unshadowed = message.unshadowed();
        let (parent, report) = (message.parent, message.report);
        let delayed = self.withholds(sequence);
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        let client = if delayed { None } else { message.client.take() };
        if report {
            if let Some(parent) = parent {
                self.child_protected(parent);
            }
        } else {
            self.counters.accepted += u64::from(!delayed);
            if unshadowed {
                self.counters.accepted_unshadowed += 1;
                self.mark(Mark::AcceptedUnshadowed);
            }
            let detail = if unshadowed { "without a copy" } else { "" };
            self.log(
                EventKind::Receive,
                Some(sequence),
                "",
                "",
                detail.to_owned(),
            );
        }
        if let Some(conn) = client {
            self.actions.push_back(Action::Accepted { conn, sequence });
        }
        if delayed {
            let hopeless = self.hopeless(sequence);
            self.activate(sequence);
            return self.delay_answer(sequence, hopeless);
        }
        self.activate(sequence);
    }

    /// Refuses a pending message for good.
    fn withdraw(&mut self, sequence: u64) {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return;
        };
        message.phase = Phase::Withdrawing;
        let holders = message.holders.clone();
        let tell = self.tell(&holders);
        let seq = self.append(&Header::Withdrawn { sequence, tell }, &[]);
        if let Some(message) = self.messages.get_mut(&sequence) {
            message.progress = seq;
        }
        self.wait(seq, Waiter::Withdrawn(sequence));
    }

    /// The DONE or WITHDRAWN record of a message is durable: it is over, and
    /// the peers that have or may have a copy are to be told.
    pub(crate) fn done_durable(&mut self, sequence: u64, withdrawn: bool) {
        let Some(mut message) = self.messages.remove(&sequence) else {
            return;
        };
        self.free(message.body.len());
        self.keep_done(sequence, &mut message);
        let record = message.progress;
        self.owe(record, sequence, &message.holders, withdrawn);
        if let Some(from) = &message.taken_from {
            let entry = &mut self.peers[from.peer];
            entry.taken.remove(&from.key);
            entry.note_finished(from.key.clone());
        }
        self.note_settled(sequence);
        if withdrawn {
            self.counters.refused += 1;
            self.mark(Mark::RefusedUnshadowed);
            let detail = "no copy could be made".to_owned();
            self.log(EventKind::Withdraw, Some(sequence), "", "", detail);
            if let Some(conn) = message.client {
                let reply = "451 4.4.0 Message failed to be made redundant\r\n".into();
                self.actions.push_back(Action::Answer { conn, reply });
            }
        }
        let told: Vec<_> = message.holders.iter().map(|h| h.peer).collect();
        self.push(&told);
    }

    /// Holders as they are recorded.
    pub(crate) fn tell(&self, holders: &[Holder]) -> Vec<Tell> {
        holders
            .iter()
            .map(|h| Tell {
                peer: self.peers[h.peer].name.clone(),
                acknowledged: h.acknowledged,
            })
            .collect()
    }
}

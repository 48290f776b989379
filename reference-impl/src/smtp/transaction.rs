//! One transaction of a client session: a delivery, or a copy for a peer.

use bytes::{BufMut as _, BytesMut};

use super::client::{Client, State};
use super::data;
use super::link::Close;
use super::parameters::notify_text;
use super::reply::Reply;
use crate::mark::Mark;
use crate::queue::{Attempt, Message, Outcome, Queue, Tracked, header};
use crate::record::{CopyKey, EIGHT_BIT, Envelope, RET_FULL, RET_HDRS, UTF8};

/// What a reply is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Request,
    Track,
    Mail,
    Rcpt(usize),
    Data,
}

/// What is being sent.
#[derive(Debug, Clone, Copy)]
pub(super) enum Job {
    Deliver { sequence: u64, leg: usize },
    Copy(Attempt),
}

/// One transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) job: Job,
    /// Recipients (by index) and what is known of each.
    recipients: Vec<(u32, Option<Outcome>)>,
    /// Steps sent; only without PIPELINING some are held back.
    sent_steps: usize,
    /// Steps answered, of those sent.
    answered: usize,
    /// An error that stands for the whole transaction.
    error: Option<(Box<str>, bool)>,
    mail_ok: bool,
    /// `error` is a reply of the server.
    replied: bool,
    /// The content is out; its reply is due.
    pub(super) sent: bool,
    /// Our shadow id, where the server is asked to track.
    shadow: Option<u64>,
    /// It does.
    tracked: bool,
}

impl Client {
    /// Begins a delivery; the session stays idle when it ends at once.
    pub(super) fn deliver(&mut self, sequence: u64, leg: usize, queue: &mut Queue) {
        let Some(message) = queue.messages.get(&sequence) else {
            return;
        };
        let recipients = message.legs[leg]
            .recipients
            .iter()
            .filter(|at| message.waits(**at))
            .map(|at| (*at, None))
            .collect();
        let mut transaction = Transaction {
            job: Job::Deliver { sequence, leg },
            recipients,
            sent_steps: 0,
            answered: 0,
            error: None,
            mail_ok: false,
            replied: false,
            sent: false,
            shadow: None,
            tracked: false,
        };
        let impossible = self.impossible(message, &transaction.recipients);
        // Only who offers it and has proved itself is asked to track. What a
        // replay sends is of the Safety Net, and its content stays there.
        let replay = |m: &crate::queue::Message| m.replay.is_some();
        let tracks = self.peer.is_some_and(|peer| queue.peers[peer].tracks)
            && !queue.messages.get(&sequence).is_some_and(|m| replay(m));
        if tracks && self.offers.track && queue.config.holds() {
            transaction.shadow = Some(queue.sequence());
        } else if queue.is_promotion(sequence, leg) {
            let why = "451 4.4.0 The server there does not track";
            transaction.error = Some((why.into(), false));
            return self.report(transaction, why, false, queue);
        }
        if let Some(why) = impossible {
            transaction.error = Some((why.into(), true));
            return self.report(transaction, why, false, queue);
        }
        self.begin(transaction, queue);
    }

    /// Why the server here can never take a message, if so.
    ///
    /// Content is never converted: that would break signatures over it, and
    /// what a relay may change is its trace field alone (RFC 5321 6.4). What
    /// was only declared to be 8-bit or UTF-8, and is not, goes as it is.
    fn impossible(
        &self,
        message: &Message,
        recipients: &[(u32, Option<Outcome>)],
    ) -> Option<&'static str> {
        let envelope = &message.envelope;
        let header = || &message.body[..header::length(&message.body)];
        if envelope.flags & UTF8 != 0 && !self.offers.utf8 {
            let address = |at: u32| envelope.recipients[at as usize].is_ascii();
            let plain = envelope.sender.is_ascii()
                && recipients.iter().all(|(at, _)| address(*at))
                && header().is_ascii();
            if !plain {
                return Some("553 5.6.7 The next hop takes no SMTPUTF8");
            }
        }
        if envelope.flags & EIGHT_BIT != 0 && !self.offers.eight_bit && !message.body.is_ascii() {
            return Some("554 5.6.3 The next hop takes no 8-bit content");
        }
        let size = (message.trace.len() + message.body.len()) as u64;
        let limit = self.offers.size.flatten().filter(|limit| *limit > 0);
        if limit.is_some_and(|limit| size > limit) {
            return Some("552 5.3.4 The next hop takes no message of this size");
        }
        None
    }

    pub(super) fn copy(&mut self, attempt: Attempt, queue: &mut Queue) {
        if self.peer.is_none() || !self.offers.shadow {
            return queue.copy_failed(attempt, "the server there holds no copies", false);
        }
        let Some(message) = queue.messages.get(&attempt.sequence) else {
            return;
        };
        let count = message.envelope.recipients.len() as u32;
        let transaction = Transaction {
            job: Job::Copy(attempt),
            recipients: (0..count).map(|at| (at, None)).collect(),
            sent_steps: 0,
            answered: 0,
            error: None,
            mail_ok: false,
            replied: false,
            sent: false,
            shadow: None,
            tracked: false,
        };
        self.begin(transaction, queue);
    }

    fn begin(&mut self, mut transaction: Transaction, queue: &mut Queue) {
        self.advance(&mut transaction, queue);
        self.state = State::Transaction(Box::new(transaction));
        self.patience(queue);
    }

    /// Sends the next step, or all of them where that is allowed.
    fn advance(&mut self, transaction: &mut Transaction, queue: &Queue) {
        while let Some(step) = transaction.step(transaction.sent_steps) {
            self.send(transaction, step, queue);
            transaction.sent_steps += 1;
            if !self.offers.pipelining {
                break;
            }
        }
    }

    fn send(&mut self, transaction: &Transaction, step: Step, queue: &Queue) {
        let out = &mut self.link.out;
        let sequence = transaction.job.sequence();
        let Some(message) = queue.messages.get(&sequence) else {
            return;
        };
        let envelope = &message.envelope;
        match step {
            Step::Request => {
                let line = format!("XSHADOWREQUEST {sequence:x} {}\r\n", message.arrival);
                out.extend_from_slice(line.as_bytes());
            }
            Step::Track => {
                let line = format!("XSHADOW {:x}\r\n", transaction.shadow.unwrap_or(0));
                out.extend_from_slice(line.as_bytes());
            }
            Step::Mail => {
                out.extend_from_slice(b"MAIL FROM:<");
                out.extend_from_slice(envelope.sender.as_bytes());
                out.put_u8(b'>');
                if self.offers.size.is_some() {
                    let size = message.trace.len() + message.body.len();
                    out.extend_from_slice(b" SIZE=");
                    push_number(out, size);
                }
                if envelope.flags & EIGHT_BIT != 0 && self.offers.eight_bit {
                    out.extend_from_slice(b" BODY=8BITMIME");
                }
                if envelope.flags & UTF8 != 0 && self.offers.utf8 {
                    out.extend_from_slice(b" SMTPUTF8");
                }
                if self.offers.dsn {
                    mail_dsn(envelope, out);
                }
                out.extend_from_slice(b"\r\n");
            }
            Step::Rcpt(at) => {
                let index = transaction.recipients[at].0 as usize;
                out.extend_from_slice(b"RCPT TO:<");
                out.extend_from_slice(envelope.recipients[index].as_bytes());
                out.put_u8(b'>');
                if self.offers.dsn {
                    rcpt_dsn(envelope, index as u32, out);
                }
                out.extend_from_slice(b"\r\n");
            }
            Step::Data => out.extend_from_slice(b"DATA\r\n"),
        }
    }

    pub(super) fn transaction_reply(&mut self, reply: &Reply<'_>, queue: &mut Queue) {
        let State::Transaction(mut transaction) = std::mem::replace(&mut self.state, State::Idle)
        else {
            return;
        };
        if transaction.answered == transaction.sent_steps {
            // The reply to the content.
            return self.finish(*transaction, reply, queue);
        }
        let Some(step) = transaction.step(transaction.answered) else {
            return;
        };
        transaction.answered += 1;
        transaction.replied = true;
        let error = || (Box::from(reply.summary()), reply.permanent());
        match step {
            Step::Request if !reply.positive() => transaction.error = Some(error()),
            // Mail passes without tracking too; then nothing is kept.
            Step::Track => transaction.tracked = reply.positive(),
            Step::Mail if reply.positive() => transaction.mail_ok = true,
            Step::Mail => {
                transaction.error.get_or_insert_with(error);
            }
            // Where MAIL failed, what is said of recipients means nothing.
            Step::Rcpt(_) if transaction.error.is_some() => {}
            Step::Rcpt(at) if !reply.positive() => {
                // 552 to RCPT means too many recipients (RFC 5321 4.5.3.1.10).
                let permanent = reply.permanent() && reply.code != 552;
                let why = Box::from(reply.summary());
                transaction.recipients[at].1 = Some(if permanent {
                    Outcome::Failed(why)
                } else {
                    Outcome::Deferred(why)
                });
            }
            Step::Data if reply.code == 354 => return self.content(transaction, queue),
            Step::Data => {
                if transaction.any_accepted() {
                    transaction.error.get_or_insert_with(error);
                }
                return self.abandon(*transaction, queue);
            }
            Step::Request | Step::Rcpt(_) => {}
        }
        let hopeless = transaction.error.is_some()
            || (transaction.step(transaction.sent_steps) == Some(Step::Data)
                && !transaction.any_accepted());
        if hopeless && transaction.answered == transaction.sent_steps {
            return self.abandon(*transaction, queue);
        }
        self.advance(&mut transaction, queue);
        self.state = State::Transaction(transaction);
        self.patience(queue);
    }

    /// The transaction ends before its content: what is known is reported,
    /// and the server forgets the rest.
    fn abandon(&mut self, transaction: Transaction, queue: &mut Queue) {
        let open = transaction.mail_ok;
        self.report(transaction, "no recipient was accepted", false, queue);
        if open {
            self.link.write("RSET\r\n");
            self.state = State::Reset;
            self.patience(queue);
        } else {
            self.next(queue);
        }
    }

    /// 354: the content goes out; only its end where nobody would get it.
    fn content(&mut self, mut transaction: Box<Transaction>, queue: &mut Queue) {
        let copy = matches!(transaction.job, Job::Copy(_));
        let all = transaction.recipients.iter().all(|(_, o)| o.is_none());
        let wanted = transaction.error.is_none()
            && transaction.mail_ok
            && match transaction.job {
                Job::Copy(attempt) => all && queue.attempt_stands(attempt),
                Job::Deliver { .. } => transaction.any_accepted(),
            };
        let sequence = transaction.job.sequence();
        if !wanted && copy {
            // The message may be done with by now, or is not to be held whole.
            // A final dot would leave an empty copy there.
            self.state = State::Transaction(transaction);
            return self.lost("the copy is not wanted any more", Close::Abort, queue);
        }
        if !wanted {
            transaction
                .error
                .get_or_insert_with(|| ("451 4.5.0 Out of step".into(), false));
            self.link.write(".\r\n");
        } else {
            if let Job::Copy(attempt) = transaction.job {
                queue.copy_leaves(attempt);
            }
            if let Some(message) = queue.messages.get(&sequence) {
                data::stuff_part(&message.trace, &mut self.link.out);
                data::stuff(&message.body, &mut self.link.out);
            }
            transaction.sent = true;
        }
        self.state = State::Transaction(transaction);
        self.patience(queue);
    }

    /// The reply to the content.
    fn finish(&mut self, mut transaction: Transaction, reply: &Reply<'_>, queue: &mut Queue) {
        transaction.replied = true;
        let delivered = match transaction.job {
            Job::Deliver { .. } if !self.offers.dsn => Outcome::Relayed,
            _ => Outcome::Delivered,
        };
        if transaction.sent {
            for (_, outcome) in &mut transaction.recipients {
                if outcome.is_none() {
                    let why = || Box::from(reply.summary());
                    *outcome = Some(match reply.code {
                        200..300 => delivered.clone(),
                        500.. => Outcome::Failed(why()),
                        _ => Outcome::Deferred(why()),
                    });
                }
            }
        }
        // With the content sent every recipient has its outcome by now.
        self.report(transaction, "out of step", false, queue);
        self.next(queue);
    }

    /// Tells the queue how a transaction ended; `maybe` when the server may
    /// have taken the content all the same.
    pub(super) fn report(
        &mut self,
        transaction: Transaction,
        why: &str,
        maybe: bool,
        queue: &mut Queue,
    ) {
        let (why, permanent) = match &transaction.error {
            Some((why, permanent)) => (why.as_ref(), *permanent),
            None => (why, false),
        };
        match transaction.job {
            Job::Copy(attempt) => {
                let all = transaction
                    .recipients
                    .iter()
                    .all(|(_, o)| *o == Some(Outcome::Delivered));
                if all && transaction.error.is_none() {
                    queue.copy_made(attempt);
                } else {
                    queue.copy_failed(attempt, why, maybe);
                }
            }
            Job::Deliver { sequence, leg } => {
                if maybe {
                    queue.mark(Mark::ReplyLost);
                }
                let replied = transaction.replied && !maybe;
                let outcomes = transaction
                    .recipients
                    .into_iter()
                    .map(|(at, outcome)| {
                        let rest = || {
                            if permanent {
                                Outcome::Failed(why.into())
                            } else {
                                Outcome::Deferred(why.into())
                            }
                        };
                        (at, outcome.unwrap_or_else(rest))
                    })
                    .collect();
                let id = transaction.shadow.filter(|_| transaction.tracked);
                let tracked = id.zip(self.peer).map(|(sequence, peer)| Tracked {
                    peer,
                    key: CopyKey {
                        database: self.database,
                        sequence,
                    },
                });
                queue.attempted(sequence, leg, &self.name, replied, outcomes, tracked);
            }
        }
    }
}

impl Job {
    fn sequence(self) -> u64 {
        match self {
            Self::Deliver { sequence, .. } => sequence,
            Self::Copy(attempt) => attempt.sequence,
        }
    }
}

impl Transaction {
    /// Step number `at`: the request for a copy, MAIL, the recipients, DATA.
    fn step(&self, at: usize) -> Option<Step> {
        let at = match self.job {
            Job::Copy(_) if at == 0 => return Some(Step::Request),
            Job::Copy(_) => at - 1,
            Job::Deliver { .. } if self.shadow.is_some() => match at.checked_sub(1) {
                None => return Some(Step::Track),
                Some(at) => at,
            },
            Job::Deliver { .. } => at,
        };
        let count = self.recipients.len();
        match at {
            0 => Some(Step::Mail),
            n if n <= count => Some(Step::Rcpt(n - 1)),
            n if n == count + 1 => Some(Step::Data),
            _ => None,
        }
    }

    /// Whether a recipient is not refused yet.
    fn any_accepted(&self) -> bool {
        self.recipients.iter().any(|(_, outcome)| outcome.is_none())
    }
}

/// What the sender asked about DSNs, as it came (RFC 3461 5.2.1).
fn mail_dsn(envelope: &Envelope, out: &mut BytesMut) {
    if envelope.flags & RET_FULL != 0 {
        out.extend_from_slice(b" RET=FULL");
    } else if envelope.flags & RET_HDRS != 0 {
        out.extend_from_slice(b" RET=HDRS");
    }
    if !envelope.envid().is_empty() {
        out.extend_from_slice(b" ENVID=");
        out.extend_from_slice(envelope.envid().as_bytes());
    }
}

/// The same about one recipient.
fn rcpt_dsn(envelope: &Envelope, at: u32, out: &mut BytesMut) {
    let (notify, orcpt) = (envelope.notify(at), envelope.orcpt(at));
    if notify != 0 {
        out.extend_from_slice(b" NOTIFY=");
        out.extend_from_slice(notify_text(notify).as_bytes());
    }
    if !orcpt.is_empty() {
        out.extend_from_slice(b" ORCPT=");
        out.extend_from_slice(orcpt.as_bytes());
    }
}

/// Appends a number in decimal digits.
fn push_number(out: &mut BytesMut, mut number: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

//! How a mailbox behaves and what it reports.

use crate::line::Line;
use crate::phase::Phase;
use crate::reply::Reply;

/// How a mailbox behaves.
#[derive(Debug, Clone)]
pub struct MailboxOptions {
    /// Name in the greeting.
    pub name: String,
    /// Speak LMTP (RFC 2033).
    pub lmtp: bool,
    /// Largest content in bytes; offered as SIZE, 552 above it.
    pub size_limit: usize,
    /// Most recipients of one message; 452 above it.
    pub rcpt_limit: usize,
    /// Offer STARTTLS; see [`MailboxEvent::StartTls`].
    pub starttls: bool,
    /// Most bytes kept from a client that pipelines past an end of data which
    /// the host has not answered.
    pub backlog_limit: usize,
}

impl Default for MailboxOptions {
    fn default() -> Self {
        Self {
            name: "mailbox.mailproof.test".into(),
            lmtp: false,
            size_limit: 64 * 1024 * 1024,
            rcpt_limit: 10_000,
            starttls: false,
            backlog_limit: 1024 * 1024,
        }
    }
}

/// A message whose end of data has arrived and which is not yet answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Reverse path without angle brackets; empty for the null sender.
    pub from: Line,
    /// Parameters of MAIL, as sent.
    pub params: Line,
    /// The accepted recipients, in order.
    pub rcpts: Vec<MessageRecipient>,
    /// The content, dot-stuffing undone.
    pub content: Vec<u8>,
}

/// A recipient that the mailbox accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecipient {
    /// Forward path without angle brackets and source route.
    pub address: Line,
    /// Parameters of RCPT, as sent.
    pub params: Line,
}

/// What a mailbox reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailboxEvent {
    /// EHLO, HELO or LHLO was accepted; the line as sent.
    Hello(Line),
    /// Content is complete. Nothing further is read until
    /// [`Mailbox::answer`](super::Mailbox::answer) or
    /// [`Mailbox::answer_each`](super::Mailbox::answer_each) is called, so that the
    /// host can record the message before the reply leaves.
    Message(Message),
    /// STARTTLS was accepted. Once the output is sent, TLS begins; whatever the
    /// client sent behind STARTTLS in the clear is dropped. When TLS is up, call
    /// [`Mailbox::secured`](super::Mailbox::secured).
    StartTls,
    /// A command was refused, by injection or because it cannot be served.
    Refused {
        /// Where.
        phase: Option<Phase>,
        /// The command line as sent; empty for the greeting and the dot.
        line: Line,
        /// The reply; `None` where the injection says nothing.
        reply: Option<Reply>,
    },
    /// The client broke the protocol.
    Violation {
        /// The rule.
        rule: &'static str,
        /// The line, or its beginning.
        line: Line,
    },
    /// The mailbox has no more to say: once its output is sent, close.
    Close,
}

/// No message was waiting for this answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// No end of data is unanswered.
    #[error("the mailbox has no message that waits for an answer")]
    NothingWaits,
    /// LMTP needs one reply per accepted recipient; SMTP needs one.
    #[error("the message needs {needed} replies, got {given}")]
    Count {
        /// Replies needed.
        needed: usize,
        /// Replies given.
        given: usize,
    },
}

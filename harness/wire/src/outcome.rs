//! What a client hands over, and what became of it as the client saw it.

use std::sync::Arc;

use crate::reply::Reply;

/// One mail transaction to attempt.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Reverse path without angle brackets; empty for the null sender.
    pub from: String,
    /// Parameters of MAIL as sent after the path, such as `SIZE=100`; or empty.
    pub params: String,
    /// Envelope recipients, in the order of their RCPT commands.
    pub rcpts: Vec<Recipient>,
    /// The content, not yet dot-stuffed.
    pub content: Arc<[u8]>,
}

/// One envelope recipient to attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Forward path without angle brackets.
    pub address: String,
    /// Parameters of RCPT, such as `NOTIFY=NEVER`; or empty.
    pub params: String,
}

impl<T: Into<String>> From<T> for Recipient {
    fn from(address: T) -> Self {
        Self {
            address: address.into(),
            params: String::new(),
        }
    }
}

/// Where in a transaction a refusal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The greeting.
    Greeting,
    /// EHLO, HELO or LHLO.
    Hello,
    /// MAIL.
    Mail,
    /// RCPT of this recipient.
    Rcpt,
    /// DATA.
    Data,
    /// The end of data.
    End,
    /// A 421 that answered no command of this recipient.
    Closing,
}

/// What became of one recipient in one attempt, as the client saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RcptOutcome {
    /// A 2yz to the end of data reached the client.
    Accepted(Reply),
    /// A 4yz or 5yz reached the client.
    Refused {
        /// Where.
        stage: Stage,
        /// The reply.
        reply: Reply,
    },
    /// The end of data was handed to the transport and no reply to it came.
    /// The server may have taken the message.
    NoReply,
    /// The attempt ended before the end of data was handed to the transport,
    /// without a refusal. The server cannot have taken the message.
    NotSent,
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Reply to MAIL.
    pub mail: Option<Reply>,
    /// Reply to each RCPT, in order.
    pub rcpt_replies: Vec<Option<Reply>>,
    /// Reply to DATA.
    pub data: Option<Reply>,
    /// For each recipient, in order.
    pub rcpts: Vec<RcptOutcome>,
}

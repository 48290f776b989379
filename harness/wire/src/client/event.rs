//! What a client reports.

use crate::line::Line;
use crate::outcome::Outcome;
use crate::reply::{Reply, ReplyError};

/// What a client reports. Replies come in the order of the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientEvent {
    /// The greeting.
    Greeting(Reply),
    /// Reply to EHLO, HELO or LHLO.
    Hello {
        /// The reply.
        reply: Reply,
        /// Extension lines offered, as sent, such as `SIZE 1000`.
        extensions: Vec<Line>,
    },
    /// Reply to MAIL.
    MailReply(Reply),
    /// Reply to a RCPT.
    RcptReply {
        /// Index of the recipient in its transaction.
        rcpt: usize,
        /// The reply.
        reply: Reply,
    },
    /// Reply to DATA.
    DataReply(Reply),
    /// Reply to the end of data.
    EndReply {
        /// In LMTP: the recipient it is for.
        rcpt: Option<usize>,
        /// The reply.
        reply: Reply,
    },
    /// Reply to RSET.
    RsetReply(Reply),
    /// The outcome of the transaction begun earliest is known. Every
    /// transaction gets exactly one, a lost connection included.
    Done(Outcome),
    /// Every transaction handed over is done and every reply has come.
    Idle,
    /// Reply to QUIT.
    QuitReply(Reply),
    /// Reply to bytes given to [`Client::send_raw`](super::Client::send_raw).
    Raw(Reply),
    /// A 421 while no reply was due: the server is closing.
    Closing(Reply),
    /// The server broke the protocol. Nothing more is read from it.
    ProtocolError(ProtocolError),
    /// The connection is closed; nothing comes after this.
    Closed,
}

/// How a server broke the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Bytes that are no reply.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// A reply that nothing was waiting for.
    #[error("a reply came while none was due: {0}")]
    Unexpected(Reply),
    /// A reply of a class that its command cannot have.
    #[error("{command} was answered with {reply}")]
    WrongClass {
        /// What was answered.
        command: &'static str,
        /// The reply.
        reply: Reply,
    },
}

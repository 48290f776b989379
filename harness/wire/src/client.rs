//! The scripted client: hands over mail transactions on one kept connection, or
//! sends raw bytes for conformance tests.

use crate::line::Line;
use crate::outcome::{Outcome, Transaction};
use crate::reply::{Reply, ReplyError};

/// How a client behaves.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Name given in EHLO, HELO or LHLO.
    pub name: String,
    /// Use PIPELINING where the server offers it.
    pub pipelining: bool,
    /// Speak LMTP (RFC 2033): LHLO, and one reply per accepted recipient.
    pub lmtp: bool,
    /// Send only what [`Client::send_raw`] is given: no EHLO of its own, and
    /// every reply comes as [`ClientEvent::Raw`].
    pub raw: bool,
}

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
    /// Reply to bytes given to [`Client::send_raw`].
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

/// The scripted client.
///
/// Feed it what arrives with [`received`](Self::received), send what
/// [`transmit`](Self::transmit) yields after each call, and tell it of the end
/// with [`closed`](Self::closed).
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    out: Vec<u8>,
}

impl Client {
    /// A client on a connection that has just been opened.
    #[must_use]
    pub fn new(options: ClientOptions) -> Self {
        Self {
            options,
            out: Vec::new(),
        }
    }

    /// Hands over a transaction. It begins when those before it are done.
    pub fn start(&mut self, transaction: Transaction) {
        let _ = (transaction, &self.options);
    }

    /// Sends `bytes` as they are. `replies` of the replies that follow are
    /// reported as [`ClientEvent::Raw`]; a client with
    /// [`ClientOptions::raw`] reports all of them so, whatever the number.
    pub fn send_raw(&mut self, bytes: &[u8], replies: usize) {
        let _ = (bytes, replies);
    }

    /// Sends QUIT when every transaction handed over so far is done.
    pub fn quit(&mut self) {}

    /// Reads bytes from the server and appends what they mean to `events`.
    pub fn received(&mut self, bytes: &[u8], events: &mut Vec<ClientEvent>) {
        let _ = (bytes, events);
    }

    /// The connection is closed, from whichever side: appends the outcome of
    /// every transaction that is not done, and [`ClientEvent::Closed`].
    pub fn closed(&mut self, events: &mut Vec<ClientEvent>) {
        let _ = events;
    }

    /// Moves the bytes to send to the end of `out`. From then on they count as
    /// handed to the transport.
    pub fn transmit(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.out);
    }
}

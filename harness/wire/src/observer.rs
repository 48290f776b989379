//! The passive observer of one clear-text connection.

use crate::Digest;
use crate::line::{Line, LineFault};
use crate::phase::Phase;
use crate::reply::{Reply, ReplyError};
use crate::verb::Verb;

/// What an observer collects of message content.
#[derive(Debug, Clone, Copy)]
pub struct ObserverOptions {
    /// Bytes kept from the beginning of each content.
    pub head_limit: usize,
    /// Digest the un-stuffed content.
    pub content_digest: bool,
    /// Digest what no relay may change; see
    /// [`body_digest`](crate::identity::body_digest).
    pub body_digest: bool,
}

impl Default for ObserverOptions {
    fn default() -> Self {
        Self {
            head_limit: 16 * 1024,
            content_digest: true,
            body_digest: true,
        }
    }
}

/// Something that the observer saw, and where in the chunk it was just fed.
/// Offsets of what began in an earlier chunk begin at 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// First byte.
    pub start: usize,
    /// First byte after it. A link that passes `..end` has passed all of it.
    pub end: usize,
    /// What it is.
    pub seen: Seen,
}

/// What an observer can see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A command line.
    Command {
        /// Its verb.
        verb: Verb,
        /// The line as sent, with its CRLF.
        line: Line,
        /// Number of the transaction on this connection, from 1: every MAIL
        /// command begins one. `None` outside a transaction.
        transaction: Option<u32>,
        /// Index of the recipient, if this is RCPT.
        rcpt: Option<usize>,
    },
    /// A line of a dialogue that the server asked for with 3yz, as in AUTH.
    Continuation {
        /// Verb that began the dialogue.
        verb: Verb,
        /// The line as sent, with its CRLF.
        line: Line,
    },
    /// The first byte of content. An empty range at its offset.
    Content {
        /// Number of the transaction.
        transaction: u32,
    },
    /// The bytes that complete a message: the terminating `.CRLF`, or the last
    /// octet of the last BDAT chunk (its command line if it is empty).
    Dot {
        /// Number of the transaction.
        transaction: u32,
        /// Bytes of un-stuffed content.
        size: u64,
        /// Digest of the un-stuffed content, if asked for.
        content: Option<Digest>,
        /// Digest of what no relay may change, if asked for.
        body: Option<Digest>,
    },
    /// A complete reply.
    Reply {
        /// The reply.
        reply: Reply,
        /// What it answers.
        answers: Answers,
    },
    /// TLS begins: nothing more can be read. Said once.
    Opaque,
    /// Something the observer cannot follow: nothing more is read, and nothing
    /// more may be concluded from this connection. Said once.
    Lost(Lost),
}

/// What a reply answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// The connection: it is the greeting.
    Greeting,
    /// MAIL of this transaction.
    Mail {
        /// Number of the transaction.
        transaction: u32,
    },
    /// A RCPT.
    Rcpt {
        /// Number of the transaction; `None` if there was no MAIL before it.
        transaction: Option<u32>,
        /// Index of the recipient.
        rcpt: usize,
    },
    /// The end of data.
    End {
        /// Number of the transaction.
        transaction: u32,
        /// In LMTP: index of the recipient.
        rcpt: Option<usize>,
    },
    /// Any other command, or a continuation line of its dialogue.
    Command(Verb),
    /// Nothing: a 421 with which the server announces that it closes.
    Nothing,
}

impl Point {
    /// The phase whose bytes these are; `None` where no phase has that name.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        match &self.seen {
            Seen::Command { verb, .. } | Seen::Continuation { verb, .. } => {
                Phase::of_command(*verb)
            }
            Seen::Content { .. } => Some(Phase::Content),
            Seen::Dot { .. } => Some(Phase::Dot),
            Seen::Reply { answers, .. } => match answers {
                Answers::Greeting => Some(Phase::Greeting),
                Answers::Mail { .. } => Some(Phase::MailReply),
                Answers::Rcpt { .. } => Some(Phase::RcptReply),
                Answers::End { .. } => Some(Phase::EndReply),
                Answers::Command(verb) => Phase::of_reply(*verb),
                Answers::Nothing => None,
            },
            Seen::Opaque | Seen::Lost(_) => None,
        }
    }
}

/// Why an observer cannot follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The client's bytes are no command line.
    #[error(transparent)]
    Line(#[from] LineFault),
    /// A command line holds CR without LF; whether it ends the line depends on
    /// who reads.
    #[error("a command line holds CR without LF (RFC 5321 2.3.8)")]
    BareCr,
    /// The server's bytes are no reply.
    #[error(transparent)]
    Reply(#[from] ReplyError),
    /// The client went on after DATA without waiting for the reply, so it
    /// depends on the reply what its bytes are.
    #[error("bytes follow DATA before its reply (RFC 2920 3.1 forbids it)")]
    DataOvertaken,
    /// The client went on, and then the server asked for a continuation line.
    #[error("{0} was answered with {1} after the client had already gone on")]
    DialogueOvertaken(Verb, u16),
    /// A reply that nothing was waiting for.
    #[error("a reply came while none was due: {0}")]
    Unexpected(Reply),
    /// A reply of a class that its command cannot have.
    #[error("{0} was answered with {1}")]
    WrongClass(Verb, Reply),
    /// The parties exchanged their roles.
    #[error("{0} was accepted: client and server exchange their roles")]
    Turned(Verb),
    /// More unanswered commands than are kept.
    #[error("more than {MAX_PENDING} commands are unanswered")]
    TooManyPending,
    /// More recipients in one transaction than are kept.
    #[error("more than {MAX_RCPTS} recipients in one transaction")]
    TooManyRcpts,
}

/// Most unanswered commands.
pub const MAX_PENDING: usize = 20_000;

/// Most RCPT commands of one transaction.
pub const MAX_RCPTS: usize = 10_000;

/// How far a transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Progress {
    /// MAIL has passed.
    Envelope,
    /// Content has begun.
    Content,
    /// The end of data has passed; replies to it are due.
    Ended,
    /// Every reply to the end of data has passed.
    Answered,
    /// It was refused or reset before its end of data.
    Void,
}

/// A transaction as seen on the wire.
#[derive(Debug, Clone)]
pub struct ObservedTransaction {
    /// Its number on this connection, from 1.
    pub number: u32,
    /// How far it has come.
    pub progress: Progress,
    /// Reverse path without angle brackets, as sent; empty for the null sender
    /// and for a MAIL line that cannot be read.
    pub from: Line,
    /// Code of the reply to MAIL.
    pub mail_code: Option<u16>,
    /// Every RCPT, refused ones included.
    pub rcpts: Vec<ObservedRcpt>,
    /// Beginning of the un-stuffed content, at most
    /// [`ObserverOptions::head_limit`] bytes.
    pub head: Vec<u8>,
    /// Bytes of un-stuffed content so far.
    pub size: u64,
    /// Code of the reply to the end of data; with LMTP see the recipients.
    pub end_code: Option<u16>,
}

/// A recipient as seen on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedRcpt {
    /// Forward path without angle brackets, as sent; empty if the line cannot
    /// be read.
    pub address: Line,
    /// Code of the reply to RCPT.
    pub code: Option<u16>,
    /// Code of the reply to the end of data for this recipient.
    pub end_code: Option<u16>,
}

/// Whether an observer still follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// It does.
    Following,
    /// TLS has begun.
    Opaque,
    /// It could not follow; see [`Seen::Lost`].
    Lost,
}

/// Watches one clear-text connection.
///
/// Feed it the bytes of both directions in the order in which the link sees
/// them, before the link passes them on.
#[derive(Debug, Default)]
pub struct Observer {
    options: ObserverOptions,
}

impl Observer {
    /// An observer of a connection on which nothing has passed.
    #[must_use]
    pub fn new(options: ObserverOptions) -> Self {
        Self { options }
    }

    /// Reads bytes that the client sent and appends what they are to `points`,
    /// by offset.
    pub fn client_bytes(&mut self, bytes: &[u8], points: &mut Vec<Point>) {
        let _ = (bytes, points, &self.options);
    }

    /// Reads bytes that the server sent and appends what they are to `points`,
    /// by offset.
    pub fn server_bytes(&mut self, bytes: &[u8], points: &mut Vec<Point>) {
        let _ = (bytes, points);
    }

    /// The transaction begun last, if it is still kept.
    #[must_use]
    pub fn transaction(&self) -> Option<&ObservedTransaction> {
        None
    }

    /// The transaction with this number. Kept until the call after the one
    /// that saw its last reply.
    #[must_use]
    pub fn numbered(&self, number: u32) -> Option<&ObservedTransaction> {
        let _ = number;
        None
    }

    /// Every transaction still kept, oldest first: at the end of a connection,
    /// those whose [`Progress`] is `Ended` got no (complete) reply.
    pub fn transactions(&self) -> impl Iterator<Item = &ObservedTransaction> {
        std::iter::empty()
    }

    /// Whether the observer still follows.
    #[must_use]
    pub fn view(&self) -> View {
        View::Following
    }
}

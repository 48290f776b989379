//! What an observer reports.

use super::{MAX_PENDING, MAX_RCPTS, MAX_TRANSACTIONS};
use crate::Digest;
use crate::line::{Line, LineFault};
use crate::phase::Phase;
use crate::reply::{Reply, ReplyError};
use crate::verb::Verb;

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
    /// BDAT whose argument cannot be read: how many octets follow depends on
    /// who reads.
    #[error("BDAT without a size that can be read (RFC 3030 2)")]
    ChunkSize,
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
    /// MAIL was refused inside a transaction after content had followed it, so
    /// it is not known whose content that was.
    #[error("MAIL inside a transaction was refused after content had passed")]
    Nested,
    /// More unanswered commands or transactions than are kept.
    #[error("more than {MAX_PENDING} commands or {MAX_TRANSACTIONS} transactions are unanswered")]
    TooManyPending,
    /// More recipients in one transaction than are kept.
    #[error("more than {MAX_RCPTS} recipients in one transaction")]
    TooManyRcpts,
}

//! What goes into a [`Node`](crate::Node) and what comes out.
//!
//! The node is sans-IO: it owns no socket, no clock and no thread. Whoever
//! drives it (the tokio driver, or a simulator) hands it [`Input`]s together
//! with the time and carries out the [`Output`]s.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::admin::Command;
use crate::event::NodeEvent;
use crate::mark::Mark;
use crate::store::{Batch, BatchId, Extent};

/// The time of one input, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Now {
    /// Monotonic nanoseconds since any fixed point; every timer runs on it.
    /// It may start anywhere after a restart.
    pub mono: u64,
    /// Unix time in milliseconds; only written into headers, records and the
    /// age of recovered messages, never used to arm a timer.
    pub wall: u64,
}

/// Name of a connection.
///
/// The caller numbers the connections it accepts, below [`ConnId::DIALLED`];
/// the node numbers those it dials, from there upwards. An id is never used
/// twice while either side still knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

impl ConnId {
    /// Ids from here on belong to connections that the node dialled.
    pub const DIALLED: u64 = 1 << 63;

    /// Whether the node dialled this connection.
    #[must_use]
    pub fn dialled(self) -> bool {
        self.0 >= Self::DIALLED
    }
}

/// Why a dial came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The other side answered with a reset: nobody listens there.
    #[error("connection refused")]
    Refused,
    /// No answer in time.
    #[error("connection timed out")]
    TimedOut,
    /// No way there, or the local address cannot be used.
    #[error("host unreachable")]
    Unreachable,
}

/// What a caller can do beyond what every caller must: nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// [`Output::Secure`] as a server: it has a certificate.
    pub tls_server: bool,
    /// [`Output::Secure`] as a client.
    pub tls_client: bool,
    /// [`Output::CheckPassword`]: it knows users.
    pub passwords: bool,
}

/// Whom a connection of ours is with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsName {
    /// The server's name; empty when there is none to check.
    pub name: Box<str>,
    /// The certificate has to be this name's and properly issued; else any
    /// will do.
    pub verify: bool,
}

/// A text that stays out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// The text.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// What to ask the name service for. Aliases (CNAME) are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// MX records.
    Mx,
    /// A and AAAA records.
    Addresses,
}

/// Records that were found; none when the name has none of this kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DnsRecords {
    /// Preference and name of mail exchangers.
    pub mx: Vec<(u16, String)>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// For how many seconds this is good.
    pub ttl: u32,
}

/// Why the name service found nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// There is no such name.
    #[error("no such name")]
    NoSuchName,
    /// No answer, or one that says nothing: to be asked again.
    #[error("{0}")]
    Temporary(String),
}

/// One thing that happened, to be handed to [`Node::handle`](crate::Node::handle).
#[derive(Debug)]
pub enum Input<'a> {
    /// A client connected to the listening address.
    Accepted {
        /// Chosen by the caller, below [`ConnId::DIALLED`].
        conn: ConnId,
        /// Address of the client, for the relay check.
        peer: IpAddr,
    },
    /// A dial ended, well or not.
    Dialled {
        /// The id given in [`Output::Dial`].
        conn: ConnId,
        /// On an error the node has already forgotten the connection.
        result: Result<(), DialError>,
    },
    /// Bytes arrived.
    Bytes {
        /// Where.
        conn: ConnId,
        /// Any cut of the stream; never empty.
        data: &'a [u8],
    },
    /// The other side closed its half, or the connection broke. The node
    /// treats both as the end of the connection and answers nothing more; the
    /// caller drops it.
    Closed {
        /// Which.
        conn: ConnId,
        /// A reset or an error, as opposed to an orderly end.
        reset: bool,
    },
    /// The other side will send nothing more and may still read, as a client
    /// does that closes its half behind its last command. The connection
    /// stays until the node says [`Output::Shutdown`] or [`Output::Abort`],
    /// which it does as soon as it owes no answer. A caller that cannot tell
    /// may say [`Input::Closed`] instead.
    HalfClosed {
        /// Which.
        conn: ConnId,
    },
    /// TLS is up on a connection for which [`Output::Secure`] asked: bytes are
    /// those inside it from here on. If it cannot be had, the connection is
    /// [`Input::Closed`] instead.
    Secured {
        /// Which.
        conn: ConnId,
    },
    /// The answer to [`Output::CheckPassword`].
    PasswordChecked {
        /// The connection that asked.
        conn: ConnId,
        /// Whether user and password are right.
        right: bool,
    },
    /// The answer to [`Output::Resolve`]. Every question has one.
    Resolved {
        /// The question's number.
        query: u64,
        /// What was found.
        answer: Result<DnsRecords, DnsError>,
    },
    /// The operations of one [`Output::Commit`] were carried out, all of them
    /// in order up to the first error.
    Committed {
        /// The id of the batch.
        batch: BatchId,
        /// The first error met.
        result: std::io::Result<()>,
    },
    /// What [`Output::Read`] asked for.
    Read {
        /// Its number.
        read: u64,
        /// The bytes, or what the disk said.
        result: std::io::Result<Bytes>,
    },
    /// The administrator gives a command. The answer comes as
    /// [`Output::Admin`], once what it promises is durable; a node that is
    /// not up yet, or that cannot go on, gives none.
    Admin {
        /// Chosen by the caller; never used twice while an answer is due.
        ticket: u64,
        /// What is to be done.
        command: Command,
    },
    /// The time asked for with [`Output::WakeAt`] has come. A wake that comes
    /// early or twice does no harm.
    Wake,
    /// Send everything in the delivery queues to this peer, as ordinary mail,
    /// and refuse new mail and copies until the next start. The name of a
    /// stranger changes nothing; [`Node::redirect_target`] says beforehand.
    ///
    /// [`Node::redirect_target`]: crate::Node::redirect_target
    Redirect {
        /// Name of the peer.
        to: &'a str,
    },
    /// Stop taking connections and messages: answer `421`, finish what is in
    /// flight. [`Node::drained`](crate::Node::drained) tells when it is over.
    Drain,
}

/// One thing to be done by the caller, in the order given.
#[derive(Debug)]
pub enum Output {
    /// Send these bytes. At most a few per connection and call.
    Write {
        /// Where.
        conn: ConnId,
        /// What.
        bytes: Bytes,
    },
    /// Close in an orderly way once everything written has left. The node has
    /// forgotten the connection; no further input about it is needed.
    Shutdown {
        /// Which.
        conn: ConnId,
    },
    /// Drop the connection at once, unsent bytes included (reset). The node
    /// has forgotten it.
    Abort {
        /// Which.
        conn: ConnId,
    },
    /// Open a connection and answer with [`Input::Dialled`].
    Dial {
        /// Chosen by the node.
        conn: ConnId,
        /// Where to.
        to: SocketAddr,
    },
    /// Begin TLS on a connection: nothing more comes in the clear, in either
    /// direction, after what was written before. Only asked for when
    /// [`Abilities`] says that it can be done.
    Secure {
        /// Which.
        conn: ConnId,
        /// With whom, as its client; `None`: as its server.
        name: Option<TlsName>,
    },
    /// Answer with [`Input::PasswordChecked`]. Only asked for when
    /// [`Abilities`] says so.
    CheckPassword {
        /// Who asks.
        conn: ConnId,
        /// The name, as the client gave it.
        user: Box<str>,
        /// The password, as the client gave it.
        password: Secret,
    },
    /// Ask the name service and answer with [`Input::Resolved`], within a
    /// bounded time. Only with routes that have `mx`.
    Resolve {
        /// Chosen by the node, never used twice.
        query: u64,
        /// A name in ASCII.
        name: String,
        /// What to ask for.
        lookup: Lookup,
    },
    /// Carry out the operations in order on the disk and answer with
    /// [`Input::Committed`]. At most one batch is under way at any time.
    Commit {
        /// The operations.
        batch: Batch,
    },
    /// Read these bytes of a file and answer with [`Input::Read`]. Only what
    /// is durable is read, and it is not removed before the answer.
    Read {
        /// Chosen by the node.
        read: u64,
        /// What to read.
        extent: Extent,
    },
    /// The answer to an [`Input::Admin`].
    Admin {
        /// The ticket of the command.
        ticket: u64,
        /// One JSON object; it has the member `error` when nothing was done.
        answer: String,
    },
    /// Send [`Input::Wake`] at this monotonic time; replaces the time given
    /// before.
    WakeAt(u64),
    /// Something worth a line in the log.
    Log(NodeEvent),
    /// A rare condition was reached. Drivers may ignore it.
    Mark(Mark),
    /// The node cannot go on (its store can no longer promise anything). It
    /// ignores every further input; the caller ends the process.
    Fatal {
        /// One sentence: what failed and what to do.
        reason: String,
    },
}

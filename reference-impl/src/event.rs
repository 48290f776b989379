//! Structured events: what the node says of itself.
//!
//! The names are the documented ones of message tracking where there is one
//! (`HARECEIVE`, `HAREDIRECT`, …) and plain words elsewhere.

use serde::{Deserialize, Serialize};

/// Which event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// A shadow message of another server was received and is durable here.
    #[serde(rename = "HARECEIVE")]
    HaReceive,
    /// A shadow copy of a message of ours was made on a peer.
    #[serde(rename = "HAREDIRECT")]
    HaRedirect,
    /// A shadow copy could not be made; the detail gives the reason.
    #[serde(rename = "HAREDIRECTFAIL")]
    HaRedirectFail,
    /// A shadow message was dropped because its primary is done with it.
    #[serde(rename = "HADISCARD")]
    HaDiscard,
    /// A message was accepted from a client.
    #[serde(rename = "RECEIVE")]
    Receive,
    /// A recipient was delivered to the next hop or to the local mailbox.
    #[serde(rename = "DELIVER")]
    Deliver,
    /// A recipient was put off after a transient failure.
    #[serde(rename = "DEFER")]
    Defer,
    /// A recipient failed for good.
    #[serde(rename = "FAIL")]
    Fail,
    /// A DSN was generated.
    #[serde(rename = "DSN")]
    Dsn,
    /// Duplicate detection dropped a message at the mailbox.
    #[serde(rename = "DUPLICATEDELIVER")]
    DuplicateDeliver,
    /// A message was recovered from the store at start.
    #[serde(rename = "LOAD")]
    Load,
    /// Shadow messages were promoted and resubmitted.
    #[serde(rename = "RESUBMIT")]
    Resubmit,
    /// A replay from the Safety Net was put off: its node, its memory or a
    /// part of its time is missing.
    #[serde(rename = "RESUBMITDEFER")]
    ResubmitDefer,
    /// A replay from the Safety Net failed for good.
    #[serde(rename = "RESUBMITFAIL")]
    ResubmitFail,
    /// A mailbox database was mounted.
    #[serde(rename = "MOUNT")]
    Mount,
    /// A mailbox database was dismounted.
    #[serde(rename = "DISMOUNT")]
    Dismount,
    /// Something in the configuration or a command deserves a second look.
    #[serde(rename = "WARNING")]
    Warning,
    /// A message was withdrawn: its client was answered `4yz`.
    #[serde(rename = "WITHDRAW")]
    Withdraw,
    /// A periodic heartbeat to a primary failed (documented event 22004).
    #[serde(rename = "HEARTBEATFAIL")]
    HeartbeatFail,
    /// A server was reached again after a failed heartbeat.
    #[serde(rename = "HEARTBEAT")]
    Heartbeat,
    /// A primary presented another database ID than before.
    #[serde(rename = "DATABASECHANGED")]
    DatabaseChanged,
    /// A peer failed to authenticate, or a private verb was refused.
    #[serde(rename = "PEERREFUSED")]
    PeerRefused,
    /// TLS was wanted with a server and could not be had.
    #[serde(rename = "TLSFAILED")]
    TlsFailed,
    /// A client gave a wrong password; the server is the name it gave.
    #[serde(rename = "LOGINDENIED")]
    LoginDenied,
    /// The store found damage at start; the detail says what.
    #[serde(rename = "STOREDAMAGE")]
    StoreDamage,
    /// The node finished its start.
    #[serde(rename = "START")]
    Start,
    /// The level of back pressure changed; the detail says to what and why.
    #[serde(rename = "PRESSURE")]
    Pressure,
    /// The delivery queues are sent to another server, at the wish of an
    /// administrator.
    #[serde(rename = "REDIRECT")]
    Redirect,
    /// The node was asked to drain.
    #[serde(rename = "DRAIN")]
    Drain,
}

/// How much an event matters to who runs the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Everything is as it should be.
    Info,
    /// Mail is safe, but something does not work as it should.
    Warning,
    /// Somebody has to look.
    Error,
}

/// What produced an event: the documented sources of message tracking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Source {
    /// A session with a client or a next hop.
    Smtp,
    /// Shadow redundancy.
    Redundancy,
    /// The start.
    BootLoader,
    /// The mailbox store.
    StoreDriver,
    /// Delivery status notifications.
    Dsn,
    /// Who runs the node.
    Admin,
}

impl EventKind {
    /// How much it matters.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::HaRedirectFail
            | Self::Defer
            | Self::Fail
            | Self::HeartbeatFail
            | Self::DatabaseChanged
            | Self::Resubmit
            | Self::TlsFailed
            | Self::LoginDenied
            | Self::PeerRefused
            | Self::Pressure => Level::Warning,
            Self::StoreDamage => Level::Error,
            _ => Level::Info,
        }
    }

    /// What produced it.
    #[must_use]
    pub fn source(self) -> Source {
        match self {
            Self::HaReceive
            | Self::HaRedirect
            | Self::HaRedirectFail
            | Self::HaDiscard
            | Self::Resubmit
            | Self::Withdraw
            | Self::HeartbeatFail
            | Self::Heartbeat
            | Self::DatabaseChanged
            | Self::PeerRefused => Source::Redundancy,
            Self::Load | Self::StoreDamage | Self::Start => Source::BootLoader,
            Self::DuplicateDeliver => Source::StoreDriver,
            Self::Dsn => Source::Dsn,
            Self::Drain | Self::Redirect => Source::Admin,
            _ => Source::Smtp,
        }
    }

    /// The documented event number, where there is one.
    #[must_use]
    pub fn number(self) -> Option<u32> {
        match self {
            Self::HeartbeatFail => Some(22004),
            _ => None,
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeEvent {
    /// Unix milliseconds.
    pub at: u64,
    /// Which event.
    pub event: EventKind,
    /// The message, by the name the node gives it; empty when none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The recipient; empty when the event is about the whole message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub recipient: String,
    /// The other server: peer, primary, next hop; empty when none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub server: String,
    /// A reply, a reason, a count.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

impl NodeEvent {
    /// An event of `kind` at unix milliseconds `at`, with nothing else set.
    #[must_use]
    pub fn new(at: u64, event: EventKind) -> Self {
        Self {
            at,
            event,
            message: String::new(),
            recipient: String::new(),
            server: String::new(),
            detail: String::new(),
        }
    }
}

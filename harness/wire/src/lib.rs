//! The harness's own SMTP, without I/O, clock or runtime.
//!
//! A harness that judges a mail system must not read the wire with that
//! system's code: a mistake that both share would never be seen. So everything
//! here is written for the harness alone, and the reference node, whose SMTP
//! lives in its own crate, is judged by it like any other target.
//!
//! Three machines speak or read SMTP. Each takes bytes, returns events and
//! bytes, and does the same however the bytes were split into chunks:
//!
//! * [`client::Client`] hands over messages, or raw lines for conformance
//!   tests, and accounts for every recipient, a lost connection included.
//! * [`server::Mailbox`] is where mail ends. It tells the host of a message and
//!   waits for the host's answer, so that the host can record the event before
//!   the 250 leaves.
//! * [`observer::Observer`] watches a connection that others hold. It names
//!   the [`phase`] points with their exact offsets, so that a link can
//!   pass everything up to a point, record it, and then pass the rest. Where it
//!   cannot follow it says so once and claims nothing more.
//!
//! They share [`line`](mod@line), [`verb`], [`command`], [`reply`] and [`body`]
//! (dot-stuffing and the end of data). [`message`] builds test messages and
//! [`identity`] recognises them on the other side, [`known`] those among them
//! that passed before; both read with [`header`].
//!
//! Every count and size that a peer can choose is bounded; each bound is a
//! public constant or an option.

pub mod body;
pub mod client;
pub mod command;
pub mod header;
pub mod identity;
pub mod known;
pub mod line;
pub mod message;
pub mod observer;
pub mod outcome;
pub mod phase;
pub mod policy;
pub mod reply;
pub mod server;
pub mod verb;

pub use client::{Client, ClientEvent, ClientOptions};
pub use command::Command;
pub use identity::{Identity, body_digest, identify};
pub use known::Known;
pub use line::Line;
pub use message::MessageSpec;
pub use observer::{Observer, ObserverOptions, Point, Seen};
pub use outcome::{Outcome, RcptOutcome, Recipient, Stage, Transaction};
pub use phase::Phase;
pub use policy::{Injection, Policy};
pub use reply::{Reply, ReplyParser};
pub use server::{Mailbox, MailboxEvent, MailboxOptions};
pub use verb::Verb;

/// A BLAKE3 digest.
pub type Digest = [u8; 32];

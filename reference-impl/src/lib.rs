//! Reference transport node with shadow redundancy.
//!
//! [`Node`] is sans-IO: it takes [`Input`]s together with the time and answers
//! with [`Output`]s. The `driver` feature adds the tokio driver that runs it on
//! sockets and a disk; a simulator runs the same code on virtual ones.

pub mod admin;
pub mod config;
pub mod contents;
mod date;
#[cfg(feature = "defects")]
pub mod defect;
pub mod disk;
#[cfg(feature = "driver")]
pub mod driver;
pub mod event;
mod hex;
mod io;
pub mod mark;
mod node;
mod queue;
mod record;
mod rng;
mod smtp;
pub mod store;
pub mod view;

pub use config::{Config, Preference};
pub use io::{
    Abilities, ConnId, DialError, DnsError, DnsRecords, Input, Lookup, Now, Output, Secret, TlsName,
};
pub use node::{Boot, BootError, Node};
pub use queue::redirect::NoSuchPeer;
pub use smtp::{HANDSHAKE_VERBS, PRIVATE_VERBS};

//! SMTP sessions without I/O: bytes in, bytes out, the queue at hand.

pub(crate) mod address;
pub(crate) mod auth;
mod chunking;
mod client;
mod content;
pub(crate) mod data;
pub(crate) mod inventory;
mod link;
mod login;
pub(crate) mod parameters;
mod private;
mod query;
mod reply;
mod server;
mod tls;
mod transaction;

pub(crate) use client::Client;
pub(crate) use link::{Close, Link};
pub use private::{HANDSHAKE_VERBS, PRIVATE_VERBS};
pub(crate) use server::Server;

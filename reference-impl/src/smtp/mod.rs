//! SMTP sessions without I/O: bytes in, bytes out, the queue at hand.

pub(crate) mod address;
pub(crate) mod auth;
mod client;
pub(crate) mod data;
mod link;
mod private;
mod query;
mod reply;
mod server;
mod transaction;

pub(crate) use client::Client;
pub(crate) use link::{Close, Link};
pub(crate) use server::Server;

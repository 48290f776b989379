//! The `process` engine: a cluster of real processes on this machine, without
//! root and without containers. Linux only: it rests on `/proc`, pidfds, child
//! subreapers and the whole of 127/8 being there.
//!
//! - **Processes**: each life of a node has a keeper, a small process that is
//!   its parent and the subreaper of its tree. It kills, stops and collects
//!   the tree as a whole, and kills it when the run is gone. One sweeper a run
//!   removes what is left. Both are the helper binary ([`reaper_main`]).
//! - **Addresses**: a run claims a [`Block`] of 127/8 of its own. A node is
//!   told the addresses of links and of nothing else.
//! - **Links**: sockets around the core that the simulator uses too. A link's
//!   listener is open only while the party behind it listens; what it sees is
//!   recorded before it is passed on.
//! - **Workload**: lettre, one connection a session.
//! - **Mailbox**: a socket around the core that the simulator uses too.
//!
//! The history is written by one recorder; every event is in the kernel
//! before the byte that it permits leaves, and comes out of
//! [`World::next`](mailproof_model::order::World::next) in the order of the
//! file.

mod addr;
mod child;
mod command;
mod door;
mod inspect;
mod leg;
mod links;
#[cfg(test)]
mod links_tests;
mod listing;
mod mailhost;
mod node;
mod proc;
mod reaper;
mod record;
mod scratch;
mod sender;
mod shared;
mod template;
mod tree;
mod version;
mod world;

pub use addr::{Block, MAX_NODES, MAX_STORES};
pub use child::Child;
pub use reaper::talk::{Ask, Say, Spawn};
pub use reaper::{RUN_VARIABLE, SUBCOMMAND, reaper_main};
pub use scratch::Scratch;
pub use version::version;
pub use world::{Options, ProcessWorld};

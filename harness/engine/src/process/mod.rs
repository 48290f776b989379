//! The `process` engine: a cluster of real processes on this machine, without
//! root and without containers.

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
mod world;

pub use addr::{Block, MAX_NODES, MAX_STORES};
pub use child::Child;
pub use reaper::talk::{Ask, Say, Spawn};
pub use reaper::{RUN_VARIABLE, SUBCOMMAND, reaper_main};
pub use scratch::Scratch;
pub use world::{Options, ProcessWorld};

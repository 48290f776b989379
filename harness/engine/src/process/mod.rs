//! The `process` engine: a cluster of real processes on this machine, without
//! root and without containers.

mod addr;
mod child;
mod proc;
mod reaper;
mod scratch;
mod tree;

pub use addr::{Block, MAX_NODES, MAX_STORES};
pub use child::Child;
pub use reaper::talk::{Ask, Say, Spawn};
pub use reaper::{RUN_VARIABLE, SUBCOMMAND, reaper_main};
pub use scratch::Scratch;

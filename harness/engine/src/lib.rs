//! The worlds that a scenario runs in.

pub mod link;
pub mod process;

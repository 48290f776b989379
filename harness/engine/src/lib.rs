//! The worlds that a scenario runs in.

pub mod process;

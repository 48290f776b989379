//! The worlds that a scenario runs in.

pub mod link;
pub mod mailbox;
pub mod process;
pub mod topology;
pub mod workload;
pub mod spool;

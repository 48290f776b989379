//! The worlds that a scenario runs in.

pub mod link;
pub mod mailbox;
pub mod process;
pub mod sim;
pub mod spool;
pub mod topology;
pub mod workload;

//! The heart of mailproof: what a run is, what was seen in it, and what
//! follows from that.
//!
//! Nothing here runs anything: no clock, no runtime, no I/O but reading and
//! writing files that the caller names. `check` reads a history and its plan
//! and nothing else.

pub mod bundle;
pub mod chaos;
pub mod claims;
pub mod diagnostic;
pub mod director;
pub mod drive;
pub mod event;
pub mod history;
pub mod judge;
pub mod ledger;
pub mod order;
pub mod party;
pub mod plan;
pub mod planning;
pub mod rng;
pub mod rules;
pub mod scenario;
pub mod shrink;
pub mod strict;
pub mod suggest;
pub mod sweep;
pub mod target;
pub mod verdict;
pub mod workload;

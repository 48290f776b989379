//! A node's clocks as the kernel read them.

use super::Mark;
use crate::party::Party;

/// One reading.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// When, by the run's own clock.
    pub mark: Mark,
    /// Whose clocks.
    pub node: Party,
    /// In which life.
    pub life: u32,
    /// The fault before or after which they were read.
    pub fault: Option<u32>,
    /// The wall clock, in Unix milliseconds.
    pub wall: u64,
    /// The monotonic clock, in nanoseconds.
    pub mono: u64,
}

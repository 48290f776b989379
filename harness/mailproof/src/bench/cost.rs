//! Time that something took: as a clock on the wall shows it, and as the
//! processor spent it on this thread.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What something took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// On the wall.
    pub(super) wall: Duration,
    /// Of the processor, in this thread; what other work on the machine does
    /// to the wall clock is not in it.
    pub(super) cpu: Duration,
}

impl std::ops::AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.wall += other.wall;
        self.cpu += other.cpu;
    }
}

/// A cost that is being incurred.
pub(super) struct Meter {
    wall: Instant,
    cpu: Duration,
}

impl Meter {
    pub(super) fn start() -> Self {
        Self {
            cpu: thread_time(),
            wall: Instant::now(),
        }
    }

    pub(super) fn read(&self) -> Cost {
        Cost {
            wall: self.wall.elapsed(),
            cpu: thread_time().saturating_sub(self.cpu),
        }
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither is ever negative.
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// The middle of some figures; of an even number, the mean of the middle two.
/// 0 for none.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        n if n % 2 == 1 => figures[half],
        _ => f64::midpoint(figures[half - 1], figures[half]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
        assert_eq!(median(Vec::new()), 0.0);
    }

    #[test]
    fn work_costs_processor_time() {
        let meter = Meter::start();
        let mut hash = churn(0);
        while meter.read().cpu < Duration::from_millis(1) {
            hash = churn(hash);
        }
        let cost = meter.read();
        assert!(
            cost.cpu >= Duration::from_millis(1) && hash != 1,
            "{cost:?}"
        );
    }

    fn churn(seed: u64) -> u64 {
        (0..1_000).fold(seed, |hash, n| {
            (hash ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        })
    }
}

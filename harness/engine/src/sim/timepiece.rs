//! A node's own clocks, as they stand against the run's.
//!
//! What they model: a wall clock that is some time ahead or behind and jumps
//! when it is set; a monotonic clock that stands anywhere, never jumps, and
//! runs a little fast or slow. Timers run on the latter. What they do not: a
//! wall clock that drifts, or is slewed.

use mailproof_model::event::At;

const MILLION: i128 = 1_000_000;

/// Both clocks of one node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Timepiece {
    /// Where the monotonic clock stood at a moment, and how many parts per
    /// million it runs fast since.
    since: At,
    mono: u64,
    ppm: i64,
    /// Nanoseconds that the wall clock is ahead.
    ahead: i64,
}

impl Timepiece {
    /// Clocks that are ahead and fast by so much from the start.
    pub(super) fn new(ahead: i64, ppm: i64) -> Self {
        Self {
            ahead,
            ppm,
            ..Self::default()
        }
    }

    /// A process starts: its monotonic clock may stand anywhere.
    pub(super) fn restart(&mut self, now: At, mono: u64) {
        self.since = now;
        self.mono = mono;
    }

    /// The monotonic clock, in nanoseconds.
    pub(super) fn mono(&self, at: At) -> u64 {
        let passed = i128::from(at.saturating_sub(self.since));
        let shown = passed + (passed * i128::from(self.ppm)).div_euclid(MILLION);
        self.mono
            .saturating_add(u64::try_from(shown).unwrap_or(u64::MAX))
    }

    /// The first moment at which the monotonic clock shows that or more.
    pub(super) fn when(&self, mono: u64) -> At {
        let shown = i128::from(mono.saturating_sub(self.mono));
        let rate = MILLION + i128::from(self.ppm);
        // Rounded up: a little of what is shown takes a whole nanosecond.
        let passed = (shown * MILLION + rate - 1).div_euclid(rate);
        let at = u64::try_from(passed).unwrap_or(u64::MAX);
        self.since.saturating_add(at)
    }

    /// The wall clock in Unix milliseconds, if it was `begin` when the run
    /// began.
    pub(super) fn wall(&self, begin: u64, at: At) -> u64 {
        let ahead = (i128::from(at) + i128::from(self.ahead)).div_euclid(MILLION);
        u64::try_from(i128::from(begin) + ahead).unwrap_or(0)
    }

    /// Lets the wall clock jump and the monotonic one run faster from now on.
    pub(super) fn shift(&mut self, now: At, offset: i64, ppm: i64) {
        self.mono = self.mono(now);
        self.since = now;
        self.ppm += ppm;
        self.ahead = self.ahead.saturating_add(offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_rings_when_its_clock_shows_the_time_and_not_before() {
        for ppm in [-500_000, -200, 0, 1, 200, 33_333, 500_000] {
            let mut clock = Timepiece::new(0, ppm);
            clock.restart(1_000, 77_000_000);
            for mono in (77_000_000..77_003_000).step_by(7) {
                let at = clock.when(mono);
                assert!(clock.mono(at) >= mono, "{ppm} {mono}");
                assert!(at == 1_000 || clock.mono(at - 1) < mono, "{ppm} {mono}");
            }
        }
    }

    #[test]
    fn a_shift_moves_the_wall_clock_and_bends_the_other() {
        let mut clock = Timepiece::new(0, 0);
        clock.restart(0, 5_000);
        let second = 1_000_000_000;
        clock.shift(second, -3_600_000_000_000, 200);
        assert_eq!(clock.wall(7_200_000, second), 3_601_000);
        assert_eq!(clock.mono(second), 5_000 + second);
        assert_eq!(clock.mono(2 * second), 5_000 + 2 * second + 200_000);
        clock.shift(2 * second, 3_600_000_000_000, -200);
        assert_eq!(clock.wall(7_200_000, 2 * second), 7_202_000);
        assert_eq!(clock.mono(3 * second), 5_000 + 3 * second + 200_000);
    }
}

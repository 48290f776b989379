//! The simulator's one source of chance, which can tell what it was asked.

use mailproof_model::event::At;
use mailproof_model::rng::Rng;

/// One draw: when it was made, in virtual time, from what, and what came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Virtual nanoseconds since the run began.
    pub at: At,
    /// The draw was of a number below this one; 0 when it can only be 0.
    pub below: u64,
    /// What was drawn.
    pub value: u64,
}

/// The source, and its log when somebody asked for one.
#[derive(Clone, Debug)]
pub(super) struct Draws {
    rng: Rng,
    now: At,
    log: Option<Vec<Draw>>,
    /// Which draw, counted from 0, comes out otherwise than it should.
    #[cfg(test)]
    pub(super) spoiled: Option<u64>,
    #[cfg(test)]
    made: u64,
}

impl Draws {
    /// The source of a run.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::keyed(seed, "sim", 0),
            now: 0,
            log: None,
            #[cfg(test)]
            spoiled: None,
            #[cfg(test)]
            made: 0,
        }
    }

    /// Keeps a log from now on.
    pub(super) fn keep(&mut self) {
        self.log.get_or_insert_default();
    }

    /// What was drawn since [`Self::keep`].
    pub(super) fn take(&mut self) -> Vec<Draw> {
        self.log.take().unwrap_or_default()
    }

    /// It is now so late.
    pub(super) fn at(&mut self, now: At) {
        self.now = now;
    }

    /// A number below `n`; 0 when `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        #[cfg_attr(not(test), allow(unused_mut))]
        let mut value = self.rng.below(n);
        #[cfg(test)]
        {
            if self.spoiled == Some(self.made) {
                value = (value + 1) % n.max(1);
            }
            self.made += 1;
        }
        if let Some(log) = &mut self.log {
            log.push(Draw {
                at: self.now,
                below: n,
                value,
            });
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_holds_every_draw_with_its_time_and_changes_none() {
        let mut silent = Draws::new(7);
        let mut logged = Draws::new(7);
        logged.keep();
        let mut values = Vec::new();
        for (at, n) in [(0, 2), (5, 100), (5, 0), (9, 1 << 40)] {
            logged.at(at);
            let value = logged.below(n);
            assert_eq!(value, silent.below(n));
            values.push(Draw {
                at,
                below: n,
                value,
            });
        }
        assert_eq!(logged.take(), values);
        assert_eq!(silent.take(), []);
    }
}

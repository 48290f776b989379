//! Ranges of seeds, `0..200`.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// At most so many seeds in one call: a typing error shall not queue up years
/// of work.
const MOST: u64 = 100_000_000;

/// A half-open range of seeds: `A..B` is A, A+1, … B-1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(Range<u64>);

impl Seeds {
    /// One seed.
    #[must_use]
    pub fn one(seed: u64) -> Self {
        Self(seed..seed.saturating_add(1))
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.end - self.0.start
    }

    /// The first.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.0.start
    }

    /// The seeds, in order.
    pub fn iter(&self) -> impl Iterator<Item = u64> + use<> {
        self.0.clone()
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.0.start, self.0.end)
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (from, to) = text
            .split_once("..")
            .ok_or("expected two numbers, `0..200` (the second is not included)")?;
        let number = |t: &str| {
            t.trim()
                .parse::<u64>()
                .map_err(|_| format!("`{t}` is not a whole number"))
        };
        let (from, to) = (number(from)?, number(to)?);
        if from >= to {
            return Err(format!(
                "the range `{text}` is empty: the second number is not included"
            ));
        }
        if to - from > MOST {
            return Err(format!("at most {MOST} seeds in one call"));
        }
        Ok(Self(from..to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_half_open() {
        let seeds: Seeds = "3..6".parse().unwrap();
        assert_eq!(seeds.iter().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(Seeds::one(9).iter().collect::<Vec<_>>(), [9]);
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "3", "5..5", "6..5", "a..b", "..", "0..200000000"] {
            assert!(text.parse::<Seeds>().is_err(), "{text}");
        }
    }
}

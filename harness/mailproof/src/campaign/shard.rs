//! One part of a campaign, `1/4`.

use std::fmt;
use std::str::FromStr;

/// At most so many parts.
const MOST: u64 = 1_000_000;

/// Every n-th seed of a campaign, beginning with one of the first n.
///
/// Job engines count their tasks from 0 or from 1 (a Kubernetes Indexed Job
/// from 0, a Docker service from 1): both do, since `n/n` is the same part as
/// `0/n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// 0 to `of` - 1.
    index: u64,
    of: u64,
}

impl Shard {
    /// The whole.
    pub(crate) const ALL: Self = Self { index: 0, of: 1 };

    /// Whether it is the whole.
    pub(crate) fn is_all(self) -> bool {
        self.of == 1
    }

    /// How many of `seeds` seeds are its.
    pub(crate) fn count(self, seeds: u64) -> u64 {
        seeds.saturating_sub(self.index).div_ceil(self.of)
    }

    /// How far its k-th seed is behind the first of the campaign.
    pub(crate) fn offset(self, k: u64) -> u64 {
        self.index + k * self.of
    }

    /// Which of its seeds is so far behind the first of the campaign.
    pub(crate) fn nth(self, offset: u64) -> Option<u64> {
        let from = offset.checked_sub(self.index)?;
        from.is_multiple_of(self.of).then(|| from / self.of)
    }

    /// The folder of its store below that of the campaign.
    pub(crate) fn folder(self) -> String {
        format!("shard-{}-of-{}", self.index, self.of)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |t: &str| {
            t.parse::<u64>()
                .map_err(|_| format!("`{t}` is not a whole number"))
        };
        let (index, of) = text
            .split_once('/')
            .ok_or("expected two numbers, `1/4`: the first part of four")?;
        let (index, of) = (number(index)?, number(of)?);
        if of == 0 || of > MOST {
            return Err(format!("there are 1 to {MOST} parts, not {of}"));
        }
        if index > of {
            return Err(format!(
                "of {of} parts there is none with the number {index}; they are counted from 0 or from 1"
            ));
        }
        Ok(Self {
            index: index % of,
            of,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_is_in_exactly_one_part() {
        for of in [1, 2, 3, 7, 40] {
            for seeds in [0, 1, 2, 20, 21] {
                let mut seen = Vec::new();
                // Counted from 1, as Docker does.
                for index in 1..=of {
                    let shard: Shard = format!("{index}/{of}").parse().unwrap();
                    for k in 0..shard.count(seeds) {
                        let offset = shard.offset(k);
                        assert_eq!(shard.nth(offset), Some(k));
                        seen.push(offset);
                    }
                }
                seen.sort_unstable();
                assert_eq!(seen, (0..seeds).collect::<Vec<_>>(), "{seeds} over {of}");
            }
        }
        let (first, third): (Shard, Shard) = ("0/3".parse().unwrap(), "3/3".parse().unwrap());
        assert_eq!(first, third);
        assert_eq!(first.nth(4), None);
    }

    #[test]
    fn what_is_no_part_is_refused() {
        for text in ["", "1", "2/0", "5/4", "a/b", "-1/4", "/", "1/2000000"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}

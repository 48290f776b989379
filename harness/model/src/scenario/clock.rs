//! What a scenario says about clocks.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Pick, Span, SpanError, Times, Trigger};

/// A node's clocks go wrong: its wall clock jumps, its monotonic clock (and
/// with it every timer) runs fast or slow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClockFault {
    /// Which node.
    pub node: Pick,
    /// When.
    pub at: Trigger,
    /// By how much its wall clock jumps; nothing: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
    /// How much faster its monotonic clock runs; nothing: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// After how long both are set right; nothing: never.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "for")]
    pub lasts: Option<Span>,
}

/// A span of time with a sign: `-3 h`, `500 ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offset {
    back: bool,
    span: Span,
}

impl Offset {
    /// A jump by a span, backwards or forwards.
    #[must_use]
    pub fn new(back: bool, span: Span) -> Self {
        Self { back, span }
    }

    /// Nanoseconds.
    ///
    /// # Errors
    /// A named time without a value.
    pub fn resolve(&self, times: &Times) -> Result<i64, SpanError> {
        let span = i64::try_from(self.span.resolve(times)?).unwrap_or(i64::MAX);
        Ok(if self.back { -span } else { span })
    }

    /// Its span without the sign.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.back { "-" } else { "" }, self.span)
    }
}

impl FromStr for Offset {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (back, span) = match s.trim().strip_prefix('-') {
            Some(span) => (true, span),
            None => (false, s.trim().trim_start_matches('+')),
        };
        let span = span
            .trim()
            .parse::<Span>()
            .map_err(|e| format!("{e}; an offset is `-3 h` or `500 ms`"))?;
        Ok(Self { back, span })
    }
}

/// How much faster a clock runs than time, in parts per million; negative:
/// slower. Never more than half as fast or twice as fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drift(i32);

impl Drift {
    /// Most parts per million, either way.
    pub const MOST: i32 = 500_000;

    /// So many parts per million; `None` beyond [`Self::MOST`] either way.
    #[must_use]
    pub fn new(ppm: i32) -> Option<Self> {
        (-Self::MOST..=Self::MOST)
            .contains(&ppm)
            .then_some(Self(ppm))
    }

    /// Parts per million, -500 000 to 500 000.
    #[must_use]
    pub fn ppm(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ppm", self.0)
    }
}

impl FromStr for Drift {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        s.trim()
            .strip_suffix("ppm")
            .and_then(|n| n.trim().parse::<i32>().ok())
            .filter(|n| (-Self::MOST..=Self::MOST).contains(n))
            .map(Self)
            .ok_or_else(|| format!("`{s}` is not a drift; write `200 ppm`, from -500000 to 500000"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_drifts_are_read_as_they_are_written() {
        let hour = 3_600_000_000_000_i64;
        for (text, ns) in [("-3 h", -3 * hour), ("500 ms", 500_000_000), ("+1 h", hour)] {
            let offset: Offset = text.parse().unwrap();
            assert_eq!(offset.resolve(&Times::new()), Ok(ns));
            assert_eq!(offset.to_string().parse(), Ok(offset));
        }
        let drift: Drift = "-200 ppm".parse().unwrap();
        assert_eq!(
            (drift.ppm(), drift.to_string().as_str()),
            (-200, "-200 ppm")
        );
        for wrong in ["200", "600000 ppm", "x ppm"] {
            assert!(wrong.parse::<Drift>().is_err(), "{wrong}");
        }
        assert!("--3 h".parse::<Offset>().is_err());
    }
}

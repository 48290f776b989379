//! Spans of time as scenarios write them: `250 ms`, `takeover + 2 polls`,
//! `poll / 2`; and inequalities between them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Named times in nanoseconds.
pub type Times = BTreeMap<String, u64>;

const UNITS: [(&str, u64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

/// A span of time: a sum or difference of terms, each a number with a unit
/// (`250 ms`), a named time (`takeover`), a multiple (`2 polls`) or a part
/// (`takeover / 3`) of one.
///
/// Kept as written; its value depends on the times in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    text: String,
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    negative: bool,
    times: u64,
    divide: u64,
    base: Base,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Base {
    Unit(u64),
    Name(String),
}

/// A text that is no span, or a span whose names have no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// The text cannot be read.
    #[error("`{text}` is not a span of time: {why}")]
    Syntax {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// The text is no inequality.
    #[error("`{text}` is not an inequality such as `restart < takeover / 3`")]
    NoInequality {
        /// What was given.
        text: String,
    },
    /// A name that the plan has no value for.
    #[error("`{name}` in `{text}` has no value; known times are {known}")]
    Unknown {
        /// What was given.
        text: String,
        /// The name.
        name: String,
        /// The names there are.
        known: String,
    },
    /// The value does not fit, or is below zero.
    #[error("`{text}` is out of range (0 to 500 years)")]
    Range {
        /// What was given.
        text: String,
    },
}

impl Span {
    /// Its value in nanoseconds.
    ///
    /// # Errors
    /// A name without a value, or a sum that is negative or does not fit.
    pub fn resolve(&self, times: &Times) -> Result<u64, SpanError> {
        let mut sum: i128 = 0;
        for term in &self.terms {
            let base = match &term.base {
                Base::Unit(ns) => *ns,
                Base::Name(name) => lookup(times, name).ok_or_else(|| SpanError::Unknown {
                    text: self.text.clone(),
                    name: name.clone(),
                    known: known(times),
                })?,
            };
            let value = i128::from(base) * i128::from(term.times) / i128::from(term.divide);
            sum += if term.negative { -value } else { value };
        }
        u64::try_from(sum)
            .ok()
            .filter(|ns| *ns < u64::MAX / 2)
            .ok_or_else(|| SpanError::Range {
                text: self.text.clone(),
            })
    }

    /// The named times it depends on.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.terms.iter().filter_map(|term| match &term.base {
            Base::Name(name) => Some(name.as_str()),
            Base::Unit(_) => None,
        })
    }

    /// A span of so many nanoseconds.
    #[must_use]
    pub fn nanoseconds(ns: u64) -> Self {
        let (unit, size) = UNITS
            .iter()
            .rev()
            .find(|(_, size)| ns >= *size && ns.is_multiple_of(*size))
            .unwrap_or(&UNITS[0]);
        Self {
            text: format!("{} {unit}", ns / size),
            terms: vec![Term {
                negative: false,
                times: ns / size,
                divide: 1,
                base: Base::Unit(*size),
            }],
        }
    }
}

/// `polls` and `retries` mean `poll` and `retry`.
fn lookup(times: &Times, name: &str) -> Option<u64> {
    times
        .get(name)
        .or_else(|| times.get(name.strip_suffix('s')?))
        .or_else(|| times.get(&format!("{}y", name.strip_suffix("ies")?)))
        .copied()
}

fn known(times: &Times) -> String {
    if times.is_empty() {
        return "none".to_owned();
    }
    times
        .keys()
        .map(|k| format!("`{k}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let wrong = |why: String| SpanError::Syntax {
            text: text.to_owned(),
            why,
        };
        let mut terms = Vec::new();
        let mut negative = false;
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong(
                "it is empty; write a number and a unit, `250 ms`".to_owned(),
            ));
        }
        loop {
            let end = rest.find(['+', '-']).unwrap_or(rest.len());
            terms.push(term(&rest[..end], negative).map_err(wrong)?);
            if end == rest.len() {
                break;
            }
            negative = rest.as_bytes()[end] == b'-';
            rest = &rest[end + 1..];
        }
        Ok(Self {
            text: text.trim().to_owned(),
            terms,
        })
    }
}

fn term(text: &str, negative: bool) -> Result<Term, String> {
    let (head, divide) = match text.split_once('/') {
        Some((head, by)) => (
            head.trim(),
            by.trim()
                .parse::<u64>()
                .ok()
                .filter(|n| *n > 0)
                .ok_or_else(|| {
                    format!("`{}` after `/` is not a whole number above 0", by.trim())
                })?,
        ),
        None => (text.trim(), 1),
    };
    let digits = head
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(head.len());
    let (number, name) = (&head[..digits], head[digits..].trim());
    if name.is_empty() {
        return Err(if number.is_empty() {
            "a term is missing".to_owned()
        } else {
            format!("`{number}` has no unit; units are ns, us, ms, s, min, h, d")
        });
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(format!("`{name}` is not a unit or a named time"));
    }
    let unit = UNITS.iter().find(|(unit, _)| *unit == name).map(|u| u.1);
    let (times, fraction) = match number.split_once('.') {
        None if number.is_empty() => (1, 1),
        None => (parse(number)?, 1),
        Some((whole, part)) if !part.is_empty() && part.len() <= 9 => {
            let scale = 10u64.pow(u32::try_from(part.len()).unwrap_or(9));
            let whole = if whole.is_empty() { 0 } else { parse(whole)? };
            let all = whole
                .checked_mul(scale)
                .and_then(|w| w.checked_add(parse(part).ok()?));
            (
                all.ok_or_else(|| format!("`{number}` is too large"))?,
                scale,
            )
        }
        Some(_) => return Err(format!("`{number}` is not a number")),
    };
    match unit {
        Some(_) if number.is_empty() => Err(format!("the unit `{name}` has no number")),
        Some(ns) => Ok(Term {
            negative,
            times,
            divide: divide.saturating_mul(fraction),
            base: Base::Unit(ns),
        }),
        None => Ok(Term {
            negative,
            times,
            divide: divide.saturating_mul(fraction),
            base: Base::Name(name.to_owned()),
        }),
    }
}

fn parse(digits: &str) -> Result<u64, String> {
    digits
        .replace('_', "")
        .parse::<u64>()
        .ok()
        .filter(|n| *n < 1 << 53)
        .ok_or_else(|| format!("`{digits}` is not a number in range"))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `left < right` over named times, `restart < takeover / 3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inequality {
    /// The smaller side.
    pub left: Span,
    /// The larger side.
    pub right: Span,
}

impl Inequality {
    /// Whether it holds; `None` when a name has no value yet (a time that is
    /// only measured).
    #[must_use]
    pub fn holds(&self, times: &Times) -> Option<bool> {
        Some(self.left.resolve(times).ok()? < self.right.resolve(times).ok()?)
    }
}

impl FromStr for Inequality {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let (left, right) = text
            .split_once('<')
            .ok_or_else(|| SpanError::NoInequality {
                text: text.to_owned(),
            })?;
        Ok(Self {
            left: left.parse()?,
            right: right.parse()?,
        })
    }
}

impl fmt::Display for Inequality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} < {}", self.left, self.right)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> Times {
        [
            ("poll", 250_000_000),
            ("takeover", 2_000_000_000),
            ("retry", 500_000_000),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect()
    }

    #[test]
    fn spans_have_the_value_that_they_read_as() {
        for (text, ns) in [
            ("250 ms", 250_000_000),
            ("1.5 s", 1_500_000_000),
            ("2min", 120_000_000_000),
            ("takeover", 2_000_000_000),
            ("takeover + 2 polls", 2_500_000_000),
            ("2 retries - 1 poll", 750_000_000),
            ("takeover / 4", 500_000_000),
            ("0 s", 0),
        ] {
            assert_eq!(
                text.parse::<Span>().unwrap().resolve(&times()).unwrap(),
                ns,
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in [
            "",
            "5",
            "ms",
            "5 ms +",
            "a b",
            "1 / 0 s",
            "takeover / x",
            "1..5 s",
            "-",
            "5 $",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        let gone = "1 fortnight".parse::<Span>().unwrap();
        assert!(matches!(
            gone.resolve(&times()),
            Err(SpanError::Unknown { .. })
        ));
        let below = "poll - takeover".parse::<Span>().unwrap();
        assert!(matches!(
            below.resolve(&times()),
            Err(SpanError::Range { .. })
        ));
    }

    #[test]
    fn nanoseconds_are_written_in_the_largest_whole_unit() {
        assert_eq!(Span::nanoseconds(250_000_000).to_string(), "250 ms");
        assert_eq!(Span::nanoseconds(3_600_000_000_000).to_string(), "1 h");
        assert_eq!(Span::nanoseconds(0).resolve(&times()), Ok(0));
    }

    #[test]
    fn an_inequality_waits_for_measured_names() {
        let i: Inequality = "restart < takeover / 3".parse().unwrap();
        assert_eq!(i.holds(&times()), None);
        let mut t = times();
        t.insert("restart".to_owned(), 600_000_000);
        assert_eq!(i.holds(&t), Some(true));
        t.insert("restart".to_owned(), 700_000_000);
        assert_eq!(i.holds(&t), Some(false));
    }
}

//! What a key of the configuration takes: its range, its default and how both
//! are written. The range check and PARAMETERS.md read the same rows
//! ([`super::parameters`]), so neither can say what the other does not do.

use std::fmt::Write as _;
use std::time::Duration;

use super::parameters::GROUPS;
use super::{Config, ConfigError};

/// The lower bound of every time under `test-times`.
const TEST_TIME: Duration = Duration::from_millis(10);

/// Keys that belong together.
#[derive(Debug)]
pub struct Group {
    /// Its heading.
    pub title: &'static str,
    /// Its keys.
    pub rows: &'static [Parameter],
}

/// One key.
#[derive(Debug)]
pub struct Parameter {
    /// As in the file. A key of an entry of a list has the list before it:
    /// `peers[].name`.
    pub key: &'static str,
    /// What it takes, and where it stands in a [`Config`].
    pub takes: Takes,
    /// What it does.
    pub meaning: &'static str,
    /// Where name, default and range come from.
    pub source: &'static str,
}

/// What a key takes. Both ends of a range belong to it.
#[derive(Debug)]
#[allow(clippy::type_complexity, reason = "an accessor is a plain function")]
pub enum Takes {
    /// A time; `test-times` lifts the lower end.
    Time(Duration, Duration, fn(&Config) -> Duration),
    /// A list of times, each in the range.
    Times(Duration, Duration, fn(&Config) -> &[Duration]),
    /// A number of bytes.
    Bytes(u64, u64, fn(&Config) -> u64),
    /// A plain number.
    Count(u64, u64, fn(&Config) -> u64),
    /// `true` or `false`.
    Switch(fn(&Config) -> bool),
    /// Something else, in words, and its default in words. What it has to
    /// hold is checked by hand.
    Words(&'static str, &'static str),
}

/// Where names, defaults and ranges come from, in short.
pub mod source {
    /// The documentation of `Set-TransportConfig`.
    pub const CONFIG: &str = "Set-TransportConfig";
    /// The documentation of `Set-TransportService`.
    pub const SERVICE: &str = "Set-TransportService";
    /// The documentation of `Set-ReceiveConnector`.
    pub const RECEIVE: &str = "Set-ReceiveConnector";
    /// The documentation of `Set-SendConnector`.
    pub const SEND: &str = "Set-SendConnector";
    /// No document has it: a decision of this project.
    pub const OURS: &str = "ours";
}

impl Takes {
    /// The range in words.
    #[must_use]
    pub fn range(&self) -> String {
        match self {
            Self::Time(low, high, _) => format!("{} to {}", time(*low), time(*high)),
            Self::Times(low, high, _) => format!("{} to {} each", time(*low), time(*high)),
            Self::Bytes(low, high, _) => format!("{} to {}", bytes(*low), bytes(*high)),
            Self::Count(low, high, _) => format!("{low} to {high}"),
            Self::Switch(_) => "true, false".to_owned(),
            Self::Words(range, _) => (*range).to_owned(),
        }
    }

    /// The unit in words.
    #[must_use]
    pub fn unit(&self) -> &'static str {
        match self {
            Self::Time(..) => "time",
            Self::Times(..) => "list of times",
            Self::Bytes(..) => "bytes",
            Self::Count(..) => "number",
            Self::Switch(_) => "switch",
            Self::Words(..) => "",
        }
    }

    /// The value in `config` as it is written in a file; of a key in words,
    /// its default.
    #[must_use]
    pub fn written(&self, config: &Config) -> String {
        match self {
            Self::Time(.., of) => format!("\"{}\"", time(of(config))),
            Self::Times(.., of) => {
                let times: Vec<String> = of(config)
                    .iter()
                    .map(|at| format!("\"{}\"", time(*at)))
                    .collect();
                format!("[{}]", times.join(", "))
            }
            Self::Bytes(.., of) => format!("\"{}\"", bytes(of(config))),
            Self::Count(.., of) => of(config).to_string(),
            Self::Switch(of) => of(config).to_string(),
            Self::Words(_, default) => (*default).to_owned(),
        }
    }
}

impl Config {
    /// Checks every range of the table.
    pub(super) fn check_ranges(&self) -> Result<(), ConfigError> {
        let out =
            |key: String, range: String| Err(ConfigError::bare(&key, format!("expected {range}")));
        for row in GROUPS.iter().flat_map(|group| group.rows) {
            match &row.takes {
                Takes::Time(low, high, of) => {
                    let (low, high) = (self.lifted(*low), *high);
                    if !(low..=high).contains(&of(self)) {
                        let range = format!("{} to {}", time(low), time(high));
                        return out(row.key.to_owned(), range);
                    }
                }
                Takes::Times(low, high, of) => {
                    let (low, high) = (self.lifted(*low), *high);
                    let wrong = of(self).iter().position(|t| !(low..=high).contains(t));
                    if let Some(at) = wrong {
                        let range = format!("{} to {}", time(low), time(high));
                        return out(format!("{}[{at}]", row.key), range);
                    }
                }
                Takes::Bytes(low, high, of) | Takes::Count(low, high, of) => {
                    if !(*low..=*high).contains(&of(self)) {
                        return out(row.key.to_owned(), row.takes.range());
                    }
                }
                Takes::Switch(_) | Takes::Words(..) => {}
            }
        }
        Ok(())
    }

    fn lifted(&self, low: Duration) -> Duration {
        if self.test_times {
            low.min(TEST_TIME)
        } else {
            low
        }
    }
}

/// A time as it is written in a file.
#[must_use]
pub fn time(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "min"),
        (1_000, "s"),
    ];
    match units
        .iter()
        .find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit))
    {
        Some((unit, name)) => format!("{} {name}", millis / unit),
        None if millis == 0 => "0 s".to_owned(),
        None => format!("{millis} ms"),
    }
}

/// A number of bytes as it is written in a file.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units
        .iter()
        .find(|(shift, _)| bytes > 0 && bytes.is_multiple_of(1 << shift))
    {
        Some((shift, name)) => format!("{} {name}", bytes >> shift),
        None => format!("{bytes} B"),
    }
}

/// The whole table as Markdown: this is PARAMETERS.md.
#[must_use]
pub fn markdown() -> String {
    let config = Config::new("n1", ([127, 0, 0, 1], 25).into(), "store".into());
    let mut text = "# Parameters\n\n\
         Generated from the table that the range check reads; a test keeps it so. \
         Both ends of a range belong to it. A time is a whole number and one of \
         `ms s min h d`, a number of bytes one and one of `B KiB MiB GiB`. Under \
         `test-times` every time may be as short as 10 ms.\n"
        .to_owned();
    for group in GROUPS {
        let _ = write!(
            text,
            "\n## {}\n\n| key | default | range | unit | meaning | source |\n|---|---|---|---|---|---|\n",
            group.title
        );
        for row in group.rows {
            let default = match row.takes.written(&config) {
                written if matches!(row.takes, Takes::Words(..)) => written,
                written => format!("`{written}`"),
            };
            let cells = [
                format!("`{}`", row.key),
                default,
                row.takes.range(),
                row.takes.unit().to_owned(),
                row.meaning.to_owned(),
                row.source.to_owned(),
            ];
            let _ = writeln!(
                text,
                "| {} |",
                cells.map(|c| c.replace('|', "\\|")).join(" | ")
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units;

    #[test]
    fn what_is_written_can_be_read() {
        for millis in [0, 1, 10, 999, 1_000, 1_500, 60_000, 7_200_000, 86_400_000] {
            let span = Duration::from_millis(millis);
            assert_eq!(units::duration(&time(span)), Ok(span));
        }
        for size in [0, 1, 1_000, 1_024, 65_536, 3 << 20, 5 << 30] {
            assert_eq!(units::size(&bytes(size)), Ok(size));
        }
    }
}

//! What an administrator, or whoever plays the part of the Active Manager, can
//! tell a running node: mailbox databases and resubmit requests.
//!
//! A command is one line of words, as the admin socket takes it.

use std::str::FromStr;
use std::time::Duration;

use crate::config::duration;

/// Which state a mailbox database is mounted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// As it was dismounted.
    Now,
    /// As a copy whose last delivery is not later than this, Unix
    /// milliseconds: everything delivered later is lost.
    Time(u64),
    /// As a copy that lags this much.
    Lag(Duration),
    /// As a copy that lags by `replay-lag-time`.
    Lagged,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `mount NAME [as-of=MS|lag=SPAN|lagged]`: mail for the database is
    /// delivered here from now on. Where something was lost, a resubmit
    /// request follows by itself.
    Mount {
        /// The database.
        database: String,
        /// In which state.
        as_of: AsOf,
    },
    /// `dismount NAME [to=PEER]`: mail for the database waits, or goes to the
    /// peer where it is mounted from now on.
    Dismount {
        /// The database.
        database: String,
        /// Where it is mounted instead.
        to: Option<String>,
    },
    /// `resubmit NAME START END [unresponsive=PEER,PEER]`: replay what was
    /// delivered to the database from START to END, here and at every peer.
    Resubmit {
        /// The database.
        database: String,
        /// The first delivery time, Unix milliseconds.
        start: u64,
        /// The last.
        end: u64,
        /// Peers that are not to be waited for: the copies that others held
        /// for them are replayed at once.
        unresponsive: Vec<String>,
    },
    /// `requests`: the resubmit requests.
    Requests,
    /// `enable-request ID`, `disable-request ID`.
    Enable {
        /// The request.
        id: u64,
        /// On or off.
        enabled: bool,
    },
    /// `remove-request ID`.
    Remove {
        /// The request.
        id: u64,
    },
}

/// The words that begin a command.
pub const COMMANDS: [&str; 7] = [
    "mount",
    "dismount",
    "resubmit",
    "requests",
    "enable-request",
    "disable-request",
    "remove-request",
];

/// Why a line is no command: what was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCommand(pub &'static str);

impl FromStr for Command {
    type Err = BadCommand;

    fn from_str(line: &str) -> Result<Self, BadCommand> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let number = |word: &str| {
            word.parse::<u64>()
                .map_err(|_| BadCommand("expected a whole number"))
        };
        let list = |text: &str| text.split(',').map(str::to_owned).collect();
        Ok(match *words.as_slice() {
            ["mount", name] => Self::Mount {
                database: name.to_owned(),
                as_of: AsOf::Now,
            },
            ["mount", name, how] => Self::Mount {
                database: name.to_owned(),
                as_of: match (how, how.split_once('=')) {
                    ("lagged", _) => AsOf::Lagged,
                    (_, Some(("as-of", at))) => AsOf::Time(number(at)?),
                    (_, Some(("lag", span))) => AsOf::Lag(
                        duration(span)
                            .map_err(|_| BadCommand("expected a time as in lag=90min"))?,
                    ),
                    _ => return Err(BadCommand("expected as-of=MS, lag=SPAN or lagged")),
                },
            },
            ["dismount", name] => Self::Dismount {
                database: name.to_owned(),
                to: None,
            },
            ["dismount", name, to] => Self::Dismount {
                database: name.to_owned(),
                to: Some(
                    to.strip_prefix("to=")
                        .ok_or(BadCommand("expected to=PEER"))?
                        .to_owned(),
                ),
            },
            ["resubmit", name, start, end] => Self::Resubmit {
                database: name.to_owned(),
                start: number(start)?,
                end: number(end)?,
                unresponsive: Vec::new(),
            },
            ["resubmit", name, start, end, peers] => Self::Resubmit {
                database: name.to_owned(),
                start: number(start)?,
                end: number(end)?,
                unresponsive: list(
                    peers
                        .strip_prefix("unresponsive=")
                        .ok_or(BadCommand("expected unresponsive=PEER,PEER"))?,
                ),
            },
            ["requests"] => Self::Requests,
            ["enable-request", id] => Self::Enable {
                id: number(id)?,
                enabled: true,
            },
            ["disable-request", id] => Self::Enable {
                id: number(id)?,
                enabled: false,
            },
            ["remove-request", id] => Self::Remove { id: number(id)? },
            _ => {
                return Err(BadCommand(
                    "expected mount NAME [as-of=MS|lag=SPAN|lagged], dismount NAME [to=PEER], \
                     resubmit NAME START END [unresponsive=PEER,PEER], requests, \
                     enable-request ID, disable-request ID or remove-request ID",
                ));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_commands() {
        assert_eq!(
            "mount db1 lag=90s".parse(),
            Ok(Command::Mount {
                database: "db1".to_owned(),
                as_of: AsOf::Lag(Duration::from_secs(90))
            })
        );
        assert_eq!(
            "resubmit db1 1 2 unresponsive=n1,n2".parse(),
            Ok(Command::Resubmit {
                database: "db1".to_owned(),
                start: 1,
                end: 2,
                unresponsive: vec!["n1".to_owned(), "n2".to_owned()]
            })
        );
        for bad in [
            "",
            "mount",
            "mount db1 x",
            "resubmit db1 a b",
            "remove-request -1",
        ] {
            assert!(bad.parse::<Command>().is_err(), "{bad}");
        }
    }
}

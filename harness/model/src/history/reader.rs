//! Reading a history, one event at a time, and telling whether it is whole.
//!
//! The rule (see `HISTORY.md`): a file that is a prefix of what a writer
//! writes is *unsealed* and its complete lines count; a file with the seal at
//! its end is *sealed*; anything else is *altered*. A crash of the harness
//! can cut a file anywhere, but it cannot make a complete line wrong.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::Deserialize;

use super::chain::{Root, Seal};
use super::lines::{Broken, Line, Lines, Stop, chain_holds};
use super::{FORMAT, decode, rules};
use crate::event::{At, Event, What};
use crate::plan::Plan;

/// How a history ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With its seal: it is just what was written.
    Sealed {
        /// How many events it has.
        events: u64,
        /// The hash of all of it.
        root: Root,
    },
    /// Without a seal: the run was interrupted, or the file was cut.
    Unsealed {
        /// How many events can be used: those on complete lines.
        events: u64,
        /// How many of them the chain covers.
        hashed: u64,
        /// How it ends, in words.
        why: String,
    },
    /// It is not what a writer wrote.
    Altered {
        /// The line at which that shows, counted from 1. What was changed
        /// may stand before it, up to a block.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// Why a history cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file could not be read.
    #[error("the history cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The header line is not complete: the run was interrupted as it began.
    #[error("the history ends within its first line, the plan; nothing in it can be judged")]
    Torn,
    /// The header is complete and wrong.
    #[error("line 1 is not the header of a history: {why}")]
    Altered {
        /// What is wrong with it.
        why: String,
    },
    /// The header names a version of the format that this mailproof does not
    /// read.
    #[error("the history has format `{found}`; this mailproof reads `{FORMAT}`")]
    Version {
        /// The format it names.
        found: String,
    },
}

/// Reads a history as a stream: an iterator over its events, then
/// [`Reader::tail`] tells how it ended.
///
/// An event is yielded before the block line that covers it was read, so what
/// was folded from the events counts only once the tail is known. Memory is
/// bounded by the longest line, [`super::MAX_LINE`] bytes at most.
pub struct Reader<R: Read> {
    lines: Lines<R>,
    plan: Plan,
    next: u64,
    at: At,
    ended: bool,
    tail: Option<Tail>,
}

#[derive(Deserialize)]
struct Format {
    mailproof: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    #[serde(rename = "mailproof")]
    _format: String,
    plan: Plan,
}

/// The plan in a header line, without its newline.
pub(super) fn header(line: &[u8]) -> Result<Plan, OpenError> {
    let altered = |e: serde_json::Error| OpenError::Altered { why: e.to_string() };
    let format: Format = serde_json::from_slice(line).map_err(altered)?;
    if format.mailproof != FORMAT {
        return Err(match format.mailproof.strip_prefix("history/") {
            Some(n) if !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) => {
                OpenError::Version {
                    found: format.mailproof,
                }
            }
            _ => OpenError::Altered {
                why: format!("`mailproof` is `{}`, not `{FORMAT}`", format.mailproof),
            },
        });
    }
    let header: Header = serde_json::from_slice(line).map_err(altered)?;
    Ok(header.plan)
}

impl Reader<File> {
    /// Opens a history file.
    ///
    /// # Errors
    /// As [`Reader::new`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::new(File::open(path)?)
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn new(from: R) -> Result<Self, OpenError> {
        let mut lines = Lines::new(from);
        let plan = match lines.next() {
            Ok(Line::Content(line)) => header(line)?,
            Ok(_) => return Err(OpenError::Torn),
            Err(Stop::Io(e)) => return Err(e.into()),
            Err(Stop::Altered(why)) => return Err(OpenError::Altered { why }),
        };
        Ok(Self {
            lines,
            plan,
            next: 0,
            at: 0,
            ended: false,
            tail: None,
        })
    }

    /// The plan of the run.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// How the history ended; `None` until [`Reader::next_event`] has
    /// returned `None`.
    #[must_use]
    pub fn tail(&self) -> Option<&Tail> {
        self.tail.as_ref()
    }

    /// The next event; `None` at the end, whatever it is.
    ///
    /// # Errors
    /// The file could not be read on.
    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        if self.tail.is_some() {
            return Ok(None);
        }
        match self.step() {
            Ok(event) => Ok(event),
            Err(Stop::Io(e)) => Err(e),
            Err(Stop::Altered(why)) => {
                self.tail = Some(Tail::Altered {
                    line: self.lines.line(),
                    why,
                });
                Ok(None)
            }
        }
    }

    /// Reads up to the next event; `None`: the tail is known.
    fn step(&mut self) -> Result<Option<Event>, Stop> {
        let why = match self.lines.next()? {
            Line::Content(line) => {
                let event = decode::event(line).map_err(|e| e.to_string())?;
                self.admit(&event)?;
                return Ok(Some(event));
            }
            Line::Seal(Seal { events, root }) => {
                self.tail = Some(Tail::Sealed { events, root });
                return Ok(None);
            }
            Line::End => "it ends without a seal",
            Line::Torn => "its last line is torn",
        };
        self.tail = Some(Tail::Unsealed {
            events: self.lines.events(),
            hashed: self.lines.hashed(),
            why: why.to_owned(),
        });
        Ok(None)
    }

    /// Whether the event may stand where it stands.
    fn admit(&mut self, event: &Event) -> Result<(), String> {
        if event.id != self.next {
            return Err(format!("its id is {}, {} is due", event.id, self.next));
        }
        if event.at < self.at {
            return Err(format!(
                "its time {} lies before that of the event before it, {}",
                event.at, self.at
            ));
        }
        rules::may_say(event.by, &event.ev)?;
        rules::may_follow(self.ended, &event.ev)?;
        self.next += 1;
        self.at = event.at;
        self.ended |= matches!(event.ev, What::End { .. });
        Ok(())
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<io::Result<Event>> {
        self.next_event().transpose()
    }
}

/// Checks the chain of a history of another version, which is the same in
/// all: whether it holds as far as it goes.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn chain_of_other_version(path: &Path) -> io::Result<Result<(), Broken>> {
    chain_holds(File::open(path)?)
}

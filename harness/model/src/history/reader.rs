//! Reading a history, one event at a time, and telling whether it is whole.
//!
//! The rule (see `HISTORY.md`): a file that is a prefix of what a writer
//! writes is *unsealed* and its complete lines count; a file with the seal at
//! its end is *sealed*; anything else is *altered*. A crash of the harness
//! can cut a file anywhere, but it cannot make a complete line wrong.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;

use super::chain::{AT_ONCE, BLOCK, BLOCK_START, Chain, Root, SEAL_START, Seal};
use super::{FORMAT, MAX_LINE, decode, rules};
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
    /// The header names a format that this version does not read.
    #[error("the history has format `{found}`; this version of mailproof reads `{FORMAT}`")]
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
/// bounded by the longest line, [`MAX_LINE`] bytes at most.
pub struct Reader<R: Read> {
    from: BufReader<R>,
    plan: Plan,
    chain: Chain,
    /// Bytes that are not hashed yet; the line at hand is their end.
    lines: Vec<u8>,
    /// The line that was read last, counted from 1.
    line: u64,
    next: u64,
    at: At,
    ended: bool,
    /// Events up to the last block line.
    hashed: u64,
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

/// A line as it was read.
enum Line {
    /// Nothing is left.
    End,
    /// Without a newline: the file ends in it.
    Torn,
    /// Longer than any writer writes.
    TooLong,
    /// It starts here in `lines` and ends before the newline at their end.
    Whole(usize),
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn new(from: R) -> Result<Self, OpenError> {
        let mut from = BufReader::with_capacity(256 * 1024, from);
        let mut lines = Vec::new();
        let plan = match read_line(&mut from, &mut lines)? {
            Line::End | Line::Torn => return Err(OpenError::Torn),
            Line::TooLong => {
                return Err(OpenError::Altered {
                    why: format!("it is longer than {MAX_LINE} bytes"),
                });
            }
            Line::Whole(start) => header(&lines[start..lines.len() - 1])?,
        };
        Ok(Self {
            from,
            plan,
            chain: Chain::new(),
            lines,
            line: 1,
            next: 0,
            at: 0,
            ended: false,
            hashed: 0,
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
        while self.tail.is_none() {
            match self.step() {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) => {}
                Err(Stop::Io(e)) => return Err(e),
                Err(Stop::Altered(why)) => {
                    self.tail = Some(Tail::Altered {
                        line: self.line,
                        why,
                    });
                }
            }
        }
        Ok(None)
    }

    /// Reads one line. `None`: it was no event (or the end).
    fn step(&mut self) -> Result<Option<Event>, Stop> {
        if self.lines.len() >= AT_ONCE {
            self.absorb();
        }
        self.line += 1;
        let start = match read_line(&mut self.from, &mut self.lines)? {
            Line::Whole(start) => start,
            Line::TooLong => {
                return Err(altered(format!("it is longer than {MAX_LINE} bytes")));
            }
            Line::End => {
                self.tail = Some(self.unsealed("it ends without a seal"));
                return Ok(None);
            }
            Line::Torn => {
                self.tail = Some(self.unsealed("its last line is torn"));
                return Ok(None);
            }
        };
        let line = &self.lines[start..];
        if line.starts_with(BLOCK_START) {
            self.block(start)?;
            return Ok(None);
        }
        if line.starts_with(SEAL_START) {
            self.seal(start)?;
            return Ok(None);
        }
        if self.open_events() == BLOCK {
            return Err(altered(format!(
                "a block line is due after {} events",
                self.next
            )));
        }
        if self.short_block() {
            return Err(altered(
                "only the seal may follow a block of fewer than 256 events".to_owned(),
            ));
        }
        let event = decode::event(&line[..line.len() - 1]).map_err(|e| altered(e.to_string()))?;
        if event.id != self.next {
            return Err(altered(format!(
                "its id is {}, {} is due",
                event.id, self.next
            )));
        }
        if event.at < self.at {
            return Err(altered(format!(
                "its time {} lies before that of the event before it, {}",
                event.at, self.at
            )));
        }
        rules::may_say(event.by, &event.ev).map_err(altered)?;
        rules::may_follow(self.ended, &event.ev).map_err(altered)?;
        self.next += 1;
        self.at = event.at;
        self.ended |= matches!(event.ev, What::End { .. });
        Ok(Some(event))
    }

    /// Events since the last block line.
    fn open_events(&self) -> u64 {
        self.next - self.hashed
    }

    /// Whether the last block was a short one, so that only the seal may
    /// follow.
    fn short_block(&self) -> bool {
        self.chain.blocks() > 0 && (self.hashed % BLOCK != 0 || self.hashed == 0)
    }

    fn absorb(&mut self) {
        self.chain.update(&self.lines);
        self.lines.clear();
    }

    /// A block line starts at `start`: it has to be just the one that follows
    /// from all before it.
    fn block(&mut self, start: usize) -> Result<(), Stop> {
        if self.chain.blocks() > 0 && self.open_events() == 0 {
            return Err(altered(
                "a second block line after the same event".to_owned(),
            ));
        }
        self.chain.update(&self.lines[..start]);
        let due = self.chain.close(self.next);
        if self.lines[start..] != *due.as_bytes() {
            return Err(altered(format!(
                "the lines since the block before it do not hash to what it says; due was {}",
                due.trim_end()
            )));
        }
        self.lines.clear();
        self.hashed = self.next;
        Ok(())
    }

    /// The seal starts at `start`: it has to be the right one, after a block
    /// line, and the last line.
    fn seal(&mut self, start: usize) -> Result<(), Stop> {
        if self.chain.blocks() == 0 || self.open_events() > 0 {
            return Err(altered("the seal does not follow a block line".to_owned()));
        }
        let seal = Seal {
            events: self.next,
            root: self.chain.root(),
        };
        if self.lines[start..] != *seal.line().as_bytes() {
            return Err(altered(format!(
                "it is not the seal of what stands before it; due was {}",
                seal.line().trim_end()
            )));
        }
        self.lines.clear();
        if !self.from.fill_buf()?.is_empty() {
            self.line += 1;
            return Err(altered("something follows the seal".to_owned()));
        }
        self.tail = Some(Tail::Sealed {
            events: seal.events,
            root: seal.root,
        });
        Ok(())
    }

    fn unsealed(&self, why: &str) -> Tail {
        Tail::Unsealed {
            events: self.next,
            hashed: self.hashed,
            why: why.to_owned(),
        }
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = io::Result<Event>;

    fn next(&mut self) -> Option<io::Result<Event>> {
        self.next_event().transpose()
    }
}

/// Why reading stops here.
enum Stop {
    Io(io::Error),
    Altered(String),
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

fn altered(why: String) -> Stop {
    Stop::Altered(why)
}

/// Appends the next line, newline included, to `lines`.
fn read_line<R: BufRead>(from: &mut R, lines: &mut Vec<u8>) -> io::Result<Line> {
    let start = lines.len();
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    let read = from.by_ref().take(limit).read_until(b'\n', lines)?;
    Ok(match lines.last() {
        _ if read == 0 => Line::End,
        Some(b'\n') => Line::Whole(start),
        _ if read >= MAX_LINE => Line::TooLong,
        _ => Line::Torn,
    })
}

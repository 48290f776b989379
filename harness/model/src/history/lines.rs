//! The lines of a history and the chain over them, without a look at what
//! the events say. This layer is the same in every version of the format.

use std::io::{self, BufRead, BufReader, Read};

use super::MAX_LINE;
use super::chain::{AT_ONCE, BLOCK, BLOCK_START, Chain, SEAL_START, Seal};

/// What the next line turned out to be.
pub(super) enum Line<'a> {
    /// The header, or an event; without its newline.
    Content(&'a [u8]),
    /// The right seal, at the end of the file.
    Seal(Seal),
    /// Nothing is left, and no seal was there.
    End,
    /// The file ends within this line.
    Torn,
}

/// Why the lines cannot be read on.
pub(super) enum Stop {
    /// The file could not be read.
    Io(io::Error),
    /// The line at hand cannot stand there.
    Altered(String),
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Altered(why)
    }
}

/// Reads lines and checks block lines and the seal on the way. Memory is
/// bounded by the longest line.
pub(super) struct Lines<R: Read> {
    from: BufReader<R>,
    chain: Chain,
    /// Bytes that are not hashed yet; the line at hand is their end.
    pending: Vec<u8>,
    /// Lines read, the one at hand included.
    line: u64,
    /// Events read, the one at hand included.
    events: u64,
    /// Events up to the last block line.
    hashed: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from: BufReader::with_capacity(256 * 1024, from),
            chain: Chain::new(),
            pending: Vec::new(),
            line: 0,
            events: 0,
            hashed: 0,
        }
    }

    /// The number of the line at hand, counted from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Events on complete lines so far.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// How many of them a block line covers.
    pub(super) fn hashed(&self) -> u64 {
        self.hashed
    }

    /// The next line that is not a block line.
    pub(super) fn next(&mut self) -> Result<Line<'_>, Stop> {
        let start = loop {
            if self.pending.len() >= AT_ONCE {
                self.chain.update(&self.pending);
                self.pending.clear();
            }
            let start = self.pending.len();
            let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
            let read = (&mut self.from)
                .take(limit)
                .read_until(b'\n', &mut self.pending)?;
            if read == 0 {
                return Ok(Line::End);
            }
            self.line += 1;
            if self.pending.last() != Some(&b'\n') {
                if read >= MAX_LINE {
                    return Err(format!("it is longer than {MAX_LINE} bytes").into());
                }
                return Ok(Line::Torn);
            }
            let line = &self.pending[start..];
            if self.line == 1 {
                break start;
            }
            if line.starts_with(BLOCK_START) {
                self.block(start)?;
            } else if line.starts_with(SEAL_START) {
                return Ok(Line::Seal(self.seal(start)?));
            } else {
                self.content()?;
                break start;
            }
        };
        Ok(Line::Content(&self.pending[start..self.pending.len() - 1]))
    }

    /// Whether an event may stand here.
    fn content(&mut self) -> Result<(), Stop> {
        if self.open_events() == BLOCK {
            return Err(format!("a block line is due after {} events", self.events).into());
        }
        if self.short_block() {
            return Err(
                format!("only the seal may follow a block of fewer than {BLOCK} events").into(),
            );
        }
        self.events += 1;
        Ok(())
    }

    /// Events since the last block line.
    fn open_events(&self) -> u64 {
        self.events - self.hashed
    }

    /// Whether the last block was a short one.
    fn short_block(&self) -> bool {
        self.chain.blocks() > 0 && (!self.hashed.is_multiple_of(BLOCK) || self.hashed == 0)
    }

    /// A block line starts at `start`: it has to be just the one that follows
    /// from all before it.
    fn block(&mut self, start: usize) -> Result<(), Stop> {
        if self.chain.blocks() > 0 && self.open_events() == 0 {
            return Err("a second block line after the same event".to_owned().into());
        }
        self.chain.update(&self.pending[..start]);
        let due = self.chain.close(self.events);
        if self.pending[start..] != *due.as_bytes() {
            return Err(format!(
                "the lines since the block before it do not hash to what it says; due was {}",
                due.trim_end()
            )
            .into());
        }
        self.pending.clear();
        self.hashed = self.events;
        Ok(())
    }

    /// The seal starts at `start`: it has to be the right one, after a block
    /// line, and the last line.
    fn seal(&mut self, start: usize) -> Result<Seal, Stop> {
        if self.chain.blocks() == 0 || self.open_events() > 0 {
            return Err("the seal does not follow a block line".to_owned().into());
        }
        let seal = Seal {
            events: self.events,
            root: self.chain.root(),
        };
        if self.pending[start..] != *seal.line().as_bytes() {
            return Err(format!(
                "it is not the seal of what stands before it; due was {}",
                seal.line().trim_end()
            )
            .into());
        }
        self.pending.clear();
        if !self.from.fill_buf()?.is_empty() {
            self.line += 1;
            return Err("something follows the seal".to_owned().into());
        }
        Ok(seal)
    }
}

/// A line at which a chain breaks.
pub(crate) struct Broken {
    /// Its number, counted from 1.
    pub(crate) line: u64,
    /// What is wrong with it.
    pub(crate) why: String,
}

/// Whether the chain of a history of another version holds as far as it
/// goes.
pub(super) fn chain_holds<R: Read>(from: R) -> io::Result<Result<(), Broken>> {
    let mut lines = Lines::new(from);
    loop {
        match lines.next() {
            Ok(Line::Content(_)) => {}
            Ok(_) => return Ok(Ok(())),
            Err(Stop::Io(e)) => return Err(e),
            Err(Stop::Altered(why)) => {
                return Ok(Err(Broken {
                    line: lines.line(),
                    why,
                }));
            }
        }
    }
}

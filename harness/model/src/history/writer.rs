//! Writing a history, one event at a time.

use std::io;

use serde::Serialize;

use super::chain::{AT_ONCE, BLOCK, Chain, Seal};
use super::sink::Sink;
use super::{FORMAT, MAX_LINE, encode, rules};
use crate::event::{At, Event, What};
use crate::party::Witness;
use crate::plan::Plan;

/// When an event is handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before [`Writer::record`] returns, so that the death of the harness
    /// cannot take it back. Real engines need this: the byte that the event
    /// permits is released next.
    EachEvent,
    /// A block at a time. For the simulator, where nothing outside the
    /// process ever acts on an event.
    Buffered,
}

/// Writes a history. See `HISTORY.md` for the format.
///
/// After a write error (a full disk, say) the writer is stopped: what is in
/// the file stays a valid prefix, and every later call returns an error.
/// A writer that is dropped without [`Writer::seal`] leaves an unsealed
/// history behind.
pub struct Writer<W: Sink> {
    to: W,
    durability: Durability,
    chain: Chain,
    /// What is not hashed or not written yet.
    lines: Vec<u8>,
    /// How much of `lines` is hashed.
    hashed: usize,
    /// How much of `lines` the sink has.
    written: usize,
    next: u64,
    at: At,
    ended: bool,
    state: State,
}

#[derive(Clone, PartialEq, Eq)]
enum State {
    Open,
    Sealed,
    Stopped(io::ErrorKind, String),
}

#[derive(Serialize)]
struct Header<'a> {
    mailproof: &'a str,
    plan: &'a Plan,
}

impl<W: Sink> Writer<W> {
    /// Begins a history: writes the header line with the plan. `to` must be
    /// empty.
    ///
    /// # Errors
    /// A write error, or a plan that makes a line above [`MAX_LINE`] bytes.
    pub fn create(to: W, plan: &Plan, durability: Durability) -> io::Result<Self> {
        let mut writer = Self {
            to,
            durability,
            chain: Chain::new(),
            lines: Vec::with_capacity(64 * 1024),
            hashed: 0,
            written: 0,
            next: 0,
            at: 0,
            ended: false,
            state: State::Open,
        };
        let header = Header {
            mailproof: FORMAT,
            plan,
        };
        serde_json::to_writer(&mut writer.lines, &header)?;
        writer.end_line(0)?;
        writer.settle()?;
        Ok(writer)
    }

    /// Writes an event down and returns it with its id and time. `at` is
    /// raised to the time of the event before it when it lies below.
    ///
    /// With [`Durability::EachEvent`] the kernel has the event when this
    /// returns.
    ///
    /// # Errors
    /// * `InvalidInput`: `by` may not say such a thing
    ///   ([`What::admissible`]), nothing of the kind may follow `end`, or the
    ///   line would be longer than [`MAX_LINE`] bytes. Nothing was written;
    ///   the writer goes on.
    /// * A write error; the writer is then stopped.
    /// * The writer is stopped or sealed.
    pub fn record(&mut self, at: At, by: Witness, ev: What) -> io::Result<Event> {
        self.usable()?;
        rules::may_say(by, &ev)
            .and_then(|()| rules::may_follow(self.ended, &ev))
            .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let event = Event {
            id: self.next,
            at: at.max(self.at),
            by,
            ev,
        };
        let start = self.lines.len();
        if let Err(e) = encode::event(&mut self.lines, &event) {
            self.lines.truncate(start);
            return Err(e.into());
        }
        self.end_line(start)?;
        self.next += 1;
        self.at = event.at;
        self.ended |= matches!(event.ev, What::End { .. });
        if self.next.is_multiple_of(BLOCK) {
            self.close_block();
        }
        self.settle()?;
        Ok(event)
    }

    /// How many events were recorded.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.next
    }

    /// Hands what is buffered to the kernel.
    ///
    /// # Errors
    /// A write error; the writer is then stopped.
    pub fn flush(&mut self) -> io::Result<()> {
        self.usable()?;
        self.push()
    }

    /// Ends the history: closes the open block, writes the seal and makes it
    /// all durable. Nothing can be recorded afterwards.
    ///
    /// # Errors
    /// A write or sync error; the history then has to count as unsealed.
    pub fn seal(&mut self) -> io::Result<Seal> {
        self.usable()?;
        if !self.next.is_multiple_of(BLOCK) || self.chain.blocks() == 0 {
            self.close_block();
        }
        let seal = Seal {
            events: self.next,
            root: self.chain.root(),
        };
        self.lines.extend_from_slice(seal.line().as_bytes());
        self.push()?;
        if let Err(e) = self.to.sync() {
            return Err(self.stop(e));
        }
        self.state = State::Sealed;
        Ok(seal)
    }

    fn usable(&self) -> io::Result<()> {
        match &self.state {
            State::Open => Ok(()),
            State::Sealed => Err(io::Error::other("the history is sealed")),
            State::Stopped(kind, why) => Err(io::Error::new(
                *kind,
                format!("the history was stopped by an earlier error: {why}"),
            )),
        }
    }

    /// Ends the line that began at `start`, or takes it back when it is too
    /// long to be read again.
    fn end_line(&mut self, start: usize) -> io::Result<()> {
        let length = self.lines.len() - start;
        if length >= MAX_LINE {
            self.lines.truncate(start);
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a history line of {length} bytes is above the limit of {MAX_LINE}; record less at once"
                ),
            ));
        }
        self.lines.push(b'\n');
        Ok(())
    }

    /// Ends the open block: hashes it and appends its line, which no hash
    /// covers (it follows from the others).
    fn close_block(&mut self) {
        self.chain.update(&self.lines[self.hashed..]);
        let line = self.chain.close(self.next);
        self.lines.extend_from_slice(line.as_bytes());
        self.hashed = self.lines.len();
    }

    /// Writes what has to be written by now.
    fn settle(&mut self) -> io::Result<()> {
        let block_ended = self.hashed == self.lines.len();
        if self.durability == Durability::EachEvent || block_ended || self.lines.len() >= AT_ONCE {
            self.push()?;
        }
        Ok(())
    }

    /// Writes all there is, and empties the buffer if it can.
    fn push(&mut self) -> io::Result<()> {
        if let Err(e) = self.to.write_all(&self.lines[self.written..]) {
            return Err(self.stop(e));
        }
        if let Err(e) = self.to.flush() {
            return Err(self.stop(e));
        }
        self.written = self.lines.len();
        if self.lines.len() >= AT_ONCE {
            self.chain.update(&self.lines[self.hashed..]);
            self.hashed = self.lines.len();
        }
        if self.hashed == self.lines.len() {
            self.lines.clear();
            self.hashed = 0;
            self.written = 0;
        }
        Ok(())
    }

    /// Nothing may be written after a failed write: the sink may hold a part
    /// of a line, which only a torn tail explains.
    fn stop(&mut self, error: io::Error) -> io::Error {
        self.state = State::Stopped(error.kind(), error.to_string());
        error
    }
}

impl<W: Sink> Drop for Writer<W> {
    /// Hands what is buffered to the sink, so that a run that ends early
    /// leaves as much behind as it can.
    fn drop(&mut self) {
        if self.state == State::Open {
            // Nobody is left to tell of an error; the prefix stays valid.
            let _ = self.push();
        }
    }
}

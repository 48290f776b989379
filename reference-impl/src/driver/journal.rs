//! The log: one JSON object a line on standard output, written by a thread of
//! its own so that a slow reader does not hold up mail. Lines are gathered for
//! a few milliseconds, for waking the thread costs more than a line. The last
//! lines are kept for the admin socket, whatever the level and the reader.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::DriverError;
use crate::event::{Level, NodeEvent, Source};

/// Bytes that may wait; lines that come while so much waits are counted and
/// dropped.
const WAITING: usize = 16 << 20;

/// How long lines are gathered.
const GATHER: Duration = Duration::from_millis(5);

/// Lines kept for the admin socket.
const KEPT: usize = 1000;

/// Bytes of them.
const KEPT_BYTES: usize = 1 << 20;

/// A line: the event, and what its kind says.
#[derive(Serialize)]
struct LogLine<'a> {
    level: Level,
    source: Source,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u32>,
    #[serde(flatten)]
    event: &'a NodeEvent,
}

/// The last lines.
#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, line: &[u8]) {
        self.bytes += line.len();
        self.lines.push_back(line.into());
        while self.lines.len() > KEPT || self.bytes > KEPT_BYTES {
            let gone = self.lines.pop_front().map_or(0, |line| line.len());
            self.bytes -= gone;
        }
    }
}

#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    dropped: u64,
    ending: bool,
    /// Nobody reads the log; the node goes on without.
    unread: bool,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    come: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct Journal {
    shared: Arc<Shared>,
    /// Events below it are not written out.
    level: Level,
    kept: Kept,
    line: Vec<u8>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Journal {
    pub(super) fn start(level: Level) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_out(&theirs))?;
        Ok(Self {
            shared,
            level,
            kept: Kept::default(),
            line: Vec::new(),
            thread: Some(thread),
        })
    }

    pub(super) fn write(&mut self, event: &NodeEvent) {
        let kind = event.event;
        let line = LogLine {
            level: kind.level(),
            source: kind.source(),
            number: kind.number(),
            event,
        };
        self.line.clear();
        // Plain data into memory: this cannot fail.
        if serde_json::to_writer(&mut self.line, &line).is_err() {
            return;
        }
        self.line.push(b'\n');
        self.kept.push(&self.line);
        if kind.level() < self.level {
            return;
        }
        let mut lines = self.shared.lock();
        if lines.unread {
            return;
        }
        if lines.text.len() > WAITING {
            lines.dropped += 1;
            return;
        }
        let first = lines.text.is_empty();
        lines.text.extend_from_slice(&self.line);
        if first {
            self.shared.come.notify_one();
        }
    }

    /// The last events, one JSON object a line, the oldest first.
    pub(super) fn recent(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.kept.bytes);
        for line in &self.kept.lines {
            text.extend_from_slice(line);
        }
        text
    }

    /// Writes what waits, and how much was dropped.
    pub(super) fn finish(&mut self) {
        self.shared.lock().ending = true;
        self.shared.come.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_out(shared: &Shared) {
    let mut out = io::stdout().lock();
    let mut text = Vec::new();
    loop {
        let mut lines = shared.lock();
        while lines.text.is_empty() && !lines.ending {
            lines = shared
                .come
                .wait(lines)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let ending = lines.ending;
        if !ending {
            drop(lines);
            thread::sleep(GATHER);
            lines = shared.lock();
        }
        text.clear();
        std::mem::swap(&mut text, &mut lines.text);
        if ending && lines.dropped > 0 {
            let line = format!("{{\"log-lines-dropped\":{}}}\n", lines.dropped);
            text.extend_from_slice(line.as_bytes());
        }
        drop(lines);
        if out.write_all(&text).and_then(|()| out.flush()).is_err() {
            let mut lines = shared.lock();
            lines.unread = true;
            lines.text = Vec::new();
            return;
        }
        if ending {
            return;
        }
    }
}

/// Tells a person why the node ended.
pub(super) fn complain(error: &DriverError) {
    let _ = writeln!(io::stderr(), "mailproof node: {error}");
}

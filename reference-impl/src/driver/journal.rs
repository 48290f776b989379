//! The log: one JSON object a line on standard output, written by a thread of
//! its own so that a slow reader does not hold up mail.

use std::io::{self, Write as _};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread;

use super::DriverError;
use crate::event::NodeEvent;

/// Lines that may wait; what comes while so many wait is counted and dropped.
const WAITING: usize = 65_536;

#[derive(Debug)]
pub(super) struct Journal {
    lines: Option<SyncSender<Vec<u8>>>,
    thread: Option<thread::JoinHandle<()>>,
    dropped: u64,
}

impl Journal {
    pub(super) fn start() -> io::Result<Self> {
        let (lines, receive) = mpsc::sync_channel::<Vec<u8>>(WAITING);
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                let mut out = io::stdout().lock();
                while let Ok(line) = receive.recv() {
                    let mut all = line;
                    all.extend(receive.try_iter().take(1024).flatten());
                    if out.write_all(&all).and_then(|()| out.flush()).is_err() {
                        // Nobody reads the log; the node goes on without.
                        return;
                    }
                }
            })?;
        Ok(Self {
            lines: Some(lines),
            thread: Some(thread),
            dropped: 0,
        })
    }

    pub(super) fn write(&mut self, event: &NodeEvent) {
        let Some(lines) = &self.lines else { return };
        let Ok(mut line) = serde_json::to_vec(event) else {
            return;
        };
        line.push(b'\n');
        match lines.try_send(line) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.dropped += 1,
            Err(TrySendError::Disconnected(_)) => self.lines = None,
        }
    }

    /// Writes what waits, and how much was dropped.
    pub(super) fn finish(&mut self) {
        if let Some(lines) = self.lines.take()
            && self.dropped > 0
        {
            let line = format!("{{\"log-lines-dropped\":{}}}\n", self.dropped);
            let _ = lines.send(line.into_bytes());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Tells a person why the node ended.
pub(super) fn complain(error: &DriverError) {
    let _ = writeln!(io::stderr(), "mailproof node: {error}");
}

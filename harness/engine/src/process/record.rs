//! The one pen of a run: whoever saw something writes it down here, and only
//! then lets go of the byte that it permits.

use std::fs::File;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use mailproof_model::event::{At, Event, What};
use mailproof_model::history::{Seal, Writer};
use mailproof_model::order::WorldError;
use mailproof_model::party::Witness;

/// An event could not be written down. What it would have permitted must not
/// happen; the run is over, and the director has been told why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unrecorded;

/// Writes the history and hands every event on, in the order of the file.
pub(crate) struct Recorder {
    began: Instant,
    pen: Mutex<Pen>,
}

struct Pen {
    writer: Writer<File>,
    to: Sender<Result<Event, WorldError>>,
    /// Why the pen was laid down; said once, then everything is swallowed.
    failed: Option<String>,
}

impl Recorder {
    /// A recorder whose time begins now.
    pub(crate) fn new(writer: Writer<File>, to: Sender<Result<Event, WorldError>>) -> Self {
        Self {
            began: Instant::now(),
            pen: Mutex::new(Pen {
                writer,
                to,
                failed: None,
            }),
        }
    }

    /// Nanoseconds since the run began.
    pub(crate) fn now(&self) -> At {
        At::try_from(self.began.elapsed().as_nanos()).unwrap_or(At::MAX)
    }

    /// The instant of a moment of the run.
    pub(crate) fn instant(&self, at: At) -> Option<Instant> {
        self.began.checked_add(std::time::Duration::from_nanos(at))
    }

    /// Writes one event down; when this returns the kernel has it.
    pub(crate) fn record(&self, by: Witness, what: What) -> Result<(), Unrecorded> {
        self.record_all(by, [what])
    }

    /// Writes events down of which none may stand between the others.
    pub(crate) fn record_all(
        &self,
        by: Witness,
        what: impl IntoIterator<Item = What>,
    ) -> Result<(), Unrecorded> {
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        for what in what {
            if pen.failed.is_some() {
                return Err(Unrecorded);
            }
            // The time is taken under the lock, so that it never runs back.
            match pen.writer.record(self.now(), by, what) {
                // A receiver that is gone will not act on it; the file has it.
                Ok(event) => drop(pen.to.send(Ok(event))),
                Err(error) => {
                    pen.fail(format!("the history cannot be written: {error}"));
                    return Err(Unrecorded);
                }
            }
        }
        Ok(())
    }

    /// Notes that the harness itself failed: the verdict will be `error`.
    pub(crate) fn trouble(&self, note: impl Into<String>) {
        let note = note.into();
        let _ = self.record(Witness::Director, What::Trouble { note });
    }

    /// Ends the run for a failure after which nothing can be recorded rightly.
    pub(crate) fn fail(&self, why: impl Into<String>) {
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        if pen.failed.is_none() {
            pen.fail(why.into());
        }
    }

    /// Why nothing is recorded any more.
    pub(crate) fn failure(&self) -> WorldError {
        let pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        WorldError(pen.failed.clone().unwrap_or_default())
    }

    /// Seals the history; nothing can be recorded afterwards.
    pub(crate) fn seal(&self) -> std::io::Result<Seal> {
        let mut pen = self.pen.lock().unwrap_or_else(PoisonError::into_inner);
        pen.failed = Some("the history is sealed".to_owned());
        pen.writer.seal()
    }
}

impl Pen {
    fn fail(&mut self, why: String) {
        let _ = self.to.send(Err(WorldError(why.clone())));
        self.failed = Some(why);
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").finish_non_exhaustive()
    }
}

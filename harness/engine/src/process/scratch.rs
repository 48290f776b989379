//! The temporary directory of a run, and the sweeper that removes it.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::child::helper_command;
use super::reaper::MARK;

/// A private temporary directory, `mailproof-<run>` below the system's own,
/// and a process that removes it, and kills every process of the run, as soon
/// as this value and every [`Child`](super::Child) started with it are gone,
/// even if all of them were killed.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    /// The writing end of the death pipe; `None` once finished.
    death: Mutex<Option<OwnedFd>>,
    sweeper: Mutex<std::process::Child>,
}

impl Scratch {
    /// Makes the directory for a run. `run` is its id (ASCII letters, digits
    /// and `-`, at most 64). With `keep` the directory stays when the run is
    /// over; its processes never do.
    ///
    /// # Errors
    /// When `run` is no such id, the helper cannot be started, or there is
    /// already such a directory.
    pub fn new(helper: &Path, run: &str, keep: bool) -> io::Result<Self> {
        if run.is_empty()
            || run.len() > 64
            || !run.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a run's id has 1 to 64 letters, digits and `-`; `{run}` has not"),
            ));
        }
        let dir = std::env::temp_dir().join(format!("mailproof-{run}"));
        let nonce = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mark = format!("{run} {}.{}", std::process::id(), nonce.as_nanos());
        let (read, death) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        // The sweeper comes first, so that there is no moment at which the
        // directory would stay behind.
        let sweeper = helper_command(helper)
            .args(["sweep", run])
            .arg(&dir)
            .arg(&mark)
            .args(keep.then_some("keep"))
            .stdin(read)
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot start {}: {error}", helper.display()),
                )
            })?;
        let scratch = Self {
            dir,
            death: Mutex::new(Some(death)),
            sweeper: Mutex::new(sweeper),
        };
        DirBuilder::new()
            .mode(0o700)
            .create(&scratch.dir)
            .and_then(|()| std::fs::write(scratch.dir.join(MARK), mark))
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot make {}: {error}", scratch.dir.display()),
                )
            })?;
        Ok(scratch)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The writing end of the death pipe, for a child to hold.
    pub(crate) fn death(&self) -> io::Result<OwnedFd> {
        match &*self.death.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(death) => death.try_clone(),
            None => Err(io::Error::other("the run is over")),
        }
    }

    /// Lets the sweeper do its work and waits for it. Every child must have
    /// been dropped before.
    ///
    /// # Errors
    /// When something was left that could not be removed or killed; the
    /// sweeper has said what on standard error.
    pub fn finish(&self) -> io::Result<()> {
        *self.death.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let status = self
            .sweeper
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .wait()?;
        if status.success() {
            Ok(())
        } else {
            Err(io::Error::other(format!(
                "the sweeper of the run could not clean up {} ({status})",
                self.dir.display()
            )))
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = self.finish();
    }
}

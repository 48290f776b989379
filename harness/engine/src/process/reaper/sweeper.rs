//! The sweeper of a run: waits until the run and every keeper are gone, then
//! kills what is left of it and removes its temporary directory.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::setsid;
use rustix::process::Signal;

use super::RUN_VARIABLE;
use crate::process::{proc, tree};

/// The file that marks a directory as a run's own; it holds the run's id and
/// what tells it from another of the same id.
pub(crate) const MARK: &str = ".mailproof-run";

/// How long killed processes may take to go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes the run's id, its temporary directory and the directory's mark; with
/// a fourth argument `keep` the directory stays.
pub(super) fn main(mut args: impl Iterator<Item = OsString>) -> Result<(), Box<dyn Error>> {
    let mut word = || args.next().and_then(|word| word.into_string().ok());
    let (Some(run), Some(dir), Some(mark)) = (word(), word().map(PathBuf::from), word()) else {
        return Err("sweep takes a run's id, its directory and the mark of that".into());
    };
    let keep = word().is_some_and(|word| word == "keep");
    setsid()?;
    // Nothing is ever written to the pipe: this ends when it is closed.
    io::stdin().read_to_end(&mut Vec::new())?;
    let killed = kill_all(&run);
    if !keep {
        remove(&mark, &dir)?;
    }
    Ok(killed?)
}

/// Looks in a row that must find nothing: a process in the middle of an
/// `exec` has no environment to be known by.
const CLEAN_LOOKS: u32 = 3;

/// Kills every process that carries the run's id in its environment.
fn kill_all(run: &str) -> io::Result<()> {
    let entry = format!("{RUN_VARIABLE}={run}");
    let began = Instant::now();
    let mut clean = 0;
    loop {
        let mut living = proc::with_environment(&entry)?;
        living.retain(|process| !process.is_dead());
        clean = if living.is_empty() { clean + 1 } else { 0 };
        if clean == CLEAN_LOOKS {
            return Ok(());
        }
        let Some(left) = PATIENCE.checked_sub(began.elapsed()) else {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("{} processes of run {run} do not die", living.len()),
            ));
        };
        for process in living {
            if let Some(pidfd) = tree::signal(process, Signal::KILL)? {
                // Readable once the process has ended.
                let mut ended = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
                poll(
                    &mut ended,
                    PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO),
                )?;
            }
        }
    }
}

/// Removes the directory, if it is the run's.
fn remove(mark: &str, dir: &Path) -> io::Result<()> {
    match fs::read_to_string(dir.join(MARK)) {
        Ok(found) if found == mark => fs::remove_dir_all(dir),
        // Another run's: made after ours was gone, or the reason why ours
        // could not be made.
        Ok(_) => Ok(()),
        Err(_) => match fs::remove_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io::Error::new(
                error.kind(),
                format!(
                    "{} is not marked as a run's directory: {error}",
                    dir.display()
                ),
            )),
            _ => Ok(()),
        },
    }
}

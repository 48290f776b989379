//! The process tree of a node: everything that descends from its keeper.
//!
//! The keeper is a child subreaper, so whatever a node forks stays below it,
//! daemons included. Every act works on the whole tree: it is frozen first,
//! so that no process can answer to the death of another, and only then
//! killed. Signals go through pidfds whose process was identified by its
//! start time, never to a bare number.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::proc::{self, Process};

/// How long a tree may take to stand still. A thread in uninterruptible sleep
/// cannot be stopped before it wakes.
const FREEZE_PATIENCE: Duration = Duration::from_secs(5);

/// The living descendants of `root`, itself not included.
pub(crate) fn descendants(root: i32) -> io::Result<Vec<Process>> {
    Ok(below(root, proc::all()?))
}

fn below(root: i32, all: Vec<Process>) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(parent) = open.pop() {
        // Taken out, so that a list read while processes moved cannot loop.
        for child in children.remove(&parent).unwrap_or_default() {
            open.push(child.pid);
            if !child.is_dead() {
                found.push(child);
            }
        }
    }
    found
}

/// Sends `signal` to just this process and returns its pidfd; `None` when it
/// is gone.
pub(crate) fn signal(process: Process, signal: Signal) -> io::Result<Option<OwnedFd>> {
    let Some(pid) = Pid::from_raw(process.pid) else {
        return Ok(None);
    };
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => fd,
        Err(Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The same start time before and after the open: the pidfd is its.
    if proc::process(process.pid).is_none_or(|now| now.started != process.started) {
        return Ok(None);
    }
    match pidfd_send_signal(&fd, signal) {
        Ok(()) => Ok(Some(fd)),
        Err(Errno::SRCH) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Stops every process below `root` and returns how many threads were seen
/// standing still. Two clean looks in a row are asked for: a process forked
/// behind the first is found by the second.
pub(crate) fn freeze(root: i32) -> io::Result<usize> {
    let began = Instant::now();
    let mut clean = 0;
    loop {
        let tree = descendants(root)?;
        let mut moving = 0;
        let mut threads = 0;
        for process in &tree {
            let states = proc::threads(process.pid);
            threads += states.len();
            if states.iter().any(|state| !stands(*state)) {
                moving += 1;
                signal(*process, Signal::STOP)?;
            }
        }
        clean = if moving == 0 { clean + 1 } else { 0 };
        if clean == 2 {
            return Ok(threads);
        }
        if began.elapsed() > FREEZE_PATIENCE {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "{moving} of {} processes did not stop within {FREEZE_PATIENCE:?}",
                    tree.len()
                ),
            ));
        }
        if moving > 0 {
            std::thread::yield_now();
        }
    }
}

/// Lets every process below `root` run again and returns how many threads
/// were seen moving.
pub(crate) fn thaw(root: i32) -> io::Result<usize> {
    let began = Instant::now();
    loop {
        let tree = descendants(root)?;
        let mut still = 0;
        let mut threads = 0;
        for process in &tree {
            let states = proc::threads(process.pid);
            threads += states.len();
            if states.contains(&'T') {
                still += 1;
                signal(*process, Signal::CONT)?;
            }
        }
        if still == 0 {
            return Ok(threads);
        }
        if began.elapsed() > FREEZE_PATIENCE {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!(
                    "{still} of {} processes stayed stopped for {FREEZE_PATIENCE:?}",
                    tree.len()
                ),
            ));
        }
        std::thread::yield_now();
    }
}

/// Kills every process below `root` at once. What could not be frozen is
/// killed all the same. The caller collects the wait statuses, and calls
/// again until none is left.
pub(crate) fn kill(root: i32) -> io::Result<()> {
    let frozen = freeze(root);
    for process in descendants(root)? {
        signal(process, Signal::KILL)?;
    }
    frozen.map(|_| ())
}

/// Stopped, being traced, or dead.
fn stands(state: char) -> bool {
    matches!(state, 'T' | 't' | 'Z' | 'X' | 'x')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_living_below_the_root_belong_to_the_tree() {
        let p = |pid, parent, state| Process {
            pid,
            parent,
            started: 1,
            state,
        };
        let all = vec![
            p(1, 0, 'S'),
            p(5, 1, 'S'),
            p(6, 5, 'Z'),
            p(7, 6, 'R'),
            p(8, 5, 'T'),
            p(9, 1, 'R'),
        ];
        let mut pids: Vec<i32> = below(5, all).into_iter().map(|p| p.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [7, 8]);
        // Two that claim to be each other's parent.
        assert_eq!(below(3, vec![p(3, 4, 'S'), p(4, 3, 'S')]).len(), 2);
    }
}

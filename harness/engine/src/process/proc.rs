//! What the kernel says of processes, read from `/proc`.

use std::fs;
use std::io;
use std::path::PathBuf;

/// A process at one moment. Process ids are used again; together with its
/// start time one names a process for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id.
    pub(crate) pid: i32,
    /// Its parent's id.
    pub(crate) parent: i32,
    /// When it started, in clock ticks since boot.
    pub(crate) started: u64,
    /// Its state as one letter (`man 5 proc`).
    pub(crate) state: char,
}

impl Process {
    /// Whether it is gone but for its wait status.
    pub(crate) fn is_dead(self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Reads `/proc/<pid>/stat`; `None` when there is no such process (any more).
pub(crate) fn process(pid: i32) -> Option<Process> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Every process that can be seen.
pub(crate) fn all() -> io::Result<Vec<Process>> {
    Ok(pids()?.into_iter().filter_map(process).collect())
}

/// The state of every thread of a process; empty when it is gone.
pub(crate) fn threads(pid: i32) -> Vec<char> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path().join("stat");
            Some(parse(pid, &fs::read_to_string(path).ok()?)?.state)
        })
        .collect()
}

/// The processes whose environment holds exactly `entry` (`NAME=value`), as
/// far as they may be read: those of the same user.
pub(crate) fn with_environment(entry: &str) -> io::Result<Vec<Process>> {
    Ok(pids()?
        .into_iter()
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ"))
                .is_ok_and(|text| text.split(|byte| *byte == 0).any(|e| e == entry.as_bytes()))
        })
        .filter_map(process)
        .collect())
}

fn pids() -> io::Result<Vec<i32>> {
    Ok(fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

/// The executable's name stands in brackets and may itself hold any byte, so
/// the fields are counted from the last bracket.
fn parse(pid: i32, stat: &str) -> Option<Process> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // Field 22 of the line; state was field 3, the parent field 4.
    let started = fields.nth(17)?.parse().ok()?;
    Some(Process {
        pid,
        parent,
        started,
        state,
    })
}

/// The executable of this very process, even after its file was replaced.
pub(crate) fn own_executable() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_is_no_trap() {
        let stat = "7 (a) R 1 (b)) S 4 7 7 0 -1 0 1 2 3 4 5 6 7 8 20 0 3 0 4711 1 2\n";
        let read = parse(7, stat).unwrap();
        assert_eq!((read.state, read.parent, read.started), ('S', 4, 4711));
        assert!(parse(7, "7 (a").is_none());
        assert!(parse(7, "7 (a) S 4").is_none());
    }

    #[test]
    fn this_process_is_seen() {
        let me = i32::try_from(std::process::id()).unwrap();
        let seen = process(me).unwrap();
        assert!(
            all()
                .unwrap()
                .iter()
                .any(|p| p.pid == me && p.started == seen.started)
        );
        assert!(!threads(me).is_empty());
        assert!(process(0).is_none());
    }
}

//! `results.jsonl`: what came of the seeds so far.
//!
//! A line is a JSON object whose last member, `digest`, is the first half of
//! the BLAKE3 of all that stands before the comma that precedes it. It is
//! written in one piece, so a command that is killed leaves at most a torn
//! last line, which is cut off before the next is written: the trials in it
//! have not happened. A line that is whole and has the wrong digest, or one
//! that is torn with others behind it, is damage, and stops everything.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::tried::Tried;

/// The file.
pub(super) const FILE: &str = "results.jsonl";

/// What precedes the digest in a line; the digest covers all before it.
const BEFORE_DIGEST: &str = ",\"digest\":\"";
/// What follows the digest.
const AFTER_DIGEST: &str = "\"}";
/// How many hex digits a digest has.
const DIGITS: usize = 32;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Line {
    /// Trials that one job made one after the other.
    Tried(Vec<Tried>),
    /// A run that came out otherwise when it was repeated.
    Differs(Differs),
}

/// A run that came out otherwise when it was repeated.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Differs {
    /// Which scenario of the campaign, counted from 0.
    pub(super) scenario: usize,
    /// Its seed.
    pub(super) seed: u64,
    /// What came the first time, and then.
    pub(super) how: String,
}

/// Why results cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResultsError {
    /// The operating system says so.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        error: io::Error,
    },
    /// Another command writes them.
    #[error("{} is being written by another command", .0.display())]
    Busy(PathBuf),
    /// A line is not what was written.
    #[error("{}, line {line}: {why}; if nothing better is left, delete the line, and its seeds are run again", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// The results of a store, open for more.
#[derive(Debug)]
pub(super) struct Results {
    path: PathBuf,
    file: File,
}

impl Results {
    /// Opens the results of a store, made if there are none, hands what is in
    /// them to `take`, and cuts off a torn end. No other command can open
    /// them while the value lives.
    pub(super) fn open(
        store: &Path,
        take: &mut dyn FnMut(Line) -> Result<(), String>,
    ) -> Result<Self, ResultsError> {
        let path = store.join(FILE);
        let failed = |error| ResultsError::Io {
            path: path.clone(),
            error,
        };
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ResultsError::Busy(path)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let whole = read(&path, &file, take)?;
        file.set_len(whole).map_err(failed)?;
        Ok(Self { path, file })
    }

    /// Adds a line.
    pub(super) fn add(&mut self, line: &Line) -> Result<(), ResultsError> {
        let failed = |error| ResultsError::Io {
            path: self.path.clone(),
            error,
        };
        let mut text = encode(line).map_err(failed)?;
        text.push('\n');
        self.file.write_all(text.as_bytes()).map_err(failed)
    }

    /// Makes all that was added durable.
    pub(super) fn sync(&self) -> Result<(), ResultsError> {
        self.file.sync_all().map_err(|error| ResultsError::Io {
            path: self.path.clone(),
            error,
        })
    }
}

/// Hands the whole lines of a file to `take`: how many bytes they have.
pub(super) fn read(
    path: &Path,
    file: impl Read,
    take: &mut dyn FnMut(Line) -> Result<(), String>,
) -> Result<u64, ResultsError> {
    let mut from = BufReader::new(file);
    let mut whole = 0;
    let mut text = Vec::new();
    for number in 1.. {
        text.clear();
        let length = from
            .read_until(b'\n', &mut text)
            .map_err(|error| ResultsError::Io {
                path: path.to_owned(),
                error,
            })?;
        if text.pop() != Some(b'\n') {
            break;
        }
        decode(&text)
            .and_then(&mut *take)
            .map_err(|why| ResultsError::Damaged {
                path: path.to_owned(),
                line: number,
                why,
            })?;
        whole += length as u64;
    }
    Ok(whole)
}

fn digest(text: &[u8]) -> String {
    let mut hex = blake3::hash(text).to_hex().to_string();
    hex.truncate(DIGITS);
    hex
}

fn encode(line: &Line) -> io::Result<String> {
    let mut text = serde_json::to_string(line)?;
    // The closing brace comes after the digest.
    text.pop();
    let digest = digest(text.as_bytes());
    Ok(text + BEFORE_DIGEST + &digest + AFTER_DIGEST)
}

fn decode(text: &[u8]) -> Result<Line, String> {
    let split = text
        .len()
        .checked_sub(BEFORE_DIGEST.len() + DIGITS + AFTER_DIGEST.len())
        .ok_or("it is too short")?;
    let (body, end) = text.split_at(split);
    let due = format!("{BEFORE_DIGEST}{}{AFTER_DIGEST}", digest(body));
    if end != due.as_bytes() {
        return Err("its digest is not that of its content".to_owned());
    }
    serde_json::from_slice(&[body, b"}"].concat()).map_err(|e| e.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use mailproof_model::verdict::Verdict;

    use super::*;

    /// A seed that passed.
    pub(in crate::campaign) fn passed(scenario: usize, seed: u64) -> Tried {
        Tried {
            scenario,
            seed,
            verdict: Verdict::Pass,
            kind: None,
            reason: None,
            events: 100,
            lasted: 2_000_000_000,
            took: 5_000_000,
            root: Some(format!("{seed:032x}")),
            marks: BTreeMap::new(),
        }
    }

    /// A seed that did not pass.
    pub(in crate::campaign) fn other(
        scenario: usize,
        seed: u64,
        verdict: Verdict,
        kind: &str,
        events: u64,
    ) -> Tried {
        Tried {
            verdict,
            kind: Some(kind.to_owned()),
            reason: Some(format!("{kind} of seed {seed}")),
            events,
            ..passed(scenario, seed)
        }
    }

    fn lines() -> Vec<Line> {
        vec![
            Line::Tried(vec![passed(0, 1), other(1, 1, Verdict::Fail, "lost", 40)]),
            Line::Differs(Differs {
                scenario: 1,
                seed: 1,
                how: "PASS, then FAIL".to_owned(),
            }),
            Line::Tried(vec![passed(0, 2)]),
        ]
    }

    fn all(store: &Path) -> Result<Vec<Line>, ResultsError> {
        let mut found = Vec::new();
        Results::open(store, &mut |line| {
            found.push(line);
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn wherever_a_write_was_torn_the_lines_before_it_are_there_and_more_can_follow() {
        let dir = tempfile::tempdir().unwrap();
        let mut results = Results::open(dir.path(), &mut |_| Ok(())).unwrap();
        let mut ends = vec![0];
        for line in lines() {
            results.add(&line).unwrap();
            ends.push(fs::metadata(dir.path().join(FILE)).unwrap().len());
        }
        drop(results);
        assert_eq!(all(dir.path()).unwrap(), lines());
        let path = dir.path().join(FILE);
        let bytes = fs::read(&path).unwrap();
        for length in 0..=bytes.len() {
            fs::write(&path, &bytes[..length]).unwrap();
            let whole = ends.iter().filter(|end| **end <= length as u64).count() - 1;
            assert_eq!(all(dir.path()).unwrap(), lines()[..whole], "{length}");
            let mut results = Results::open(dir.path(), &mut |_| Ok(())).unwrap();
            results.add(&lines()[0]).unwrap();
            drop(results);
            assert_eq!(all(dir.path()).unwrap().len(), whole + 1, "{length}");
        }
    }

    #[test]
    fn every_changed_byte_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let mut results = Results::open(dir.path(), &mut |_| Ok(())).unwrap();
        for line in lines() {
            results.add(&line).unwrap();
        }
        drop(results);
        let path = dir.path().join(FILE);
        let bytes = fs::read(&path).unwrap();
        // All but the last newline, without which the line is a torn one.
        for at in 0..bytes.len() - 1 {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(&path, &changed).unwrap();
            let found = all(dir.path());
            assert!(
                matches!(found, Err(ResultsError::Damaged { .. })),
                "byte {at}: {found:?}"
            );
        }
    }

    #[test]
    fn only_one_command_writes_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Results::open(dir.path(), &mut |_| Ok(())).unwrap();
        assert!(matches!(all(dir.path()), Err(ResultsError::Busy(_))));
        drop(first);
        assert!(all(dir.path()).unwrap().is_empty());
    }
}

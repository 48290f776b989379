//! `mailproof gc`: what killed or kept runs left in the temporary directory.
//!
//! Every run has a process that cleans up after it, whatever ends the run.
//! Something is left only where that process was killed too, the machine went
//! down, or `--keep` asked for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use mailproof_engine::process::SUBCOMMAND;

use crate::cli::GcArgs;
use crate::context::Context;
use crate::exit_code::Exit;

/// The file by which a run marks its directory: `RUN PID.NONCE`.
const MARK: &str = ".mailproof-run";

/// What a run left behind.
struct Leftover {
    dir: PathBuf,
    run: String,
    mark: String,
    /// The process that made it.
    owner: u32,
}

pub(crate) fn gc(context: &Context, args: &GcArgs) -> Exit {
    let console = &context.console;
    let temporary = std::env::temp_dir();
    let entries = match fs::read_dir(&temporary) {
        Ok(entries) => entries,
        Err(e) => {
            return context.refuse(Exit::Harness, &format!("{}: {e}", temporary.display()));
        }
    };
    let mut removed = 0;
    let mut failed = false;
    for entry in entries.flatten() {
        let Some(leftover) = leftover(&entry.path()) else {
            continue;
        };
        let dir = leftover.dir.display();
        if Path::new(&format!("/proc/{}", leftover.owner)).exists() {
            console.say(&format!("in use   {dir} (process {})", leftover.owner));
        } else if args.dry_run {
            console.say(&format!("stale    {dir}"));
        } else {
            match sweep(&leftover) {
                Ok(()) => {
                    removed += 1;
                    console.say(&format!("removed  {dir}"));
                }
                Err(why) => {
                    failed = true;
                    console.error(&format!("{dir}: {why}"));
                }
            }
        }
    }
    if !args.dry_run {
        console.say(&format!("{removed} directories removed"));
    }
    if failed { Exit::Harness } else { Exit::Passed }
}

/// Reads a directory's mark, if it is a run's.
fn leftover(dir: &Path) -> Option<Leftover> {
    let path = dir.join(MARK);
    if fs::symlink_metadata(dir).ok()?.is_symlink() || fs::metadata(&path).ok()?.len() > 200 {
        return None;
    }
    let mark = fs::read_to_string(path).ok()?;
    let (run, owner) = mark.split_once(' ')?;
    let owner = owner.split_once('.')?.0.parse().ok()?;
    Some(Leftover {
        dir: dir.to_owned(),
        run: run.to_owned(),
        owner,
        mark,
    })
}

/// Lets the sweeper do what it would have done: kill what still carries the
/// run's id in its environment, and remove the directory.
fn sweep(leftover: &Leftover) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let status = Command::new(program)
        .args([SUBCOMMAND, "sweep", &leftover.run])
        .arg(&leftover.dir)
        .arg(&leftover.mark)
        .stdin(Stdio::null())
        .status()
        .map_err(|e| e.to_string())?;
    if status.success() && !leftover.dir.exists() {
        Ok(())
    } else {
        Err(format!("it could not be removed ({status})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_marked_directories_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        assert!(leftover(dir.path()).is_none());
        fs::write(dir.path().join(MARK), "ab-1 77.123").unwrap();
        let found = leftover(dir.path()).unwrap();
        assert_eq!((found.run.as_str(), found.owner), ("ab-1", 77));
        fs::write(dir.path().join(MARK), "something else").unwrap();
        assert!(leftover(dir.path()).is_none());
    }
}

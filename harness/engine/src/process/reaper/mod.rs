//! The helper processes that see to it that nothing outlives a run, whatever
//! ends it, SIGKILL included.
//!
//! They are the `mailproof` binary (or any binary whose `main` calls
//! [`reaper_main`]) started as `__reaper …`:
//!
//! - **keep**: one for each life of a node. It is the node's parent and the
//!   subreaper of its whole tree, collects the wait statuses, and kills the
//!   tree when its socket to the run closes.
//! - **exec**: the last step before a node's program: own session, and death
//!   by SIGKILL should its keeper die. Then it becomes the program.
//! - **sweep**: one for each run. It holds the reading end of the death pipe;
//!   the writing end is held by the run and by every keeper. When the last of
//!   them is gone, it kills what still carries the run's id in its
//!   environment, and removes the run's temporary directory.
//!
//! Not covered: a process that both changed its user and cleared its
//! environment while its keeper was killed by somebody else.

mod keeper;
mod sweeper;
pub(crate) mod talk;

pub(crate) use sweeper::MARK;

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{getppid, setsid};

/// The subcommand under which a binary offers the helpers.
pub const SUBCOMMAND: &str = "__reaper";

/// What a helper's environment and its nodes carry, and how they are found.
pub const RUN_VARIABLE: &str = "MAILPROOF_RUN";

/// Exit status of an `exec` that could not become the program (as in `sh`).
const CANNOT_EXECUTE: u8 = 127;

/// Runs the helper that the command line names: to be called, before anything
/// else is done, by a `main` whose first argument is [`SUBCOMMAND`].
#[must_use]
pub fn reaper_main() -> ExitCode {
    let mut args = std::env::args_os().skip(2);
    let outcome = match args.next().as_ref().and_then(|word| word.to_str()) {
        Some("keep") => keeper::main(),
        Some("exec") => Err(exec(args)),
        Some("sweep") => sweeper::main(args),
        _ => Err("this is for mailproof's own use: expected keep, exec or sweep".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mailproof {SUBCOMMAND}: {error}");
            ExitCode::from(CANNOT_EXECUTE)
        }
    }
}

/// Becomes the program that the arguments name; returns only to say why not.
fn exec(mut args: impl Iterator<Item = OsString>) -> Box<dyn std::error::Error> {
    let keeper = args
        .next()
        .and_then(|word| word.to_str()?.parse::<i32>().ok());
    let (Some(keeper), Some(program)) = (keeper, args.next()) else {
        return "exec takes the keeper's process id and a program".into();
    };
    if let Err(error) = prctl::set_pdeathsig(Some(Signal::SIGKILL)) {
        return format!("cannot ask to die with the keeper: {error}").into();
    }
    // It may have died before the line above; then nobody would tell us.
    if getppid().as_raw() != keeper {
        return "the keeper is gone".into();
    }
    if let Err(error) = setsid() {
        return format!("cannot open a session: {error}").into();
    }
    let error = Command::new(&program).args(args).exec();
    format!("cannot execute {}: {error}", program.display()).into()
}

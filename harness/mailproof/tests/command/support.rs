//! Running the built command.

use std::fmt;
use std::process::Command;

use tempfile::TempDir;

/// What came of a command.
#[derive(PartialEq, Eq)]
pub(crate) struct Done {
    /// Its exit code; -1 when a signal ended it.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "exit {}\n-- out\n{}\n-- err\n{}",
            self.code, self.out, self.err
        )
    }
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Runs the command in a directory where it can do no harm.
pub(crate) fn command(arguments: &[&str]) -> Done {
    let here = scratch();
    let done = Command::new(env!("CARGO_BIN_EXE_mailproof"))
        .args(arguments)
        .current_dir(here.path())
        .output()
        .expect("the command was built with this test");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Done {
        code: done.status.code().unwrap_or(-1),
        out: text(done.stdout),
        err: text(done.stderr),
    }
}

/// Runs one scenario in the simulator, into `out` below `dir`.
pub(crate) fn run_sim(dir: &TempDir, scenario: &str, more: &[&str]) -> Done {
    let out = dir.path().join("out");
    let out = out.to_str().expect("temporary paths are text");
    let mut arguments = vec!["run", scenario, "--engine", "sim", "--out", out];
    arguments.extend(more);
    command(&arguments)
}

/// A directory that goes with the test.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temporary directory can be made")
}

/// Files of the repository.
pub(crate) mod files {
    /// The reference target.
    pub(crate) fn reference() -> String {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../fixtures/targets/reference.toml"
        );
        std::fs::read_to_string(path).expect("the reference target is in the repository")
    }
}

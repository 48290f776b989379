//! What a run and the keeper of a node say to each other: one JSON object a
//! line over a socket pair.

use std::path::PathBuf;

use mailproof_model::target::Signal;
use serde::{Deserialize, Serialize};

/// What the run asks of a keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ask {
    /// Start the node. Once in a keeper's life.
    Spawn(Spawn),
    /// Kill the whole tree at once.
    Kill,
    /// Stop every thread of the tree.
    Freeze,
    /// Let the tree run again.
    Thaw,
    /// Ask the node's first process to end.
    Stop(Signal),
}

/// How a node is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// The executable and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Its working directory.
    pub cwd: PathBuf,
    /// Where its standard output is appended.
    pub stdout: PathBuf,
    /// Where its standard error is appended.
    pub stderr: PathBuf,
}

/// What a keeper says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Say {
    /// The node runs; this is the id of its first process.
    Spawned(i32),
    /// So many threads were seen standing still, and none moving.
    Frozen(usize),
    /// So many threads were seen, and none standing still.
    Thawed(usize),
    /// An ask could not be met, and why.
    Failed(String),
    /// The whole tree is gone; the wait status of its first process:
    /// `signal 9`, `code 0`.
    Gone(String),
}

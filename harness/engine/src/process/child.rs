//! A node's process under its keeper, seen from the run.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::reaper::SUBCOMMAND;
use super::reaper::talk::{Ask, Say, Spawn};
use super::scratch::Scratch;

/// A keeper and the life of a node that it keeps. Dropping it kills the
/// node's whole tree and waits until that is done.
#[derive(Debug)]
pub struct Child {
    says: Lines<BufReader<OwnedReadHalf>>,
    /// `None` only while being dropped.
    asks: Option<OwnedWriteHalf>,
    keeper: std::process::Child,
    pid: i32,
}

impl Child {
    /// Starts a keeper from the `helper` binary and lets it start the node.
    /// `how.env` must hold `MAILPROOF_RUN`.
    ///
    /// It needs no long-lived thread: a keeper notices the end of the run by
    /// its socket, not by PDEATHSIG.
    ///
    /// # Errors
    /// When keeper or node could not be started, with the reason.
    pub async fn spawn(helper: &Path, scratch: &Scratch, how: Spawn) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        let keeper = helper_command(helper)
            .arg("keep")
            .stdin(OwnedFd::from(theirs))
            .stdout(scratch.death()?)
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("cannot start {}: {error}", helper.display()),
                )
            })?;
        ours.set_nonblocking(true)?;
        let (read, write) = tokio::net::UnixStream::from_std(ours)?.into_split();
        let mut child = Self {
            says: BufReader::new(read).lines(),
            asks: Some(write),
            keeper,
            pid: 0,
        };
        child.ask(&Ask::Spawn(how)).await?;
        match child.say().await? {
            Say::Spawned(pid) => child.pid = pid,
            Say::Failed(why) => return Err(io::Error::other(why)),
            other => {
                return Err(io::Error::other(format!(
                    "the keeper said {other:?} to a start"
                )));
            }
        }
        Ok(child)
    }

    /// The id of the node's first process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Asks the keeper for something; the answer comes by [`Child::say`].
    ///
    /// # Errors
    /// When the keeper is gone.
    pub async fn ask(&mut self, ask: &Ask) -> io::Result<()> {
        let mut line = serde_json::to_vec(ask)?;
        line.push(b'\n');
        match self.asks.as_mut() {
            Some(asks) => asks.write_all(&line).await,
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// The next thing the keeper says. Can be dropped and called again
    /// without losing anything.
    ///
    /// # Errors
    /// When the keeper is gone without having said [`Say::Gone`]: somebody
    /// else killed it.
    pub async fn say(&mut self) -> io::Result<Say> {
        match self.says.next_line().await? {
            Some(line) => Ok(serde_json::from_str(&line)?),
            None => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the keeper of the node is gone; somebody else killed it",
            )),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Closing for writing is the keeper's sign; it ends when the tree has.
        self.asks = None;
        let _ = self.keeper.wait();
    }
}

/// The helper binary, told to be a helper.
pub(crate) fn helper_command(helper: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(helper);
    command.arg(SUBCOMMAND).stderr(Stdio::inherit());
    command
}

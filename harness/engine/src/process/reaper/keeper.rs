//! The keeper of one life of a node: parent of its process, subreaper of its
//! tree. Its standard input is the socket to the run; its standard output is
//! the run's death pipe, held open and never written.

use std::error::Error;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use mailproof_model::target::Signal as StopSignal;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, setsid};
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::talk::{Ask, Say, Spawn};
use super::{RUN_VARIABLE, SUBCOMMAND};
use crate::process::{proc, tree};

/// How long the rest of a tree may take to end after its first process did.
const GRACE: Duration = Duration::from_secs(5);

/// How often a tree that was killed is looked at again. Only a process that
/// could not be frozen can leave anything to find.
const AGAIN: Duration = Duration::from_millis(20);

pub(super) fn main() -> Result<(), Box<dyn Error>> {
    // A session of its own: what a terminal sends to the run is not for it.
    setsid()?;
    prctl::set_child_subreaper(true)?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(Keeper::run())
}

struct Keeper {
    socket: OwnedWriteHalf,
    /// The node's first process, once started.
    first: Option<Pid>,
    /// Its wait status, once it is gone.
    status: Option<String>,
    /// When to kill the tree, or to look at it again.
    due: Option<Instant>,
    killing: bool,
}

impl Keeper {
    async fn run() -> Result<(), Box<dyn Error>> {
        let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        socket.set_nonblocking(true)?;
        let (read, socket) = tokio::net::UnixStream::from_std(socket)?.into_split();
        let mut asks = BufReader::new(read).lines();
        let mut children = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut keeper = Self {
            socket,
            first: None,
            status: None,
            due: None,
            killing: false,
        };
        let mut open = true;
        loop {
            // A wait status that came before the last ask is reported first.
            if keeper.reap()? && (keeper.status.is_some() || !open) {
                if let Some(status) = keeper.status.take() {
                    keeper.say(&Say::Gone(status)).await;
                }
                return Ok(());
            }
            let due = keeper.due;
            tokio::select! {
                ask = asks.next_line(), if open => match ask {
                    Ok(Some(ask)) => keeper.answer(&ask).await,
                    // The run is gone, or wants no more of us.
                    Ok(None) | Err(_) => {
                        open = false;
                        keeper.kill();
                    }
                },
                _ = children.recv() => {}
                _ = terminate.recv() => keeper.kill(),
                _ = interrupt.recv() => keeper.kill(),
                _ = hangup.recv() => keeper.kill(),
                () = sleep_until(due), if due.is_some() => keeper.kill(),
            }
        }
    }

    async fn answer(&mut self, ask: &str) {
        let me = getpid().as_raw();
        let threads = |found: io::Result<usize>, say: fn(usize) -> Say| match found {
            Ok(threads) => say(threads),
            Err(error) => Say::Failed(error.to_string()),
        };
        let say = match serde_json::from_str(ask) {
            Ok(Ask::Spawn(how)) if self.first.is_none() => match spawn(&how) {
                Ok(pid) => {
                    self.first = Some(pid);
                    Say::Spawned(pid.as_raw())
                }
                Err(error) => Say::Failed(error.to_string()),
            },
            Ok(Ask::Spawn(_)) => Say::Failed("the node was started already".to_owned()),
            Ok(Ask::Freeze) => threads(tree::freeze(me), Say::Frozen),
            Ok(Ask::Thaw) => threads(tree::thaw(me), Say::Thawed),
            Ok(Ask::Kill) => return self.kill(),
            Ok(Ask::Stop(signal)) => match self.stop(signal) {
                Ok(()) => return,
                Err(error) => Say::Failed(error.to_string()),
            },
            Err(error) => Say::Failed(format!("not an ask: {error}")),
        };
        self.say(&say).await;
    }

    /// A run that does not listen any more will be noticed by its silence.
    async fn say(&mut self, say: &Say) {
        if let Ok(mut line) = serde_json::to_vec(say) {
            line.push(b'\n');
            let _ = self.socket.write_all(&line).await;
        }
    }

    fn kill(&mut self) {
        self.killing = true;
        self.due = Some(Instant::now() + AGAIN);
        if let Err(error) = tree::kill(getpid().as_raw()) {
            eprintln!("mailproof {SUBCOMMAND} keep: {error}");
        }
    }

    fn stop(&mut self, with: StopSignal) -> io::Result<()> {
        let process = self.first.and_then(|pid| proc::process(pid.as_raw()));
        if let Some(process) = process {
            let with = match with {
                StopSignal::Term => Signal::TERM,
                StopSignal::Int => Signal::INT,
                StopSignal::Quit => Signal::QUIT,
            };
            tree::signal(process, with)?;
        }
        Ok(())
    }

    /// Collects every wait status there is; `true` when no child is left,
    /// which for a subreaper means that the whole tree is gone.
    fn reap(&mut self) -> Result<bool, Errno> {
        loop {
            let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, format!("code {code}")),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, format!("signal {}", signal as i32))
                }
                Ok(WaitStatus::StillAlive) => return Ok(false),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(Errno::ECHILD) => return Ok(true),
                Err(error) => return Err(error),
            };
            if self.first == Some(pid) {
                self.status = Some(status);
                if !self.killing {
                    self.due = Some(Instant::now() + GRACE);
                }
            }
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due).await;
    }
}

fn spawn(how: &Spawn) -> io::Result<Pid> {
    let log = |path| OpenOptions::new().create(true).append(true).open(path);
    let child = Command::new(proc::own_executable())
        .arg(SUBCOMMAND)
        .arg("exec")
        .arg(getpid().to_string())
        .args(&how.argv)
        .env_clear()
        .envs(how.env.iter().filter(|(name, _)| !name.is_empty()).cloned())
        .current_dir(&how.cwd)
        .stdin(Stdio::null())
        .stdout(log(&how.stdout)?)
        .stderr(log(&how.stderr)?)
        .spawn()?;
    debug_assert!(how.env.iter().any(|(name, _)| name == RUN_VARIABLE));
    i32::try_from(child.id())
        .map(Pid::from_raw)
        .map_err(io::Error::other)
}

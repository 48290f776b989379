//! The admin socket: a Unix socket that answers one question a connection.
//!
//! The question is one line (`queues`, `database-id`, `events`, `metrics`) or an
//! order (`redirect NODE`); the answer is everything up to the end of the stream:
//! JSON, for `events` one object a line, or Prometheus text for `metrics`. A
//! command ([`crate::admin::Command`]) is answered with one JSON object when what
//! it did is durable. The socket is its owner's
//! alone: by its permissions, and because every other user is turned away who
//! may have connected before those were set.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::host::{self, Shared};
use super::metrics;
use crate::admin::Command;
use crate::io::Input;
use crate::node::Node;

/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest question, bytes.
const LONGEST: u64 = 64 << 10;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Queues, messages, shadows, discards, peers, counters: JSON.
    Queues,
    /// The identity of the queue database: JSON.
    DatabaseId,
    /// The last events, one JSON object a line, the oldest first.
    Events,
    /// Counters and gauges: Prometheus text.
    Metrics,
}

impl Question {
    /// The line that asks it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Queues => "queues",
            Self::DatabaseId => "database-id",
            Self::Events => "events",
            Self::Metrics => "metrics",
        }
    }

    fn read(line: &str) -> Option<Self> {
        [Self::Queues, Self::DatabaseId, Self::Events, Self::Metrics]
            .into_iter()
            .find(|q| q.word() == line)
    }
}

/// Answers until dropped; removes the socket file then.
#[derive(Debug)]
pub(super) struct Admin {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

pub(super) fn serve(path: &Path, host: Shared) -> io::Result<Admin> {
    // A socket file that nobody listens on is what a killed node left.
    if path.exists() && StdStream::connect(path).is_err() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let owner = std::fs::metadata(path)?.uid();
    let task = tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of descriptors, say: that passes.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let who = stream.peer_cred();
            if who.is_ok_and(|who| [0, owner].contains(&who.uid())) {
                tokio::spawn(timeout(PATIENCE, ask(stream, Shared::clone(&host))));
            }
        }
    });
    Ok(Admin {
        path: path.to_owned(),
        task,
    })
}

async fn ask(stream: UnixStream, host: Shared) {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    if BufReader::new(read.take(LONGEST))
        .read_line(&mut line)
        .await
        .is_err()
    {
        return;
    }
    let line = line.trim_end();
    let text = match Question::read(line) {
        Some(Question::Events) => host::lock(&host).recent_events(),
        Some(question) => answer(host::lock(&host).node(), question),
        None if line.starts_with("redirect ") => {
            order_redirect(&host, line.trim_start_matches("redirect "))
        }
        None => match line.parse::<Command>() {
            Ok(command) => {
                let answer = host::lock(&host).command(&host, command);
                match answer.await {
                    Ok(answer) => format!("{answer}\n"),
                    Err(_) => refusal("the node ended before it was done"),
                }
            }
            Err(error) => refusal(&format!(
                "{error}; or ask for queues, database-id, events, metrics or redirect NODE"
            )),
        },
    };
    let _ = write.write_all(text.as_bytes()).await;
    let _ = write.shutdown().await;
}

/// Sends the delivery queues to a peer, if it is one.
fn order_redirect(host: &Shared, to: &str) -> String {
    let known = host::lock(host).node().redirect_target(to);
    let said = match known {
        Ok(()) => {
            host::handle(host, Input::Redirect { to });
            serde_json::json!({ "redirected-to": to })
        }
        Err(error) => serde_json::json!({ "error": error.to_string() }),
    };
    format!("{said}\n")
}

fn refusal(why: &str) -> String {
    format!("{}\n", serde_json::json!({ "error": why }))
}

pub(super) fn answer(node: &Node, question: Question) -> String {
    let json = |value: Result<String, serde_json::Error>| match value {
        Ok(mut text) => {
            text.push('\n');
            text
        }
        Err(error) => format!("{{\"error\":\"{error}\"}}\n"),
    };
    match question {
        Question::Queues => json(serde_json::to_string(&node.queues())),
        Question::DatabaseId => format!("{{\"database-id\":\"{}\"}}\n", node.database_id()),
        Question::Metrics => metrics::text(&node.queues()),
        Question::Events => String::new(),
    }
}

/// Asks a running node at its admin socket.
///
/// # Errors
/// When nobody answers there within ten seconds.
pub fn query(socket: &Path, question: Question) -> io::Result<String> {
    tell(socket, question.word())
}

/// Has a running node send its delivery queues to its peer `to`, and refuse
/// new mail until it is started anew. The answer is JSON with `redirected-to`
/// or `error`.
///
/// # Errors
/// When nobody answers there within ten seconds.
pub fn redirect(socket: &Path, to: &str) -> io::Result<String> {
    tell(socket, &format!("redirect {to}"))
}

/// Gives a running node a line at its admin socket, a question or a command.
///
/// # Errors
/// When nobody answers there within ten seconds.
pub fn tell(socket: &Path, line: &str) -> io::Result<String> {
    let mut stream = StdStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

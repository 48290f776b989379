//! One TCP connection: a task that reads it, a task that writes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Message;
use crate::io::ConnId;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// While more than this waits to be written, nothing more is read: a peer that
/// does not take its replies cannot make them pile up.
const BACKLOG: usize = 256 * 1024;

/// How long a closed connection may still deliver bytes, so that the last
/// reply is not destroyed by a reset.
const LINGER: Duration = Duration::from_secs(2);

enum Command {
    Write(Bytes),
    Shutdown,
    Abort,
}

/// A connection, as the node's task holds it.
#[derive(Debug)]
pub(super) struct Handle {
    commands: UnboundedSender<Command>,
    backlog: Arc<Backlog>,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Backlog {
    bytes: AtomicUsize,
    drained: Notify,
}

pub(super) fn start(conn: ConnId, stream: TcpStream, send: UnboundedSender<Message>) -> Handle {
    let (commands, receive) = mpsc::unbounded_channel();
    let backlog = Arc::new(Backlog::default());
    let (read, write) = stream.into_split();
    let reader = tokio::spawn(reader(conn, read, send, Arc::clone(&backlog)));
    let writer = tokio::spawn(writer(
        write,
        receive,
        Arc::clone(&backlog),
        reader.abort_handle(),
    ));
    Handle {
        commands,
        backlog,
        reader,
        writer,
    }
}

impl Handle {
    /// Has bytes sent after those before.
    pub(super) fn write(&self, bytes: Bytes) {
        self.backlog.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        let _ = self.commands.send(Command::Write(bytes));
    }

    /// Closes in order once everything was sent.
    pub(super) fn shutdown(self) {
        let _ = self.commands.send(Command::Shutdown);
    }

    /// Resets the connection.
    pub(super) fn abort(self) {
        self.reader.abort();
        let _ = self.commands.send(Command::Abort);
    }
}

/// Closes all in order, for a bounded time.
pub(super) async fn close_all(conns: BTreeMap<ConnId, Handle>) {
    let mut writers = Vec::new();
    for handle in conns.into_values() {
        handle.reader.abort();
        let _ = handle.commands.send(Command::Shutdown);
        writers.push(handle.writer);
    }
    let _ = timeout(Duration::from_millis(500), async {
        for writer in writers {
            let _ = writer.await;
        }
    })
    .await;
}

async fn reader(
    conn: ConnId,
    mut read: OwnedReadHalf,
    send: UnboundedSender<Message>,
    backlog: Arc<Backlog>,
) {
    let mut buffer = BytesMut::with_capacity(CHUNK);
    loop {
        while backlog.bytes.load(Ordering::Relaxed) > BACKLOG {
            backlog.drained.notified().await;
        }
        buffer.reserve(CHUNK / 4);
        let message = match read.read_buf(&mut buffer).await {
            Ok(0) => Message::Closed(conn, false),
            Ok(_) => Message::Bytes(conn, buffer.split().freeze()),
            Err(_) => Message::Closed(conn, true),
        };
        let over = matches!(message, Message::Closed(..));
        if send.send(message).is_err() || over {
            return;
        }
        // The node's task shares this thread: let it have its turn.
        tokio::task::yield_now().await;
    }
}

async fn writer(
    mut write: OwnedWriteHalf,
    mut receive: UnboundedReceiver<Command>,
    backlog: Arc<Backlog>,
    reader: tokio::task::AbortHandle,
) {
    while let Some(command) = receive.recv().await {
        match command {
            Command::Write(bytes) => {
                let sent = write.write_all(&bytes).await;
                let left = backlog.bytes.fetch_sub(bytes.len(), Ordering::Relaxed) - bytes.len();
                if left <= BACKLOG {
                    backlog.drained.notify_one();
                }
                if sent.is_err() {
                    // The reader meets the same end and reports it.
                    backlog.bytes.store(0, Ordering::Relaxed);
                    backlog.drained.notify_one();
                    break;
                }
            }
            Command::Shutdown => {
                let _ = write.shutdown().await;
                // Until the other side has closed too, its bytes are taken
                // and thrown away by the node's task.
                tokio::spawn(async move {
                    tokio::time::sleep(LINGER).await;
                    reader.abort();
                });
                return;
            }
            Command::Abort => {
                let _ = write.as_ref().set_zero_linger();
                write.forget();
                return;
            }
        }
    }
    // The node has let go of the connection, or it broke.
    while receive.recv().await.is_some() {}
}

//! One TCP connection: a task that reads it. Writes go out at once; what the
//! socket does not take is left to a task that waits for room.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::ready;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

use super::host::{self, Host, Shared};
use super::tls;
use crate::io::{ConnId, DialError, Input};

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// While more than this waits to be written, nothing more is read: a peer that
/// does not take its replies cannot make them pile up.
const BACKLOG: usize = 256 * 1024;

/// How long a closed connection may still deliver bytes, so that the last
/// reply is not destroyed by a reset.
const LINGER: Duration = Duration::from_secs(2);

/// How long what is written may wait for a peer that does not take it, once the
/// connection is over: who never reads cannot hold a descriptor for good.
const FLUSH: Duration = Duration::from_secs(10);

/// Longest time that a dial may take; the node gives most of them up earlier.
const DIAL: Duration = Duration::from_secs(30);

/// What waits for room in the socket.
#[derive(Default)]
struct Backlog {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    /// A task writes it.
    writing: bool,
    /// Nothing more will come; our end closes after the last byte.
    ending: bool,
    broken: bool,
    /// Told when there is room again.
    room: Arc<Notify>,
}

type SharedBacklog = Arc<Mutex<Backlog>>;

fn lock(backlog: &SharedBacklog) -> std::sync::MutexGuard<'_, Backlog> {
    backlog.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One socket, for as long as any task holds it.
struct Socket(Arc<AtomicUsize>);

impl Socket {
    fn new(count: &Arc<AtomicUsize>) -> Arc<Self> {
        count.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self(Arc::clone(count)))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection, as the host holds it.
pub(super) struct Connection {
    socket: Arc<Socket>,
    write: Arc<OwnedWriteHalf>,
    backlog: SharedBacklog,
    reader: AbortHandle,
    writer: Option<JoinHandle<()>>,
    tls: Option<Box<tls::Session>>,
}

impl Connection {
    /// Sends bytes after those before.
    pub(super) fn write(&mut self, bytes: Bytes) {
        match &mut self.tls {
            None => self.push(bytes),
            Some(tls) => {
                let sealed = tls.seal(&bytes);
                self.push(sealed.into());
            }
        }
    }

    /// The address of the other side.
    pub(super) fn peer(&self) -> Option<IpAddr> {
        self.write.peer_addr().ok().map(|peer| peer.ip())
    }

    /// Begins TLS.
    pub(super) fn secure(&mut self, mut session: tls::Session) {
        let first = session.outgoing();
        self.push(first.into());
        self.tls = Some(Box::new(session));
    }

    /// Takes bytes of the socket out of TLS, and answers what TLS itself has
    /// to; `None` when there is no TLS.
    fn open(&mut self, data: &[u8]) -> Option<tls::Progress> {
        let tls = self.tls.as_mut()?;
        let progress = tls.open(data);
        let answer = tls.outgoing();
        self.push(answer.into());
        Some(progress)
    }

    fn push(&mut self, mut bytes: Bytes) {
        let mut backlog = lock(&self.backlog);
        while backlog.waiting.is_empty() && !bytes.is_empty() && !backlog.broken {
            match self.write.try_write(&bytes) {
                Ok(n) => bytes.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The reader meets the same end and reports it.
                Err(_) => backlog.broken = true,
            }
        }
        if bytes.is_empty() || backlog.broken {
            return;
        }
        backlog.bytes += bytes.len();
        backlog.waiting.push_back(bytes);
        if !std::mem::replace(&mut backlog.writing, true) {
            let (write, backlog) = (Arc::clone(&self.write), Arc::clone(&self.backlog));
            let socket = Arc::clone(&self.socket);
            self.writer = Some(tokio::spawn(async move {
                writer(write, backlog).await;
                drop(socket);
            }));
        }
    }

    /// Closes in order once everything was sent. The task that still sends, if
    /// there is one.
    pub(super) fn finish(mut self) -> Option<JoinHandle<()>> {
        if let Some(tls) = &mut self.tls {
            let last = tls.close();
            self.push(last.into());
        }
        let reader = self.reader;
        let writer = self.writer.as_ref().map(JoinHandle::abort_handle);
        tokio::spawn(async move {
            // Until the other side has closed too, its bytes are taken and
            // thrown away.
            tokio::time::sleep(LINGER).await;
            reader.abort();
            if let Some(writer) = writer {
                tokio::time::sleep(FLUSH).await;
                writer.abort();
            }
        });
        let mut backlog = lock(&self.backlog);
        backlog.ending = true;
        // Dropping the last hold on the writing half closes our end; a writer
        // that is at work has another.
        let busy = backlog.writing;
        drop(backlog);
        self.writer.filter(|_| busy)
    }

    /// Resets the connection.
    pub(super) fn abort(self) {
        let _ = self.write.as_ref().as_ref().set_zero_linger();
        lock(&self.backlog).broken = true;
        if let Some(writer) = &self.writer {
            writer.abort();
        }
        self.reader.abort();
    }
}

async fn writer(write: Arc<OwnedWriteHalf>, backlog: SharedBacklog) {
    loop {
        let writable = write.writable().await.is_ok();
        let mut backlog = lock(&backlog);
        backlog.broken |= !writable;
        while let Some(bytes) = backlog.waiting.front_mut() {
            match write.try_write(bytes) {
                Ok(n) => {
                    bytes.advance(n);
                    if bytes.is_empty() {
                        backlog.waiting.pop_front();
                    }
                    backlog.bytes -= n;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    backlog.broken = true;
                    break;
                }
            }
        }
        let over = backlog.waiting.is_empty() || backlog.broken;
        if over {
            backlog.waiting.clear();
            backlog.bytes = 0;
            backlog.writing = false;
        }
        if backlog.bytes <= BACKLOG {
            backlog.room.notify_one();
        }
        if over {
            return;
        }
    }
}

/// Takes connections until aborted.
pub(super) async fn accept(listener: TcpListener, host: Shared) {
    // One buffer is enough for all: nothing happens between a read and what
    // is made of it.
    let buffer = Arc::new(Mutex::new(vec![0; CHUNK]));
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let mut this = host::lock(&host);
                // The store, dials and the admin socket need descriptors too:
                // who comes when they are scarce is not even greeted.
                if this.sockets.load(Ordering::Relaxed) >= this.most_sockets {
                    continue;
                }
                let conn = this.number();
                let socket = Socket::new(&this.sockets);
                let connection = start(&host, conn, stream, Arc::clone(&buffer), socket);
                this.conns.insert(conn, connection);
                let peer = peer.ip();
                this.handle(&host, Input::Accepted { conn, peer });
            }
            // Out of file descriptors, say: others must first go away.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Dials and tells the node.
pub(super) async fn dial(host: Shared, conn: ConnId, source: Option<IpAddr>, to: SocketAddr) {
    let result = connect(source, to).await;
    let mut this = host::lock(&host);
    if this.dials.remove(&conn).is_none() {
        // The node has given it up.
        return;
    }
    let result = result.map(|stream| {
        let buffer = Arc::new(Mutex::new(vec![0; CHUNK / 4]));
        let socket = Socket::new(&this.sockets);
        let connection = start(&host, conn, stream, buffer, socket);
        this.conns.insert(conn, connection);
    });
    this.handle(&host, Input::Dialled { conn, result });
}

async fn connect(source: Option<IpAddr>, to: SocketAddr) -> Result<TcpStream, DialError> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    };
    let socket = socket.map_err(|_| DialError::Unreachable)?;
    if let Some(ip) = source.filter(|ip| ip.is_ipv4() == to.is_ipv4()) {
        socket
            .bind(SocketAddr::new(ip, 0))
            .map_err(|_| DialError::Unreachable)?;
    }
    match timeout(DIAL, socket.connect(to)).await {
        Err(_) => Err(DialError::TimedOut),
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => DialError::Refused,
            io::ErrorKind::TimedOut => DialError::TimedOut,
            _ => DialError::Unreachable,
        }),
    }
}

type Buffer = Arc<Mutex<Vec<u8>>>;

fn start(
    host: &Shared,
    conn: ConnId,
    stream: TcpStream,
    buffer: Buffer,
    socket: Arc<Socket>,
) -> Connection {
    // Replies are small and awaited; coalescing them only delays.
    let _ = stream.set_nodelay(true);
    let (read, write) = stream.into_split();
    let backlog = SharedBacklog::default();
    let reading = reader(Arc::clone(host), conn, read, buffer, Arc::clone(&backlog));
    let theirs = Arc::clone(&socket);
    let reader = tokio::spawn(async move {
        reading.await;
        drop(theirs);
    });
    Connection {
        socket,
        write: Arc::new(write),
        backlog,
        reader: reader.abort_handle(),
        writer: None,
        tls: None,
    }
}

/// Hands what was inside TLS to the node; true when the connection is over.
fn opened(this: &mut Host, host: &Shared, conn: ConnId, progress: &tls::Progress) -> bool {
    if progress.secured {
        this.handle(host, Input::Secured { conn });
    }
    if !progress.plain.is_empty() && this.conns.contains_key(&conn) {
        let data = &progress.plain;
        this.handle(host, Input::Bytes { conn, data });
    }
    if progress.failed
        && let Some(connection) = this.conns.remove(&conn)
    {
        // An alert says why, if there is anything to be said.
        connection.finish();
        this.handle(host, Input::Closed { conn, reset: true });
    } else if progress.closed && this.conns.contains_key(&conn) {
        this.handle(host, Input::HalfClosed { conn });
    }
    progress.failed || progress.closed
}

async fn reader(
    host: Shared,
    conn: ConnId,
    mut read: OwnedReadHalf,
    buffer: Buffer,
    backlog: SharedBacklog,
) {
    loop {
        let room = Arc::clone(&lock(&backlog).room);
        while lock(&backlog).bytes > BACKLOG {
            room.notified().await;
        }
        let ending = lock(&backlog).ending;
        // The buffer is filled and used up within one poll.
        let over = poll_fn(|cx| {
            let mut buffer = buffer.lock().unwrap_or_else(PoisonError::into_inner);
            let mut space = ReadBuf::new(&mut buffer);
            let result = ready!(Pin::new(&mut read).poll_read(cx, &mut space));
            let mut this = host::lock(&host);
            if ending || !this.conns.contains_key(&conn) {
                // The node has let go of it: bytes go nowhere.
                let over = result.is_err() || space.filled().is_empty();
                return std::task::Poll::Ready(over);
            }
            let reset = result.is_err();
            let data = space.filled();
            if reset {
                this.conns.remove(&conn);
                this.handle(&host, Input::Closed { conn, reset });
                return std::task::Poll::Ready(true);
            }
            if data.is_empty() {
                // The node may still owe an answer; it closes in its time.
                this.handle(&host, Input::HalfClosed { conn });
                return std::task::Poll::Ready(true);
            }
            let progress = this.conns.get_mut(&conn).and_then(|c| c.open(data));
            let Some(progress) = progress else {
                this.handle(&host, Input::Bytes { conn, data });
                return std::task::Poll::Ready(false);
            };
            std::task::Poll::Ready(opened(&mut this, &host, conn, &progress))
        })
        .await;
        if over {
            return;
        }
    }
}

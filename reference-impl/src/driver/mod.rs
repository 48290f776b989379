//! The tokio driver: a [`Node`] on real sockets, a real disk and real time.
//!
//! One task owns the node and feeds it inputs from one channel, so that what
//! the simulator shows of the node holds here too. Every connection has a
//! reading and a writing task, the disk a thread of its own that carries out
//! one batch after another, the log another.

mod admin;
mod connection;
mod journal;
mod storage;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::{sleep_until, timeout};

use crate::config::{Config, ConfigError};
use crate::disk::FsDisk;
use crate::io::{ConnId, DialError, Input, Now, Output};
use crate::node::{Boot, BootError, Node};
use crate::store::BatchId;

pub use admin::{Question, query};

/// Longest time that a node told to end may take to finish what is under way;
/// everything that it accepted is durable, so ending then costs nothing.
const DRAIN: Duration = Duration::from_secs(4);

/// Longest time that a dial may take.
const DIAL: Duration = Duration::from_secs(30);

/// Why a node ended otherwise than asked to.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The configuration file cannot be read.
    #[error("{path}: {error}")]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The configuration does not hold.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The store does not open.
    #[error("{0}")]
    Boot(#[from] BootError),
    /// The operating system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was attempted.
        what: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The node cannot go on.
    #[error("{0}")]
    Fatal(String),
}

impl DriverError {
    /// Exit code of a process that ends with it: 2 for a configuration that
    /// does not hold, 1 for the rest.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::File { .. } | Self::Config(_) | Self::Boot(BootError::Config(_)) => 2,
            Self::Boot(_) | Self::System { .. } | Self::Fatal(_) => 1,
        }
    }
}

fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> DriverError {
    let what = what.into();
    move |error| DriverError::System { what, error }
}

/// Reads a configuration file and runs a node in the foreground until SIGTERM
/// or SIGINT; what goes wrong is also printed. This is all of `mailproof node`.
///
/// # Errors
/// As [`run`], and when the file cannot be read or does not hold.
pub fn main(config: &Path) -> Result<(), DriverError> {
    let path = config.display().to_string();
    let run = || {
        let text = std::fs::read_to_string(config).map_err(|error| DriverError::File {
            path: path.clone(),
            error,
        })?;
        run(Config::from_toml(&text, &path)?)
    };
    run().inspect_err(journal::complain)
}

/// Runs a node in the foreground until SIGTERM or SIGINT. Events go to
/// standard output, one JSON object a line.
///
/// # Errors
/// When it cannot start, or cannot go on: a store that can no longer promise
/// anything ends the process.
pub fn run(config: Config) -> Result<(), DriverError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(system("cannot start the runtime"))?;
    runtime.block_on(serve(config))
}

/// What reaches the node's task from all the others.
#[derive(Debug)]
enum Message {
    /// A client connected.
    Accepted(TcpStream, IpAddr),
    /// A dial ended.
    Dialled(ConnId, Result<TcpStream, DialError>),
    /// Bytes arrived.
    Bytes(ConnId, Bytes),
    /// A connection ended.
    Closed(ConnId, bool),
    /// A batch was carried out.
    Committed(BatchId, std::io::Result<()>),
    /// Somebody asks at the admin socket.
    Asked(Question, tokio::sync::oneshot::Sender<String>),
}

/// The node and what its outputs need.
struct Host {
    node: Node,
    clock: Clock,
    conns: BTreeMap<ConnId, connection::Handle>,
    storage: storage::Storage,
    journal: journal::Journal,
    send: UnboundedSender<Message>,
    source: Option<IpAddr>,
    wake: Option<u64>,
    accepted: u64,
    fatal: Option<String>,
    out: Vec<Output>,
}

async fn serve(config: Config) -> Result<(), DriverError> {
    let listen = config.listen;
    let admin = config.admin.clone();
    let clock = Clock::new();
    let mut disk = FsDisk::open(&config.store).map_err(system(format!(
        "cannot open the store {}",
        config.store.display()
    )))?;
    let (seed, fresh) = randomness().map_err(system("cannot read randomness"))?;
    let source = config.source;
    let boot = Boot::open(config, seed, fresh, clock.now(), &mut disk)?;
    let mut out = Vec::new();
    let node = Node::new(boot, &disk, &mut out)?;
    // Bound only now: who can connect finds a node that has recovered.
    let listener = TcpListener::bind(listen)
        .await
        .map_err(system(format!("cannot listen on {listen}")))?;
    let (send, mut receive) = mpsc::unbounded_channel();
    let _admin = match &admin {
        Some(path) => Some(
            admin::serve(path, send.clone())
                .map_err(system(format!("cannot listen on {}", path.display())))?,
        ),
        None => None,
    };
    let mut host = Host {
        node,
        clock,
        conns: BTreeMap::new(),
        storage: storage::Storage::start(disk, send.clone())
            .map_err(system("cannot start the disk thread"))?,
        journal: journal::Journal::start().map_err(system("cannot start the log thread"))?,
        send: send.clone(),
        source,
        wake: None,
        accepted: 0,
        fatal: None,
        out,
    };
    host.carry_out();
    let acceptor = tokio::spawn(accept(listener, send));
    let mut term = signal(SignalKind::terminate()).map_err(system("cannot await SIGTERM"))?;
    let mut int = signal(SignalKind::interrupt()).map_err(system("cannot await SIGINT"))?;
    let mut draining: Option<tokio::time::Instant> = None;
    while host.fatal.is_none() {
        if draining.is_some_and(|until| host.node.drained() || tokio::time::Instant::now() >= until)
        {
            break;
        }
        let wake = host.wake.map(|at| host.clock.instant(at));
        let until = match (wake, draining) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        tokio::select! {
            message = receive.recv() => {
                if let Some(message) = message {
                    host.take(message);
                }
                // What has piled up meanwhile, before the clock is asked
                // again; bounded, so that timers are not starved.
                for _ in 0..256 {
                    match receive.try_recv() {
                        Ok(message) => host.take(message),
                        Err(_) => break,
                    }
                }
            }
            () = sleep_or_forever(until) => host.wake(),
            _ = term.recv(), if draining.is_none() => {
                acceptor.abort();
                host.handle(Input::Drain);
                draining = Some(tokio::time::Instant::now() + DRAIN);
            }
            _ = int.recv(), if draining.is_none() => {
                acceptor.abort();
                host.handle(Input::Drain);
                draining = Some(tokio::time::Instant::now() + DRAIN);
            }
        }
    }
    let conns = std::mem::take(&mut host.conns);
    connection::close_all(conns).await;
    host.journal.finish();
    match host.fatal {
        Some(reason) => Err(DriverError::Fatal(reason)),
        None => Ok(()),
    }
}

async fn sleep_or_forever(until: Option<tokio::time::Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

async fn accept(listener: TcpListener, send: UnboundedSender<Message>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if send.send(Message::Accepted(stream, peer.ip())).is_err() {
                    return;
                }
            }
            // Out of file descriptors, say: others must first go away.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn dial(source: Option<IpAddr>, to: SocketAddr) -> Result<TcpStream, DialError> {
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
            std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::ConnectionReset => {
                DialError::Refused
            }
            std::io::ErrorKind::TimedOut => DialError::TimedOut,
            _ => DialError::Unreachable,
        }),
    }
}

impl Host {
    fn take(&mut self, message: Message) {
        match message {
            Message::Accepted(stream, peer) => {
                let conn = ConnId(self.accepted);
                self.accepted += 1;
                self.attach(conn, stream);
                self.handle(Input::Accepted { conn, peer });
            }
            Message::Dialled(conn, result) => {
                let result = match result {
                    Ok(stream) => {
                        self.attach(conn, stream);
                        Ok(())
                    }
                    Err(error) => Err(error),
                };
                self.handle(Input::Dialled { conn, result });
            }
            Message::Bytes(conn, data) => {
                // Bytes of a connection that the node has let go of go nowhere.
                if self.conns.contains_key(&conn) {
                    self.handle(Input::Bytes { conn, data: &data });
                }
            }
            Message::Closed(conn, reset) => {
                if self.conns.remove(&conn).is_some() {
                    self.handle(Input::Closed { conn, reset });
                }
            }
            Message::Committed(batch, result) => self.handle(Input::Committed { batch, result }),
            Message::Asked(question, answer) => {
                let text = admin::answer(&self.node, question);
                // Who asked may have gone away.
                let _ = answer.send(text);
            }
        }
    }

    fn attach(&mut self, conn: ConnId, stream: TcpStream) {
        // Replies are small and awaited; coalescing them only delays.
        let _ = stream.set_nodelay(true);
        let handle = connection::start(conn, stream, self.send.clone());
        self.conns.insert(conn, handle);
    }

    fn wake(&mut self) {
        let now = self.clock.now().mono;
        if self.wake.is_some_and(|at| at <= now) {
            self.wake = None;
            self.handle(Input::Wake);
        }
    }

    fn handle(&mut self, input: Input<'_>) {
        let now = self.clock.now();
        self.node.handle(now, input, &mut self.out);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        for output in out.drain(..) {
            match output {
                Output::Write { conn, bytes } => {
                    if let Some(handle) = self.conns.get(&conn) {
                        handle.write(bytes);
                    }
                }
                Output::Shutdown { conn } => {
                    if let Some(handle) = self.conns.remove(&conn) {
                        handle.shutdown();
                    }
                }
                Output::Abort { conn } => {
                    if let Some(handle) = self.conns.remove(&conn) {
                        handle.abort();
                    }
                }
                Output::Dial { conn, to } => {
                    let (send, source) = (self.send.clone(), self.source);
                    tokio::spawn(async move {
                        let result = dial(source, to).await;
                        let _ = send.send(Message::Dialled(conn, result));
                    });
                }
                Output::Commit { batch } => self.storage.commit(batch),
                Output::WakeAt(at) => self.wake = (at != u64::MAX).then_some(at),
                Output::Log(event) => self.journal.write(&event),
                Output::Fatal { reason } => self.fatal = Some(reason),
            }
        }
        self.out = out;
    }
}

/// Both clocks.
#[derive(Clone, Copy, Debug)]
struct Clock {
    began: Instant,
}

impl Clock {
    fn new() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    fn now(self) -> Now {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        Now {
            mono: u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX),
            wall: u64::try_from(wall).unwrap_or(u64::MAX),
        }
    }

    /// The moment of a monotonic time; a century away when it does not fit.
    fn instant(self, mono: u64) -> tokio::time::Instant {
        let far = Duration::from_secs(100 * 365 * 86_400);
        let span = Duration::from_nanos(mono).min(far);
        tokio::time::Instant::from_std(self.began + span)
    }
}

/// A seed for the node and a number to mint a database identity from.
fn randomness() -> std::io::Result<(u64, u128)> {
    let mut bytes = [0; 24];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let (mut seed, mut fresh) = ([0; 8], [0; 16]);
    seed.copy_from_slice(&bytes[..8]);
    fresh.copy_from_slice(&bytes[8..]);
    Ok((u64::from_le_bytes(seed), u128::from_le_bytes(fresh)))
}

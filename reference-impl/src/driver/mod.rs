//! The tokio driver: a [`Node`] on real sockets, a real disk and real time.
//!
//! All of it runs on one thread, but for the disk, which has a thread of its
//! own that carries out one batch after another, and the log. Whatever happens
//! on a socket is handed to the node on the spot, and what the node wants is
//! carried out before anything else happens: so what the simulator shows of
//! the node holds here too, and nothing waits in queues between tasks.

mod admin;
mod connection;
mod descriptors;
mod host;
mod journal;
mod metrics;
mod resolver;
mod storage;
mod tls;
mod users;

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use crate::config::{Config, ConfigError};
use crate::disk::FsDisk;
use crate::io::{Input, Now};
use crate::node::{Boot, BootError, Node};

pub use admin::{Question, query, redirect, tell};
pub use users::user_line;

/// Longest time that a node told to end may take to finish what is under way;
/// everything that it accepted is durable, so ending then costs nothing.
const DRAIN: Duration = Duration::from_secs(4);

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
    /// A file for TLS cannot be used.
    #[error("{what} {path}: {error}")]
    Tls {
        /// What was attempted.
        what: &'static str,
        /// Which file.
        path: String,
        /// Why not.
        error: String,
    },
    /// A line of the file of users is none.
    #[error("{path}:{line}: {expected}")]
    Users {
        /// Which file.
        path: String,
        /// Counted from 1.
        line: usize,
        /// What was expected.
        expected: String,
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
            Self::File { .. }
            | Self::Config(_)
            | Self::Tls { .. }
            | Self::Users { .. }
            | Self::Boot(BootError::Config(_)) => 2,
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
    read(config).and_then(run).inspect_err(journal::complain)
}

/// Reads and checks a configuration file, and does nothing else; what is
/// wrong is also printed. This is `mailproof node --check-config`.
///
/// # Errors
/// When the file cannot be read or does not hold.
pub fn check(config: &Path) -> Result<Config, DriverError> {
    read(config).inspect_err(journal::complain)
}

fn read(config: &Path) -> Result<Config, DriverError> {
    let path = config.display().to_string();
    let text = std::fs::read_to_string(config).map_err(|error| DriverError::File {
        path: path.clone(),
        error,
    })?;
    Ok(Config::from_toml(&text, &path)?)
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

async fn serve(config: Config) -> Result<(), DriverError> {
    let listen = config.listen;
    let admin = config.admin.clone();
    let (metrics_at, log_level) = (config.metrics_listen, config.log_level);
    let source = config.source;
    let services = host::Services::load(&config)?;
    let clock = Clock::new();
    let mut disk = FsDisk::open(&config.store).map_err(system(format!(
        "cannot open the store {}",
        config.store.display()
    )))?;
    let (seed, fresh) = randomness().map_err(system("cannot read randomness"))?;
    let boot = Boot::open(config, seed, fresh, clock.now(), &mut disk)?;
    let mut out = Vec::new();
    let mut node = Node::new(boot, &disk, &mut out)?;
    node.set_abilities(services.abilities());
    // Bound only now: who can connect finds a node that has recovered.
    let listener = TcpListener::bind(listen)
        .await
        .map_err(system(format!("cannot listen on {listen}")))?;
    let (done, mut results) = mpsc::unbounded_channel();
    let storage =
        storage::Storage::start(disk, done).map_err(system("cannot start the disk thread"))?;
    let journal =
        journal::Journal::start(log_level).map_err(system("cannot start the log thread"))?;
    let host = host::Host::share(
        node,
        clock,
        storage,
        journal,
        source,
        descriptors::sockets(),
        services,
    );
    let _admin = match &admin {
        Some(path) => Some(
            admin::serve(path, Arc::clone(&host))
                .map_err(system(format!("cannot listen on {}", path.display())))?,
        ),
        None => None,
    };
    let _metrics = match metrics_at {
        Some(at) => Some(
            metrics::serve(at, Arc::clone(&host))
                .await
                .map_err(system(format!("cannot listen on {at} for metrics")))?,
        ),
        None => None,
    };
    let changed = host::begin(&host, out);
    let mut acceptor = Some(tokio::spawn(connection::accept(
        listener,
        Arc::clone(&host),
    )));
    let mut term = signal(SignalKind::terminate()).map_err(system("cannot await SIGTERM"))?;
    let mut int = signal(SignalKind::interrupt()).map_err(system("cannot await SIGINT"))?;
    let mut draining: Option<tokio::time::Instant> = None;
    let fatal = loop {
        let wake = {
            let mut host = host::lock(&host);
            if let Some(reason) = host.fatal() {
                break Some(reason);
            }
            let now = tokio::time::Instant::now();
            if draining.is_some_and(|until| host.drained() || now >= until) {
                break None;
            }
            match (host.sleep_until(), draining) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            }
        };
        let asked_to_end = tokio::select! {
            done = results.recv() => {
                match done {
                    Some(storage::Done::Batch(batch, result)) => {
                        host::handle(&host, Input::Committed { batch, result });
                    }
                    Some(storage::Done::Read(read, result)) => {
                        host::handle(&host, Input::Read { read, result });
                    }
                    None => {}
                }
                false
            }
            () = sleep_or_forever(wake) => {
                host::wake(&host);
                false
            }
            () = changed.notified() => false,
            _ = term.recv(), if draining.is_none() => true,
            _ = int.recv(), if draining.is_none() => true,
        };
        if asked_to_end {
            if let Some(acceptor) = acceptor.take() {
                acceptor.abort();
            }
            host::handle(&host, Input::Drain);
            draining = Some(tokio::time::Instant::now() + DRAIN);
        }
    };
    if let Some(acceptor) = acceptor.take() {
        acceptor.abort();
    }
    host::close(&host).await;
    match fatal {
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

//! The node and what its outputs need: inputs in, outputs carried out at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::AbortHandle;

use super::connection::{self, Connection};
use super::resolver::Resolver;
use super::users::Users;
use super::{Clock, DriverError, journal, storage, tls};
use crate::admin::Command;
use crate::config::Config;
use crate::io::{Abilities, ConnId, DnsError, Input, Lookup, Output, Secret};
use crate::node::Node;

/// The host, as every task holds it. Only one thread runs these tasks, and
/// none waits for anything while it holds the lock: it is never contended.
pub(super) type Shared = Arc<Mutex<Host>>;

/// Passwords that are looked at at one time.
const CHECKS: usize = 2;

/// What the node may ask for beside connections and the disk.
pub(super) struct Services {
    tls: tls::Settings,
    users: Option<Arc<Users>>,
    resolver: Resolver,
    checks: Arc<Semaphore>,
}

impl Services {
    /// Reads the files that the configuration names.
    pub(super) fn load(config: &Config) -> Result<Self, DriverError> {
        let users = config.users.as_deref().map(Users::load).transpose()?;
        Ok(Self {
            tls: tls::Settings::load(config)?,
            users: users.map(Arc::new),
            resolver: Resolver::new(&config.resolvers),
            checks: Arc::new(Semaphore::new(CHECKS)),
        })
    }

    pub(super) fn abilities(&self) -> Abilities {
        Abilities {
            tls_server: self.tls.has_certificate(),
            tls_client: true,
            passwords: self.users.is_some(),
        }
    }

    fn check(&self, host: Shared, conn: ConnId, user: Box<str>, password: Secret) {
        let (users, checks) = (self.users.clone(), Arc::clone(&self.checks));
        tokio::spawn(async move {
            let _turn = checks.acquire().await;
            let check = move || users.is_some_and(|users| users.check(&user, password.reveal()));
            let right = tokio::task::spawn_blocking(check).await.unwrap_or(false);
            handle(&host, Input::PasswordChecked { conn, right });
        });
    }

    fn resolve(&self, host: Shared, query: u64, name: String, lookup: Lookup) {
        let resolver = self.resolver.clone();
        tokio::spawn(async move {
            let find = tokio::time::timeout(LOOKUP, resolver.find(&name, lookup));
            let late = || Err(DnsError::Temporary("no answer in time".to_owned()));
            let answer = find.await.unwrap_or_else(|_| late());
            handle(&host, Input::Resolved { query, answer });
        });
    }
}

/// Longest time that a question to the name service may take.
const LOOKUP: Duration = Duration::from_secs(30);

/// The node and everything around it.
pub(super) struct Host {
    node: Node,
    clock: Clock,
    storage: storage::Storage,
    journal: journal::Journal,
    source: Option<IpAddr>,
    services: Services,
    pub(super) conns: BTreeMap<ConnId, Connection>,
    /// Dials under way.
    pub(super) dials: BTreeMap<ConnId, AbortHandle>,
    accepted: u64,
    /// Sockets open, those included that only linger.
    pub(super) sockets: Arc<AtomicUsize>,
    /// While so many are open nobody new is let in.
    pub(super) most_sockets: usize,
    /// Who gave commands, by ticket.
    askers: BTreeMap<u64, oneshot::Sender<String>>,
    tickets: u64,
    /// When the node wants to be woken, and until when the main task sleeps.
    wake: Option<u64>,
    sleeping: Option<u64>,
    fatal: Option<String>,
    /// Tells the main task to look again.
    changed: Arc<Notify>,
    out: Vec<Output>,
}

/// Takes the lock. A panic under it ends the process anyway; whoever comes
/// first finds the state as it was left.
pub(super) fn lock(host: &Shared) -> MutexGuard<'_, Host> {
    host.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Carries out what the start of the node asked for; answers with what tells
/// the main task to look again.
pub(super) fn begin(host: &Shared, out: Vec<Output>) -> Arc<Notify> {
    let mut this = lock(host);
    this.out = out;
    this.carry_out(host);
    Arc::clone(&this.changed)
}

/// Hands an input to the node and carries out what it wants.
pub(super) fn handle(host: &Shared, input: Input<'_>) {
    lock(host).handle(host, input);
}

/// Wakes the node if it is time.
pub(super) fn wake(host: &Shared) {
    let mut this = lock(host);
    let now = this.clock.now().mono;
    if this.wake.is_some_and(|at| at <= now) {
        this.wake = None;
        this.handle(host, Input::Wake);
    }
}

/// Ends every connection in order, for a bounded time, and the log.
pub(super) async fn close(host: &Shared) {
    let conns = {
        let mut this = lock(host);
        for dial in this.dials.values() {
            dial.abort();
        }
        std::mem::take(&mut this.conns)
    };
    // What a socket does not take now it gets a moment for.
    let full: Vec<_> = conns.into_values().filter_map(Connection::finish).collect();
    let _ = tokio::time::timeout(Duration::from_millis(500), async {
        for writer in full {
            let _ = writer.await;
        }
    })
    .await;
    lock(host).journal.finish();
}

impl Host {
    pub(super) fn share(
        node: Node,
        clock: Clock,
        storage: storage::Storage,
        journal: journal::Journal,
        source: Option<IpAddr>,
        most_sockets: usize,
        services: Services,
    ) -> Shared {
        Arc::new(Mutex::new(Self {
            node,
            clock,
            storage,
            journal,
            source,
            services,
            conns: BTreeMap::new(),
            dials: BTreeMap::new(),
            accepted: 0,
            sockets: Arc::default(),
            most_sockets,
            askers: BTreeMap::new(),
            tickets: 0,
            wake: None,
            sleeping: None,
            fatal: None,
            changed: Arc::new(Notify::new()),
            out: Vec::new(),
        }))
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// The last events, one JSON object a line.
    pub(super) fn recent_events(&self) -> String {
        String::from_utf8_lossy(&self.journal.recent()).into_owned()
    }

    /// Hands a command to the node; the answer comes when it is durable.
    pub(super) fn command(&mut self, host: &Shared, command: Command) -> oneshot::Receiver<String> {
        let (send, answer) = oneshot::channel();
        self.tickets += 1;
        let ticket = self.tickets;
        self.askers.insert(ticket, send);
        self.handle(host, Input::Admin { ticket, command });
        answer
    }

    pub(super) fn fatal(&self) -> Option<String> {
        self.fatal.clone()
    }

    /// Whether a drain is over.
    pub(super) fn drained(&self) -> bool {
        self.node.drained()
    }

    /// A number for a connection that a client made.
    pub(super) fn number(&mut self) -> ConnId {
        self.accepted += 1;
        ConnId(self.accepted)
    }

    /// Until when the main task may sleep; it is woken for an earlier time.
    pub(super) fn sleep_until(&mut self) -> Option<tokio::time::Instant> {
        self.sleeping = self.wake;
        self.wake.map(|at| self.clock.instant(at))
    }

    pub(super) fn handle(&mut self, host: &Shared, input: Input<'_>) {
        let now = self.clock.now();
        self.node.handle(now, input, &mut self.out);
        self.carry_out(host);
    }

    fn carry_out(&mut self, host: &Shared) {
        let mut out = std::mem::take(&mut self.out);
        let mut look = false;
        for output in out.drain(..) {
            match output {
                Output::Write { conn, bytes } => {
                    if let Some(connection) = self.conns.get_mut(&conn) {
                        connection.write(bytes);
                    }
                }
                Output::Shutdown { conn } => {
                    if let Some(connection) = self.conns.remove(&conn) {
                        connection.finish();
                    }
                }
                Output::Abort { conn } => {
                    if let Some(dial) = self.dials.remove(&conn) {
                        dial.abort();
                    }
                    if let Some(connection) = self.conns.remove(&conn) {
                        connection.abort();
                    }
                }
                Output::Dial { conn, to } => {
                    let dial = connection::dial(Arc::clone(host), conn, self.source, to);
                    self.dials.insert(conn, tokio::spawn(dial).abort_handle());
                }
                Output::Secure { conn, name } => {
                    if let Some(connection) = self.conns.get_mut(&conn)
                        && let Some(peer) = connection.peer()
                        && let Some(session) = self.services.tls.begin(name.as_ref(), peer)
                    {
                        connection.secure(session);
                    } else if let Some(connection) = self.conns.remove(&conn) {
                        connection.abort();
                        let host = Arc::clone(host);
                        tokio::spawn(async move {
                            handle(&host, Input::Closed { conn, reset: true });
                        });
                    }
                }
                Output::CheckPassword {
                    conn,
                    user,
                    password,
                } => self.services.check(Arc::clone(host), conn, user, password),
                Output::Resolve {
                    query,
                    name,
                    lookup,
                } => self.services.resolve(Arc::clone(host), query, name, lookup),
                Output::Commit { batch } => self.storage.commit(batch),
                Output::Read { read, extent } => self.storage.read(read, extent),
                Output::Admin { ticket, answer } => {
                    if let Some(asker) = self.askers.remove(&ticket) {
                        // Whoever asked may be gone.
                        let _ = asker.send(answer);
                    }
                }
                Output::WakeAt(at) => {
                    self.wake = (at != u64::MAX).then_some(at);
                    look |= self.sleeping.is_none_or(|sleeping| at < sleeping);
                }
                Output::Log(event) => self.journal.write(&event),
                Output::Mark(_) => {}
                Output::Fatal { reason } => {
                    self.fatal = Some(reason);
                    look = true;
                }
            }
        }
        self.out = out;
        if look || self.node.drained() {
            self.changed.notify_one();
        }
    }
}

//! The node: sessions, queue and store tied together.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::{Config, ConfigError, OnStoreDamage};
use crate::disk::Disk;
use crate::event::EventKind;
use crate::io::{Abilities, ConnId, Input, Now, Output};
use crate::mark::Mark;
use crate::queue::redirect::NoSuchPeer;
use crate::queue::{Action, Queue, Timer, salvage_note};
use crate::smtp::{Client, Close, Link, Server};
use crate::store::{DatabaseId, Record, Store, StoreError, StoreOptions};
use crate::view::QueuesView;

/// What a node starts from.
#[derive(Debug)]
pub struct Boot {
    /// Its configuration.
    pub config: Config,
    /// Seed of its random source. A real driver takes it from the operating
    /// system: authentication nonces come from it.
    pub seed: u64,
    /// The time of the start.
    pub now: Now,
    /// The opened store.
    pub store: Store,
    /// The records that opening it found, in order.
    pub records: Vec<Record>,
}

impl Boot {
    /// Opens the store in `disk`; `fresh` is the randomness from which a new
    /// store's identity is minted.
    ///
    /// # Errors
    /// When the configuration does not hold or the store refuses to open.
    pub fn open(
        config: Config,
        seed: u64,
        fresh: u128,
        now: Now,
        disk: &mut dyn Disk,
    ) -> Result<Self, BootError> {
        config.check()?;
        let segment_bytes = config.segment_bytes;
        let options = StoreOptions {
            segment_bytes,
            #[cfg(feature = "defects")]
            defect: config.defect.and_then(crate::defect::Defect::of_store),
        };
        let (store, records) = match config.on_store_damage {
            OnStoreDamage::Refuse => Store::open(disk, options, fresh)?,
            OnStoreDamage::Salvage => {
                Store::open_or_salvage(disk, options, fresh, |salvage, records| {
                    salvage_note(salvage, records, now.wall).map_err(|(seq, expected)| {
                        BootError::Record {
                            seq: seq.0,
                            expected,
                        }
                    })
                })?
            }
        };
        Ok(Self {
            config,
            seed,
            now,
            store,
            records,
        })
    }
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The configuration does not hold.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The store does not open, or a live record cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A record that the store vouches for cannot be understood.
    #[error("store record {seq}: expected {expected}; was it written by a later version?")]
    Record {
        /// Its sequence in the store.
        seq: u64,
        /// What was expected.
        expected: &'static str,
    },
    /// Every start has a number, and so has every message of it: there are no
    /// numbers left.
    #[error(
        "this database has been started too often (16777215 times, a salvage counts for 4096): \
         let it deliver what it holds, then start on an empty directory"
    )]
    Exhausted,
}

/// Nanoseconds for which a session whose time is up is listened to once more.
const HEARING: u64 = 50_000_000;

/// A connection's session.
#[derive(Debug)]
enum Session {
    Server(Box<Server>),
    Client(Box<Client>),
}

impl Session {
    fn link(&mut self) -> &mut Link {
        match self {
            Self::Server(server) => &mut server.link,
            Self::Client(client) => &mut client.link,
        }
    }
}

/// A node.
#[derive(Debug)]
pub struct Node {
    queue: Queue,
    sessions: BTreeMap<ConnId, Session>,
    /// Sessions of clients among them.
    clients: usize,
    /// The same by where they come from.
    sources: BTreeMap<IpAddr, u32>,
    /// Sessions touched by the present input, in order.
    dirty: Vec<ConnId>,
    /// What [`Output::WakeAt`] said last.
    wake_at: u64,
}

impl Node {
    /// Starts a node; `disk` is only read, for the content of live records.
    ///
    /// # Errors
    /// When the configuration does not hold or a record cannot be read.
    pub fn new(boot: Boot, disk: &dyn Disk, out: &mut Vec<Output>) -> Result<Self, BootError> {
        let mut node = Self {
            queue: Queue::recover(boot, disk)?,
            sessions: BTreeMap::new(),
            clients: 0,
            sources: BTreeMap::new(),
            dirty: Vec::new(),
            wake_at: u64::MAX,
        };
        node.finish(out);
        Ok(node)
    }

    /// Takes one input and appends what has to be done to `out`.
    pub fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Vec<Output>) {
        if self.queue.fatal.is_some() {
            return;
        }
        self.queue.now = Now {
            mono: now.mono.max(self.queue.now.mono),
            wall: now.wall,
        };
        match input {
            Input::Accepted { conn, peer } => self.accepted(conn, peer),
            Input::Dialled { conn, result } => {
                self.client(conn, |client, queue| client.dialled(result, queue));
            }
            Input::Bytes { conn, data } => self.session(conn, |session, queue| {
                let link = session.link();
                if link.deadline == link.last_call {
                    queue.mark(Mark::LastHearing);
                }
                match session {
                    Session::Server(server) => server.bytes(data, queue),
                    Session::Client(client) => client.bytes(data, queue),
                }
            }),
            Input::Closed { conn, reset } => self.session(conn, |session, queue| match session {
                Session::Server(server) => server.closed(queue),
                Session::Client(client) => client.closed(reset, queue),
            }),
            Input::HalfClosed { conn } => self.session(conn, |session, queue| match session {
                Session::Server(server) => server.half_closed(queue),
                Session::Client(client) => {
                    client.closed(false, queue);
                    client.link.finish();
                }
            }),
            Input::Secured { conn } => self.session(conn, |session, queue| match session {
                Session::Server(server) => server.secured(queue),
                Session::Client(client) => client.secured(queue),
            }),
            Input::PasswordChecked { conn, right } => {
                self.server(conn, |server, queue| server.checked(right, queue));
            }
            Input::Resolved { query, answer } => self.queue.answered(query, answer),
            Input::Committed { batch, result } => self.queue.committed(batch, result),
            Input::Read { read, result } => self.queue.content_read(read, result),
            Input::Admin { ticket, command } => self.queue.command(ticket, command),
            Input::Wake => self.wake(),
            Input::Drain => self.drain(),
            Input::Redirect { to } => {
                if let Ok(peer) = self.queue.redirect_target(to) {
                    self.queue.redirect(peer);
                }
            }
        }
        self.finish(out);
    }

    /// Whether events are to be logged ([`Output::Log`]); they are unless this
    /// says otherwise. A driver that reads no log saves the time they cost.
    pub fn set_logging(&mut self, on: bool) {
        self.queue.logging = on;
    }

    /// Says what the caller can do; nothing more than it must, unless this says
    /// otherwise.
    pub fn set_abilities(&mut self, abilities: Abilities) {
        self.queue.abilities = abilities;
    }

    /// The inspection view.
    #[must_use]
    pub fn queues(&self) -> QueuesView {
        self.queue.view()
    }

    /// Identity of the queue database.
    #[must_use]
    pub fn database_id(&self) -> DatabaseId {
        self.queue.database
    }

    /// Whether [`Input::Redirect`] can send mail to the node of this name.
    ///
    /// # Errors
    /// When it is no configured peer; the error names those there are.
    pub fn redirect_target(&self, name: &str) -> Result<(), NoSuchPeer> {
        self.queue.redirect_target(name).map(|_| ())
    }

    /// Whether a node told to drain has nothing under way any more.
    #[must_use]
    pub fn drained(&self) -> bool {
        self.queue.draining && self.clients == 0 && !self.queue.busy()
    }

    /// Runs `act` on a session and has it looked after.
    fn session(&mut self, conn: ConnId, act: impl FnOnce(&mut Session, &mut Queue)) {
        let Some(session) = self.sessions.get_mut(&conn) else {
            return;
        };
        act(session, &mut self.queue);
        let link = session.link();
        if !link.dirty {
            link.dirty = true;
            self.dirty.push(conn);
        }
    }

    fn server(&mut self, conn: ConnId, act: impl FnOnce(&mut Server, &mut Queue)) {
        self.session(conn, |session, queue| {
            if let Session::Server(server) = session {
                act(server, queue);
            }
        });
    }

    fn client(&mut self, conn: ConnId, act: impl FnOnce(&mut Client, &mut Queue)) {
        self.session(conn, |session, queue| {
            if let Session::Client(client) = session {
                act(client, queue);
            }
        });
    }

    fn accepted(&mut self, conn: ConnId, peer: IpAddr) {
        let mut server = Server::new(conn, peer, &self.queue);
        let config = &self.queue.config;
        let from_there = self.sources.entry(server.source).or_default();
        if self.queue.draining {
            server.turn_away(&self.queue, "is shutting down");
        } else if self.clients >= config.max_connections as usize {
            server.turn_away(&self.queue, "has too many connections");
        } else if *from_there >= config.max_connections_per_source {
            server.turn_away(&self.queue, "has too many connections from there");
        }
        *from_there += 1;
        self.clients += 1;
        self.sessions
            .insert(conn, Session::Server(Box::new(server)));
        let ready = self.queue.ready;
        self.server(conn, |server, queue| {
            if ready && server.link.open() {
                server.greet(queue);
            }
        });
    }

    fn wake(&mut self) {
        let now = self.queue.now.mono;
        self.wake_at = u64::MAX;
        while let Some((at, timer)) = self.queue.timers.first().copied() {
            if at > now {
                break;
            }
            self.queue.timers.pop_first();
            let Timer::Conn(conn) = timer else {
                self.queue.timer(timer);
                continue;
            };
            self.session(conn, |session, queue| {
                let link = session.link();
                link.armed = 0;
                if link.deadline > now {
                    return;
                }
                // This node may have stood still itself, and what its peer said
                // meanwhile waits to be read: a last hearing, before the peer
                // is called silent.
                if link.deadline != link.last_call {
                    link.deadline = now + HEARING;
                    link.last_call = link.deadline;
                    return;
                }
                match session {
                    Session::Server(server) => server.timeout(queue),
                    Session::Client(client) => client.timeout(queue),
                }
            });
        }
    }

    fn drain(&mut self) {
        self.queue.draining = true;
        if self.queue.busy() {
            self.queue.mark(Mark::DrainInFlight);
        }
        self.queue
            .log(EventKind::Drain, None, "", "", String::new());
        let conns: Vec<ConnId> = self.sessions.keys().copied().collect();
        for conn in conns {
            self.session(conn, |session, queue| match session {
                Session::Server(server) => server.leave(queue),
                Session::Client(client) => client.leave(queue),
            });
        }
    }

    /// Carries out what the queue wants of sessions, then writes what all of
    /// them have to say.
    fn finish(&mut self, out: &mut Vec<Output>) {
        let mut dials = Vec::new();
        while let Some(action) = self.queue.actions.pop_front() {
            match action {
                Action::Dial { conn, host } => {
                    let client = Client::new(conn, host, &self.queue);
                    self.sessions
                        .insert(conn, Session::Client(Box::new(client)));
                    let to = self.queue.hosts[host].address;
                    dials.push(Output::Dial { conn, to });
                    self.session(conn, |_, _| {});
                }
                Action::Work { conn } => self.client(conn, Client::wake),
                Action::Dismiss { conn } => self.client(conn, Client::dismissed),
                Action::Resume { conn } => self.client(conn, Client::durable),
                Action::Answer { conn, reply } => {
                    self.server(conn, |server, queue| server.answer(&reply, queue));
                }
                Action::Accepted { conn, sequence } => {
                    self.server(conn, |server, queue| server.accepted(sequence, queue));
                }
                Action::Greet => {
                    let conns: Vec<ConnId> = self.sessions.keys().copied().collect();
                    for conn in conns {
                        self.server(conn, Server::greet);
                    }
                }
            }
        }
        out.append(&mut self.queue.out);
        if let Some(reason) = self.queue.fatal.clone() {
            // Nothing more may be said: what was promised is unknown.
            self.sessions.clear();
            out.push(Output::Fatal { reason });
            return;
        }
        out.append(&mut dials);
        self.flush(out);
        if let Some(batch) = self.queue.store.next_batch() {
            out.push(Output::Commit { batch });
        }
        if let Some((at, _)) = self.queue.timers.first()
            && *at != self.wake_at
        {
            self.wake_at = *at;
            out.push(Output::WakeAt(*at));
        }
    }

    fn flush(&mut self, out: &mut Vec<Output>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for conn in dirty.drain(..) {
            let Some(session) = self.sessions.get_mut(&conn) else {
                continue;
            };
            let link = session.link();
            link.dirty = false;
            if !link.out.is_empty() && matches!(link.close, None | Some(Close::Shutdown)) {
                let bytes = link.out.split().freeze();
                out.push(Output::Write { conn, bytes });
            }
            if let Some(name) = link.secure.take()
                && link.close.is_none()
            {
                out.push(Output::Secure { conn, name });
            }
            let Some(close) = link.close else {
                if link.deadline != u64::MAX {
                    let (deadline, timers) = (link.deadline, &mut self.queue.timers);
                    Queue::arm(timers, Timer::Conn(conn), deadline, &mut link.armed);
                }
                continue;
            };
            if link.armed != 0 {
                self.queue.timers.remove(&(link.armed, Timer::Conn(conn)));
            }
            match close {
                Close::Shutdown => out.push(Output::Shutdown { conn }),
                Close::Abort => out.push(Output::Abort { conn }),
                Close::Gone => {}
            }
            if let Some(Session::Server(mut server)) = self.sessions.remove(&conn) {
                self.clients -= 1;
                // However it ended, nothing of it stays booked.
                server.gone(&mut self.queue);
                if let Some(count) = self.sources.get_mut(&server.source) {
                    *count -= 1;
                    if *count == 0 {
                        self.sources.remove(&server.source);
                    }
                }
            }
        }
        // Its storage is kept.
        self.dirty = dirty;
    }
}

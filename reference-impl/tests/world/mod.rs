//! Several nodes, clients and next hops wired in memory, in virtual time.
//!
//! One step of the world is one event: bytes arrive, a disk operation is
//! carried out, a timer goes off. A test runs it until something holds, may
//! stop it at any step, and kills, wipes or cuts what it likes.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod cluster;
pub(crate) mod hold;
pub(crate) mod mailboxes;
pub(crate) mod sink;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mailproof_node::disk::{Crash, Disk, MemDisk, Persistence};
use mailproof_node::event::{EventKind, NodeEvent};
use mailproof_node::mark::Mark;
use mailproof_node::store::{Batch, BatchId};
use mailproof_node::view::QueuesView;
use mailproof_node::{
    Abilities, Boot, Config, ConnId, DialError, DnsError, DnsRecords, Input, Lookup, Node, Now,
    Output,
};

use sink::Sink;

/// One hop of the network, in nanoseconds.
const HOP: u64 = 200_000;
/// One disk operation, unless a test says otherwise.
const OP: u64 = 50_000;
/// The wall clock at monotonic zero.
const EPOCH: u64 = 1_795_291_380_000;

/// Something with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Party {
    Node(usize),
    Client(usize),
    Sink(usize),
}

/// One end of a connection.
type End = (Party, u64);

#[derive(Debug)]
enum Event {
    Bytes {
        to: End,
        data: Vec<u8>,
    },
    Closed {
        to: End,
        reset: bool,
    },
    Dialled {
        to: End,
        result: Result<(), DialError>,
    },
    Secured {
        to: End,
    },
    PasswordChecked {
        to: End,
        right: bool,
    },
    Resolved {
        node: usize,
        life: u32,
        query: u64,
        answer: Result<DnsRecords, DnsError>,
    },
    Op {
        node: usize,
        life: u32,
    },
    Committed {
        node: usize,
        life: u32,
        batch: BatchId,
    },
    Wake {
        node: usize,
        life: u32,
        at: u64,
    },
    Read {
        node: usize,
        life: u32,
        read: u64,
        result: std::io::Result<bytes::Bytes>,
    },
}

/// A node and all that is its own.
pub(crate) struct Slot {
    pub config: Config,
    /// What the world does for it from its next start on.
    pub abilities: Abilities,
    pub disk: MemDisk,
    pub node: Option<Node>,
    pub events: Vec<NodeEvent>,
    /// Answers to commands, in order.
    pub answers: Vec<String>,
    pub fatal: Option<String>,
    /// Nanoseconds of one disk operation.
    pub disk_op: u64,
    life: u32,
    ops: VecDeque<Batch>,
    wake: u64,
    next_conn: u64,
}

/// A scripted client: sends what it is told, keeps what it hears.
#[derive(Default)]
pub(crate) struct Client {
    pub heard: String,
    pub closed: bool,
    conn: Option<End>,
}

impl Client {
    /// Complete replies heard, multi-line ones as one, without the last CRLF.
    pub(crate) fn replies(&self) -> Vec<String> {
        let mut replies = Vec::new();
        let mut current = String::new();
        for line in self.heard.split_inclusive("\r\n") {
            current.push_str(line);
            if line.ends_with("\r\n") && line.as_bytes().get(3) == Some(&b' ') {
                replies.push(std::mem::take(&mut current).trim_end().to_owned());
            }
        }
        replies
    }

    /// The codes of the replies.
    pub(crate) fn codes(&self) -> Vec<u16> {
        let code = |reply: &String| reply[..3].parse().expect("a reply begins with its code");
        self.replies().iter().map(code).collect()
    }
}

/// The world.
pub(crate) struct World {
    pub now: u64,
    pub nodes: Vec<Slot>,
    pub clients: Vec<Client>,
    pub sinks: Vec<Sink>,
    /// Ends that wait for the other one to begin TLS.
    securing: BTreeSet<End>,
    /// Names and passwords.
    pub users: BTreeMap<String, String>,
    /// What the name service answers; it has no answer to anything else.
    pub names: BTreeMap<(String, bool), Result<DnsRecords, DnsError>>,
    /// What it was asked, MX records or not.
    pub asked: Vec<(String, bool)>,
    /// Parties between which nothing passes.
    cuts: BTreeSet<(Party, Party)>,
    events: BTreeMap<(u64, u64), Event>,
    /// Each end and the other one.
    wires: BTreeMap<End, End>,
    /// When the last byte to each end arrives: streams keep their order.
    last: BTreeMap<End, u64>,
    addresses: BTreeMap<SocketAddr, Party>,
    count: u64,
    seed: u64,
    /// Bytes per piece; streams are cut there.
    pub piece: usize,
    pub steps: u64,
    /// All clients come from one address.
    pub one_source: bool,
    /// How often nodes reached their rare conditions.
    pub marks: BTreeMap<Mark, u64>,
    /// What went from one node to another, if it is kept.
    pub capture: Option<BTreeMap<(usize, usize), String>>,
}

/// The address of node `n`.
pub(crate) fn node_address(n: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(127, 0, 1, n as u8 + 1).into(), 25)
}

/// The address of sink `n`.
pub(crate) fn sink_address(n: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(127, 0, 2, n as u8 + 1).into(), 25)
}

/// A configuration of node `n` out of `count`: peers all around, everything
/// else goes to sink 0, anyone may relay.
pub(crate) fn config(n: usize, count: usize) -> Config {
    let mut text = format!(
        "name = \"n{}\"\nlisten = \"{}\"\nstore = \"store\"\nsegment-bytes = \"64 KiB\"\n\
         relay-from = [\"127.0.0.0/8\"]\n\
         routes = [{{ domain = \"*\", next-hops = [\"{}\"] }}]\n",
        n + 1,
        node_address(n),
        sink_address(0)
    );
    if count > 1 {
        text += "cluster-key = \"a key for tests only\"\npeers = [";
        for peer in (0..count).filter(|p| *p != n) {
            text += &format!(
                "{{ name = \"n{}\", address = \"{}\" }},",
                peer + 1,
                node_address(peer)
            );
        }
        text += "]\n";
    }
    Config::from_toml(&text, "test.toml").expect("the test configuration is good")
}

impl World {
    /// Nodes of these configurations, started, and one sink.
    pub(crate) fn new(configs: Vec<Config>) -> Self {
        let mut world = Self {
            now: 1_000_000_000,
            nodes: Vec::new(),
            clients: Vec::new(),
            sinks: vec![Sink::default()],
            securing: BTreeSet::new(),
            users: BTreeMap::new(),
            names: BTreeMap::new(),
            asked: Vec::new(),
            cuts: BTreeSet::new(),
            events: BTreeMap::new(),
            wires: BTreeMap::new(),
            last: BTreeMap::new(),
            addresses: BTreeMap::from([(sink_address(0), Party::Sink(0))]),
            count: 0,
            seed: 7,
            piece: usize::MAX,
            steps: 0,
            one_source: false,
            marks: BTreeMap::new(),
            capture: None,
        };
        for (n, config) in configs.into_iter().enumerate() {
            world.addresses.insert(config.listen, Party::Node(n));
            world.nodes.push(Slot {
                config,
                abilities: Abilities::default(),
                disk: MemDisk::new(Persistence::Posix),
                node: None,
                events: Vec::new(),
                answers: Vec::new(),
                fatal: None,
                disk_op: OP,
                life: 0,
                ops: VecDeque::new(),
                wake: 0,
                next_conn: 0,
            });
            world.start(n);
        }
        world
    }

    /// `count` nodes that are peers of each other.
    pub(crate) fn cluster(count: usize) -> Self {
        Self::new((0..count).map(|n| config(n, count)).collect())
    }

    /// The same, each configuration changed by `change`.
    pub(crate) fn cluster_with(count: usize, change: impl Fn(&mut Config)) -> Self {
        let make = |n| {
            let mut config = config(n, count);
            change(&mut config);
            config.check().expect("the changed configuration is good");
            config
        };
        Self::new((0..count).map(make).collect())
    }

    /// Nodes that stand in these sites and boundaries and know all of them.
    pub(crate) fn sites(places: &[(&str, Option<&str>)], change: impl Fn(&mut Config)) -> Self {
        Self::cluster_with(places.len(), |config| {
            let place = |name: &str| {
                let number: usize = name[1..].parse().expect("nodes are n1, n2, …");
                let (site, boundary) = places[number - 1];
                (site.to_owned(), boundary.map(str::to_owned))
            };
            (config.site, config.boundary) = place(&config.name);
            for peer in &mut config.peers {
                (peer.site, peer.boundary) = place(&peer.name);
            }
            change(config);
        })
    }

    pub(crate) fn add_sink(&mut self, sink: Sink) -> usize {
        let n = self.sinks.len();
        self.addresses.insert(sink_address(n), Party::Sink(n));
        self.sinks.push(sink);
        n
    }

    fn clock(&self) -> Now {
        Now {
            mono: self.now,
            wall: EPOCH + self.now / 1_000_000,
        }
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.count += 1;
        self.events.insert((at, self.count), event);
    }

    /// Starts a node on its disk.
    pub(crate) fn start(&mut self, n: usize) {
        self.seed = self
            .seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let (seed, now) = (self.seed, self.clock());
        let slot = &mut self.nodes[n];
        slot.life += 1;
        slot.wake = 0;
        let fresh = u128::from(seed) << 64 | 5;
        let boot = Boot::open(slot.config.clone(), seed, fresh, now, &mut slot.disk)
            .expect("the store opens");
        let mut out = Vec::new();
        let mut node = Node::new(boot, &slot.disk, &mut out).expect("the node starts");
        node.set_abilities(slot.abilities);
        slot.node = Some(node);
        self.outputs(n, out);
    }

    /// Kills a node: connections break, its disk loses what `crash` says.
    pub(crate) fn kill(&mut self, n: usize, crash: Crash) {
        self.stop(n);
        self.nodes[n].disk.crash(crash);
    }

    fn stop(&mut self, n: usize) {
        self.nodes[n].node = None;
        self.nodes[n].ops.clear();
        self.nodes[n].life += 1;
        // What is on its way to it dies with its connections; the next life
        // gives new ones the same names.
        self.events.retain(|_, event| match event {
            Event::Bytes { to, .. }
            | Event::Closed { to, .. }
            | Event::Dialled { to, .. }
            | Event::Secured { to }
            | Event::PasswordChecked { to, .. } => to.0 != Party::Node(n),
            _ => true,
        });
        let ends: Vec<End> = self
            .wires
            .keys()
            .filter(|(party, _)| *party == Party::Node(n))
            .copied()
            .collect();
        for end in ends {
            self.close(end, true);
        }
    }

    /// Kills a node and gives it an empty disk.
    pub(crate) fn wipe(&mut self, n: usize) {
        self.stop(n);
        self.nodes[n].disk = MemDisk::new(Persistence::Posix);
    }

    /// Nothing passes between two parties any more.
    pub(crate) fn cut(&mut self, a: Party, b: Party) {
        self.cuts.insert((a, b));
        self.cuts.insert((b, a));
    }

    pub(crate) fn heal(&mut self, a: Party, b: Party) {
        self.cuts.remove(&(a, b));
        self.cuts.remove(&(b, a));
    }

    fn is_cut(&self, a: Party, b: Party) -> bool {
        self.cuts.contains(&(a, b))
    }

    fn transmit(&mut self, from: End, data: &[u8]) {
        let Some(to) = self.wires.get(&from).copied() else {
            return;
        };
        for piece in data.chunks(self.piece.max(1)) {
            let at = (self.now + HOP).max(self.last.get(&to).copied().unwrap_or(0));
            self.last.insert(to, at);
            self.schedule(
                at,
                Event::Bytes {
                    to,
                    data: piece.to_vec(),
                },
            );
        }
    }

    /// Ends a connection from one side.
    fn close(&mut self, from: End, reset: bool) {
        if let Some(to) = self.wires.remove(&from) {
            let at = (self.now + HOP).max(self.last.get(&to).copied().unwrap_or(0));
            self.schedule(at, Event::Closed { to, reset });
        }
    }

    fn feed(&mut self, n: usize, input: Input<'_>) {
        let now = self.clock();
        let mut out = Vec::new();
        if let Some(node) = &mut self.nodes[n].node {
            node.handle(now, input, &mut out);
        }
        self.outputs(n, out);
    }

    fn outputs(&mut self, n: usize, out: Vec<Output>) {
        let me = Party::Node(n);
        for output in out {
            match output {
                Output::Write { conn, bytes } => self.transmit((me, conn.0), &bytes),
                Output::Shutdown { conn } => self.close((me, conn.0), false),
                Output::Abort { conn } => self.close((me, conn.0), true),
                Output::Dial { conn, to } => self.dial((me, conn.0), to),
                Output::Commit { batch } => {
                    let life = self.nodes[n].life;
                    self.nodes[n].ops.push_back(batch);
                    let at = self.now + self.nodes[n].disk_op;
                    self.schedule(at, Event::Op { node: n, life });
                }
                Output::Read { read, extent } => {
                    let result = self.nodes[n]
                        .disk
                        .read(&extent.file, extent.offset, extent.len)
                        .map(Into::into);
                    let life = self.nodes[n].life;
                    let at = self.now + self.nodes[n].disk_op;
                    let event = Event::Read {
                        node: n,
                        life,
                        read,
                        result,
                    };
                    self.schedule(at, event);
                }
                Output::Admin { answer, .. } => self.nodes[n].answers.push(answer),
                Output::WakeAt(at) => {
                    let life = self.nodes[n].life;
                    self.nodes[n].wake = at;
                    self.schedule(at.max(self.now), Event::Wake { node: n, life, at });
                }
                Output::Secure { conn, .. } => self.secure((me, conn.0)),
                Output::CheckPassword {
                    conn,
                    user,
                    password,
                } => {
                    let right = self.users.get(&*user).map(String::as_str);
                    let right = right == Some(password.reveal());
                    let to = (me, conn.0);
                    self.schedule(self.now + HOP, Event::PasswordChecked { to, right });
                }
                Output::Resolve {
                    query,
                    name,
                    lookup,
                } => {
                    let key = (name, lookup == Lookup::Mx);
                    let silence = || Err(DnsError::Temporary("no answer".to_owned()));
                    let answer = self.names.get(&key).cloned().unwrap_or_else(silence);
                    self.asked.push(key);
                    let event = Event::Resolved {
                        node: n,
                        life: self.nodes[n].life,
                        query,
                        answer,
                    };
                    self.schedule(self.now + HOP, event);
                }
                Output::Log(event) => self.nodes[n].events.push(event),
                Output::Mark(mark) => *self.marks.entry(mark).or_default() += 1,
                Output::Fatal { reason } => self.nodes[n].fatal = Some(reason),
            }
        }
    }

    /// One end begins TLS; it is up when both have. Clients and sinks begin
    /// with their node.
    fn secure(&mut self, end: End) {
        let Some(other) = self.wires.get(&end).copied() else {
            return;
        };
        let at = (self.now + HOP).max(self.last.get(&end).copied().unwrap_or(0));
        match other.0 {
            Party::Sink(n) if self.sinks[n].breaks_tls => self.close(other, true),
            Party::Node(_) if !self.securing.remove(&other) => {
                self.securing.insert(end);
            }
            Party::Node(_) => {
                self.schedule(at, Event::Secured { to: end });
                self.schedule(at, Event::Secured { to: other });
            }
            _ => self.schedule(at, Event::Secured { to: end }),
        }
    }

    fn dial(&mut self, from: End, to: SocketAddr) {
        let party = self.addresses.get(&to).copied();
        let alive = match party {
            Some(Party::Node(n)) => self.nodes[n].node.is_some(),
            Some(Party::Sink(n)) => self.sinks[n].listening,
            _ => false,
        };
        let cut = party.is_some_and(|party| self.is_cut(from.0, party));
        let (after, result) = match (cut, alive) {
            (true, _) => (5_000_000_000, Err(DialError::TimedOut)),
            (false, false) => (2 * HOP, Err(DialError::Refused)),
            (false, true) => (2 * HOP, Ok(())),
        };
        self.schedule(self.now + after, Event::Dialled { to: from, result });
        if let (Ok(()), Some(party)) = (result, party) {
            let id = match party {
                Party::Node(n) => {
                    self.nodes[n].next_conn += 1;
                    self.nodes[n].next_conn
                }
                _ => self.count,
            };
            let to = (party, id);
            self.wires.insert(from, to);
            self.wires.insert(to, from);
            self.last.insert(from, self.now + after);
            match party {
                Party::Node(n) => {
                    let peer = self.address_of(from.0);
                    self.feed(
                        n,
                        Input::Accepted {
                            conn: ConnId(id),
                            peer,
                        },
                    );
                }
                Party::Sink(n) => {
                    let greeting = self.sinks[n].accept(id);
                    self.transmit(to, greeting.as_bytes());
                }
                Party::Client(_) => {}
            }
        }
    }

    fn address_of(&self, party: Party) -> IpAddr {
        match party {
            Party::Node(n) => node_address(n).ip(),
            Party::Sink(n) => sink_address(n).ip(),
            Party::Client(_) if self.one_source => Ipv4Addr::new(127, 0, 3, 1).into(),
            Party::Client(n) => {
                Ipv4Addr::new(127, 0, 3 + (n / 250) as u8, (n % 250) as u8 + 1).into()
            }
        }
    }

    /// A new client, connected to a node.
    pub(crate) fn client(&mut self, n: usize) -> usize {
        let at = self.clients.len();
        let end = (Party::Client(at), 0);
        self.clients.push(Client {
            conn: Some(end),
            ..Client::default()
        });
        self.dial(end, self.nodes[n].config.listen);
        at
    }

    /// Sends bytes as a client.
    pub(crate) fn send(&mut self, client: usize, text: &str) {
        self.send_bytes(client, text.as_bytes());
    }

    pub(crate) fn send_bytes(&mut self, client: usize, bytes: &[u8]) {
        if let Some(end) = self.clients[client].conn {
            self.transmit(end, bytes);
        }
    }

    /// A client sends nothing more, and goes on reading.
    pub(crate) fn half_close(&mut self, client: usize) {
        let end = self.clients[client].conn.take();
        if let Some((Party::Node(n), conn)) = end.and_then(|end| self.wires.get(&end).copied()) {
            let conn = ConnId(conn);
            self.feed(n, Input::HalfClosed { conn });
        }
    }

    /// A client goes away.
    pub(crate) fn hang_up(&mut self, client: usize) {
        if let Some(end) = self.clients[client].conn.take() {
            self.close(end, true);
        }
    }

    /// Carries out the next event; false when there is none up to `until`.
    pub(crate) fn step(&mut self, until: u64) -> bool {
        let Some(entry) = self.events.first_entry() else {
            self.now = self.now.max(until);
            return false;
        };
        if entry.key().0 > until {
            self.now = self.now.max(until);
            return false;
        }
        let ((at, _), event) = entry.remove_entry();
        self.now = self.now.max(at);
        self.steps += 1;
        self.event(event);
        true
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Bytes { to, data } => {
                let Some(from) = self.wires.get(&to).copied() else {
                    return;
                };
                if !self.is_cut(from.0, to.0) {
                    if let (Some(kept), Party::Node(a), Party::Node(b)) =
                        (&mut self.capture, from.0, to.0)
                    {
                        let text = kept.entry((a, b)).or_default();
                        text.push_str(&String::from_utf8_lossy(&data));
                    }
                    self.arrive(to, &data);
                }
            }
            Event::Closed { to, reset } => {
                let Some(from) = self.wires.remove(&to) else {
                    return;
                };
                if self.is_cut(from.0, to.0) {
                    // A cut swallows FIN and RST as well.
                    return;
                }
                match to {
                    (Party::Node(n), conn) => {
                        self.feed(
                            n,
                            Input::Closed {
                                conn: ConnId(conn),
                                reset,
                            },
                        );
                    }
                    (Party::Client(n), _) => self.clients[n].closed = true,
                    (Party::Sink(n), conn) => self.sinks[n].closed(conn),
                }
            }
            Event::Dialled { to, result } => {
                if let (Party::Node(n), conn) = to {
                    self.feed(
                        n,
                        Input::Dialled {
                            conn: ConnId(conn),
                            result,
                        },
                    );
                } else if result.is_err()
                    && let (Party::Client(n), _) = to
                {
                    self.clients[n].closed = true;
                }
            }
            Event::Secured { to } => {
                if let (Party::Node(n), conn) = to
                    && self.wires.contains_key(&to)
                {
                    let conn = ConnId(conn);
                    self.feed(n, Input::Secured { conn });
                }
            }
            Event::PasswordChecked { to, right } => {
                if let (Party::Node(n), conn) = to {
                    let conn = ConnId(conn);
                    self.feed(n, Input::PasswordChecked { conn, right });
                }
            }
            Event::Resolved {
                node,
                life,
                query,
                answer,
            } => {
                if self.nodes[node].life == life {
                    self.feed(node, Input::Resolved { query, answer });
                }
            }
            Event::Op { node, life } => {
                let slot = &mut self.nodes[node];
                if slot.life != life {
                    return;
                }
                let Some(batch) = slot.ops.front_mut() else {
                    return;
                };
                let op = batch.ops.remove(0);
                slot.disk.apply(&op).expect("the disk in memory works");
                let (id, more) = (batch.id, !batch.ops.is_empty());
                let at = self.now + slot.disk_op;
                if more {
                    self.schedule(at, Event::Op { node, life });
                } else {
                    slot.ops.pop_front();
                    self.schedule(
                        at,
                        Event::Committed {
                            node,
                            life,
                            batch: id,
                        },
                    );
                }
            }
            Event::Committed { node, life, batch } => {
                if self.nodes[node].life == life {
                    self.feed(
                        node,
                        Input::Committed {
                            batch,
                            result: Ok(()),
                        },
                    );
                }
            }
            Event::Read {
                node,
                life,
                read,
                result,
            } => {
                if self.nodes[node].life == life {
                    self.feed(node, Input::Read { read, result });
                }
            }
            Event::Wake { node, life, at } => {
                if self.nodes[node].life == life && self.nodes[node].wake == at {
                    self.feed(node, Input::Wake);
                }
            }
        }
    }

    fn arrive(&mut self, to: End, data: &[u8]) {
        match to {
            (Party::Node(n), conn) => self.feed(
                n,
                Input::Bytes {
                    conn: ConnId(conn),
                    data,
                },
            ),
            (Party::Client(n), _) => {
                self.clients[n]
                    .heard
                    .push_str(&String::from_utf8_lossy(data));
            }
            (Party::Sink(n), conn) => {
                let (reply, close) = self.sinks[n].bytes(conn, data);
                self.transmit(to, reply.as_bytes());
                if close {
                    self.close(to, false);
                }
            }
        }
    }

    /// Runs until `done` holds; fails the test after `limit`.
    pub(crate) fn until(&mut self, what: &str, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit.as_nanos() as u64;
        while !done(self) {
            assert!(
                self.step(end),
                "{what}: not within {limit:?}\n{}",
                self.picture()
            );
        }
    }

    /// Runs for a time.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time.as_nanos() as u64;
        while self.step(end) {}
    }

    /// What every node says, for a failing test.
    pub(crate) fn picture(&self) -> String {
        let mut text = String::new();
        for (n, slot) in self.nodes.iter().enumerate() {
            text += &format!("--- n{} fatal {:?}\n", n + 1, slot.fatal);
            for event in &slot.events {
                text += &format!("{event:?}\n");
            }
            if let Some(node) = &slot.node {
                text += &format!("{:#?}\n", node.queues());
            }
        }
        for (n, client) in self.clients.iter().enumerate() {
            text += &format!("--- client {n}\n{}", client.heard);
        }
        text
    }

    pub(crate) fn view(&self, n: usize) -> QueuesView {
        self.nodes[n].node.as_ref().expect("the node runs").queues()
    }

    pub(crate) fn count(&self, n: usize, kind: EventKind) -> usize {
        self.nodes[n]
            .events
            .iter()
            .filter(|e| e.event == kind)
            .count()
    }

    /// Sends one message through a fresh client, up to and with its final dot.
    pub(crate) fn mail(&mut self, n: usize, id: &str, recipients: &[&str]) -> usize {
        let client = self.client(n);
        let mut text = "EHLO client.example\r\nMAIL FROM:<s@client.example>\r\n".to_owned();
        for recipient in recipients {
            text += &format!("RCPT TO:<{recipient}>\r\n");
        }
        text += "DATA\r\n";
        self.send(client, &text);
        let end = self.now + 10_000_000_000;
        while !self.clients[client].heard.contains("\r\n354 ") {
            assert!(self.step(end), "no 354\n{}", self.picture());
        }
        self.send(client, &content(id));
        client
    }

    /// The code of the reply to the end of data, if it is there.
    pub(crate) fn answer(&self, client: usize) -> Option<u16> {
        let codes = self.clients[client].codes();
        let at = codes.iter().position(|code| *code == 354)?;
        codes.get(at + 1).copied()
    }

    /// Sends one message and waits for its answer.
    pub(crate) fn deliver(&mut self, n: usize, id: &str, recipients: &[&str]) -> u16 {
        let client = self.mail(n, id, recipients);
        self.until("an answer", Duration::from_secs(700), |w| {
            w.answer(client).is_some()
        });
        self.answer(client).expect("it is there")
    }

    /// Sends text as a client; the replies that come within a second.
    pub(crate) fn ask(&mut self, client: usize, text: &str) -> Vec<String> {
        let before = self.clients[client].replies().len();
        self.send(client, text);
        self.run(Duration::from_secs(1));
        self.clients[client].replies().split_off(before)
    }

    /// The codes of these replies.
    pub(crate) fn codes(&mut self, client: usize, text: &str) -> Vec<u16> {
        let replies = self.ask(client, text);
        let code = |reply: &String| reply[..3].parse().expect("a reply begins with its code");
        replies.iter().map(code).collect()
    }

    /// A client that has been greeted and has said EHLO.
    pub(crate) fn greeted(&mut self, n: usize) -> usize {
        let client = self.client(n);
        assert_eq!(self.codes(client, "EHLO client.example\r\n"), [220, 250]);
        client
    }

    /// Sends a message by the parameters of MAIL and those of each RCPT; all
    /// of it must be taken.
    pub(crate) fn submit(&mut self, n: usize, id: &str, mail: &str, rcpts: &[(&str, &str)]) {
        let client = self.greeted(n);
        let sender = if mail == "null" {
            ""
        } else {
            "s@client.example"
        };
        let params = if mail == "null" { "" } else { mail };
        let mut text = format!("MAIL FROM:<{sender}>{params}\r\n");
        for (address, params) in rcpts {
            text += &format!("RCPT TO:<{address}>{params}\r\n");
        }
        let codes = self.codes(client, &format!("{text}DATA\r\n"));
        let mut expected = vec![250; rcpts.len() + 1];
        expected.push(354);
        assert_eq!(codes, expected);
        assert_eq!(self.codes(client, &content(id)), [250]);
        self.send(client, "QUIT\r\n");
    }

    /// The DSNs that sink 0 took.
    pub(crate) fn dsns(&self) -> Vec<&str> {
        let null = self.sinks[0].taken.iter().filter(|t| t.sender.is_empty());
        null.map(|t| t.content.as_str())
            .filter(|content| content.contains("multipart/report"))
            .collect()
    }

    /// How often nodes reached a rare condition.
    pub(crate) fn marked(&self, mark: Mark) -> u64 {
        self.marks.get(&mark).copied().unwrap_or(0)
    }

    /// How often sink 0 took message `id` for `recipient`.
    pub(crate) fn taken(&self, id: &str, recipient: &str) -> usize {
        self.sinks[0].count(id, recipient)
    }
}

/// A message with its id in a field, on the wire.
pub(crate) fn content(id: &str) -> String {
    format!(
        "Message-ID: <{id}@client.example>\r\nDate: Sat, 21 Nov 2026 20:03:00 +0000\r\n\
         X-Mailproof: {id}\r\nSubject: test\r\n\r\nHello\r\n.\r\n"
    )
}

impl World {
    /// Keeps what goes between nodes, from now on.
    pub(crate) fn keep_captures(&mut self) {
        self.capture = Some(BTreeMap::new());
    }

    /// A sink answers in place of whatever has this address.
    pub(crate) fn replace_by_sink(&mut self, address: SocketAddr, sink: usize) {
        self.addresses.insert(address, Party::Sink(sink));
    }

    /// Tells a node to send its delivery queues to another one.
    pub(crate) fn redirect(&mut self, n: usize, to: &str) {
        self.feed(n, Input::Redirect { to });
    }

    /// Gives a node a command and waits for the answer, one JSON object.
    pub(crate) fn command(&mut self, n: usize, line: &str) -> String {
        let before = self.nodes[n].answers.len();
        let command = line.parse().expect("a command");
        let ticket = before as u64;
        self.feed(n, Input::Admin { ticket, command });
        self.until("an answer", Duration::from_secs(10), |w| {
            w.nodes[n].answers.len() > before
        });
        self.nodes[n].answers[before].clone()
    }

    /// The wall clock, Unix milliseconds.
    pub(crate) fn wall(&self) -> u64 {
        self.clock().wall
    }

    /// Tells a node to drain.
    pub(crate) fn drain(&mut self, n: usize) {
        self.feed(n, Input::Drain);
    }
}

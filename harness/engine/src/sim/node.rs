//! A node and the kernel under it: process, sockets, timers, disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use mailproof_model::event::{At, Conn, Fault, Shut, StoreState, What};
use mailproof_model::history::Sink;
use mailproof_model::party::{Party, Witness};
use mailproof_model::plan::Plan;
use mailproof_model::rng::Rng;
use mailproof_model::target::{Model, TargetFile};
use mailproof_node::disk::Disk as _;
use mailproof_node::{Config, ConnId, DialError, Input, Node, Now, Output};

use super::net::End;
use super::settings::Settings;
use super::storage::Storage;
use super::timepiece::Timepiece;
use super::{Coming, SimError, SimWorld};
use crate::link::Side;
use crate::topology::{self, Places, Virtual};

/// Wall clock at the beginning of every run, in Unix milliseconds: the date of
/// its messages.
const WALL: u64 = 1_767_225_600_000;

/// The file of a target that configures the node.
const CONFIG: &str = "node.toml";

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    Down,
    /// It was started and does not serve yet.
    Booting,
    /// It serves.
    Up,
    /// It stands still.
    Paused,
}

/// What a paused process will find when it goes on.
#[derive(Debug)]
enum Waiting {
    Accepted(ConnId, std::net::IpAddr),
    Dialled(ConnId, Result<(), DialError>),
    Bytes(ConnId, Bytes),
    Closed(ConnId, bool),
    Read(u64, std::io::Result<Bytes>),
    Admin(u64, mailproof_node::admin::Command),
    Drain,
}

/// One node.
pub(super) struct Host {
    pub(super) party: Party,
    pub(super) config: Config,
    pub(super) seed: u64,
    pub(super) storage: Storage,
    pub(super) life: u32,
    pub(super) state: State,
    pub(super) node: Option<Box<Node>>,
    /// Its own clocks.
    pub(super) clock: Timepiece,
    /// When it wants to be woken, and when it will be.
    wake: Option<At>,
    alarm: Option<At>,
    /// A batch was done while it stood still.
    pub(super) disk_waits: bool,
    pub(super) draining: bool,
    /// Connections that it opened, and those among them not yet answered.
    pub(super) dialled: BTreeMap<ConnId, Conn>,
    pub(super) dialling: BTreeSet<ConnId>,
    waiting: VecDeque<Waiting>,
    /// How long it may take to stop, in nanoseconds.
    stop_max: u64,
}

/// The nodes of a plan, configured by its target file.
pub(super) fn hosts(plan: &Plan, target: &TargetFile) -> Result<Vec<Host>, SimError> {
    let no = |why: String| SimError::Target {
        target: target.name.clone(),
        why,
    };
    match target.sim {
        Some(Model::Reference) => {}
        None => return Err(no("its file names no model (`sim`)".to_owned())),
    }
    let file = target
        .files
        .iter()
        .find(|file| file.path == CONFIG)
        .ok_or_else(|| no(format!("its file has no `{CONFIG}`")))?;
    let stop_max = target
        .stop
        .max
        .resolve(&plan.times)
        .map_err(|error| no(format!("stop.max: {error}")))?;
    let mut rng = Rng::keyed(plan.seed, "cluster-key", 0);
    let cluster_key: String = (0..4).map(|_| format!("{:016x}", rng.bits())).collect();
    plan.nodes()
        .map(|party| {
            let dir = format!("/sim/{party}");
            let store = format!("{dir}/store");
            let places = Places {
                mailproof: "mailproof",
                programs: "/sim/programs",
                dir: &dir,
                store: &store,
                cluster_key: &cluster_key,
            };
            let values = topology::values(plan, party, &Virtual, &places);
            let text = topology::fill(&format!("the file `{CONFIG}`"), &file.text, &values)?;
            let config = Config::from_toml(&text, CONFIG).map_err(|e| no(e.to_string()))?;
            Ok(Host {
                party,
                config,
                seed: topology::node_seed(plan, party),
                storage: Storage::new(plan.scenario.cluster.disk),
                life: 0,
                state: State::Down,
                node: None,
                clock: Settings::timepiece(plan.seed, party),
                wake: None,
                alarm: None,
                disk_waits: false,
                draining: false,
                dialled: BTreeMap::new(),
                dialling: BTreeSet::new(),
                waiting: VecDeque::new(),
                stop_max,
            })
        })
        .collect()
}

impl Host {
    /// Whether its kernel takes connections for it.
    pub(super) fn listens(&self) -> bool {
        matches!(self.state, State::Up | State::Paused)
    }

    pub(super) fn now(&self, at: At) -> Now {
        Now {
            mono: self.clock.mono(at),
            wall: self.clock.wall(WALL, at),
        }
    }

    /// The connection behind the node's name for it, and the node's side.
    fn conn(&self, id: ConnId) -> Option<(Conn, Side)> {
        if id.dialled() {
            Some((*self.dialled.get(&id)?, Side::Client))
        } else {
            Some((Conn::try_from(id.0).ok()?, Side::Server))
        }
    }

    /// Drops what still waits for a node on a connection that it gives up;
    /// whether there were bytes among that.
    fn forget_unread(&mut self, id: ConnId) -> bool {
        let mut unread = false;
        self.waiting.retain(|waiting| match waiting {
            Waiting::Bytes(of, _) if *of == id => {
                unread = true;
                false
            }
            Waiting::Closed(of, _) | Waiting::Dialled(of, _) => *of != id,
            _ => true,
        });
        unread
    }
}

impl<W: Sink> SimWorld<W> {
    /// Starts a node's process.
    pub(super) fn start(&mut self, node: usize, store: StoreState) {
        let host = &mut self.nodes[node];
        let party = host.party;
        if host.state != State::Down {
            return;
        }
        if store == StoreState::Empty {
            host.storage.disk.wipe();
        }
        host.life += 1;
        // What a failed sync left in memory may have been needed elsewhere.
        if Rng::keyed(host.seed, "evict", host.life.into()).below(2) == 0 {
            host.storage.disk.evict();
        }
        host.state = State::Booting;
        let life = host.life;
        // A monotonic clock may stand anywhere after a restart.
        let mut rng = Rng::keyed(host.seed, "clock", life.into());
        let mono = rng.below(1 << 50) + self.clock.now();
        host.clock.restart(self.clock.now(), mono);
        for link in 0..self.links.len() {
            if self.links[link].is_silent(party) {
                self.links[link].unsilence(party, &mut self.link_out);
                self.link_outputs(link);
            }
        }
        self.record(
            Witness::Kernel,
            What::Start {
                node: party,
                life,
                store,
            },
        );
        let boot = Settings::time(self.settings.boot, &mut self.rng);
        self.clock
            .at(self.clock.now() + boot, Coming::Boot { node, life });
    }

    /// Hands bytes to a node.
    pub(super) fn node_bytes(&mut self, node: usize, id: ConnId, data: &Bytes) {
        let host = &mut self.nodes[node];
        if host.state == State::Paused {
            host.waiting.push_back(Waiting::Bytes(id, data.clone()));
            return;
        }
        self.node_input(node, Input::Bytes { conn: id, data });
    }

    /// Hands an input to a node, or keeps it for one that stands still.
    pub(super) fn node_input(&mut self, node: usize, input: Input<'_>) {
        let at = self.clock.now();
        let host = &mut self.nodes[node];
        if host.state == State::Paused {
            host.waiting.push_back(match input {
                Input::Accepted { conn, peer } => Waiting::Accepted(conn, peer),
                Input::Dialled { conn, result } => Waiting::Dialled(conn, result),
                Input::Bytes { conn, data } => Waiting::Bytes(conn, Bytes::copy_from_slice(data)),
                Input::Closed { conn, reset } => Waiting::Closed(conn, reset),
                Input::HalfClosed { conn } => Waiting::Closed(conn, false),
                Input::Drain => Waiting::Drain,
                Input::Read { read, result } => Waiting::Read(read, result),
                Input::Admin { ticket, command } => Waiting::Admin(ticket, command),
                // Both are looked at anew when it goes on.
                Input::Committed { .. } | Input::Wake => return,
                // No step of a scenario redirects queues.
                Input::Redirect { .. } => return,
                // This world does none of it (see `node_outputs`).
                Input::Secured { .. } | Input::PasswordChecked { .. } | Input::Resolved { .. } => {
                    return;
                }
            });
            return;
        }
        let now = host.now(at);
        let Some(core) = &mut host.node else { return };
        let mut out = std::mem::take(&mut self.node_out);
        core.handle(now, input, &mut out);
        let drained = host.draining && !host.storage.busy() && core.drained();
        let commits = out.iter().any(|o| matches!(o, Output::Commit { .. }));
        self.node_outputs(node, &mut out);
        self.node_out = out;
        if drained && !commits && self.nodes[node].state == State::Up {
            self.end_process(node, "code 0");
        }
    }

    /// Carries out what a node wants done.
    pub(super) fn node_outputs(&mut self, node: usize, out: &mut Vec<Output>) {
        let life = self.nodes[node].life;
        for output in out.drain(..) {
            if self.nodes[node].life != life || self.nodes[node].node.is_none() {
                continue;
            }
            match output {
                Output::Write { conn, bytes } => {
                    if let Some((conn, side)) = self.nodes[node].conn(conn) {
                        self.send(conn, side, bytes);
                    }
                }
                Output::Shutdown { conn } => self.node_closes(node, conn, Shut::Fin),
                Output::Abort { conn } => self.node_closes(node, conn, Shut::Reset),
                Output::Dial { conn, to } => self.node_dials(node, conn, to),
                // Nobody said that this world can do any of it.
                Output::Secure { .. } | Output::CheckPassword { .. } | Output::Resolve { .. } => {}
                Output::Commit { batch } => self.commit(node, batch.id, batch.ops),
                Output::Read { read, extent } => {
                    let disk = &self.nodes[node].storage.disk;
                    let result = disk
                        .read(&extent.file, extent.offset, extent.len)
                        .map(Bytes::from);
                    let at = self.clock.now() + Settings::time(self.settings.write, &mut self.rng);
                    let coming = Coming::Read {
                        node,
                        life,
                        read,
                        result,
                    };
                    self.clock.at(at, coming);
                }
                Output::Admin { .. } => {}
                Output::WakeAt(at) => self.wake_at(node, at),
                Output::Mark(mark) => *self.marks.entry(mark).or_default() += 1,
                Output::Log(event) => {
                    let (at, party) = (self.clock.now(), self.nodes[node].party);
                    if let Some(log) = &mut self.log {
                        log(at, party, &event);
                    }
                }
                Output::Fatal { .. } => self.end_process(node, "code 1"),
            }
        }
    }

    fn node_closes(&mut self, node: usize, id: ConnId, how: Shut) {
        if let Some((conn, side)) = self.nodes[node].conn(id) {
            self.nodes[node].dialled.remove(&id);
            self.nodes[node].dialling.remove(&id);
            // What was received and never read makes the kernel say RST.
            let how = if self.nodes[node].forget_unread(id) {
                Shut::Reset
            } else {
                how
            };
            self.close(conn, side, how);
        }
    }

    fn node_dials(&mut self, node: usize, id: ConnId, to: std::net::SocketAddr) {
        let host = &mut self.nodes[node];
        let life = host.life;
        let party = host.party;
        let link = self
            .by_address
            .get(&to)
            .copied()
            .filter(|link| self.links[*link].link().from == party);
        let Some(link) = link else {
            // Nothing is there: its kernel says so at once.
            let result = Err(DialError::Unreachable);
            self.node_later(node, id, result);
            return;
        };
        let conn = self.connect(link, End::Node { node, id, life });
        let host = &mut self.nodes[node];
        host.dialled.insert(id, conn);
        host.dialling.insert(id);
    }

    /// A dial that fails on the spot; the node must not be asked while it is
    /// being answered.
    fn node_later(&mut self, node: usize, id: ConnId, result: Result<(), DialError>) {
        let mut out = Vec::new();
        let now = self.nodes[node].now(self.clock.now());
        if let Some(core) = &mut self.nodes[node].node {
            let conn = id;
            core.handle(now, Input::Dialled { conn, result }, &mut out);
        }
        self.node_outputs(node, &mut out);
    }

    // --- timers ----------------------------------------------------------------

    fn wake_at(&mut self, node: usize, mono: u64) {
        let host = &mut self.nodes[node];
        let at = host.clock.when(mono);
        host.wake = Some(at);
        if host.alarm.is_none_or(|alarm| at < alarm) {
            host.alarm = Some(at);
            let life = host.life;
            self.clock.at(at, Coming::Wake { node, life });
        }
    }

    /// A node's clocks change: what its timers wait for comes sooner or later.
    pub(super) fn shift_clock(&mut self, node: usize, offset: i64, ppm: i64) {
        let now = self.clock.now();
        let host = &mut self.nodes[node];
        let waits = host.wake.map(|at| host.clock.mono(at));
        host.clock.shift(now, offset, ppm);
        host.wake = None;
        if let Some(mono) = waits {
            host.alarm = None;
            self.wake_at(node, mono);
        }
    }

    /// The kernel reads a node's clocks.
    pub(super) fn read_clock(&mut self, node: usize, fault: Option<Fault>) {
        let host = &self.nodes[node];
        if host.state == State::Down {
            return;
        }
        let now = host.now(self.clock.now());
        let what = What::Clock {
            node: host.party,
            life: host.life,
            fault,
            wall: now.wall,
            mono: now.mono,
        };
        self.record(Witness::Kernel, what);
    }

    /// An alarm rings: the node is woken if it still wants to be.
    pub(super) fn wake(&mut self, node: usize, life: u32) {
        let now = self.clock.now();
        let host = &mut self.nodes[node];
        if host.life != life || host.state != State::Up {
            return;
        }
        if host.alarm.is_some_and(|alarm| alarm <= now) {
            host.alarm = None;
        }
        match host.wake {
            Some(at) if at <= now => {
                host.wake = None;
                self.node_input(node, Input::Wake);
            }
            Some(at) if host.alarm.is_none() => {
                host.alarm = Some(at);
                self.clock.at(at, Coming::Wake { node, life });
            }
            _ => {}
        }
    }

    // --- the end of a process ----------------------------------------------------

    /// A process ends, however it ends: the kernel closes its sockets, its
    /// memory is gone, its disk has what it was given.
    pub(super) fn end_process(&mut self, node: usize, status: &str) {
        let now = self.clock.now();
        let host = &mut self.nodes[node];
        if host.state == State::Down {
            return;
        }
        host.storage.break_off(now);
        let unread: BTreeSet<ConnId> = host
            .waiting
            .drain(..)
            .filter_map(|w| match w {
                Waiting::Bytes(id, _) => Some(id),
                _ => None,
            })
            .collect();
        host.state = State::Down;
        host.node = None;
        host.wake = None;
        host.alarm = None;
        host.disk_waits = false;
        host.draining = false;
        host.dialled.clear();
        host.dialling.clear();
        let (party, life) = (host.party, host.life);
        self.record(
            Witness::Kernel,
            What::Exit {
                node: party,
                life,
                status: status.to_owned(),
            },
        );
        for (conn, side, id) in self.sockets(node, life) {
            // What was received and never read makes the kernel say RST.
            let how = if unread.contains(&id) {
                Shut::Reset
            } else {
                Shut::Fin
            };
            self.close(conn, side, how);
        }
    }

    /// The open sockets of a node, in the order of their connections.
    fn sockets(&self, node: usize, life: u32) -> Vec<(Conn, Side, ConnId)> {
        let mut sockets = Vec::new();
        for (conn, wire) in (1..).zip(&self.wires) {
            let Some(wire) = wire else { continue };
            for side in [Side::Client, Side::Server] {
                if let End::Node {
                    node: of,
                    id,
                    life: lived,
                } = wire.ends[side as usize]
                    && of == node
                    && lived == life
                {
                    sockets.push((conn, side, id));
                }
            }
        }
        sockets
    }

    // --- stopping and pausing ------------------------------------------------------

    /// Asks a node to stop in order.
    pub(super) fn stop(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        match host.state {
            State::Down => {}
            State::Booting => self.end_process(node, "signal 15"),
            State::Up | State::Paused => {
                host.draining = true;
                let life = host.life;
                let at = self.clock.now() + host.stop_max;
                self.clock.at(at, Coming::Overdue { node, life });
                self.node_input(node, Input::Drain);
            }
        }
    }

    /// A node that was to stop has not.
    pub(super) fn overdue(&mut self, node: usize, life: u32) {
        let host = &self.nodes[node];
        if host.life == life && host.draining {
            self.end_process(node, "signal 9");
        }
    }

    /// Stops every thread of a node.
    pub(super) fn pause(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        if host.state == State::Up {
            host.state = State::Paused;
            let (node, life) = (host.party, host.life);
            self.record(Witness::Kernel, What::Paused { node, life });
        }
    }

    /// Wakes a node if its timer has run out.
    fn overdue_timer(&mut self, node: usize) {
        let now = self.clock.now();
        if self.nodes[node].wake.take_if(|at| *at <= now).is_some() {
            self.node_input(node, Input::Wake);
        }
    }

    /// Lets a paused node go on: it finds everything that came meanwhile.
    pub(super) fn resume(&mut self, node: usize) {
        let host = &mut self.nodes[node];
        if host.state != State::Paused {
            return;
        }
        host.state = State::Up;
        let (party, life) = (host.party, host.life);
        self.record(Witness::Kernel, What::Resumed { node: party, life });
        // Its timers are overdue and its sockets are readable: which of the two
        // it looks at first is up to its kernel and its own loop. Whoever looks
        // at the timers first gives up connections whose replies have come.
        if self.rng.below(2) == 0 {
            self.overdue_timer(node);
        }
        if std::mem::take(&mut self.nodes[node].disk_waits) {
            self.disk_finished(node);
        }
        while let Some(waiting) = self.nodes[node].waiting.pop_front() {
            if self.nodes[node].state != State::Up || self.nodes[node].life != life {
                return;
            }
            match waiting {
                Waiting::Accepted(conn, peer) => {
                    self.node_input(node, Input::Accepted { conn, peer });
                }
                Waiting::Dialled(conn, result) => {
                    self.node_input(node, Input::Dialled { conn, result });
                }
                Waiting::Bytes(conn, data) => {
                    self.node_input(node, Input::Bytes { conn, data: &data });
                }
                Waiting::Closed(id, false) => {
                    self.node_input(node, Input::HalfClosed { conn: id });
                }
                Waiting::Closed(id, reset) => {
                    let conn = self.nodes[node].conn(id);
                    self.nodes[node].dialled.remove(&id);
                    self.node_input(node, Input::Closed { conn: id, reset });
                    if let Some((conn, side)) = conn {
                        self.close(conn, side, Shut::Fin);
                    }
                }
                Waiting::Read(read, result) => {
                    self.node_input(node, Input::Read { read, result });
                }
                Waiting::Admin(ticket, command) => {
                    self.node_input(node, Input::Admin { ticket, command });
                }
                Waiting::Drain => self.node_input(node, Input::Drain),
            }
        }
        // Its timers are late.
        self.nodes[node].alarm = None;
        if let Some(at) = self.nodes[node].wake {
            self.nodes[node].alarm = Some(at);
            self.clock.at(at, Coming::Wake { node, life });
        }
    }
}

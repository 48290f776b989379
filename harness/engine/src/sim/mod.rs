//! The `sim` engine: the whole cluster in one thread and in virtual time.
//!
//! What it models: nodes that run the reference node's core over its store,
//! disks on which operations take time ([`disk`]), connections with latency
//! whose streams may be cut at any byte, the kernel under each node (sockets
//! that close when a process dies, backlogs of a paused one), power cuts that
//! leave one of the states that a disk may be in, and links that break as the
//! real ones do (they are the same code, [`crate::link`]). What it does not:
//! the time that a processor needs, lost packets, full buffers.
//!
//! Bytes are seen by the link as they leave a party and take their time from
//! there to the other one. Every draw comes from one seeded source, nothing
//! depends on addresses or hash order: the same plan gives the same history,
//! byte for byte.

mod client;
mod clock;
pub mod disk;
#[cfg(test)]
mod disk_tests;
mod draws;
mod fault;
mod guard;
mod list;
mod net;
#[cfg(test)]
mod network_tests;
mod node;
#[cfg(test)]
mod random_tests;
mod settings;
mod storage;
#[cfg(test)]
mod tests;
mod timepiece;
mod trial;
mod twice;

pub use draws::Draw;
pub(crate) use list::rows;
pub use storage::{DiskOps, OpCounts};
pub use trial::{Trial, TrialOptions, trial};
pub use twice::{Divergence, Sides, twice};

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use mailproof_model::director::{Director, PlanError};
use mailproof_model::drive::{DriveError, drive};
use mailproof_model::event::{At, Conn, Event, Fault, What};
use mailproof_model::history::{Seal, Sink, Writer};
use mailproof_model::order::{Order, Unavailable, World, WorldError};
use mailproof_model::party::{Link, Party, Witness};
use mailproof_model::plan::Plan;
use mailproof_model::scenario::Step;
use mailproof_model::target::TargetFile;
use mailproof_node::Output;
use mailproof_node::event::NodeEvent;
use mailproof_node::mark::Mark;
use mailproof_wire::Phase;

use crate::link::{LinkContext, LinkCore, LinkOutput, Side};
use crate::mailbox::MailboxOutput;
use crate::topology::{Addresses, TemplateError, Virtual};

use client::Session;
use clock::Clock;
use draws::Draws;
use guard::Guard;
use net::Wire;
use node::Host;
use settings::Settings;

/// Why a simulated run came to no end of its own.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// The plan cannot be run as it stands.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The target file cannot be filled in.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The target cannot be simulated, or not with this file.
    #[error("the target `{target}` cannot be simulated: {why}")]
    Target {
        /// Its name.
        target: String,
        /// Why.
        why: String,
    },
    /// The run was refused or failed.
    #[error(transparent)]
    Drive(#[from] DriveError),
    /// The history cannot be written.
    #[error("the history cannot be written: {0}")]
    History(#[from] std::io::Error),
}

/// Runs a plan to its end and seals the history; `observe` sees every event.
///
/// # Errors
/// [`SimError`]. After an error the history is not sealed.
pub fn run<W: Sink>(
    plan: Plan,
    target: &TargetFile,
    writer: Writer<W>,
    observe: &mut dyn FnMut(&Event),
) -> Result<Seal, SimError> {
    let mut world = SimWorld::new(plan.clone(), target, writer)?;
    let mut director = Director::new(plan)?;
    drive(&mut world, &mut director, observe)?;
    Ok(world.seal()?)
}

/// Something that will happen.
#[derive(Debug)]
enum Coming {
    /// Bytes reach one end of a connection.
    Bytes {
        conn: Conn,
        to: Side,
        bytes: bytes::Bytes,
    },
    /// The other end has closed its direction.
    Fin { conn: Conn, to: Side },
    /// The connection was reset.
    Reset { conn: Conn, to: Side },
    /// A link's dial reaches the server's host.
    Knock { conn: Conn },
    /// A dial ends, at the one who dialled.
    Dialled {
        conn: Conn,
        error: Option<DialFault>,
    },
    /// A disk's work is done, or stops.
    Disk { node: usize, turn: u64 },
    /// A disk has read something.
    Read {
        node: usize,
        life: u32,
        read: u64,
        result: std::io::Result<bytes::Bytes>,
    },
    /// A node's timer.
    Wake { node: usize, life: u32 },
    /// A started process begins to serve.
    Boot { node: usize, life: u32 },
    /// A node told to stop has had its time.
    Overdue { node: usize, life: u32 },
    /// A session of the sender may have lost its patience.
    Patience { session: u16 },
}

/// How a dial fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DialFault {
    Refused,
    TimedOut,
}

/// One passage of a phase on a link: a point at which a step could have acted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passage {
    /// When, in nanoseconds.
    pub at: At,
    /// How many events the history held before it.
    pub event: u64,
    /// On which link.
    pub link: Link,
    /// Which phase.
    pub phase: Phase,
}

/// Takes what nodes log: when, which node, what.
pub type LogSink = Box<dyn FnMut(At, Party, &NodeEvent) + Send>;

/// The simulated world. See the module.
pub struct SimWorld<W: Sink> {
    plan: Arc<Plan>,
    context: Arc<LinkContext>,
    settings: Settings,
    /// The plan has a fault of clocks, so they are read.
    reads_clocks: bool,
    /// How long the sender waits for any one reply, in nanoseconds.
    patience: u64,
    rng: Draws,
    clock: Clock<Coming>,
    writer: Writer<W>,
    said: VecDeque<Event>,
    /// Against a world that never comes to an end.
    guard: Guard,
    /// Faults that wait for a happening, by its number.
    awaited: BTreeMap<u64, Fault>,
    /// How much had happened when the first message was handed over.
    prelude: Option<u64>,
    failed: Option<WorldError>,

    links: Vec<LinkCore>,
    by_link: BTreeMap<Link, usize>,
    by_address: BTreeMap<SocketAddr, usize>,
    nodes: Vec<Host>,
    sessions: Vec<Session>,
    /// By number, from 1; gone once both ends are.
    wires: Vec<Option<Box<Wire>>>,

    /// Who reads the nodes' logs.
    log: Option<LogSink>,
    /// How often the nodes reached their rare conditions.
    marks: BTreeMap<Mark, u64>,
    /// The phases that passed on the links, if anybody asked.
    passages: Option<Vec<Passage>>,

    /// Whether mail was sent yet.
    sending: bool,

    // Kept for their storage.
    link_out: Vec<LinkOutput>,
    node_out: Vec<Output>,
    mailbox_out: Vec<MailboxOutput>,
    scratch: Vec<u8>,
}

impl<W: Sink> SimWorld<W> {
    /// A world in which nothing has happened, for a plan and its target.
    ///
    /// # Errors
    /// The target has no model here, or its file cannot be filled in.
    pub fn new(plan: Plan, target: &TargetFile, writer: Writer<W>) -> Result<Self, SimError> {
        let context = Arc::new(LinkContext::new(&plan.run, plan.times.clone()));
        let nodes = node::hosts(&plan, target)?;
        let links: Vec<LinkCore> = plan
            .links()
            .into_iter()
            .map(|link| LinkCore::new(link, Arc::clone(&context)))
            .collect();
        let numbered = || links.iter().map(LinkCore::link).enumerate();
        let sessions = (0..plan.scenario.workload.sessions)
            .map(|_| Session::default())
            .collect();
        Ok(Self {
            by_link: numbered().map(|(i, link)| (link, i)).collect(),
            by_address: numbered()
                .map(|(i, link)| (Virtual.link(link), i))
                .collect(),
            patience: plan.time("patience"),
            settings: Settings::draw(plan.seed),
            reads_clocks: plan
                .scenario
                .steps
                .iter()
                .any(|s| matches!(s, Step::Clock(_))),
            rng: Draws::new(plan.seed),
            clock: Clock::new(),
            writer,
            said: VecDeque::new(),
            guard: Guard::new(plan.scenario.workload.messages),
            awaited: BTreeMap::new(),
            prelude: None,
            failed: None,
            links,
            nodes,
            sessions,
            wires: Vec::new(),
            log: None,
            marks: BTreeMap::new(),
            passages: None,
            sending: false,
            link_out: Vec::new(),
            node_out: Vec::new(),
            mailbox_out: Vec::new(),
            scratch: Vec::new(),
            context,
            plan: Arc::new(plan),
        })
    }

    /// Hands what the nodes log to `sink` from now on. A node's log is what it
    /// says of itself and never stands in the history.
    pub fn log_to(&mut self, sink: LogSink) {
        self.log = Some(sink);
    }

    /// How often the nodes say that they reached each of their rare
    /// conditions.
    #[must_use]
    pub fn marks(&self) -> &BTreeMap<Mark, u64> {
        &self.marks
    }

    /// Keeps every passage of a phase on a link from now on; without this
    /// nothing is kept.
    pub fn keep_passages(&mut self) {
        self.passages.get_or_insert_default();
        for link in &mut self.links {
            link.keep_passages();
        }
    }

    /// The passages kept so far, in their order.
    pub fn take_passages(&mut self) -> Vec<Passage> {
        self.passages
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// What each node's disk carried out in the run.
    #[must_use]
    pub fn disk_ops(&self) -> BTreeMap<Party, DiskOps> {
        self.nodes
            .iter()
            .map(|host| (host.party, host.storage.ops.clone()))
            .collect()
    }

    /// Ends the history.
    ///
    /// # Errors
    /// A write error.
    pub fn seal(&mut self) -> std::io::Result<Seal> {
        self.writer.seal()
    }

    /// Writes an event down.
    fn record(&mut self, by: Witness, what: What) {
        if self.failed.is_some() {
            return;
        }
        match self.writer.record(self.clock.now(), by, what) {
            Ok(event) => self.said.push_back(event),
            Err(error) => {
                self.failed = Some(WorldError(format!(
                    "the history cannot be written: {error}"
                )));
            }
        }
    }

    fn happen(&mut self, coming: Coming) {
        match coming {
            Coming::Bytes { conn, to, bytes } => self.arrive(conn, to, &bytes),
            Coming::Fin { conn, to } => self.ended(conn, to, false),
            Coming::Reset { conn, to } => self.ended(conn, to, true),
            Coming::Knock { conn } => self.knock(conn),
            Coming::Dialled { conn, error } => self.dialled(conn, error),
            Coming::Disk { node, turn } => self.disk_done(node, turn),
            Coming::Read {
                node,
                life,
                read,
                result,
            } => {
                if self.nodes[node].life == life {
                    self.node_input(node, mailproof_node::Input::Read { read, result });
                }
            }
            Coming::Wake { node, life } => self.wake(node, life),
            Coming::Boot { node, life } => self.boot(node, life),
            Coming::Overdue { node, life } => self.overdue(node, life),
            Coming::Patience { session } => self.patience(session),
        }
    }

    /// Says so when what has just happened was waited for.
    fn count(&mut self) {
        if self.awaited.is_empty() {
            return;
        }
        let number = self.clock.happened();
        if let Some(fault) = self.awaited.remove(&number) {
            self.record(Witness::Kernel, What::Happening { fault, number });
        }
    }

    fn node_index(&self, party: Party) -> Option<usize> {
        self.nodes.iter().position(|host| host.party == party)
    }
}

impl<W: Sink> World for SimWorld<W> {
    fn offers(&self, order: &Order) -> Result<(), Unavailable> {
        self.check(order)
    }

    fn now(&self) -> At {
        self.clock.now()
    }

    fn order(&mut self, order: Order) -> Result<(), WorldError> {
        self.rng.at(self.clock.now());
        self.carry_out(order)?;
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn next(&mut self, until: At) -> Result<Option<Event>, WorldError> {
        loop {
            if let Some(event) = self.said.pop_front() {
                return Ok(Some(event));
            }
            if let Some(error) = &self.failed {
                return Err(error.clone());
            }
            match self.clock.pop(until) {
                Some(coming) => {
                    self.rng.at(self.clock.now());
                    self.guard.note(self.clock.now(), &coming);
                    self.happen(coming);
                    if let Some(stuck) = self.guard.stuck() {
                        return Err(stuck);
                    }
                    self.count();
                }
                None if until == At::MAX => {
                    return Err(WorldError(
                        "the simulation stands still and nobody waits for anything".to_owned(),
                    ));
                }
                None => return Ok(None),
            }
        }
    }

    fn finish(&mut self) -> Result<(), WorldError> {
        for node in 0..self.nodes.len() {
            self.nodes[node].storage.end_count();
            self.end_process(node, "signal 9");
        }
        self.failed.clone().map_or(Ok(()), Err)
    }
}

//! The director: the pure part that runs a plan.
//!
//! It folds the events of a world into what it knows of nodes and mail, and
//! emits the orders that the plan asks for next. It has no clock: time comes
//! with events and with [`Director::wake`]. The same events give the same
//! orders.
//!
//! A run goes through these phases: every node starts · the workload is sent
//! while the steps act one after another · silence, so that nothing is still
//! on its way · every node lists its queues · every node stops · every store
//! is read · the end. Each phase is bounded in time.

mod cluster;
mod ending;
mod partition;
mod running;
mod sender;
mod step;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::event::{At, Conn, Event, Fault, Msg, Row, RowState, Stage, StoreState, What};
use crate::order::{Act, Order};
use crate::party::{Party, Witness};
use crate::plan::Plan;
use crate::scenario::{LinkAct, Point, SpanError, Step, Trigger};

use cluster::{Cluster, State};
use ending::Phase;
use running::{Repair, Revival, Waiting};
use sender::{Sender, Set};
use step::Times;

/// How long a started node may take until it answers, in nanoseconds.
pub const READY: u64 = 30_000_000_000;

/// How long a node may take to list its queues, to stop or to have its store
/// read, in nanoseconds.
pub const ANSWER: u64 = 60_000_000_000;

/// A plan that cannot be run as it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A span that has no value under the plan's times.
    #[error("step {step}: {error}")]
    Span {
        /// Which step, counted from 0.
        step: usize,
        /// What is wrong.
        error: SpanError,
    },
    /// The scenario's deadline has no value.
    #[error("expect.deadline: {0}")]
    Deadline(SpanError),
    /// A number out of its range.
    #[error("{0}")]
    Range(&'static str),
}

/// Nanoseconds after the last step or repair within which mail may still
/// arrive.
///
/// # Errors
/// [`PlanError::Deadline`] when the scenario's own span has no value.
pub fn deadline(plan: &Plan) -> Result<u64, PlanError> {
    match &plan.scenario.expect.deadline {
        Some(span) => span.resolve(&plan.times).map_err(PlanError::Deadline),
        None => Ok([
            (plan.time("takeover"), 1),
            (plan.time("poll"), 2),
            (plan.time("retry"), 4),
            (plan.time("resend"), 1),
        ]
        .into_iter()
        .fold(0_u64, |sum, (time, n)| {
            sum.saturating_add(time.saturating_mul(n))
        })),
    }
}

/// Nanoseconds of silence that prove quiescence: nothing that a target does
/// by itself is further apart than retry, takeover and poll together.
#[must_use]
pub fn quiet(plan: &Plan) -> u64 {
    ["retry", "takeover", "poll"]
        .into_iter()
        .fold(0, |sum, name| sum.saturating_add(plan.time(name)))
}

/// Runs one plan.
#[derive(Clone, Debug)]
pub struct Director {
    plan: Plan,
    times: Vec<Times>,
    deadline: u64,
    quiet: u64,
    /// Longest run, whatever happens.
    cap: u64,
    pins: BTreeMap<u32, Party>,

    now: At,
    began: At,
    phase: Phase,
    cluster: Cluster,
    sender: Sender,
    /// The step under way.
    step: usize,
    waiting: Option<Waiting>,
    repairs: Vec<Repair>,
    /// Nodes that are started again if they end.
    revivals: Vec<Revival>,
    /// The hold that stands, and the node whose link or disk it is.
    held: Option<(Fault, Party)>,
    /// Whether a node's fault was ordered.
    broken: bool,
    /// Whether a takeover was seen since.
    takeover: bool,
    /// When the last step acted or the last repair was done.
    anchor: At,
    /// When mail last moved.
    moved: At,
    /// What the last dot on a connection to a mailbox node carried.
    dots: BTreeMap<Conn, (Msg, Set)>,
    why: Option<String>,
}

impl Director {
    /// A director for a plan that has not begun.
    ///
    /// # Errors
    /// [`PlanError`] when a span of the plan has no value, or the cluster or
    /// the workload is empty.
    pub fn new(plan: Plan) -> Result<Self, PlanError> {
        let steps = plan.scenario.steps.iter().enumerate();
        let times = steps
            .map(|(step, s)| Times::of(&plan, s).map_err(|error| PlanError::Span { step, error }))
            .collect::<Result<Vec<_>, _>>()?;
        if !(1..=50).contains(&plan.scenario.cluster.nodes) {
            return Err(PlanError::Range("cluster.nodes must be 1 to 50"));
        }
        if plan.scenario.workload.messages == 0 {
            return Err(PlanError::Range("workload.messages must be at least 1"));
        }
        if !(1..=256).contains(&plan.scenario.workload.sessions) {
            return Err(PlanError::Range("workload.sessions must be 1 to 256"));
        }
        let deadline = deadline(&plan)?;
        let spans = times
            .iter()
            .fold(0_u64, |sum, t| sum.saturating_add(t.sum()));
        let stalls = (times.len() as u64 + 8)
            .saturating_mul(deadline.saturating_add(plan.time("patience")).max(READY));
        let sending = u64::from(plan.scenario.workload.messages).saturating_mul(1_000_000_000);
        Ok(Self {
            quiet: quiet(&plan),
            cap: spans
                .saturating_add(stalls)
                .saturating_add(sending)
                .saturating_add(4 * ANSWER),
            deadline,
            times,
            pins: BTreeMap::new(),
            now: 0,
            began: 0,
            phase: Phase::Fresh,
            cluster: Cluster::new(plan.nodes()),
            sender: Sender::new(&plan),
            step: 0,
            waiting: None,
            repairs: Vec::new(),
            revivals: Vec::new(),
            held: None,
            broken: false,
            takeover: false,
            anchor: 0,
            moved: 0,
            dots: BTreeMap::new(),
            why: None,
            plan,
        })
    }

    /// Fixes a late choice, for `replay`: step `step` hits `node` whatever its
    /// rule would pick.
    pub fn pin(&mut self, step: u32, node: Party) {
        self.pins.insert(step, node);
    }

    /// The plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Every kind of order that the plan can lead to, with a stand-in where a
    /// choice is made late: what a world is asked for before the run.
    #[must_use]
    pub fn preview(&self) -> Vec<Order> {
        let mut orders = Vec::new();
        for node in self.plan.nodes() {
            orders.push(Order::Start {
                node,
                store: StoreState::Empty,
            });
            orders.push(Order::List { node });
            orders.push(Order::Stop { node });
            orders.push(Order::Read { node });
        }
        for (index, step) in self.plan.scenario.steps.iter().enumerate() {
            self.preview_step(index, step, &mut orders);
        }
        orders
    }

    /// Begins the run: starts every node.
    pub fn start(&mut self, now: At, out: &mut Vec<Order>) {
        self.now = now;
        self.began = now;
        for node in self.plan.nodes() {
            self.cluster.starting(node, now);
            out.push(Order::Start {
                node,
                store: StoreState::Empty,
            });
        }
        self.phase = Phase::Starting;
    }

    /// Takes in what a world saw.
    pub fn on_event(&mut self, event: &Event, out: &mut Vec<Order>) {
        self.now = self.now.max(event.at);
        match &event.ev {
            What::Attempt { .. } | What::Phantom { .. } => self.moved = self.now,
            What::Dsn {
                msg, action, rcpts, ..
            } => {
                self.moved = self.now;
                if action == "failed" {
                    self.sender.bounced(self.now, *msg, sender::set(rcpts));
                }
            }
            What::Outcome {
                msg, rcpts, end, ..
            } => self.sender.outcome(self.now, *msg, rcpts, end, out),
            What::Dot {
                conn, msg, rcpts, ..
            } => self.dot(event.by, *conn, *msg, rcpts),
            What::Reply {
                conn,
                to,
                msg: Some(msg),
                rcpts,
                code,
                ..
            } if to == "dot" && code / 100 == 2 => {
                self.reply(event.by, *conn, *msg, rcpts.as_deref());
            }
            What::Taken {
                from, msg, rcpts, ..
            } => {
                self.moved = self.now;
                self.delivered(*msg, sender::set(rcpts), *from);
            }
            What::Start { node, store, .. } => self.cluster.started(*node, *store),
            What::Ready { node, .. } => {
                if let Some(took) = self.cluster.ready(*node, self.now) {
                    let name = "restart".to_owned();
                    out.push(Order::Record(What::Measured { name, took }));
                }
                self.anchor = self.now;
            }
            What::Exit { node, .. } => self.exited(*node),
            What::Paused { node, .. } => self.paused(*node),
            What::Resumed { node, .. } => {
                if self.cluster.state(*node) == State::Paused {
                    self.cluster.set(*node, State::Running);
                }
                self.anchor = self.now;
            }
            What::StoreGone { node } => {
                if let Some(node) = self.cluster.get(*node) {
                    node.store = false;
                }
            }
            What::Fault {
                fault,
                stage: Stage::Fired,
                ..
            } => self.fired(*fault, out),
            What::Happening { fault, .. } => self.happened(*fault, out),
            What::Held { fault, .. } => {
                if let Witness::Link(link) = event.by {
                    self.stands(step::near(link), *fault, out);
                }
            }
            What::DiskHeld { node, fault, .. } => self.stands(*node, *fault, out),
            What::Released { fault, .. } | What::DiskReleased { fault, .. } => {
                self.released(*fault);
            }
            What::Queues { node, rows, .. } => self.answered(*node, left(rows)),
            What::Unlisted { node, .. } | What::StoreRead { node, .. } => {
                self.answered(*node, false);
            }
            _ => {}
        }
        self.advance(out);
    }

    /// The time asked for with [`Self::next_wake`] has come. Early or
    /// repeated calls do no harm.
    pub fn wake(&mut self, now: At, out: &mut Vec<Order>) {
        self.now = self.now.max(now);
        self.sender.wake(self.now, out);
        self.advance(out);
    }

    /// Ends the run as soon as that can be done in order; `why` goes into its
    /// last event.
    pub fn interrupt(&mut self, why: &str, out: &mut Vec<Order>) {
        self.why = Some(why.to_owned());
        self.sender.stop(out);
        self.stop_nodes(out);
        self.advance(out);
    }

    /// Whether the run is over: the last order was to record its end.
    #[must_use]
    pub fn done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }

    fn dot(&mut self, by: Witness, conn: Conn, msg: Option<Msg>, rcpts: &[u16]) {
        self.moved = self.now;
        let (Witness::Link(link), Some(msg)) = (by, msg) else {
            return;
        };
        if link.from == Party::Client {
            self.sender.handed(msg, link.to);
        }
        if matches!(link.to, Party::Store(_)) {
            self.dots.insert(conn, (msg, sender::set(rcpts)));
        }
    }

    /// An accepting reply to the end of data; mail that a mailbox node took
    /// has arrived.
    fn reply(&mut self, by: Witness, conn: Conn, msg: Msg, rcpts: Option<&[u16]>) {
        let Witness::Link(link) = by else { return };
        if !matches!(link.to, Party::Store(_)) {
            return;
        }
        let Some((dot, all)) = self.dots.get(&conn).copied() else {
            return;
        };
        if dot == msg {
            let rcpts = rcpts.map_or(all, sender::set);
            self.delivered(msg, rcpts, link.from);
        }
    }

    fn delivered(&mut self, msg: Msg, rcpts: Set, by: Party) {
        let other = self.sender.delivered(self.now, msg, rcpts, by);
        self.takeover |= self.broken && other;
    }

    fn disarmed(&self, fault: Fault) -> bool {
        self.plan.disarmed.contains(&fault)
    }

    fn preview_step(&self, index: usize, step: &Step, orders: &mut Vec<Order>) {
        // A plan has far fewer than 2^32 steps.
        let fault = index as Fault;
        let disarmed = self.disarmed(fault);
        if let Some(Trigger::Event(event)) = step.trigger() {
            let event = *event;
            orders.push(Order::Await { fault, event });
        }
        let mut arm = |point: &Point, act: &LinkAct| {
            orders.push(Order::Arm {
                fault,
                point: point.clone(),
                act: act.clone(),
                disarmed,
            });
            if *act == LinkAct::Hold {
                orders.push(Order::Release { fault });
            }
        };
        if let Some(point) = step::point(step) {
            match step {
                Step::Link(link) if link.on.is_none() => arm(point, &link.act),
                _ => arm(point, &LinkAct::Hold),
            }
        }
        if let Some(point) = step::disk_point(step) {
            let point = point.clone();
            orders.push(Order::ArmDisk { fault, point });
            orders.push(Order::Release { fault });
        }
        if let Step::Partition(partition) = step {
            let lasts = self.times[index].lasts.is_some();
            self.preview_partition(fault, partition, lasts, orders);
            return;
        }
        let act = match step {
            Step::Link(fault) => fault
                .on
                .map(|link| Act::Link(link, fault.act.clone()))
                .or_else(|| {
                    let point = step::point(step)?;
                    step::lasting(&fault.act).then(|| Act::Link(point.link, fault.act.clone()))
                }),
            _ => {
                let named = match step::pick(step) {
                    Some(crate::scenario::Pick::Node(node)) => node,
                    _ => Party::Node(1),
                };
                step::node_act(step, &self.times[index], named)
            }
        };
        let Some(act) = act else { return };
        let lasts = self.times[index].lasts.is_some();
        if !matches!((step, step::point(step)), (Step::Link(f), Some(_)) if f.on.is_none()) {
            orders.push(Order::Break {
                fault,
                act: act.clone(),
                disarmed,
            });
        }
        if lasts {
            orders.push(Order::Mend {
                fault,
                act,
                disarmed,
            });
        }
        if let Some(fault) = step::node_fault(step) {
            let store = match fault.back {
                crate::scenario::Back::Same => StoreState::Same,
                crate::scenario::Back::Empty => StoreState::Empty,
                crate::scenario::Back::Never => return,
            };
            orders.push(Order::Start {
                node: match fault.node {
                    crate::scenario::Pick::Node(node) => node,
                    _ => Party::Node(1),
                },
                store,
            });
        }
    }
}

/// Whether a listing shows mail that is not done.
fn left(rows: &[Row]) -> bool {
    rows.iter().any(|row| row.state != RowState::Done)
}

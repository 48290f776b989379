//! The middle of a run: steps act one after another, faults are repaired.

use crate::event::{At, Fault, Stage, StoreState, What};
use crate::order::{Act, Order};
use crate::party::{Link, Party};
use crate::rng::Rng;
use crate::scenario::{Back, DiskAct, Faults, LinkAct, Pick, Step, Trigger, Until};

use super::cluster::State;
use super::ending::Phase;
use super::step;
use super::{ANSWER, Director, READY};

/// What the step under way waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// Its trigger; the step began then.
    Trigger(At),
    /// Its armed point, or the happening it asked for.
    Armed,
    /// What it is a wait for, until then at most.
    Until(At),
}

/// Something that is still to be done about a fault.
#[derive(Clone, Debug)]
pub(super) enum Repair {
    /// Start a node again once it is gone.
    Back {
        node: Party,
        at: At,
        store: StoreState,
        gone: bool,
        /// When it is no longer waited for.
        give_up: At,
    },
    /// Take a lasting fault back.
    Mend { fault: Fault, at: At, act: Act },
    /// Heal a partition, or cut it again.
    Partition {
        fault: Fault,
        at: At,
        /// When it is over.
        until: At,
        /// Whether it is cut now.
        cut: bool,
    },
    /// Wait for a resumed node to be seen running, until then at most.
    Resume { node: Party, give_up: At },
    /// Give a node whose disk failed the time to end because of it.
    Settle { at: At },
    /// Let a held link go on, when the effect on a node was seen or `at` has
    /// come.
    Release {
        fault: Fault,
        at: At,
        node: Option<Party>,
    },
}

/// A node whose disk fails, and what is to be done if it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Revival {
    node: Party,
    /// The disk is well again then.
    until: At,
    /// How long after that, and its end, it is started, in nanoseconds.
    after: u64,
}

impl Repair {
    fn at(&self) -> At {
        match self {
            Self::Back {
                gone: false,
                give_up,
                ..
            }
            | Self::Resume { give_up, .. } => *give_up,
            Self::Back { at, .. }
            | Self::Mend { at, .. }
            | Self::Partition { at, .. }
            | Self::Settle { at }
            | Self::Release { at, .. } => *at,
        }
    }
}

impl Director {
    // --- what events mean for steps and repairs ----------------------------

    pub(super) fn exited(&mut self, party: Party) {
        self.cluster.set(party, State::Down);
        // A node whose disk failed may have ended itself. If something else
        // is to bring it back, that does.
        let planned = |r: &Repair| matches!(r, Repair::Back { node, .. } if *node == party);
        if let Some(at) = self.revivals.iter().position(|r| r.node == party)
            && matches!(self.phase, Phase::Running | Phase::Quiet { .. })
        {
            let revival = self.revivals.remove(at);
            if !self.repairs.iter().any(planned) {
                self.broken = true;
                self.takeover = false;
                let at = revival.until.max(self.now).saturating_add(revival.after);
                self.repairs.push(Repair::Back {
                    node: party,
                    at,
                    store: StoreState::Same,
                    gone: true,
                    give_up: at,
                });
            }
        }
        for repair in &mut self.repairs {
            if let Repair::Back { node, gone, .. } = repair
                && *node == party
            {
                *gone = true;
            }
        }
        self.effect_seen(party);
    }

    pub(super) fn paused(&mut self, party: Party) {
        self.cluster.set(party, State::Paused);
        self.effect_seen(party);
    }

    fn effect_seen(&mut self, party: Party) {
        for repair in &mut self.repairs {
            if let Repair::Release { at, node, .. } = repair
                && *node == Some(party)
            {
                *at = self.now;
            }
        }
    }

    /// An armed act fired.
    pub(super) fn fired(&mut self, fault: Fault, out: &mut Vec<Order>) {
        if self.waiting != Some(Waiting::Armed) || fault as usize != self.step {
            return;
        }
        let step = self.plan.scenario.steps[self.step].clone();
        match &step {
            // A hold that was disarmed stands nowhere, but its point came.
            Step::Link(link) if link.on.is_none() => {
                if let (true, Some(lasts), Some(point)) = (
                    step::lasting(&link.act),
                    self.times[self.step].lasts,
                    step::point(&step),
                ) {
                    self.repairs.push(Repair::Mend {
                        fault,
                        at: self.now.saturating_add(lasts),
                        act: Act::Link(point.link, link.act.clone()),
                    });
                }
                self.acted();
            }
            _ => {
                let node = step::point(&step).map(|point| step::near(point.link));
                self.act(&step, node, false, out);
            }
        }
    }

    /// A link of a node, or its disk, stands held.
    pub(super) fn stands(&mut self, node: Party, fault: Fault, out: &mut Vec<Order>) {
        self.held = Some((fault, node));
        if self.waiting != Some(Waiting::Armed) || fault as usize != self.step {
            return;
        }
        let step = self.plan.scenario.steps[self.step].clone();
        match &step {
            Step::Link(link) if link.on.is_none() => {
                if let Some(lasts) = self.times[self.step].lasts {
                    self.repairs.push(Repair::Release {
                        fault,
                        at: self.now.saturating_add(lasts),
                        node: None,
                    });
                }
                self.acted();
            }
            _ => self.act(&step, Some(node), true, out),
        }
    }

    /// The happening that the step under way waits for was just now.
    pub(super) fn happened(&mut self, fault: Fault, out: &mut Vec<Order>) {
        if self.waiting != Some(Waiting::Armed) || fault as usize != self.step {
            return;
        }
        let step = self.plan.scenario.steps[self.step].clone();
        let held = self.held.map(|(_, link)| link);
        self.act(&step, held, false, out);
    }

    pub(super) fn released(&mut self, fault: Fault) {
        if self.held.is_some_and(|(of, _)| of == fault) {
            self.held = None;
        }
    }

    // --- steps ---------------------------------------------------------------

    /// Begins, triggers and ends steps as far as they go now.
    pub(super) fn run_steps(&mut self, out: &mut Vec<Order>) {
        while let Some(step) = self.plan.scenario.steps.get(self.step) {
            match self.waiting {
                None => {
                    let step = step.clone();
                    self.begin(&step, out);
                }
                Some(Waiting::Trigger(since)) => {
                    let came = match step::trigger(step) {
                        Some(Trigger::Start) => true,
                        Some(Trigger::Accepted(share)) => self.sender.share_accepted(*share),
                        Some(Trigger::Delivered(share)) => self.sender.share_delivered(*share),
                        Some(Trigger::After(_)) => {
                            self.now >= since.saturating_add(self.times[self.step].lead)
                        }
                        Some(Trigger::Point(_) | Trigger::Disk(_) | Trigger::Event(_)) | None => {
                            false
                        }
                    };
                    if !came {
                        return;
                    }
                    let step = step.clone();
                    self.request(&step, None, out);
                    let held = self.held.map(|(_, node)| node);
                    self.act(&step, held, false, out);
                }
                Some(Waiting::Armed) => return,
                Some(Waiting::Until(max)) => {
                    let Step::Wait(wait) = step else { return };
                    let until = &wait.until;
                    let came = match until {
                        Until::Takeover => self.takeover,
                        Until::Back => self.all_back(),
                        Until::Drained => self.sender.is_drained(),
                        Until::Sent => self.sender.is_settled(),
                        Until::Elapsed => self.now >= max,
                    };
                    if !came && self.now < max {
                        return;
                    }
                    out.push(Order::Record(What::Waited {
                        step: self.step as u32,
                        until: step::until(until).to_owned(),
                        came,
                    }));
                    self.acted();
                }
            }
        }
    }

    fn begin(&mut self, step: &Step, out: &mut Vec<Order>) {
        out.push(Order::Record(What::Step {
            step: self.step as u32,
            text: step::text(step),
        }));
        self.anchor = self.now;
        if matches!(step, Step::Wait(_)) {
            let max = self.times[self.step].max;
            self.waiting = Some(Waiting::Until(self.now.saturating_add(max)));
            return;
        }
        let fault = self.step as Fault;
        if let Some(Trigger::Event(event)) = step.trigger() {
            let event = *event;
            self.request(step, None, out);
            out.push(Order::Await { fault, event });
            self.waiting = Some(Waiting::Armed);
            return;
        }
        if let Some(point) = step::disk_point(step) {
            self.request(step, None, out);
            let point = point.clone();
            out.push(Order::ArmDisk { fault, point });
            self.waiting = Some(Waiting::Armed);
            return;
        }
        let Some(point) = step::point(step) else {
            self.waiting = Some(Waiting::Trigger(self.now));
            return;
        };
        // The hold that brings a node's fault to its point is no fault: it
        // holds even if the fault is disarmed, so that nothing but the fault's
        // own effect is missing then.
        let (act, disarmed) = match step {
            Step::Link(link) if link.on.is_none() => (link.act.clone(), self.disarmed(fault)),
            _ => (LinkAct::Hold, false),
        };
        self.request(step, Some(point.link), out);
        out.push(Order::Arm {
            fault,
            point: point.clone(),
            act,
            disarmed,
        });
        self.waiting = Some(Waiting::Armed);
    }

    /// Writes down that the scenario asked for a fault.
    fn request(&self, step: &Step, at: Option<Link>, out: &mut Vec<Order>) {
        let node = match step::pick(step) {
            Some(Pick::Node(node)) => Some(node),
            _ => None,
        };
        let link = match step {
            Step::Link(fault) => fault.on.or(at),
            _ => None,
        };
        out.push(Order::Record(What::Fault {
            fault: self.step as Fault,
            stage: Stage::Requested,
            text: step::text(step),
            node,
            link,
            conn: None,
        }));
    }

    /// Does what a step does; `held`: the node whose link or disk is, by this
    /// step (`standing`) or an earlier one.
    fn act(&mut self, step: &Step, held: Option<Party>, standing: bool, out: &mut Vec<Order>) {
        let fault = self.step as Fault;
        let disarmed = self.disarmed(fault);
        if let Step::Partition(partition) = step {
            self.part(fault, partition, out);
            if standing {
                out.push(Order::Release { fault });
            }
            self.acted();
            return;
        }
        let times = self.times[self.step].clone();
        let act = match step {
            Step::Link(link) => link.on.map(|on| Act::Link(on, link.act.clone())),
            _ => {
                let picked = self.choose(step, held, out);
                picked.and_then(|node| step::node_act(step, &times, node))
            }
        };
        let Some(act) = act else {
            // No node to pick: nothing can be broken, so the point goes on.
            if standing {
                out.push(Order::Release { fault });
            }
            self.acted();
            return;
        };
        out.push(Order::Break {
            fault,
            act: act.clone(),
            disarmed,
        });
        let mut release = Some((self.now, None));
        match &act {
            Act::Crash(node)
            | Act::PowerCut(node)
            | Act::NodeLost { node, .. }
            | Act::Corrupt(node, _) => {
                self.broken = true;
                self.takeover = false;
                self.back(step, *node, disarmed, times.after);
                release = Some((self.now.saturating_add(READY), Some(*node)));
            }
            Act::Disk(node, what) => {
                let until = times.lasts.map(|lasts| self.now.saturating_add(lasts));
                if let Some(at) = until {
                    let act = act.clone();
                    self.repairs.push(Repair::Mend { fault, at, act });
                }
                if !disarmed
                    && !matches!(what, DiskAct::Slow(_))
                    && step::back(step) == Some(Back::Same)
                {
                    let until = until.unwrap_or(self.now);
                    self.revivals.push(Revival {
                        node: *node,
                        until,
                        after: times.after,
                    });
                    // The operation is hit only when its disk goes on.
                    let at = until.saturating_add(self.plan.time("poll"));
                    self.repairs.push(Repair::Settle { at });
                }
            }
            // It can only stop in order once its connections may go on.
            Act::Restart(node) => {
                self.broken = true;
                self.takeover = false;
                self.back(step, *node, disarmed, times.after);
            }
            Act::Pause(node) => {
                self.broken = true;
                self.takeover = false;
                release = Some((self.now.saturating_add(READY), Some(*node)));
                self.repairs.push(Repair::Mend {
                    fault,
                    at: self.now.saturating_add(times.lasts.unwrap_or(0)),
                    act: act.clone(),
                });
            }
            Act::Clock { .. } => {
                if let Some(lasts) = times.lasts {
                    self.repairs.push(Repair::Mend {
                        fault,
                        at: self.now.saturating_add(lasts),
                        act: act.clone(),
                    });
                }
            }
            Act::Link(_, link) => {
                if let (true, Some(lasts)) = (step::lasting(link), times.lasts) {
                    self.repairs.push(Repair::Mend {
                        fault,
                        at: self.now.saturating_add(lasts),
                        act: act.clone(),
                    });
                }
            }
        }
        if let (true, Some((at, node))) = (standing, release) {
            let down = node.is_some_and(|n| self.cluster.state(n) == State::Down);
            let at = if disarmed || down { self.now } else { at };
            self.repairs.push(Repair::Release { fault, at, node });
        }
        self.acted();
    }

    /// Plans the return of a node.
    fn back(&mut self, step: &Step, node: Party, disarmed: bool, after: u64) {
        let store = match step::back(step) {
            Some(Back::Same) => StoreState::Same,
            Some(Back::Empty) => StoreState::Empty,
            Some(Back::Never) | None => return,
        };
        // A fault that only claims to act takes nobody down.
        if disarmed {
            return;
        }
        self.repairs.push(Repair::Back {
            node,
            at: self.now.saturating_add(after),
            store,
            gone: self.cluster.state(node) == State::Down,
            give_up: self.now.saturating_add(ANSWER),
        });
    }

    /// The node that a step hits, chosen now and written down.
    fn choose(&self, step: &Step, held: Option<Party>, out: &mut Vec<Order>) -> Option<Party> {
        let index = self.step as u32;
        let pick = step::pick(step)?;
        if let Pick::Node(node) = pick {
            return Some(node);
        }
        let running = || {
            self.cluster
                .running()
                .filter(|n| matches!(n, Party::Node(_)))
        };
        let picked = self.pins.get(&index).copied().or_else(|| match pick {
            Pick::Node(node) => Some(node),
            Pick::Busiest => self.sender.busiest(running()),
            Pick::Any => {
                let all: Vec<Party> = running().collect();
                let mut rng = Rng::keyed(self.plan.seed, "any", u64::from(index));
                let at = rng.below(all.len() as u64);
                all.get(usize::try_from(at).ok()?).copied()
            }
            Pick::Held => held,
        })?;
        out.push(Order::Record(What::Choice {
            step: index,
            of: pick.to_string(),
            picked,
        }));
        Some(picked)
    }

    /// Whether the step under way is passed over when its trigger does not
    /// come, so that those after it have their turn.
    pub(super) fn may_pass_over(&self) -> bool {
        self.plan.scenario.expect.faults == Faults::Any
            && self.waits_for_mail()
            && self.step < self.plan.scenario.steps.len()
    }

    /// Goes on without the step under way, whose trigger does not come. It
    /// has no receipt that it fired; what it armed is taken back.
    pub(super) fn pass_over(&mut self, out: &mut Vec<Order>) {
        if self.waiting == Some(Waiting::Armed) {
            let fault = self.step as Fault;
            out.push(Order::Release { fault });
        }
        self.acted();
    }

    /// The step under way is over; the next may begin.
    fn acted(&mut self) {
        self.waiting = None;
        self.step += 1;
        self.anchor = self.now;
    }

    // --- repairs ---------------------------------------------------------------

    /// Does every repair that is due.
    pub(super) fn run_repairs(&mut self, out: &mut Vec<Order>) {
        let mut at = 0;
        while at < self.repairs.len() {
            if self.repair(at, out) {
                self.repairs.remove(at);
                self.anchor = self.now;
            } else {
                at += 1;
            }
        }
    }

    /// Whether the repair is done with.
    fn repair(&mut self, at: usize, out: &mut Vec<Order>) -> bool {
        let due = self.now >= self.repairs[at].at();
        match self.repairs[at].clone() {
            Repair::Back {
                node, store, gone, ..
            } => {
                if due && gone {
                    self.cluster.starting(node, self.now);
                    out.push(Order::Start { node, store });
                }
                due
            }
            Repair::Mend { fault, act, .. } => {
                if due {
                    if let (Act::Pause(node), false) = (&act, self.disarmed(fault)) {
                        self.repairs.push(Repair::Resume {
                            node: *node,
                            give_up: self.now.saturating_add(READY),
                        });
                    }
                    out.push(Order::Mend {
                        fault,
                        act,
                        disarmed: self.disarmed(fault),
                    });
                }
                due
            }
            Repair::Partition {
                fault, until, cut, ..
            } => {
                if !due {
                    return false;
                }
                let Some((next, cut)) = self.flap(fault, until, cut, out) else {
                    return true;
                };
                self.repairs[at] = Repair::Partition {
                    fault,
                    at: next,
                    until,
                    cut,
                };
                false
            }
            Repair::Settle { .. } => due,
            Repair::Resume { node, .. } => due || self.cluster.state(node) != State::Paused,
            Repair::Release { fault, .. } => {
                if due {
                    out.push(Order::Release { fault });
                }
                due
            }
        }
    }

    /// Whether nothing is left to repair: no fault that ends by itself goes
    /// on, and no node is on its way back.
    pub(super) fn all_back(&self) -> bool {
        self.repairs.is_empty() && self.starting().is_none()
    }

    /// A node that is waited for after its start, and until when.
    pub(super) fn starting(&self) -> Option<(Party, At)> {
        self.cluster
            .iter()
            .filter_map(|node| match node.state {
                State::Starting { since } => Some((node.party, since.saturating_add(READY))),
                _ => None,
            })
            .find(|(_, until)| self.now < *until)
    }

    /// When the step under way or a repair needs attention next.
    pub(super) fn next_step(&self) -> Option<At> {
        let step = match self.waiting {
            Some(Waiting::Trigger(since)) => {
                let step = self.plan.scenario.steps.get(self.step);
                match step.and_then(step::trigger) {
                    Some(Trigger::After(_)) => {
                        Some(since.saturating_add(self.times[self.step].lead))
                    }
                    _ => None,
                }
            }
            Some(Waiting::Until(max)) => Some(max),
            Some(Waiting::Armed) | None => None,
        };
        let repair = self.repairs.iter().map(Repair::at).min();
        let starting = self.starting().map(|(_, until)| until);
        [step, repair, starting].into_iter().flatten().min()
    }

    /// Whether the step under way waits for something that only moving mail
    /// can bring.
    pub(super) fn waits_for_mail(&self) -> bool {
        match self.waiting {
            Some(Waiting::Armed) => true,
            Some(Waiting::Trigger(_)) => {
                let step = self.plan.scenario.steps.get(self.step);
                !matches!(step.and_then(step::trigger), Some(Trigger::After(_)))
            }
            Some(Waiting::Until(_)) | None => false,
        }
    }
}

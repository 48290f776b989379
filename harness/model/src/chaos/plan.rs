//! The fault plan of a seed: faults one after another, with the waits that
//! keep them inside the claims.

use super::fault::{Draft, Drawn};
use super::place::Place;
use super::{Source, chance, log_between, swarm, weighted};
use crate::claims::{self, Cover};
use crate::party::Party;
use crate::plan::Plan;
use crate::planning::Refusal;
use crate::rng::Rng;
use crate::scenario::{
    Back, Chaos, ChaosKind, DiskAct, DiskFault, LinkFault, NodeFault, Pause, Pick, Span, Step,
    Trigger, Until, Wait, Within,
};

/// How long a wait for repair may take before the run counts as stuck, in
/// nanoseconds: longer than anything drawn lasts.
const LONG: u64 = 120_000_000_000;

/// How often another fault is drawn where one has no place.
const TRIES: u32 = 8;

/// Fills in the steps of a plan.
pub(super) fn faults(
    chaos: &Chaos,
    base: Plan,
    wanted: u32,
    source: &Source<'_>,
) -> Result<Plan, Refusal> {
    let all = chaos.kinds.as_deref().unwrap_or(&ChaosKind::ALL);
    let may: Vec<ChaosKind> = all
        .iter()
        .copied()
        .filter(|kind| chaos.inside || !kind.is_inside())
        .filter(|kind| chaos.within == Within::Anything || claimed(&base, *kind))
        .collect();
    if may.is_empty() {
        return Err(Refusal::NoClaim {
            target: base.target.name,
        });
    }
    let kinds = swarm::kinds(&may, &mut source.of("swarm"));
    let certain = swarm::certain(&kinds, &may);
    let rng = &mut source.of("faults");
    let mut line = Line {
        within: chaos.within,
        verbs: &chaos.verbs,
        inside: chaos.inside,
        hubs: chaos.hubs,
        plan: base,
        gone: Vec::new(),
        touched: Vec::new(),
        unsafe_for_loss: false,
        returns: false,
    };
    let mut share = rng.between(2, 30) as u8;
    for n in 0..wanted {
        if n > 0 {
            line.pause(rng);
        }
        // The first, and some more, strike where mail passes for certain, so
        // that few seeds break nothing.
        let sure = n == 0 || chance(rng, 30);
        // The first is mostly of a kind that is felt wherever mail passes.
        let first = n == 0 && chance(rng, 85);
        for _ in 0..TRIES {
            let of = if first { &certain } else { &kinds };
            let Some(kind) = weighted(rng, of) else {
                break;
            };
            if let Some(drawn) = line.draft(share, sure).fault(rng, kind)
                && line.add(drawn)
            {
                break;
            }
        }
        let left = u64::from(95_u8.saturating_sub(share));
        share += rng.below(left * 2 / u64::from(wanted) + 1) as u8;
    }
    Ok(line.plan)
}

/// Whether the target claims to survive one fault of that kind.
fn claimed(base: &Plan, kind: ChaosKind) -> bool {
    let node = |back| NodeFault {
        node: Pick::Node(Party::Node(1)),
        at: Trigger::Start,
        back,
        after: None,
    };
    let step = match kind {
        ChaosKind::Crash => Step::Crash(node(Back::Same)),
        ChaosKind::PowerCut => Step::PowerCut(node(Back::Same)),
        ChaosKind::NodeSilent => Step::NodeLost(node(Back::Same)),
        ChaosKind::NodeLost => Step::NodeLost(node(Back::Never)),
        ChaosKind::Restart => Step::Restart(node(Back::Same)),
        ChaosKind::Pause => Step::Pause(Pause {
            node: Pick::Node(Party::Node(1)),
            at: Trigger::Start,
            lasts: Span::nanoseconds(1),
        }),
        ChaosKind::DiskError
        | ChaosKind::DiskFull
        | ChaosKind::ReadOnly
        | ChaosKind::SyncError
        | ChaosKind::Torn
        | ChaosKind::SlowDisk => Step::Disk(DiskFault {
            node: Pick::Node(Party::Node(1)),
            at: Trigger::Start,
            act: match kind {
                ChaosKind::Torn => DiskAct::Torn,
                ChaosKind::SlowDisk => DiskAct::Slow(Span::nanoseconds(1)),
                _ => DiskAct::Error,
            },
            lasts: None,
            back: Back::Same,
            after: None,
        }),
        // No claim is needed for it.
        ChaosKind::Clock => return true,
        _ => Step::Link(LinkFault {
            at: Trigger::Start,
            on: None,
            act: crate::scenario::LinkAct::Reset,
            lasts: None,
        }),
    };
    // A copy on a peer needs a peer.
    let alone = kind == ChaosKind::NodeLost && base.scenario.cluster.nodes < 2;
    let mut plan = base.clone();
    plan.scenario.steps.push(step);
    !alone && claims::covers(&plan) == Cover::Covered
}

/// A plan that grows step by step.
struct Line<'a> {
    within: Within,
    verbs: &'a [String],
    inside: bool,
    hubs: bool,
    plan: Plan,
    /// Nodes that are gone for good.
    gone: Vec<Party>,
    /// Nodes that may be down: hit since the last wait for their return.
    touched: Vec<Party>,
    /// Something happened since the last repair that may leave mail without a
    /// copy on a peer.
    unsafe_for_loss: bool,
    /// Some earlier step is over one day, so that its end can be waited for.
    returns: bool,
}

impl Line<'_> {
    fn draft(&self, share: u8, sure: bool) -> Draft<'_> {
        Draft {
            place: Place {
                scenario: &self.plan.scenario,
                verbs: self.verbs,
                gone: &self.gone,
                share,
                sure,
                inside: self.inside,
                hubs: self.hubs,
            },
            share,
            takeover: self.plan.time("takeover").max(1),
        }
    }

    /// Something between two faults, or nothing.
    fn pause(&mut self, rng: &mut Rng) {
        match rng.below(10) {
            0 if self.returns => self.wait(Until::Back, LONG),
            1 => self.wait(Until::Drained, LONG),
            2 | 3 => {
                let most = self.plan.time("takeover") * 2;
                let ns = log_between(rng, 1_000_000, most) / 1_000_000 * 1_000_000;
                self.wait(Until::Elapsed, ns.max(1_000_000));
            }
            _ => {}
        }
    }

    /// Adds a fault where it may stand, with the waits that it needs; whether
    /// it did.
    fn add(&mut self, drawn: Drawn) -> bool {
        let Drawn { step, node } = drawn;
        let loss = match &step {
            Step::NodeLost(f) => f.back != Back::Same,
            _ => false,
        };
        let before = self.plan.scenario.steps.len();
        let saved = (self.touched.clone(), self.unsafe_for_loss, self.returns);
        // A node that may still be down cannot be hit; one that is gone never.
        let down = node.is_some_and(|n| self.touched.contains(&n));
        if down || (loss && self.unsafe_for_loss && self.within == Within::Claim) {
            self.repair();
        }
        if !self.fits(&step) {
            self.repair();
            self.space();
        }
        let good = self.fits(&step) && self.leaves_some(&step);
        if !good {
            self.plan.scenario.steps.truncate(before);
            (self.touched, self.unsafe_for_loss, self.returns) = saved;
            return false;
        }
        match &step {
            Step::Crash(f) | Step::PowerCut(f) | Step::NodeLost(f) | Step::Restart(f) => {
                self.touched.extend(node);
                if f.back == Back::Never {
                    self.gone.extend(node);
                } else {
                    self.returns = true;
                }
                self.unsafe_for_loss = true;
            }
            Step::Pause(_) => {
                self.touched.extend(node);
                self.returns = true;
                self.unsafe_for_loss = true;
            }
            Step::Link(l) => {
                let link = match &l.at {
                    Trigger::Point(point) => l.on.or(Some(point.link)),
                    _ => l.on,
                };
                let peers = link
                    .is_some_and(|l| matches!((l.from, l.to), (Party::Node(_), Party::Node(_))));
                self.unsafe_for_loss |= peers;
                self.returns |= l.lasts.is_some();
            }
            Step::Partition(p) => {
                self.unsafe_for_loss = true;
                self.returns |= p.lasts.is_some();
            }
            Step::Disk(_) | Step::Corrupt(_) => {
                self.touched.extend(node);
                self.returns = true;
                self.unsafe_for_loss = true;
            }
            Step::Clock(f) => self.returns |= f.lasts.is_some(),
            Step::Wait(_) => {}
        }
        self.plan.scenario.steps.push(step);
        true
    }

    /// Whether the claims cover the plan with this step.
    fn fits(&mut self, step: &Step) -> bool {
        if self.within == Within::Anything {
            return true;
        }
        self.plan.scenario.steps.push(step.clone());
        let cover = claims::covers(&self.plan);
        self.plan.scenario.steps.pop();
        cover == Cover::Covered
    }

    /// Whether a transport node is left after this step.
    fn leaves_some(&self, step: &Step) -> bool {
        let never = |s: &Step| matches!(s, Step::Crash(f) | Step::PowerCut(f) | Step::NodeLost(f) if f.back == Back::Never);
        let gone = self.plan.scenario.steps.iter().filter(|s| never(s)).count();
        !never(step) || gone + 1 < usize::from(self.plan.scenario.cluster.nodes)
    }

    /// Waits until what is broken works again and all mail is delivered.
    fn repair(&mut self) {
        if self.returns {
            self.wait(Until::Back, LONG);
        }
        self.wait(Until::Drained, LONG);
        // A peer that was away is asked for a copy again after a retry.
        let settle = self.plan.time("takeover") + self.plan.time("retry");
        self.wait(Until::Elapsed, settle);
        self.unsafe_for_loss = false;
    }

    /// Waits as long as the widest spacing of a claim asks for.
    fn space(&mut self) {
        let spacing = self.plan.target.claims.iter().map(|c| c.spacing).max();
        if let Some(spacing) = spacing.filter(|ns| *ns > 0) {
            self.wait(Until::Elapsed, spacing);
        }
    }

    fn wait(&mut self, until: Until, ns: u64) {
        if until == Until::Back {
            self.touched.clear();
        }
        self.plan.scenario.steps.push(Step::Wait(Wait {
            until,
            max: Span::nanoseconds(ns),
        }));
    }
}

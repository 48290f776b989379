//! Sweeps: one fault at every point of a run.
//!
//! A run without faults shows which points there are; each point and each act
//! that has a meaning there make one [`Case`], an ordinary scenario. Pairs
//! are drawn from them. Nothing is run here.
//!
//! A case need not have mail under way at its point, and its fault need not
//! be felt: such a case that does not fail is *sound* ([`Standing`]), which
//! counts, but proves less than a pass. A sweep as a whole must show more:
//! each of its acts has at least one case with all of its evidence.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::party::{Link, Party};
use crate::rng::Rng;
use crate::scenario::phase::{holds_command, holds_reply};
use crate::scenario::{
    Back, DiskAct, DiskFault, Faults, LinkAct, LinkFault, NodeFault, Partition, Pick, Point, Rate,
    Scenario, Span, Step, Sweep, SweepAct, Trigger, Until, Wait,
};
use crate::verdict::{Judgement, Verdict};

/// How long a sweep waits for a node that is to come back.
const BACK: u64 = 10_000_000_000;

/// How many bytes a second a throttled link carries, and for how long.
const THROTTLED: u64 = 4 << 10;
const MOMENT: u64 = 1_000_000_000;

/// How the missing evidence of a fault that was not felt begins, where any
/// fault will do.
const UNFELT: &str = "not one of the ";

/// One or two faults at points of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its number in the sweep, from 1.
    pub number: u32,
    /// What is done, and where.
    pub what: String,
    /// What is done at the first point, and at the second.
    pub acts: Vec<SweepAct>,
    /// The scenario.
    pub scenario: Scenario,
}

/// How a case ended that ran to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// PASS, with all of its evidence.
    Full,
    /// Nothing failed and everything came to rest; only the fault was not
    /// felt, or met no mail.
    Sound,
    /// The faults go beyond what the target claims.
    Outside,
    /// It proves nothing; why.
    Unproved(String),
    /// FAIL, or the harness failed.
    Failed(Verdict),
}

/// How a case stands.
#[must_use]
pub fn standing(judgement: &Judgement) -> Standing {
    stands(judgement.verdict, &judgement.reason, &judgement.missing)
}

fn stands(verdict: Verdict, reason: &str, missing: &[String]) -> Standing {
    match verdict {
        Verdict::Pass => Standing::Full,
        Verdict::OutsideClaim => Standing::Outside,
        Verdict::Fail | Verdict::Error => Standing::Failed(verdict),
        Verdict::NotApplicable => Standing::Unproved(reason.to_owned()),
        Verdict::Inconclusive => match missing.iter().find(|m| !m.starts_with(UNFELT)) {
            Some(why) => Standing::Unproved(why.clone()),
            // Something is missing, or it would have passed.
            None if missing.is_empty() => Standing::Unproved(reason.to_owned()),
            None => Standing::Sound,
        },
    }
}

/// The scenario of the run that finds the points: the sweep's without a
/// fault.
#[must_use]
pub fn recording(scenario: &Scenario) -> Scenario {
    let mut scenario = Scenario {
        sweep: None,
        ..scenario.clone()
    };
    // Without a fault nothing may bounce.
    scenario.expect.bounces = false;
    scenario
}

/// Every point with every act that has a meaning there; `points` in the order
/// in which they came.
#[must_use]
pub fn cases(scenario: &Scenario, points: &[Trigger]) -> Vec<Case> {
    let Some(sweep) = &scenario.sweep else {
        return Vec::new();
    };
    let every = usize::try_from(sweep.every.max(1)).unwrap_or(usize::MAX);
    let mut cases = Vec::new();
    for point in points.iter().step_by(every) {
        for hit in hits(scenario, sweep, point) {
            cases.push(case(scenario, cases.len(), vec![hit]));
        }
    }
    cases
}

/// Pairs of points and acts, drawn by the seed, the earlier point first; only
/// those that `covered` lets through. Fewer than asked for when too few of
/// the draws are let through. `first` cases stand before them.
pub fn pairs(
    scenario: &Scenario,
    points: &[Trigger],
    seed: u64,
    first: usize,
    covered: &dyn Fn(&Scenario) -> bool,
) -> Vec<Case> {
    let wanted = scenario.sweep.as_ref().map_or(0, |sweep| sweep.pairs) as usize;
    let mut found = Vec::new();
    let Some(sweep) = &scenario.sweep else {
        return found;
    };
    let index = |rng: &mut Rng, n: usize| usize::try_from(rng.below(n as u64)).unwrap_or(0);
    let draws = wanted.saturating_mul(4) as u64;
    for draw in 0..draws {
        if found.len() == wanted || points.len() < 2 {
            break;
        }
        let mut rng = Rng::keyed(seed, "pair", draw);
        let a = index(&mut rng, points.len() - 1);
        let b = a + 1 + index(&mut rng, points.len() - a - 1);
        let (early, late) = (
            hits(scenario, sweep, &points[a]),
            hits(scenario, sweep, &points[b]),
        );
        if early.is_empty() || late.is_empty() {
            continue;
        }
        let early = early[index(&mut rng, early.len())].clone();
        let mut late = late[index(&mut rng, late.len())].clone();
        if let Trigger::Point(point) = &mut late.at {
            point.nth = after(&points[..=a], point);
            // After a node's fault the course is another one: what came late
            // may never come.
            if early.act.on_node() {
                let most = u64::from(point.nth.min(4));
                point.nth = u32::try_from(rng.between(1, most)).unwrap_or(1);
            }
        }
        let case = case(scenario, first + found.len(), vec![early, late]);
        if covered(&case.scenario) {
            found.push(case);
        }
    }
    found
}

/// The passage that a point is when counting begins after some others.
fn after(before: &[Trigger], point: &Point) -> u32 {
    let same = |trigger: &&Trigger| matches!(trigger, Trigger::Point(p) if p.link == point.link && p.phase == point.phase);
    let passed = before.iter().filter(same).count();
    let passed = u32::try_from(passed).unwrap_or(u32::MAX);
    point.nth.saturating_sub(passed).max(1)
}

/// One act at one point.
#[derive(Clone, Debug)]
struct Hit {
    at: Trigger,
    act: SweepAct,
    node: Option<Party>,
}

/// What is done at a point: each act that has a meaning there, to each node
/// that it may hit.
fn hits(scenario: &Scenario, sweep: &Sweep, at: &Trigger) -> Vec<Hit> {
    let ends: Vec<Party> = match at {
        Trigger::Point(point) => vec![point.link.from, point.link.to],
        Trigger::Disk(point) => vec![point.disk],
        _ => (1..=scenario.cluster.nodes).map(Party::Node).collect(),
    };
    let hit =
        |node: &Party| node.is_node() && (sweep.nodes.is_empty() || sweep.nodes.contains(node));
    let nodes: Vec<Party> = ends.into_iter().filter(hit).collect();
    let mut hits = Vec::new();
    for act in &sweep.acts {
        let (at, act) = (at.clone(), *act);
        if act.on_disk() && !matches!(at, Trigger::Disk(_)) {
            continue;
        }
        if act.on_node() {
            hits.extend(nodes.iter().map(|node| Hit {
                at: at.clone(),
                act,
                node: Some(*node),
            }));
        } else if matches!(&at, Trigger::Point(point) if possible(act, point)) {
            let node = None;
            hits.push(Hit { at, act, node });
        }
    }
    hits
}

/// Whether an act on a connection has a meaning at a point.
fn possible(act: SweepAct, point: &Point) -> bool {
    match act {
        SweepAct::LoseReply => holds_reply(&point.phase),
        SweepAct::Answer(_) => holds_command(&point.phase),
        _ => true,
    }
}

fn case(scenario: &Scenario, before: usize, hits: Vec<Hit>) -> Case {
    // A sweep has far fewer than 2^32 cases.
    let number = u32::try_from(before + 1).unwrap_or(u32::MAX);
    let mut steps = Vec::new();
    let mut words = Vec::new();
    for hit in &hits {
        steps.extend(steps_of(scenario, hit));
        words.push(match hit.node {
            Some(node) => format!("{} {node} at {}", hit.act, hit.at),
            None => format!("{} at {}", hit.act, hit.at),
        });
    }
    let what = words.join(", then ");
    let bounces = scenario.expect.bounces;
    let mut scenario = recording(scenario);
    let refuses = |hit: &Hit| matches!(hit.act, SweepAct::Answer(500..));
    scenario.expect.bounces = bounces && hits.iter().any(refuses);
    let name = scenario.id.replace('/', "-");
    scenario.id = format!("sweep-case/{name}-{number}");
    scenario.title = format!("Case {number}: {what}").chars().take(100).collect();
    scenario.about = None;
    scenario.steps = steps;
    scenario.expect.faults = Faults::Any;
    Case {
        number,
        what,
        acts: hits.iter().map(|hit| hit.act).collect(),
        scenario,
    }
}

/// A fault, and the wait for the node that it takes away for a while.
fn steps_of(scenario: &Scenario, hit: &Hit) -> Vec<Step> {
    let at = hit.at.clone();
    let node = hit.node.unwrap_or(Party::Node(1));
    let fault = |back| NodeFault {
        node: Pick::Node(node),
        at: at.clone(),
        back,
        after: None,
    };
    let link = |act| {
        vec![Step::Link(LinkFault {
            at: at.clone(),
            on: None,
            act,
            lasts: None,
        })]
    };
    let back = || {
        Step::Wait(Wait {
            until: Until::Back,
            max: Span::nanoseconds(BACK),
        })
    };
    let disk = |act| {
        let fault = DiskFault {
            node: Pick::Node(node),
            at: at.clone(),
            act,
            lasts: None,
            back: Back::Same,
            after: None,
        };
        vec![Step::Disk(fault), back()]
    };
    match hit.act {
        SweepAct::CutOff => {
            let cut = Partition {
                sides: vec![vec![node], others(scenario, node)],
                at,
                lasts: Some(long_enough()),
                one_way: false,
                flap: None,
            };
            vec![Step::Partition(cut), back()]
        }
        SweepAct::Throttle => {
            let throttle = Step::Link(LinkFault {
                at,
                on: None,
                act: LinkAct::Throttle(Rate::new(THROTTLED)),
                lasts: Some(Span::nanoseconds(MOMENT)),
            });
            vec![throttle, back()]
        }
        SweepAct::DiskError => disk(DiskAct::Error),
        SweepAct::SyncError => disk(DiskAct::SyncError),
        SweepAct::Torn => disk(DiskAct::Torn),
        SweepAct::Crash => vec![Step::Crash(fault(Back::Same)), back()],
        SweepAct::PowerCut => vec![Step::PowerCut(fault(Back::Same)), back()],
        SweepAct::NodeLost => vec![Step::NodeLost(fault(Back::Never))],
        SweepAct::Reset => link(LinkAct::Reset),
        SweepAct::HalfClose => link(LinkAct::HalfClose),
        SweepAct::LoseReply => link(LinkAct::LoseReply),
        SweepAct::Answer(code) => link(LinkAct::Answer(format!("{code} swept"))),
    }
}

/// Everybody that a node deals with but the sender.
fn others(scenario: &Scenario, node: Party) -> Vec<Party> {
    let nodes = (1..=scenario.cluster.nodes).map(Party::Node);
    let mut others: Vec<Party> = nodes.filter(|n| *n != node).collect();
    match scenario.cluster.stores {
        0 => others.push(Party::Mailbox),
        stores => others.extend((1..=stores).map(Party::Store)),
    }
    others
}

/// Longer than a takeover takes, and its deliveries.
fn long_enough() -> Span {
    "takeover + 4 polls"
        .parse()
        .unwrap_or(Span::nanoseconds(BACK / 2))
}

/// Numbers the passages of phases on links, from 1 each: the points of a
/// sweep over phases.
#[must_use]
pub fn phases(scenario: &Scenario, passages: impl Iterator<Item = (Link, String)>) -> Vec<Trigger> {
    let wanted = scenario.sweep.as_ref().map_or(&[][..], |s| &s.links);
    let mut counts: BTreeMap<(Link, String), u32> = BTreeMap::new();
    let mut points = Vec::new();
    for (link, phase) in passages {
        let nth = counts.entry((link, phase.clone())).or_default();
        *nth += 1;
        if wanted.is_empty() || wanted.contains(&link) {
            let nth = *nth;
            points.push(Trigger::Point(Point { link, phase, nth }));
        }
    }
    points
}

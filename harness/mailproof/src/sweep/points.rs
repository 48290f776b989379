//! The points of a sweep: found by a run without a fault.

use mailproof_engine::sim::{OpCounts, Trial, TrialOptions, trial};
use mailproof_model::event::{At, Event, Fault, Stage, What};
use mailproof_model::history::Reader;
use mailproof_model::party::Party;
use mailproof_model::plan::Plan;
use mailproof_model::scenario::{
    Back, DiskPoint, Faults, NodeFault, OpKind, Over, Pick, Scenario, Step, Trigger,
};
use mailproof_model::sweep::{phases, recording};
use mailproof_model::target::TargetFile;
use mailproof_model::verdict::Verdict;

/// The id of every run: as long as that of a stored run, so that messages
/// have the size that they have there.
pub(super) const RUN: &str = "sim-0000000000000000";

/// Polls after the last mail up to which there are points: what is left to
/// tell between nodes has been told by then, and from there on everything
/// repeats itself.
pub(super) const POLLS: u64 = 3;

/// Everything a trial can keep that sweeps look at.
pub(super) const KEEP: TrialOptions = TrialOptions {
    history: true,
    passages: true,
};

/// Finds the points, in the order in which they come.
///
/// # Errors
/// Why there are none: the run without a fault cannot be made, or does not
/// pass.
pub(super) fn points(
    scenario: &Scenario,
    target: &TargetFile,
    seed: u64,
) -> Result<Vec<Trigger>, (Verdict, String)> {
    let plain = recording(scenario);
    let plan = Plan::build(&plain, target, "sim", seed, RUN)
        .map_err(|why| (Verdict::NotApplicable, why.to_string()))?;
    let recorded = trial(&plan, target, KEEP).map_err(|why| (Verdict::Error, why.to_string()))?;
    let judgement = &recorded.judgement;
    if judgement.verdict != Verdict::Pass {
        let why = format!("the run without a fault: {}", judgement.reason);
        return Err((judgement.verdict, why));
    }
    let (begins, rests) = span(&recorded);
    let until = rests.saturating_add(POLLS.saturating_mul(plan.time("poll")));
    let Some(sweep) = &scenario.sweep else {
        return Ok(Vec::new());
    };
    let found = match sweep.over {
        Over::SmtpPhase => phases(
            scenario,
            recorded
                .passages
                .iter()
                .filter(|p| p.event > begins && p.at <= until)
                .map(|p| (p.link, p.phase.to_string())),
        ),
        Over::Event => {
            let reached = |number| {
                let at = Trigger::Event(number);
                reached(&plain, target, seed, Party::Node(1), at, until)
            };
            let last = last(recorded.prelude, recorded.happenings, &reached);
            (recorded.prelude + 1..=last).map(Trigger::Event).collect()
        }
        Over::DiskOp => disk(
            &plain,
            sweep.nodes.as_slice(),
            target,
            seed,
            &recorded,
            until,
        ),
    };
    if found.is_empty() {
        return Err((Verdict::Inconclusive, "there is not one point".to_owned()));
    }
    Ok(found)
}

/// The operations of the disks, disk by disk.
fn disk(
    plain: &Scenario,
    nodes: &[Party],
    target: &TargetFile,
    seed: u64,
    recorded: &Trial,
    until: At,
) -> Vec<Trigger> {
    let mut points = Vec::new();
    for (disk, ops) in &recorded.disk_ops {
        if !nodes.is_empty() && !nodes.contains(disk) {
            continue;
        }
        let at = |nth| {
            Trigger::Disk(DiskPoint {
                disk: *disk,
                op: OpKind::Any,
                nth,
            })
        };
        let count = |counts: &OpCounts| counts.get(&OpKind::Any).copied().unwrap_or(0);
        let before = count(&ops.before);
        let most = count(&ops.total).max(before);
        let reached = |nth| reached(plain, target, seed, *disk, at(nth), until);
        points.extend((before + 1..=last(before, most, &reached)).map(at));
    }
    points
}

/// The last number above `none` that is reached, if there is one; whoever is
/// reached, all before it are.
fn last(none: u64, most: u64, reached: &dyn Fn(u64) -> bool) -> u64 {
    let (mut yes, mut no) = (none, most + 1);
    while no - yes > 1 {
        let middle = yes + (no - yes) / 2;
        if reached(middle) {
            yes = middle;
        } else {
            no = middle;
        }
    }
    yes
}

/// Whether a fault at a point acts, and not later than `until`.
fn reached(
    plain: &Scenario,
    target: &TargetFile,
    seed: u64,
    node: Party,
    at: Trigger,
    until: At,
) -> bool {
    let mut scenario = plain.clone();
    scenario.steps = vec![Step::Crash(NodeFault {
        node: Pick::Node(node),
        at,
        back: Back::Same,
        after: None,
    })];
    scenario.expect.faults = Faults::Any;
    let Ok(plan) = Plan::build(&scenario, target, "sim", seed, RUN) else {
        return false;
    };
    let fired = trial(&plan, target, KEEP).map(|trial| fired(&trial));
    fired.is_ok_and(|fired| fired.iter().any(|(_, at)| *at <= until))
}

/// The first event after which steps act, and when the mail had come to rest.
fn span(trial: &Trial) -> (u64, At) {
    let (mut begins, mut rests) = (0, trial.lasted);
    events(trial, &mut |event| match event.ev {
        What::Ready { life: 1, .. } => begins = event.id,
        What::Quiet { since, .. } => rests = since,
        _ => {}
    });
    (begins, rests)
}

/// Which faults acted, and when.
pub(super) fn fired(trial: &Trial) -> Vec<(Fault, At)> {
    let mut fired = Vec::new();
    events(trial, &mut |event| {
        if let What::Fault {
            fault,
            stage: Stage::Fired,
            ..
        } = event.ev
        {
            fired.push((fault, event.at));
        }
    });
    fired
}

fn events(trial: &Trial, see: &mut dyn FnMut(&Event)) {
    if let Ok(mut reader) = Reader::new(&trial.history[..]) {
        while let Ok(Some(event)) = reader.next_event() {
            see(&event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_point_is_found() {
        for edge in [5, 6, 7, 42, 99, 100] {
            assert_eq!(last(5, 100, &|n| n <= edge), edge);
        }
        assert_eq!(last(5, 5, &|_| true), 5);
    }
}

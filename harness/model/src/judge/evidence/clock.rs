//! Clocks: that they were seen to jump and to drift, by reading them against
//! the run's own, and that they were set right again.

use super::{Proof, node};
use crate::ledger::{Ledger, Mark, Reading};
use crate::party::{Party, Witness};
use crate::plan::Plan;
use crate::scenario::{ClockFault, Drift};
use crate::verdict::EvidenceKind;

/// How far a jump may be off, in nanoseconds: wall clocks are read in whole
/// milliseconds.
const JUMP: i128 = 2_000_000;

/// The evidence of wrong clocks that fired.
pub(super) fn wrong(
    proof: &mut Proof,
    plan: &Plan,
    ledger: &Ledger,
    label: &str,
    n: u32,
    fault: &ClockFault,
) {
    let Some(receipts) = ledger.faults.get(&n) else {
        return;
    };
    let (Some(fired), removed) = (receipts.fired.first().map(|f| f.mark), receipts.removed) else {
        return;
    };
    let Some(node) = ledger
        .clocks
        .iter()
        .find(|r| r.fault == Some(n))
        .map(|r| r.node)
    else {
        proof.lack(format!("{label}: the kernel read no clock for it"));
        return;
    };
    let readings: Vec<&Reading> = ledger.clocks.iter().filter(|r| r.node == node).collect();
    let mut effect = |seen: Option<Mark>, what: String| match seen {
        Some(mark) => proof.add(
            EvidenceKind::FaultEffect,
            Witness::Kernel,
            mark,
            format!("{label}: {what}"),
        ),
        None => proof.lack(format!("{label}: it was not seen that {what}")),
    };
    let back = fault.lasts.is_some();
    if let Some(offset) = &fault.offset {
        let by = i128::from(offset.resolve(&plan.times).unwrap_or(0));
        let seen = jumped(&readings, fired, by);
        effect(seen, format!("the wall clock of {node} jumped by {offset}"));
        if back {
            let seen = removed.and_then(|r| jumped(&readings, r, -by));
            effect(seen, format!("the wall clock of {node} was set right"));
        }
    }
    let ppm = i128::from(fault.drift.map_or(0, Drift::ppm));
    if ppm != 0 {
        let end = removed.map_or(u64::MAX, |r| r.id);
        let before = gain(&readings, 0, fired.id);
        let during = gain(&readings, fired.id, end);
        let seen = before.zip(during).and_then(|(b, d)| drifts(b, d, ppm, ppm));
        effect(
            seen,
            format!("the monotonic clock of {node} drifted by {ppm} ppm"),
        );
        if back {
            let after = removed.and_then(|r| gain(&readings, r.id, u64::MAX));
            let seen = before.zip(after).and_then(|(b, a)| drifts(b, a, 0, ppm));
            effect(seen, format!("the monotonic clock of {node} was set right"));
        }
    }
    under_way(proof, ledger, label, node, fired);
}

fn under_way(proof: &mut Proof, ledger: &Ledger, label: &str, node: Party, at: Mark) {
    node::in_flight(proof, ledger, label, node, at);
}

/// The first reading after a moment, if the wall clock had jumped by that much
/// against the run's since the last one before.
fn jumped(readings: &[&Reading], at: Mark, by: i128) -> Option<Mark> {
    let before = readings.iter().rfind(|r| r.mark.id < at.id)?;
    let after = readings.iter().find(|r| r.mark.id > at.id)?;
    let wall = (i128::from(after.wall) - i128::from(before.wall)) * 1_000_000;
    let time = i128::from(after.mark.at) - i128::from(before.mark.at);
    ((wall - time - by).abs() <= JUMP).then_some(after.mark)
}

/// What a monotonic clock gained on the run's.
#[derive(Clone, Copy)]
struct Gain {
    by: i128,
    /// Within how many nanoseconds; above 0.
    time: i128,
    last: Mark,
}

/// The gain between the first and the last reading of one life after an event
/// and before another: of the life that it is known of for the longest time.
fn gain(readings: &[&Reading], after: u64, before: u64) -> Option<Gain> {
    let within = |r: &&&Reading| (after == 0 || r.mark.id > after) && r.mark.id < before;
    let mut best: Option<Gain> = None;
    for first in readings.iter().filter(within) {
        let last = readings
            .iter()
            .filter(within)
            .rfind(|r| r.life == first.life)?;
        let time = i128::from(last.mark.at) - i128::from(first.mark.at);
        let mono = i128::from(last.mono) - i128::from(first.mono);
        if time > 0 && best.is_none_or(|b| time > b.time) {
            best = Some(Gain {
                by: mono - time,
                time,
                last: last.mark,
            });
        }
    }
    best
}

/// Whether the clock gained as much more than before as `ppm` makes it, and a
/// drift of `scale` could be told from none in that time.
fn drifts(before: Gain, now: Gain, ppm: i128, scale: i128) -> Option<Mark> {
    let slack = scale.abs() * now.time / 10_000_000 + 2 * (now.time / before.time + 1);
    let expected =
        (before.by * now.time).div_euclid(before.time) + (ppm * now.time).div_euclid(1_000_000);
    let told = scale.abs() * now.time / 1_000_000 > slack;
    (told && (now.by - expected).abs() <= slack).then_some(now.last)
}

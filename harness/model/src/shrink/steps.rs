//! Fewer steps.

use super::{Seen, sketch::Sketch};
use crate::scenario::{LinkAct, Scenario, Step, Trigger};

/// One fault alone, two alone, halves left out, single steps left out; each
/// with the waits and without them. A hold and the fault that follows it
/// become one: a fault at that point.
pub(super) fn fewer(best: &Scenario, _: &Seen) -> Vec<Scenario> {
    let steps = &best.steps;
    let faults: Vec<usize> = (0..steps.len())
        .filter(|at| !is_wait(&steps[*at]))
        .collect();
    let mut plans: Vec<Vec<Step>> = Vec::new();
    let mut keep = |kept: &[usize]| {
        let whole = |at: usize| kept.contains(&at) || is_wait(&steps[at]);
        for wanted in [&|at| kept.contains(&at), &whole as &dyn Fn(usize) -> bool] {
            let plan = (0..steps.len()).filter(|at| wanted(*at));
            plans.push(plan.map(|at| steps[at].clone()).collect());
        }
    };
    if faults.len() > 1 {
        for at in &faults {
            keep(&[*at]);
        }
    }
    let merged = merged(steps);
    if (3..=12).contains(&faults.len()) {
        for (n, a) in faults.iter().enumerate() {
            for b in &faults[n + 1..] {
                keep(&[*a, *b]);
            }
        }
    }
    let mut part = faults.len() / 2;
    while part > 0 && faults.len() > 2 {
        for from in (0..faults.len()).step_by(part) {
            let left: Vec<usize> = (0..faults.len())
                .filter(|n| !(from..from + part).contains(n))
                .map(|n| faults[n])
                .collect();
            keep(&left);
        }
        part /= 2;
    }
    plans.extend(merged);
    for at in (0..steps.len()).rev() {
        let mut plan = steps.clone();
        plan.remove(at);
        plans.push(plan);
    }
    plans
        .into_iter()
        .map(|steps| Scenario {
            steps,
            ..best.clone()
        })
        .collect()
}

/// Every plan in which a node's fault takes the place of a hold before it.
fn merged(steps: &[Step]) -> Vec<Vec<Step>> {
    let mut plans = Vec::new();
    for (from, step) in steps.iter().enumerate() {
        let Step::Link(hold) = step else { continue };
        let (LinkAct::Hold, at @ Trigger::Point(_)) = (&hold.act, &hold.at) else {
            continue;
        };
        for to in from + 1..steps.len() {
            let sketch = Sketch::of(&steps[to]);
            if sketch.node().is_none() {
                continue;
            }
            let Some(fault) = sketch.with_at(at).step() else {
                continue;
            };
            let mut plan = steps.to_vec();
            plan[to] = fault;
            plan.remove(from);
            plans.push(plan);
        }
    }
    plans
}

fn is_wait(step: &Step) -> bool {
    matches!(step, Step::Wait(_))
}

//! The same faults, said more simply: at a point, to a named node, of a
//! plainer kind.

use serde_json::Value;

use super::sketch::Sketch;
use super::{Seen, count};
use crate::party::Party;
use crate::scenario::{Pick, Scenario, Step, Trigger, lint, write};

/// Points on a link in the place of times and shares of the workload, the
/// nearest to where the step acted first.
pub(super) fn holds(best: &Scenario, seen: &Seen) -> Vec<Scenario> {
    let mut found = Vec::new();
    for (n, step) in (0_u32..).zip(&best.steps) {
        let sketch = Sketch::of(step);
        if !matches!(sketch.at(), Some(at) if !matches!(at, Trigger::Point(_))) {
            continue;
        }
        let mut sketches = vec![sketch.clone()];
        if let Some(node) = seen.choices.get(&n) {
            sketches.insert(0, sketch.with_node(*node));
        }
        for point in seen.points.get(&n).map_or(&[][..], Vec::as_slice) {
            for sketch in &sketches {
                let at = Trigger::Point(point.clone());
                found.extend(replaced(best, n, sketch.clone().with_at(&at)));
            }
        }
    }
    found
}

/// The scenario with a fault at another point, near the one at which it
/// acted; every file among them is sound if the scenario's is.
#[must_use]
pub fn elsewhere(scenario: &Scenario, seen: &Seen) -> Vec<Scenario> {
    let sound = |s: &Scenario| write(s).is_ok_and(|text| lint("shrunk.toml", &text).is_ok());
    let wanted = sound(scenario);
    let mut found = Vec::new();
    for (n, step) in (0_u32..).zip(&scenario.steps) {
        let sketch = Sketch::of(step);
        if sketch.node().is_none() || !matches!(sketch.at(), Some(Trigger::Point(_))) {
            continue;
        }
        for point in seen.points.get(&n).map_or(&[][..], Vec::as_slice) {
            let at = Trigger::Point(point.clone());
            let other = replaced(scenario, n, sketch.clone().with_at(&at));
            found.extend(other.filter(|s| s != scenario && (!wanted || sound(s))));
        }
    }
    found
}

/// Plainer steps, one change at a time.
pub(super) fn simpler(best: &Scenario, seen: &Seen) -> Vec<Scenario> {
    let mut found = Vec::new();
    for (n, step) in (0_u32..).zip(&best.steps) {
        let sketch = Sketch::of(step);
        for kind in ["crash", "restart", "node-lost"] {
            if sketch.node().is_none() || sketch.kind() == kind {
                continue;
            }
            let other = sketch.clone().named(kind);
            found.extend(replaced(best, n, other.clone()));
            let other = other.with("for", None).with("after", None);
            found.extend(replaced(best, n, other.clone()));
            let back = Value::String("same".to_owned());
            found.extend(replaced(best, n, other.with("back", Some(back))));
        }
        if !matches!(sketch.node(), None | Some(Pick::Node(_))) {
            let chosen = seen.choices.get(&n).copied();
            let others = (1..=best.cluster.nodes).map(Party::Node);
            for node in chosen.into_iter().chain(others) {
                found.extend(replaced(best, n, sketch.clone().with_node(node)));
            }
        }
        if sketch.get("after").is_some() {
            found.extend(replaced(best, n, sketch.clone().with("after", None)));
        }
        match sketch.at() {
            Some(Trigger::Point(point)) => {
                let below = |k: u32| move |nth: u32| (nth / k).max(1);
                for passage in
                    [&|_| 1, &below(4), &below(2), &|nth: u32| nth - 1] as [&dyn Fn(u32) -> u32; 4]
                {
                    if point.nth > 1 {
                        let step = count::with_nth(step, passage);
                        found.extend(replaced(best, n, Sketch::of(&step)));
                    }
                }
                // A whole link that is broken from the start needs no point.
                if sketch.get("on").is_some() {
                    found.extend(replaced(best, n, sketch.clone().with_at(&Trigger::Start)));
                }
            }
            Some(Trigger::Start) | None => {}
            Some(_) => {
                found.extend(replaced(best, n, sketch.clone().with_at(&Trigger::Start)));
                for at in [Trigger::Accepted(1), Trigger::Accepted(50)] {
                    found.extend(replaced(best, n, sketch.clone().with_at(&at)));
                }
            }
        }
    }
    found
}

/// The scenario with another step in the place of one.
fn replaced(best: &Scenario, n: u32, sketch: Sketch) -> Option<Scenario> {
    let mut scenario = best.clone();
    let step: Step = sketch.step()?;
    *scenario.steps.get_mut(n as usize)? = step;
    Some(scenario)
}

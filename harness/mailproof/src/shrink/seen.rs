//! What the trial of a failing scenario shows of when and where its steps
//! acted.

use std::collections::BTreeMap;

use mailproof_engine::sim::{Passage, Trial};
use mailproof_model::event::{Event, Stage, What};
use mailproof_model::history::Reader;
use mailproof_model::party::{Link, Party, Witness};
use mailproof_model::scenario::Point;
use mailproof_model::shrink::Seen;

/// Passages before and after a fault that are offered as its point.
const BEFORE: usize = 40;
const AFTER: usize = 8;

/// What a step did, by event ids.
#[derive(Default)]
struct Act {
    began: Option<u64>,
    fired: Option<u64>,
    node: Option<Party>,
    link: Option<Link>,
}

/// Reads a trial that kept its history and its passages.
pub(super) fn seen(trial: &Trial) -> Seen {
    let mut acts: BTreeMap<u32, Act> = BTreeMap::new();
    let mut seen = Seen::default();
    let Ok(mut reader) = Reader::new(&trial.history[..]) else {
        return seen;
    };
    while let Ok(Some(event)) = reader.next_event() {
        fold(&event, &mut acts, &mut seen);
    }
    for (step, act) in &acts {
        if let (Some(began), Some(fired)) = (act.began, act.fired) {
            let points = points(&trial.passages, began, fired, act);
            seen.points.insert(*step, points);
        }
    }
    seen
}

fn fold(event: &Event, acts: &mut BTreeMap<u32, Act>, seen: &mut Seen) {
    match &event.ev {
        What::Step { step, .. } => {
            acts.entry(*step).or_default().began.get_or_insert(event.id);
        }
        What::Choice { step, picked, .. } => {
            seen.choices.insert(*step, *picked);
        }
        What::Fault {
            fault,
            stage: Stage::Fired,
            node,
            link,
            ..
        } => {
            let act = acts.entry(*fault).or_default();
            if act.fired.is_none() {
                act.fired = Some(event.id);
                (act.node, act.link) = (*node, *link);
            }
        }
        What::Held { fault, .. } => {
            if let (act, Witness::Link(link)) = (acts.entry(*fault).or_default(), event.by)
                && act.fired.is_none()
            {
                act.fired = Some(event.id);
                act.link = Some(link);
            }
        }
        _ => {}
    }
}

/// The passages around a fault on the links that it touches, the nearest
/// before it first, as points counted from the step's beginning.
fn points(passages: &[Passage], began: u64, fired: u64, act: &Act) -> Vec<Point> {
    let mut counts: BTreeMap<(Link, String), u32> = BTreeMap::new();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for passage in passages.iter().filter(|p| p.event > began) {
        let phase = passage.phase.to_string();
        let nth = counts.entry((passage.link, phase.clone())).or_default();
        *nth += 1;
        let near = match (act.node, act.link) {
            (Some(node), _) => passage.link.touches(node),
            (None, Some(link)) => passage.link == link,
            (None, None) => true,
        };
        if !near {
            continue;
        }
        let point = Point {
            link: passage.link,
            phase,
            nth: *nth,
        };
        if passage.event <= fired {
            before.push(point);
        } else if after.len() < AFTER {
            after.push(point);
        } else {
            break;
        }
    }
    before.into_iter().rev().take(BEFORE).chain(after).collect()
}

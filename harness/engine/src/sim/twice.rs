//! The same plan run twice: whether both runs drew the same and recorded the
//! same, and where they first parted.
//!
//! A simulation is worth what its repetition is worth. What can make two runs
//! of a plan differ is anything but the seed that reaches them: a hash order,
//! the wall clock, a thread, a value that an earlier run left behind.

use std::fmt;

use mailproof_model::event::{At, Event};
use mailproof_model::history::Reader;
use mailproof_model::plan::Plan;
use mailproof_model::target::TargetFile;

use super::trial::{Kept, Trial, trial_into};
use super::{Draw, SimError, SimWorld};

/// What the two runs have at one place; `None` where a run has ended before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sides<T> {
    /// Counted from 0: the number of the draw, the id of the event.
    pub nth: u64,
    /// The first run's.
    pub first: Option<T>,
    /// The second run's.
    pub second: Option<T>,
}

/// Where two runs of one plan differ. At least one member is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Divergence {
    /// The first draw that differs.
    pub draw: Option<Sides<Draw>>,
    /// The first event that differs.
    pub event: Option<Sides<Event>>,
    /// What differs of what came of them, where nothing else does: the
    /// judgement, the marks, or the error that ended a run.
    pub outcome: Option<Sides<String>>,
}

/// Runs a plan twice in memory: what came of the first run, and where the
/// second one differs from it.
///
/// # Errors
/// Both runs failed alike: the plan cannot be simulated, or the harness
/// failed.
pub fn twice(plan: &Plan, target: &TargetFile) -> Result<(Trial, Option<Divergence>), SimError> {
    twice_with(plan, target, &mut |_| {})
}

fn twice_with(
    plan: &Plan,
    target: &TargetFile,
    before: &mut dyn FnMut(&mut SimWorld<Kept<'_>>),
) -> Result<(Trial, Option<Divergence>), SimError> {
    let first = Recording::of(plan, target, before);
    let second = Recording::of(plan, target, before);
    let parted = compare(&first, &second);
    match (first.came, second.came) {
        (Ok(trial), _) => Ok((trial, parted)),
        // The second run is all there is to be judged.
        (Err(_), Ok(trial)) => Ok((trial, parted)),
        (Err(error), Err(_)) => Err(error),
    }
}

/// One run and all that it drew and recorded.
struct Recording {
    came: Result<Trial, SimError>,
    draws: Vec<Draw>,
    history: Vec<u8>,
}

impl Recording {
    fn of(
        plan: &Plan,
        target: &TargetFile,
        before: &mut dyn FnMut(&mut SimWorld<Kept<'_>>),
    ) -> Self {
        let mut history = Vec::new();
        let mut draws = Vec::new();
        let sink = Kept {
            bytes: &mut history,
            keep: true,
        };
        let came = trial_into(
            plan,
            target,
            sink,
            &mut |world| {
                world.rng.keep();
                before(world);
            },
            &mut |world| draws = world.rng.take(),
        );
        Self {
            came,
            draws,
            history,
        }
    }

    /// What came of it, where no draw and no event tells.
    fn outcome(&self) -> String {
        match &self.came {
            Ok(trial) => format!("{:?}, marks {:?}", trial.judgement, trial.marks),
            Err(error) => error.to_string(),
        }
    }
}

/// Where the second of two runs differs from the first.
fn compare(first: &Recording, second: &Recording) -> Option<Divergence> {
    let mut parted = Divergence {
        draw: first_difference(
            first.draws.iter().copied().map(Some),
            second.draws.iter().copied().map(Some),
        ),
        ..Divergence::default()
    };
    if first.history != second.history {
        parted.event = first_difference(events(&first.history), events(&second.history));
    }
    let alike = match (&first.came, &second.came) {
        (Ok(one), Ok(other)) => one.judgement == other.judgement && one.marks == other.marks,
        (Err(one), Err(other)) => one.to_string() == other.to_string(),
        _ => false,
    };
    if parted.draw.is_none() && parted.event.is_none() && !alike {
        parted.outcome = Some(Sides {
            nth: 0,
            first: Some(first.outcome()),
            second: Some(second.outcome()),
        });
    }
    (parted != Divergence::default()).then_some(parted)
}

/// The events of a history, up to where it can be read.
fn events(history: &[u8]) -> impl Iterator<Item = Option<Event>> {
    let mut reader = Reader::new(history).ok();
    std::iter::from_fn(move || reader.as_mut()?.next_event().ok()?.map(Some))
}

fn first_difference<T: PartialEq>(
    mut first: impl Iterator<Item = Option<T>>,
    mut second: impl Iterator<Item = Option<T>>,
) -> Option<Sides<T>> {
    for nth in 0.. {
        let (one, other) = (first.next().flatten(), second.next().flatten());
        if one != other {
            return Some(Sides {
                nth,
                first: one,
                second: other,
            });
        }
        if one.is_none() {
            break;
        }
    }
    None
}

impl Divergence {
    /// When the runs parted, in virtual nanoseconds, as far as a draw or an
    /// event tells.
    #[must_use]
    pub fn at(&self) -> Option<At> {
        let draw = self.draw.as_ref().and_then(|d| d.earliest(|draw| draw.at));
        let event = self.event.as_ref().and_then(|e| e.earliest(|ev| ev.at));
        draw.into_iter().chain(event).min()
    }
}

impl<T> Sides<T> {
    fn earliest(&self, at: impl Fn(&T) -> At) -> Option<At> {
        self.first.iter().chain(&self.second).map(at).min()
    }

    fn show(&self, say: impl Fn(&T) -> String) -> String {
        let side = |side: &Option<T>| side.as_ref().map_or_else(|| "nothing".to_owned(), &say);
        format!("first {}; then {}", side(&self.first), side(&self.second))
    }
}

/// The earlier of draw and event first: what came first is the likelier cause.
impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = Vec::new();
        if let Some(draw) = &self.draw {
            let text = draw.show(|d| format!("{} of {}", d.value, d.below));
            let at = draw.earliest(|d| d.at);
            said.push((at, format!("draw {}{}: {text}", draw.nth, time(at))));
        }
        if let Some(event) = &self.event {
            let text = event.show(|e| serde_json::to_string(e).unwrap_or_else(|e| e.to_string()));
            let at = event.earliest(|e| e.at);
            said.push((at, format!("event {}{}: {text}", event.nth, time(at))));
        }
        if let Some(outcome) = &self.outcome {
            said.push((
                None,
                format!("what came of it: {}", outcome.show(Clone::clone)),
            ));
        }
        said.sort_by_key(|(at, _)| *at);
        let said: Vec<_> = said.into_iter().map(|(_, text)| text).collect();
        f.write_str(&said.join("; and "))
    }
}

fn time(at: Option<At>) -> String {
    at.map_or_else(String::new, |at| {
        format!(" at +{}.{:09} s", at / 1_000_000_000, at % 1_000_000_000)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::tests::plan;
    use super::*;

    const CRASH: &str =
        "[workload]\nmessages = 20\n[[step]]\ncrash = { node = 'n1', at = '30% accepted' }";

    #[test]
    fn a_plan_runs_twice_alike() {
        for seed in 0..20 {
            let (plan, target) = plan(CRASH, seed);
            let (trial, parted) = twice(&plan, &target).unwrap();
            assert_eq!(parted, None);
            let once = super::super::trial(&plan, &target, Default::default()).unwrap();
            assert_eq!(trial.seal, once.seal, "that draws are kept changes nothing");
        }
    }

    #[test]
    fn a_draw_that_differs_is_found_and_named() {
        let (plan, target) = plan(CRASH, 3);
        let mut runs = 0;
        let (_, parted) = twice_with(&plan, &target, &mut |world| {
            runs += 1;
            world.rng.spoiled = (runs == 2).then_some(500);
        })
        .unwrap();
        let parted = parted.expect("a draw differs");
        let draw = parted.draw.as_ref().unwrap();
        assert_eq!(draw.nth, 500);
        let (one, other) = (draw.first.unwrap(), draw.second.unwrap());
        assert_eq!((one.at, one.below), (other.at, other.below));
        assert_eq!((one.value + 1) % one.below, other.value);
        assert_eq!(parted.at(), Some(one.at));
        let text = parted.to_string();
        assert!(text.starts_with("draw 500 at +"), "{text}");
        // What followed from it is told too: both sides of an event.
        let event = parted.event.as_ref().expect("a latency shows in events");
        assert_ne!(event.first, event.second);
        assert!(
            text.contains(&format!("; and event {} at +", event.nth)),
            "{text}"
        );
    }

    #[test]
    fn what_an_earlier_run_left_behind_is_found_though_every_draw_before_is_the_same() {
        // The world is impure: it counts its runs, as a wall clock would, and
        // its disks are the slower for it.
        static RUNS: AtomicU64 = AtomicU64::new(0);
        let (plan, target) = plan(CRASH, 3);
        let (_, parted) = twice_with(&plan, &target, &mut |world| {
            world.settings.sync.0 += 1_000 * RUNS.fetch_add(1, Ordering::Relaxed);
        })
        .unwrap();
        let parted = parted.expect("the second run has slower disks");
        let event = parted.event.as_ref().expect("syncs show in events");
        let (one, other) = (
            event.first.as_ref().unwrap(),
            event.second.as_ref().unwrap(),
        );
        assert_eq!((one.id, other.id), (event.nth, event.nth));
        assert_ne!(one, other);
        let at = one.at.min(other.at);
        assert!(parted.at().is_some_and(|first| first <= at));
        let text = parted.to_string();
        assert!(
            text.contains(&format!("event {} at +", event.nth)),
            "{text}"
        );
        assert!(text.contains(&one.at.to_string()) && text.contains(&other.at.to_string()));
    }

    #[test]
    fn a_run_that_ends_early_differs_at_its_end() {
        let sides = first_difference([1, 2].into_iter().map(Some), [1].into_iter().map(Some));
        let due = Sides {
            nth: 1,
            first: Some(2),
            second: None,
        };
        assert_eq!(sides, Some(due));
        assert_eq!(
            first_difference([7].into_iter().map(Some), [7].into_iter().map(Some)),
            None
        );
    }
}

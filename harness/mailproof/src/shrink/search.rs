//! The search: candidates of the reducer, tried in the simulator.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mailproof_engine::sim::{Trial, TrialOptions, trial};
use mailproof_model::plan::Plan;
use mailproof_model::scenario::Scenario;
use mailproof_model::shrink::{Reducer, Size, elsewhere, reason};
use mailproof_model::target::TargetFile;
use mailproof_model::verdict::Finding;

use super::seen::seen;

/// Seeds that each candidate is tried with: the one that failed last and
/// those after it.
const NEIGHBOURS: u64 = 6;

/// Seeds that say how steadily a scenario fails.
const STEADY: u64 = 12;

/// The id of every trial's run: as long as that of a run, so that messages
/// have the size that they have there.
const RUN: &str = "sim-0000000000000000";

/// How much a search may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Trials in the simulator.
    pub trials: u64,
    /// Time.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            trials: 20_000,
            time: Duration::from_secs(120),
        }
    }
}

/// The smallest failing scenario that was found.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What still fails.
    pub scenario: Scenario,
    /// With this seed.
    pub seed: u64,
    /// The first finding that fails it.
    pub finding: Finding,
    /// How large it is.
    pub size: Size,
    /// How large the first one was.
    pub from: Size,
    /// Trials that it took.
    pub trials: u64,
    /// Time that it took.
    pub took: Duration,
    /// Whether nothing smaller was left to try; otherwise a limit or an
    /// interrupt ended the search.
    pub complete: bool,
}

/// Says what the search is about to do.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// Trials so far.
    pub(crate) trials: u64,
    /// Time so far.
    pub(crate) took: Duration,
    /// The size of the smallest scenario so far.
    pub(crate) size: Size,
    /// Whether it just became smaller.
    pub(crate) smaller: bool,
    /// The seed with which it fails.
    pub(crate) seed: u64,
}

/// A scenario that fails when it is simulated with a seed.
pub(crate) struct Failing {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    trial: Trial,
    finding: Finding,
}

impl Failing {
    /// Why it fails.
    pub(crate) fn finding(&self) -> &Finding {
        &self.finding
    }
}

/// The first of some seeds with which a scenario fails in the simulator, for
/// the given reason if there is one. The scenario that comes back is the one
/// that ran: of a drawn one, what was drawn.
pub(crate) fn failing(
    scenario: &Scenario,
    target: &TargetFile,
    seeds: impl Iterator<Item = u64>,
    kind: Option<&str>,
    stop: &dyn Fn() -> bool,
) -> Option<Failing> {
    for seed in seeds {
        if stop() {
            return None;
        }
        if let Some(failing) = try_one(scenario, target, seed)
            && kind.is_none_or(|kind| failing.finding.kind == kind)
        {
            return Some(failing);
        }
    }
    None
}

/// Shrinks. `stop` ends the search early.
pub(crate) fn shrink(
    failing: Failing,
    target: &TargetFile,
    limits: Limits,
    stop: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(&Progress),
) -> Shrunk {
    let began = Instant::now();
    let mut reducer = Reducer::new(failing.scenario.clone(), seen(&failing.trial));
    let from = reducer.size();
    let mut best = failing;
    let mut trials = 0;
    let mut complete = true;
    'search: while let Some(candidate) = reducer.next_candidate() {
        let candidate = candidate.clone();
        let seeds = (0..NEIGHBOURS).map(|n| best.seed.wrapping_add(n));
        let mut smaller = false;
        for seed in seeds {
            if stop() || trials >= limits.trials || began.elapsed() >= limits.time {
                complete = false;
                break 'search;
            }
            trials += 1;
            let Some(found) = try_one(&candidate, target, seed) else {
                continue;
            };
            if found.finding.kind == best.finding.kind {
                reducer.fails(seen(&found.trial));
                best = found;
                smaller = true;
                break;
            }
        }
        progress(&Progress {
            trials,
            took: began.elapsed(),
            size: reducer.size(),
            smaller,
            seed: best.seed,
        });
    }
    let spent = |trials: u64| trials >= limits.trials || began.elapsed() >= limits.time;
    best = steadier(best, target, &mut trials, &|n| stop() || spent(n));
    Shrunk {
        scenario: best.scenario,
        seed: best.seed,
        finding: best.finding,
        size: reducer.size(),
        from,
        trials,
        took: began.elapsed(),
        complete,
    }
}

/// The same faults at the points near by with which most seeds fail: what
/// depends least on chance here depends least on it on another engine.
fn steadier(
    best: Failing,
    target: &TargetFile,
    trials: &mut u64,
    stop: &dyn Fn(u64) -> bool,
) -> Failing {
    let seen = seen(&best.trial);
    let mut others = vec![best.scenario.clone()];
    others.extend(elsewhere(&best.scenario, &seen));
    let (mut found, mut most) = (best, 0);
    for scenario in others {
        let (mut first, mut failed) = (None, 0);
        for n in 0..STEADY {
            if stop(*trials) {
                return found;
            }
            *trials += 1;
            let seed = found.seed.wrapping_add(n);
            if let Some(again) = try_one(&scenario, target, seed)
                && again.finding.kind == found.finding.kind
            {
                failed += 1;
                first.get_or_insert(again);
            }
            // It cannot become the best any more.
            if failed + (STEADY - 1 - n) <= most {
                break;
            }
        }
        if let (Some(first), true) = (first, failed > most) {
            (found, most) = (first, failed);
        }
        if most == STEADY {
            break;
        }
    }
    found
}

/// A trial of a scenario; `None` when it does not fail, or cannot be run.
fn try_one(scenario: &Scenario, target: &TargetFile, seed: u64) -> Option<Failing> {
    let plan = Plan::build(scenario, target, "sim", seed, RUN).ok()?;
    let options = TrialOptions {
        history: true,
        passages: true,
    };
    // A candidate that brings the harness down is another failure.
    let ran = catch_unwind(AssertUnwindSafe(|| trial(&plan, target, options)));
    let trial = ran.ok()?.ok()?;
    let kind = reason(&trial.judgement)?.to_owned();
    let fails = |f: &&Finding| f.fails && f.kind == kind;
    let finding = trial.judgement.findings.iter().find(fails)?.clone();
    Some(Failing {
        scenario: plan.scenario,
        seed,
        trial,
        finding,
    })
}

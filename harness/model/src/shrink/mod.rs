//! Shrinking: from a scenario that fails to the smallest one that still fails
//! for the same reason.
//!
//! Nothing is run here. A [`Reducer`] proposes one candidate after another,
//! the biggest cuts first, and is told of each whether it still fails; what
//! fails becomes the scenario that the next cuts are made of. Every candidate
//! is smaller than the one it was made of ([`Size`]), so that this ends.
//!
//! *For the same reason* means: the verdict is FAIL, and the first finding
//! that fails the run is of the same kind ([`reason`]). A smaller scenario
//! may get there by another way; the caller holds the result against a
//! healthy target where there is one.

mod count;
mod plan;
mod size;
mod sketch;
mod steps;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::party::Party;
use crate::scenario::{Point, Scenario, lint, write};
use crate::verdict::{Judgement, Verdict};

pub use plan::elsewhere;
pub use size::Size;

/// Why a run fails: the kind of its first finding that fails it; `None` for
/// any other verdict.
#[must_use]
pub fn reason(judgement: &Judgement) -> Option<&str> {
    if judgement.verdict != Verdict::Fail {
        return None;
    }
    let first = judgement.findings.iter().find(|finding| finding.fails)?;
    Some(&first.kind)
}

/// What was seen in the run of a scenario that helps to say the same more
/// exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The node that each step hit, where that was chosen late.
    pub choices: BTreeMap<u32, Party>,
    /// For each step that acted, points at which it could have been armed to
    /// act there and then, the nearest first; passages are counted from the
    /// beginning of the step.
    pub points: BTreeMap<u32, Vec<Point>>,
}

/// One thing to try on the best scenario so far.
type Cut = fn(&Scenario, &Seen) -> Vec<Scenario>;

/// What is tried, in this order, again and again until nothing gets smaller.
const CUTS: [Cut; 8] = [
    steps::fewer,
    count::messages,
    count::nodes,
    count::recipients,
    count::sessions,
    plan::holds,
    plan::simpler,
    count::rest,
];

/// Proposes smaller scenarios. See the module.
#[derive(Clone, Debug)]
pub struct Reducer {
    best: Scenario,
    seen: Seen,
    size: Size,
    cut: usize,
    coming: VecDeque<Scenario>,
    proposed: Option<Scenario>,
    /// What was proposed already, as written.
    tried: BTreeSet<String>,
    /// Whether anything got smaller since the first cut was last begun.
    progress: bool,
    /// Whether candidates must be sound files; a scenario that is not cannot
    /// ask that of them.
    sound: bool,
}

impl Reducer {
    /// For a scenario that fails; `seen` is of the run in which it did.
    #[must_use]
    pub fn new(scenario: Scenario, seen: Seen) -> Self {
        let sound = write(&scenario).is_ok_and(|text| lint("shrunk.toml", &text).is_ok());
        let mut reducer = Self {
            size: Size::of(&scenario),
            best: scenario,
            seen,
            cut: 0,
            coming: VecDeque::new(),
            proposed: None,
            tried: BTreeSet::new(),
            progress: false,
            sound,
        };
        reducer.propose();
        reducer
    }

    /// The smallest scenario so far that fails.
    #[must_use]
    pub fn best(&self) -> &Scenario {
        &self.best
    }

    /// Its size.
    #[must_use]
    pub fn size(&self) -> Size {
        self.size
    }

    /// The next candidate; `None` when nothing smaller is left to try.
    pub fn next_candidate(&mut self) -> Option<&Scenario> {
        self.proposed = None;
        loop {
            while let Some(candidate) = self.coming.pop_front() {
                if self.worth(&candidate) {
                    self.proposed = Some(candidate);
                    return self.proposed.as_ref();
                }
            }
            self.cut += 1;
            if self.cut == CUTS.len() {
                if !std::mem::take(&mut self.progress) {
                    // Nothing more is proposed, however often it is asked.
                    self.cut = CUTS.len() - 1;
                    return None;
                }
                self.cut = 0;
            }
            self.propose();
        }
    }

    /// The last candidate still fails for the same reason; `seen` is of the
    /// run in which it did.
    pub fn fails(&mut self, seen: Seen) {
        let Some(candidate) = self.proposed.take() else {
            return;
        };
        self.size = Size::of(&candidate);
        self.best = candidate;
        self.seen = seen;
        self.progress = true;
        self.propose();
    }

    fn propose(&mut self) {
        self.coming = CUTS[self.cut](&self.best, &self.seen).into();
    }

    /// Whether a candidate is smaller, sound and new.
    fn worth(&mut self, candidate: &Scenario) -> bool {
        if Size::of(candidate) >= self.size {
            return false;
        }
        let Ok(text) = write(candidate) else {
            return false;
        };
        if self.tried.contains(&text) || (self.sound && lint("shrunk.toml", &text).is_err()) {
            return false;
        }
        self.tried.insert(text)
    }
}

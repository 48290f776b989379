//! What came of the cases of a sweep, and what that amounts to.

use std::collections::BTreeMap;

use mailproof_model::scenario::SweepAct;
use mailproof_model::sweep::Standing;
use mailproof_model::verdict::Verdict;
use serde::Serialize;

/// What came of one case.
#[derive(Clone, Debug)]
pub(super) struct Came {
    pub(super) standing: Standing,
    /// Whether each of its faults acted.
    pub(super) reached: Reached,
    /// Why the run ended as it did.
    pub(super) reason: String,
    /// The kind of its first failing finding.
    pub(super) kind: Option<String>,
}

/// Whether the points of a case came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// All of them.
    All,
    /// The first of two: it changed what came after.
    First,
    /// No: the run had fewer passages of that phase than the one that found
    /// the points; so many.
    Gone(u32),
    /// No: no operation that the act can hit came after the point.
    Spared,
    /// No, and nothing says why.
    No,
}

/// Counts over the cases of one act, or of pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) cases: u64,
    pub(super) ran: u64,
    pub(super) reached: u64,
    /// Explained: the point did not come in that run.
    pub(super) gone: u64,
    /// Of pairs: only the first acted.
    pub(super) first_only: u64,
    pub(super) passed: u64,
    pub(super) sound: u64,
    pub(super) outside_claim: u64,
    pub(super) unproved: u64,
    pub(super) failed: u64,
    pub(super) errors: u64,
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) by: BTreeMap<String, Counts>,
    /// The first few cases that are neither passed nor sound, or whose point
    /// did not come without a reason: number, what, why.
    pub(super) odd: Vec<(u32, String, String)>,
}

/// Odd cases that are told one by one.
const FEW: usize = 20;

/// The word for pairs among the acts.
const PAIRS: &str = "pairs";

impl Tally {
    /// A case that is there, whether or not it will be run.
    pub(super) fn exists(&mut self, acts: &[SweepAct]) {
        self.of(acts).cases += 1;
    }

    fn of(&mut self, acts: &[SweepAct]) -> &mut Counts {
        let name = match acts {
            [act] => act.to_string(),
            _ => PAIRS.to_owned(),
        };
        self.by.entry(name).or_default()
    }

    pub(super) fn add(&mut self, number: u32, what: &str, acts: &[SweepAct], came: &Came) {
        let counts = self.of(acts);
        counts.ran += 1;
        match &came.reached {
            Reached::All => counts.reached += 1,
            Reached::First => counts.first_only += 1,
            Reached::Gone(_) | Reached::Spared => counts.gone += 1,
            Reached::No => {}
        }
        match &came.standing {
            Standing::Full => counts.passed += 1,
            Standing::Sound => counts.sound += 1,
            Standing::Outside => counts.outside_claim += 1,
            Standing::Unproved(_) => counts.unproved += 1,
            Standing::Failed(Verdict::Fail) => counts.failed += 1,
            Standing::Failed(_) => counts.errors += 1,
        }
        let odd = match (&came.standing, &came.reached) {
            (Standing::Failed(verdict), _) => Some(format!("{verdict}: {}", came.reason)),
            (Standing::Unproved(why), _) => Some(format!("INCONCLUSIVE: {why}")),
            (Standing::Outside, _) if acts.len() == 1 => {
                Some(format!("OUTSIDE-CLAIM: {}", came.reason))
            }
            (_, Reached::No) => Some("its point never came".to_owned()),
            (_, Reached::Gone(there)) => {
                Some(format!("its run had only {there} passages of that phase"))
            }
            _ => None,
        };
        if let Some(why) = odd
            && self.odd.len() < FEW
        {
            self.odd.push((number, what.to_owned(), why));
        }
    }

    /// The sum over all acts.
    pub(super) fn sum(&self) -> Counts {
        self.by.values().fold(Counts::default(), |a, b| Counts {
            cases: a.cases + b.cases,
            ran: a.ran + b.ran,
            reached: a.reached + b.reached,
            gone: a.gone + b.gone,
            first_only: a.first_only + b.first_only,
            passed: a.passed + b.passed,
            sound: a.sound + b.sound,
            outside_claim: a.outside_claim + b.outside_claim,
            unproved: a.unproved + b.unproved,
            failed: a.failed + b.failed,
            errors: a.errors + b.errors,
        })
    }

    /// The verdict over the sweep, and why.
    pub(super) fn verdict(&self) -> (Verdict, String) {
        let sum = self.sum();
        if sum.failed > 0 {
            return (Verdict::Fail, format!("{} cases fail", sum.failed));
        }
        if sum.errors > 0 {
            return (
                Verdict::Error,
                format!("the harness failed in {} cases", sum.errors),
            );
        }
        let mut lacks = Vec::new();
        if sum.ran < sum.cases {
            lacks.push(format!("{} cases did not run", sum.cases - sum.ran));
        }
        if sum.unproved > 0 {
            lacks.push(format!("{} cases prove nothing", sum.unproved));
        }
        for (name, counts) in &self.by {
            let came = counts.reached + counts.gone + counts.first_only;
            if counts.ran > came {
                lacks.push(format!(
                    "{name}: {} points never came, and nothing says why",
                    counts.ran - came
                ));
            }
            if name != PAIRS && counts.outside_claim > 0 {
                lacks.push(format!("{name}: beyond what the target claims"));
            }
            if counts.passed == 0 && counts.cases > 0 {
                lacks.push(format!("{name}: not one case has all of its evidence"));
            }
        }
        if sum.ran == 0 {
            lacks.push("nothing ran".to_owned());
        }
        if lacks.is_empty() {
            (Verdict::Pass, "no case fails".to_owned())
        } else {
            (Verdict::Inconclusive, lacks.join("; "))
        }
    }

    /// Whether every single point with every act ran and acted.
    pub(super) fn exhaustive(&self) -> bool {
        let mut single = self.by.iter().filter(|(name, _)| *name != PAIRS).peekable();
        single.peek().is_some() && single.all(|(_, c)| c.cases == c.ran && c.ran == c.reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn came(standing: Standing, reached: Reached) -> Came {
        Came {
            standing,
            reached,
            reason: "r".to_owned(),
            kind: None,
        }
    }

    fn verdict(cases: &[(SweepAct, Standing, Reached)], more: &[SweepAct]) -> (Verdict, bool) {
        let mut tally = Tally::default();
        for (n, (act, standing, reached)) in (1..).zip(cases) {
            tally.exists(&[*act]);
            let came = came(standing.clone(), reached.clone());
            tally.add(n, "what", &[*act], &came);
        }
        for act in more {
            tally.exists(&[*act]);
        }
        (tally.verdict().0, tally.exhaustive())
    }

    #[test]
    fn a_sweep_passes_only_when_every_point_ran_and_every_act_was_felt() {
        use Reached::{All, Gone, No};
        use Standing::{Full, Outside, Sound, Unproved};
        use SweepAct::{Crash, Reset};
        let full = (Crash, Full, All);
        let sound = (Crash, Sound, All);
        let pass = |cases: &[_]| verdict(cases, &[]);
        assert_eq!(pass(&[full.clone(), sound.clone()]), (Verdict::Pass, true));
        assert_eq!(pass(std::slice::from_ref(&sound)).0, Verdict::Inconclusive);
        assert_eq!(
            pass(&[full.clone(), (Reset, Sound, All)]).0,
            Verdict::Inconclusive
        );
        assert_eq!(
            pass(&[full.clone(), (Crash, Sound, No)]).0,
            Verdict::Inconclusive
        );
        assert_eq!(
            pass(&[full.clone(), (Crash, Sound, Gone(3))]),
            (Verdict::Pass, false)
        );
        let why = Unproved("w".to_owned());
        assert_eq!(
            pass(&[full.clone(), (Crash, why, All)]).0,
            Verdict::Inconclusive
        );
        assert_eq!(
            pass(&[full.clone(), (Crash, Outside, All)]).0,
            Verdict::Inconclusive
        );
        assert_eq!(
            verdict(std::slice::from_ref(&full), &[Crash]).0,
            Verdict::Inconclusive
        );
        let failed = (Crash, Standing::Failed(Verdict::Fail), All);
        assert_eq!(pass(&[full.clone(), failed]).0, Verdict::Fail);
        let error = (Crash, Standing::Failed(Verdict::Error), All);
        assert_eq!(pass(&[full, error]).0, Verdict::Error);
        assert_eq!(verdict(&[], &[]).0, Verdict::Inconclusive);
    }
}

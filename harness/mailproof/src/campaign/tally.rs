//! What a campaign amounts to: folded from its trials, in whatever order they
//! come.

use std::collections::{BTreeMap, BTreeSet};

use mailproof_model::verdict::Verdict;

use super::results::Differs;
use super::tried::Tried;

/// Of the runs that fail alike so many are kept: those with the lowest seeds.
pub(super) const KEPT_PER_KIND: usize = 5;

/// Of a scenario's inconclusive seeds so many are kept at most, each with a
/// reason of its own.
pub(super) const KEPT_REASONS: usize = 20;

/// A trial: the scenario's number in the campaign, and the seed.
pub(super) type Key = (usize, u64);

/// Sums over trials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Trials.
    pub(super) trials: u64,
    /// By scenario and verdict.
    pub(super) verdicts: BTreeMap<(usize, Verdict), u64>,
    /// What did not pass, by what it has in common.
    pub(super) groups: BTreeMap<(usize, Verdict, String), Group>,
    /// By the mark's name.
    pub(super) marks: BTreeMap<String, Reached>,
    /// Events in all histories.
    pub(super) events: u64,
    /// Virtual nanoseconds in all.
    pub(super) lasted: u128,
    /// Nanoseconds of processor time that all trials took.
    pub(super) took: u128,
    /// The sum of a hash of every trial.
    histories: u128,
    /// Runs that came out otherwise when they were repeated.
    pub(super) differs: BTreeSet<Differs>,
}

/// Trials of one scenario that have verdict and kind in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// How many.
    pub(super) count: u64,
    /// The lowest seeds, and the root of each one's history.
    pub(super) lowest: BTreeMap<u64, Option<String>>,
    /// The one with the fewest events: their number, the seed, the root.
    pub(super) fewest: (u64, u64, Option<String>),
    /// The reason that the lowest seed gives.
    pub(super) reason: String,
}

/// How often a mark was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// In all.
    pub(super) hits: u64,
    /// By how many trials.
    pub(super) trials: u64,
    /// The first one: the lowest seed, of several scenarios the first.
    pub(super) first: (u64, usize),
    /// Its verdict and the root of its history.
    came: (Verdict, Option<String>),
}

/// A run that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keep {
    /// Why, a few words each.
    pub(super) why: Vec<String>,
    /// The verdict of its trial.
    pub(super) verdict: Verdict,
    /// The root of its trial's history, if that was whole and the same twice.
    pub(super) root: Option<String>,
}

impl Tally {
    /// Counts a trial. `id` is that of its scenario.
    pub(super) fn add(&mut self, id: &str, tried: &Tried) {
        self.trials += 1;
        self.events += tried.events;
        self.lasted += u128::from(tried.lasted);
        self.took += u128::from(tried.took);
        self.histories = self.histories.wrapping_add(fingerprint(id, tried));
        *self
            .verdicts
            .entry((tried.scenario, tried.verdict))
            .or_default() += 1;
        if let Some(kind) = &tried.kind {
            let reason = tried.reason.as_deref().unwrap_or_default();
            self.groups
                .entry((tried.scenario, tried.verdict, kind.clone()))
                .and_modify(|group| group.add(tried, reason))
                .or_insert_with(|| Group {
                    count: 1,
                    lowest: BTreeMap::from([(tried.seed, tried.root.clone())]),
                    fewest: (tried.events, tried.seed, tried.root.clone()),
                    reason: reason.to_owned(),
                });
        }
        for (mark, hits) in &tried.marks {
            let first = (tried.seed, tried.scenario);
            let came = (tried.verdict, tried.root.clone());
            let reached = self.marks.entry(mark.clone()).or_insert(Reached {
                hits: 0,
                trials: 0,
                first,
                came: came.clone(),
            });
            reached.hits += hits;
            reached.trials += 1;
            if first < reached.first {
                (reached.first, reached.came) = (first, came);
            }
        }
    }

    /// The verdicts that occurred, over all scenarios.
    pub(super) fn sums(&self) -> BTreeMap<Verdict, u64> {
        let mut sums = BTreeMap::new();
        for ((_, verdict), n) in &self.verdicts {
            *sums.entry(*verdict).or_default() += n;
        }
        sums
    }

    /// A digest of every scenario, seed, verdict and history that was counted:
    /// the same for the same trials, whatever their order and wherever they
    /// were made.
    pub(super) fn histories(&self) -> String {
        format!("{:032x}", self.histories)
    }

    /// The rule of keeping: which trials get a run directory, and why. It
    /// follows from what was tried alone, not from the order.
    ///
    /// - Of the FAILs of a scenario whose first failing finding is of one
    ///   kind, and of its ERRORs with one reason: the [`KEPT_PER_KIND`] with
    ///   the lowest seeds, and the one with the fewest events (of several the
    ///   lowest seed).
    /// - Of its INCONCLUSIVEs with one reason: the lowest seed; not more than
    ///   [`KEPT_REASONS`], those with the lowest seeds.
    /// - The first trial that reached each mark.
    pub(super) fn kept(&self) -> BTreeMap<Key, Keep> {
        let mut kept: BTreeMap<Key, Keep> = BTreeMap::new();
        let mut keep = |key: Key, why: String, verdict: Verdict, root: &Option<String>| {
            let keep = kept.entry(key).or_insert_with(|| Keep {
                why: Vec::new(),
                verdict,
                root: root.clone(),
            });
            keep.why.push(why);
        };
        let mut unclear: BTreeMap<usize, BTreeMap<u64, (&str, &Option<String>)>> = BTreeMap::new();
        for ((scenario, verdict, kind), group) in &self.groups {
            match verdict {
                Verdict::Fail | Verdict::Error => {
                    for (seed, root) in &group.lowest {
                        keep(
                            (*scenario, *seed),
                            format!("{verdict} {kind}"),
                            *verdict,
                            root,
                        );
                    }
                    if group.count > KEPT_PER_KIND as u64 {
                        let (events, seed, root) = &group.fewest;
                        let why = format!("{verdict} {kind}, the fewest events: {events}");
                        keep((*scenario, *seed), why, *verdict, root);
                    }
                }
                Verdict::Inconclusive => {
                    if let Some((seed, root)) = group.lowest.first_key_value() {
                        let of_it = unclear.entry(*scenario).or_default();
                        of_it.insert(*seed, (kind, root));
                    }
                }
                Verdict::Pass | Verdict::NotApplicable | Verdict::OutsideClaim => {}
            }
        }
        for (scenario, reasons) in unclear {
            for (seed, (kind, root)) in reasons.into_iter().take(KEPT_REASONS) {
                let why = format!("INCONCLUSIVE {kind}");
                keep((scenario, seed), why, Verdict::Inconclusive, root);
            }
        }
        for (mark, reached) in &self.marks {
            let (seed, scenario) = reached.first;
            let (verdict, root) = &reached.came;
            let why = format!("first to reach {mark}");
            keep((scenario, seed), why, *verdict, root);
        }
        kept
    }
}

impl Group {
    fn add(&mut self, tried: &Tried, reason: &str) {
        self.count += 1;
        let (events, seed, _) = self.fewest;
        if (tried.events, tried.seed) < (events, seed) {
            self.fewest = (tried.events, tried.seed, tried.root.clone());
        }
        if self
            .lowest
            .keys()
            .next()
            .is_some_and(|first| tried.seed < *first)
        {
            reason.clone_into(&mut self.reason);
        }
        self.lowest.insert(tried.seed, tried.root.clone());
        if self.lowest.len() > KEPT_PER_KIND {
            self.lowest.pop_last();
        }
    }
}

fn fingerprint(id: &str, tried: &Tried) -> u128 {
    let text = format!(
        "{id}\n{}\n{}\n{}\n",
        tried.seed,
        tried.verdict,
        tried.root.as_deref().unwrap_or("-")
    );
    let hash = blake3::hash(text.as_bytes());
    let mut half = [0; 16];
    half.copy_from_slice(&hash.as_bytes()[..16]);
    u128::from_be_bytes(half)
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::{other, passed};
    use super::*;

    fn tally(trials: &[Tried]) -> Tally {
        let mut tally = Tally::default();
        for tried in trials {
            tally.add(["a/b", "c/d"][tried.scenario], tried);
        }
        tally
    }

    fn trials() -> Vec<Tried> {
        let mut trials = Vec::new();
        for seed in 0..40 {
            trials.push(match seed % 4 {
                0 => other(0, seed, Verdict::Fail, "lost", 1_000 - seed),
                1 => other(0, seed, Verdict::Inconclusive, "window", 50),
                2 => other(1, seed, Verdict::Error, "a bug", 10),
                _ => passed(0, seed),
            });
        }
        trials.push(other(0, 77, Verdict::Inconclusive, "effect", 50));
        trials.push(other(0, 78, Verdict::OutsideClaim, "claim", 50));
        for (at, seed) in [(3, 9), (7, 4), (11, 1)] {
            trials[at].marks.insert("rare".to_owned(), seed);
        }
        trials
    }

    #[test]
    fn the_order_of_trials_changes_nothing() {
        let forth = tally(&trials());
        let mut reversed = trials();
        reversed.reverse();
        let back = tally(&reversed);
        assert_eq!(forth, back);
        assert_eq!(forth.kept(), back.kept());
        assert_eq!(forth.trials, 42);
        assert_eq!(forth.sums().values().sum::<u64>(), 42);
        let mut less = trials();
        less.pop();
        assert_ne!(tally(&less).histories(), forth.histories());
        let mut changed = trials();
        changed[3].root = Some("0".repeat(32));
        assert_ne!(tally(&changed).histories(), forth.histories());
    }

    #[test]
    fn what_is_kept_is_what_the_rule_says() {
        let kept = tally(&trials()).kept();
        let seeds = |of: usize| -> Vec<u64> {
            let of_it = kept.keys().filter(|(scenario, _)| *scenario == of);
            of_it.map(|(_, seed)| *seed).collect()
        };
        // FAIL: 0 4 8 12 16, and 36 with the fewest events; INCONCLUSIVE: 1
        // and 77; the mark: 3.
        assert_eq!(seeds(0), [0, 1, 3, 4, 8, 12, 16, 36, 77]);
        // ERROR: five of ten, of which the first has the fewest events too.
        assert_eq!(seeds(1), [2, 6, 10, 14, 18]);
        assert_eq!(kept[&(0, 36)].why, ["FAIL lost, the fewest events: 964"]);
        assert_eq!(kept[&(0, 3)].why, ["first to reach rare"]);
        assert_eq!(kept[&(0, 3)].verdict, Verdict::Pass);
        assert_eq!(kept[&(1, 2)].why.len(), 2);
        for ((_, seed), keep) in &kept {
            assert_eq!(keep.root, Some(format!("{seed:032x}")));
        }
    }

    #[test]
    fn reasons_without_end_do_not_keep_runs_without_end() {
        let trials: Vec<Tried> = (0..100)
            .map(|seed| other(0, seed, Verdict::Inconclusive, &format!("{seed}"), 9))
            .collect();
        let kept = tally(&trials).kept();
        assert_eq!(kept.len(), KEPT_REASONS);
        assert!(kept.keys().all(|(_, seed)| *seed < KEPT_REASONS as u64));
    }

    #[test]
    fn a_merged_tally_keeps_what_its_parts_keep() {
        // Whatever the whole keeps, the part that has it keeps too, so that
        // merging never needs a run that was thrown away.
        let whole = tally(&trials()).kept();
        for of in 1..6 {
            for key in whole.keys() {
                let part: Vec<Tried> = trials()
                    .into_iter()
                    .filter(|t| t.seed % of == key.1 % of)
                    .collect();
                assert!(tally(&part).kept().contains_key(key), "{key:?} of {of}");
            }
        }
    }
}

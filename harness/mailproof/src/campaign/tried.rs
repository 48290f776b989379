//! One seed of one scenario, tried in memory, and what a campaign keeps of it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use mailproof_engine::sim::{SimError, Trial, TrialOptions, trial, twice};
use mailproof_model::drive::DriveError;
use mailproof_model::verdict::{Judgement, Verdict};
use serde::{Deserialize, Serialize};

use crate::job::Job;

/// The kind of an ERROR of `--twice`, and of a kept run that came out
/// otherwise than its trial.
pub(super) const NOT_DETERMINISTIC: &str = "not-deterministic";

/// What came of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tried {
    /// Which scenario of the campaign, counted from 0.
    pub(super) scenario: usize,
    /// Its seed.
    pub(super) seed: u64,
    /// Its verdict.
    pub(super) verdict: Verdict,
    /// What it belongs together with: of a FAIL the kind of its first failing
    /// finding, of an INCONCLUSIVE the first thing that is missing, else its
    /// reason, both without their numbers. Absent in a PASS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<String>,
    /// Why, in one sentence. Absent in a PASS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// Events in its history.
    pub(super) events: u64,
    /// Virtual nanoseconds that it lasted.
    pub(super) lasted: u64,
    /// Nanoseconds of processor time that it took.
    pub(super) took: u64,
    /// The first half of its history's root, hex; absent where there is no
    /// whole history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) root: Option<String>,
    /// How often each mark was reached; those never reached are left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) marks: BTreeMap<String, u64>,
}

impl Tried {
    /// Tries a job in memory; `took` is for the caller to fill in.
    pub(super) fn of(job: &Job, scenario: usize, two: bool) -> Self {
        catch_unwind(AssertUnwindSafe(|| Self::guarded(job, scenario, two))).unwrap_or_else(
            |panic| {
                let what = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no message");
                let reason = format!("a bug in mailproof: {what}");
                Self::unrun(job, scenario, Verdict::Error, reason)
            },
        )
    }

    fn guarded(job: &Job, scenario: usize, two: bool) -> Self {
        let unrun = |verdict, reason| Self::unrun(job, scenario, verdict, reason);
        let plan = match job.plan() {
            Ok(plan) => plan,
            Err((verdict, why)) => return unrun(verdict, why),
        };
        let target = &job.target.file;
        let came = if two {
            twice(&plan, target)
        } else {
            trial(&plan, target, TrialOptions::default()).map(|trial| (trial, None))
        };
        match came {
            Ok((trial, parted)) => {
                let mut tried = Self::judged(job, scenario, &trial);
                if let Some(parted) = parted {
                    tried.verdict = Verdict::Error;
                    // Neither of its histories is the right one.
                    tried.root = None;
                    tried.kind = Some(NOT_DETERMINISTIC.to_owned());
                    tried.reason = Some(format!("run twice, it came out otherwise: {parted}"));
                }
                tried
            }
            Err(SimError::Drive(DriveError::Unavailable(why))) => {
                unrun(Verdict::NotApplicable, why.to_string())
            }
            Err(why) => unrun(Verdict::Error, why.to_string()),
        }
    }

    fn judged(job: &Job, scenario: usize, trial: &Trial) -> Self {
        let judgement = &trial.judgement;
        let passed = judgement.verdict == Verdict::Pass;
        Self {
            scenario,
            seed: job.seed,
            verdict: judgement.verdict,
            kind: (!passed).then(|| kind(judgement)),
            reason: (!passed).then(|| judgement.reason.clone()),
            events: trial.seal.events,
            lasted: trial.lasted,
            took: 0,
            root: Some(short(&trial.seal.root_hex())),
            marks: trial
                .marks
                .iter()
                .filter(|(_, hits)| **hits > 0)
                .map(|(mark, hits)| (mark.name().to_owned(), *hits))
                .collect(),
        }
    }

    fn unrun(job: &Job, scenario: usize, verdict: Verdict, reason: String) -> Self {
        Self {
            scenario,
            seed: job.seed,
            verdict,
            kind: Some(numberless(&reason)),
            reason: Some(reason),
            events: 0,
            lasted: 0,
            took: 0,
            root: None,
            marks: BTreeMap::new(),
        }
    }
}

/// What a judgement that is no PASS belongs together with.
fn kind(judgement: &Judgement) -> String {
    let failing = judgement.findings.iter().find(|finding| finding.fails);
    match (judgement.verdict, failing, judgement.missing.first()) {
        (Verdict::Fail, Some(finding), _) => finding.kind.clone(),
        // What else is missing mostly follows from the first.
        (Verdict::Inconclusive, _, Some(missing)) => numberless(missing),
        _ => numberless(&judgement.reason),
    }
}

/// As much of a root as a campaign keeps: 128 bits.
pub(super) fn short(root: &str) -> String {
    root.get(..32).unwrap_or(root).to_owned()
}

/// A sentence with `N` for every number in it, so that reasons that differ
/// only in message, node or time are one.
fn numberless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if !c.is_ascii_digit() {
            out.push(c);
            continue;
        }
        out.push('N');
        while chars
            .next_if(|c| c.is_ascii_digit())
            .or_else(|| {
                // A point between digits belongs to the number.
                let mut ahead = chars.clone();
                let point = ahead.next() == Some('.');
                let digit = ahead.next().is_some_and(|c| c.is_ascii_digit());
                (point && digit).then(|| chars.next()).flatten()
            })
            .is_some()
        {}
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_do_not_tell_reasons_apart() {
        for (text, due) in [
            ("step 12 never came", "step N never came"),
            ("n1 lost 3 of 40. Then 5.", "nN lost N of N. Then N."),
            ("+0.125 s", "+N s"),
            ("v1.2.3", "vN"),
            ("nothing", "nothing"),
            ("", ""),
        ] {
            assert_eq!(numberless(text), due);
        }
    }
}

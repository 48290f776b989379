//! What the process tells whoever started it.

use std::process::{ExitCode, Termination};

use mailproof_model::verdict::Verdict;

/// The exit codes of the command, and what to do on each.
///
/// Over several runs the first that applies wins, in this order: `Failed`,
/// `Altered`, `Harness`, `Inconclusive`, `Passed`, `Nothing`. Nothing hides a
/// FAIL, and a pass never hides that something could not be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// 0: everything that applied passed, with its evidence.
    Passed = 0,
    /// 1: at least one FAIL. Read its finding; the last line of the report
    /// repeats the run.
    Failed = 1,
    /// 2: the command line, a scenario file, a target file or the output
    /// folder is at fault. Nothing was started.
    Usage = 2,
    /// 3: nothing failed, but something is missing without which a pass would
    /// be empty: a fault without effect, no mail in flight, no quiescence, an
    /// interrupted run. Not a pass; the report says what is missing.
    Inconclusive = 3,
    /// 4: nothing was selected, or all that was selected does not apply to
    /// the target or goes beyond what it claims.
    Nothing = 4,
    /// 70: the harness itself failed; nothing is said about the target.
    Harness = 70,
    /// 71: `check` found a run that was altered after it was sealed.
    Altered = 71,
}

impl Exit {
    /// Every code with the sentence that `--help` and the README give.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Passed, "all that applied passed"),
        (Self::Failed, "at least one FAIL"),
        (
            Self::Usage,
            "wrong command line, scenario, target or output folder; nothing was started",
        ),
        (
            Self::Inconclusive,
            "no FAIL, but evidence is missing: not a pass",
        ),
        (
            Self::Nothing,
            "nothing selected, or nothing that applies to the target and its claims",
        ),
        (Self::Harness, "the harness itself failed"),
        (
            Self::Altered,
            "check: a run was altered after it was sealed",
        ),
    ];

    /// The code of several verdicts, of which some may be missing because
    /// the runs never came about (`interrupted`).
    #[must_use]
    pub fn of(verdicts: &[Verdict], altered: bool, interrupted: bool) -> Self {
        let any = |v: Verdict| verdicts.contains(&v);
        if any(Verdict::Fail) {
            Self::Failed
        } else if altered {
            Self::Altered
        } else if any(Verdict::Error) {
            Self::Harness
        } else if any(Verdict::Inconclusive) || interrupted {
            Self::Inconclusive
        } else if any(Verdict::Pass) {
            Self::Passed
        } else {
            Self::Nothing
        }
    }

    /// Its number.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mailproof_model::verdict::exit_code;

    #[test]
    fn the_first_that_applies_wins() {
        use Verdict::{Error, Fail, Inconclusive, NotApplicable, OutsideClaim, Pass};
        let all = [Pass, NotApplicable, OutsideClaim, Inconclusive, Error, Fail];
        for set in 0u32..1 << all.len() {
            let verdicts: Vec<_> = (0..all.len())
                .filter(|n| set & (1 << n) != 0)
                .map(|n| all[n])
                .collect();
            // The model's table and this one are the same one.
            assert_eq!(
                Exit::of(&verdicts, false, false).code(),
                exit_code(&verdicts),
                "{verdicts:?}"
            );
        }
        assert_eq!(Exit::of(&[Pass], true, false), Exit::Altered);
        assert_eq!(Exit::of(&[Fail], true, true), Exit::Failed);
        assert_eq!(Exit::of(&[Pass], false, true), Exit::Inconclusive);
        assert_eq!(Exit::of(&[], false, true), Exit::Inconclusive);
    }
}

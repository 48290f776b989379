//! What `--format json` writes, one object a line. Described in `JSON.md`.

use std::collections::BTreeMap;

use mailproof_model::plan::Plan;
use mailproof_model::verdict::{Evidence, Finding, Judgement, Verdict};
use serde::Serialize;

/// The name and version of the object of `run` and `check`.
pub(crate) const RUN: &str = "mailproof.run/1";

/// One scenario that was run or checked.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RunLine {
    schema: &'static str,
    scenario: String,
    engine: String,
    target: String,
    seed: u64,
    verdict: Verdict,
    reason: String,
    classes: BTreeMap<&'static str, u64>,
    evidence: Vec<Evidence>,
    missing: Vec<String>,
    remarks: Vec<String>,
    findings: Vec<Finding>,
    seconds: f64,
    dir: Option<String>,
    reproduce: String,
}

impl RunLine {
    /// A scenario that came to a judgement. Everything in it follows from the
    /// history but `dir` and `reproduce`.
    pub(crate) fn judged(plan: &Plan, judgement: &Judgement, dir: &str, reproduce: &str) -> Self {
        Self {
            schema: RUN,
            scenario: plan.scenario.id.clone(),
            engine: plan.engine.clone(),
            target: plan.target.name.clone(),
            seed: plan.seed,
            verdict: judgement.verdict,
            reason: judgement.reason.clone(),
            classes: judgement
                .classes
                .iter()
                .map(|(class, n)| (class.name(), *n))
                .collect(),
            evidence: judgement.evidence.clone(),
            missing: judgement.missing.clone(),
            remarks: judgement.remarks.clone(),
            findings: judgement.findings.clone(),
            seconds: seconds(judgement.lasted),
            dir: Some(dir.to_owned()),
            reproduce: reproduce.to_owned(),
        }
    }

    /// A scenario without a history: it does not apply, or the harness failed
    /// before the run began. What it is called is for the caller to fill in.
    pub(crate) fn unrun(verdict: Verdict, reason: &str, dir: Option<&str>) -> Self {
        Self {
            schema: RUN,
            scenario: String::new(),
            engine: String::new(),
            target: String::new(),
            seed: 0,
            verdict,
            reason: reason.to_owned(),
            classes: BTreeMap::new(),
            evidence: Vec::new(),
            missing: Vec::new(),
            remarks: Vec::new(),
            findings: Vec::new(),
            seconds: 0.0,
            dir: dir.map(str::to_owned),
            reproduce: String::new(),
        }
    }

    /// What was to be run, and the command for it.
    pub(crate) fn of(
        mut self,
        scenario: &str,
        engine: &str,
        target: &str,
        seed: u64,
        reproduce: &str,
    ) -> Self {
        scenario.clone_into(&mut self.scenario);
        engine.clone_into(&mut self.engine);
        target.clone_into(&mut self.target);
        self.seed = seed;
        reproduce.clone_into(&mut self.reproduce);
        self
    }

    /// Lets what `run` alone knows, a failure of the harness, stand over what
    /// the history says.
    pub(crate) fn overrule(&mut self, verdict: Verdict, reason: &str) {
        self.verdict = verdict;
        reason.clone_into(&mut self.reason);
    }

    /// The object as one line.
    pub(crate) fn line(&self) -> String {
        line(self)
    }
}

/// Any of the objects as one line.
pub(crate) fn line(object: &impl Serialize) -> String {
    // Only maps with text keys and finite numbers come here, so this cannot
    // fail; an object that says so is better than a panic.
    serde_json::to_string(object).unwrap_or_else(|e| {
        format!(
            "{{\"schema\":\"mailproof.error/1\",\"error\":{:?}}}",
            e.to_string()
        )
    })
}

/// Nanoseconds as seconds, to the microsecond.
#[allow(clippy::cast_precision_loss)] // a run lasts less than 2^53 microseconds
fn seconds(ns: u64) -> f64 {
    (ns / 1_000) as f64 / 1_000_000.0
}

/// One scenario of `list`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ScenarioLine<'a> {
    /// `mailproof.scenario/1`.
    pub(crate) schema: &'static str,
    /// Its id.
    pub(crate) scenario: &'a str,
    /// One line that a user understands.
    pub(crate) title: &'a str,
    /// The rules a pass is evidence for.
    pub(crate) rules: &'a [String],
    /// Capabilities that the target must have.
    pub(crate) needs: &'a [String],
}

/// One target of `list --targets`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct TargetLine<'a> {
    /// `mailproof.target/1`.
    pub(crate) schema: &'static str,
    /// Its name.
    pub(crate) target: &'a str,
    /// One line for people.
    pub(crate) title: &'a str,
    /// What it can do.
    pub(crate) capabilities: &'a [String],
}

/// What `doctor` found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DoctorLine {
    /// `mailproof.doctor/1`.
    pub(crate) schema: &'static str,
    /// Engines.
    pub(crate) engines: Vec<Ability>,
    /// Faults of the default engine.
    pub(crate) faults: Vec<Ability>,
}

/// One thing that a machine can do or not.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Ability {
    /// Its name.
    pub(crate) name: String,
    /// Whether it can be had here.
    pub(crate) available: bool,
    /// Why, or why not and what would make it so.
    pub(crate) reason: String,
}

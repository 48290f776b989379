//! For those who run scenarios from `cargo test` or a program of their own.

use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use mailproof_engine::sim::{TrialOptions, trial};
use mailproof_model::plan::Plan;
use mailproof_model::planning::Refusal;
use mailproof_model::scenario::Scenario;
use mailproof_model::target::TargetFile;
use mailproof_model::verdict::Judgement;

use crate::cli::Engine;
use crate::context::Extra;
use crate::interrupt::Interrupt;
use crate::job::{Job, Outcome};
use crate::shrink::{self, Limits, Shrunk};
use crate::source::{self, Source};
use crate::sweep::{self, Swept};
use crate::target_choice::{self, Choice};
use crate::{engines, library, main_with};

/// Runs scenarios without a terminal.
///
/// The process engine starts its helpers and its reference nodes from the
/// running program, so a program that uses it must call [`helper`] first.
#[derive(Default)]
pub struct Harness {
    extra: Extra,
    interrupt: Interrupt,
}

impl Harness {
    /// A harness that knows more targets than the carried ones.
    #[must_use]
    pub fn new(extra: Extra) -> Self {
        Self {
            extra,
            interrupt: Interrupt::default(),
        }
    }

    /// A run to come: the carried scenario `scenario` against the target
    /// `target` (by name), with the run directory `dir`, which must be empty
    /// or absent. `disarm` lists the steps whose faults are only pretended.
    ///
    /// # Errors
    /// No such scenario, no such target, or a file that is wrong.
    pub fn job(
        &self,
        scenario: &str,
        target: &str,
        engine: Engine,
        seed: u64,
        disarm: &[u32],
        dir: &Path,
    ) -> Result<Job, String> {
        let carried = library::scenarios()
            .find(|c| c.id == scenario)
            .ok_or_else(|| format!("no scenario is called `{scenario}`"))?;
        let read = source::read(carried.path, carried.text).map_err(first)?;
        Ok(Job {
            source: Arc::new(Source {
                name: read.id.clone(),
                scenario: read,
                text: carried.text.to_owned(),
            }),
            target: Arc::new(self.target(target)?),
            engine,
            seed,
            disarm: disarm.to_vec(),
            dir: dir.to_owned(),
            keep: false,
        })
    }

    /// Shrinks a carried scenario that fails with the target in the simulator
    /// for a reason of one of these kinds: with the first of the seeds that
    /// shows it.
    ///
    /// # Errors
    /// No such scenario, no such target, or no seed with which it fails so.
    pub fn shrink(
        &self,
        scenario: &str,
        target: &str,
        seeds: Range<u64>,
        kinds: &[String],
        limits: Limits,
    ) -> Result<Shrunk, String> {
        let known = library::scenario(scenario)
            .ok_or_else(|| format!("no scenario is called `{scenario}`"))?;
        let target = self.target(target)?.file;
        let stop = || self.interrupt.asked();
        let failing = seeds
            .clone()
            .filter_map(|seed| shrink::failing(known, &target, seed..seed + 1, None, &stop))
            .find(|failing| kinds.contains(&failing.finding().kind))
            .ok_or_else(|| {
                format!(
                    "{scenario} does not fail as {} with any of the seeds {}..{}",
                    kinds.join(" or "),
                    seeds.start,
                    seeds.end
                )
            })?;
        Ok(shrink::search(failing, &target, limits, &stop, &mut |_| {}))
    }

    /// Runs a carried sweep against a named target in memory; `every` takes
    /// only every so many points, `pairs` at most so many pairs.
    ///
    /// # Errors
    /// No such scenario, no such target, or it is no sweep.
    pub fn sweep(
        &self,
        scenario: &str,
        target: &str,
        seed: u64,
        every: u32,
        pairs: u32,
    ) -> Result<Swept, String> {
        let mut known = library::scenario(scenario)
            .ok_or_else(|| format!("no scenario is called `{scenario}`"))?
            .clone();
        let target = self.target(target)?.file;
        let Some(sweep) = &mut known.sweep else {
            return Err(format!("{scenario} is no sweep"));
        };
        sweep.every = every;
        sweep.pairs = sweep.pairs.min(pairs);
        let stop = || self.interrupt.asked();
        Ok(sweep::swept(
            &known,
            &target,
            seed,
            1,
            &stop,
            &mut |_, _| {},
        ))
    }

    /// Runs a scenario against a named target in memory and judges it.
    ///
    /// # Errors
    /// No such target, or the scenario does not apply to it, or the harness
    /// failed.
    pub fn simulate(
        &self,
        scenario: &Scenario,
        target: &str,
        seed: u64,
    ) -> Result<Judgement, String> {
        let target = self.target(target)?.file;
        let plan = Plan::build(scenario, &target, "sim", seed, "sim-0000000000000000")
            .map_err(|e| e.to_string())?;
        let trial = trial(&plan, &target, TrialOptions::default()).map_err(|e| e.to_string())?;
        Ok(trial.judgement)
    }

    fn target(&self, name: &str) -> Result<Choice, String> {
        let (_, text) = target_choice::known(&self.extra)
            .find(|(known, _)| *known == name)
            .ok_or_else(|| format!("no target is called `{name}`"))?;
        let file: TargetFile = target_choice::read(name, text).map_err(first)?;
        Ok(Choice {
            asked: name.to_owned(),
            file,
            text: text.to_owned(),
        })
    }

    /// Why a job would end NOT-APPLICABLE, if it would; found without starting
    /// anything.
    #[must_use]
    pub fn inapplicable(&self, job: &Job) -> Option<String> {
        let plan = Plan::build(
            &job.source.scenario,
            &job.target.file,
            job.engine.name(),
            job.seed,
            "plan-only",
        );
        match plan {
            // An engine that cannot even be asked shall show as what it is.
            Ok(plan) => engines::refusal(job.engine, &plan, &job.target.file).unwrap_or_default(),
            Err(
                why @ (Refusal::NotApplicable { .. }
                | Refusal::NoModel { .. }
                | Refusal::NoClaim { .. }
                | Refusal::Sweep { .. }),
            ) => Some(why.to_string()),
            // What is wrong otherwise shall show as what it is.
            Err(Refusal::Times(_) | Refusal::Scenario(_)) => None,
        }
    }

    /// Runs a job and judges it. Where its times did not hold on this machine
    /// it is run once more, beside the first.
    #[must_use]
    pub fn run(&self, job: &Job) -> Outcome {
        let first = job.run(&self.extra, &self.interrupt, &mut |_, _| {});
        match job.again_after(&first) {
            Some(again) => again.run(&self.extra, &self.interrupt, &mut |_, _| {}),
            None => first,
        }
    }
}

/// The steps of a carried scenario that are faults, counted from 0.
#[must_use]
pub fn faults(scenario: &str) -> Vec<u32> {
    library::scenario(scenario).map_or_else(Vec::new, source::faults)
}

/// Runs a carried scenario against a named target and judges it.
///
/// # Errors
/// As [`Harness::job`].
pub fn run_scenario(
    scenario: &str,
    target: &str,
    engine: Engine,
    seed: u64,
    dir: &Path,
) -> Result<Outcome, String> {
    let harness = Harness::default();
    let job = harness.job(scenario, target, engine, seed, &[], dir)?;
    Ok(harness.run(&job))
}

/// To be called before anything else by the `main` of a program that runs
/// scenarios: does what the process engine started the program for, if it
/// did, and says how that went.
#[must_use]
pub fn helper(extra: fn() -> Extra) -> Option<ExitCode> {
    let first = std::env::args_os().nth(1)?;
    ["__reaper", "node", "--version"]
        .iter()
        .any(|word| first == *word)
        .then(|| main_with(extra()))
}

fn first(problems: Vec<mailproof_model::diagnostic::Diagnostic>) -> String {
    problems
        .first()
        .map_or_else(String::new, ToString::to_string)
}

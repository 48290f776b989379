//! One scenario, one seed, one target, one engine: from the files to a
//! judged run directory.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use mailproof_model::bundle::Bundle;
use mailproof_model::director::Director;
use mailproof_model::event::Event;
use mailproof_model::plan::Plan;
use mailproof_model::planning::Refusal;
use mailproof_model::verdict::{Judgement, Verdict};

use crate::cli::Engine;
use crate::console::Paint;
use crate::context::Extra;
use crate::engines::{self, Ended};
use crate::examine::{self, Examined, Judged, examine, shown_as};
use crate::interrupt::Interrupt;
use crate::json::RunLine;
use crate::source::Source;
use crate::target_choice::Choice;

/// A scenario to run.
#[derive(Clone, Debug)]
pub struct Job {
    pub(crate) source: Arc<Source>,
    pub(crate) target: Arc<Choice>,
    pub(crate) engine: Engine,
    pub(crate) seed: u64,
    /// Steps whose faults are only pretended.
    pub(crate) disarm: Vec<u32>,
    /// Where the run directory goes; made if it is not there.
    pub(crate) dir: PathBuf,
    /// Whether the temporary directory with the nodes' stores stays.
    pub(crate) keep: bool,
}

/// What became of a job.
pub struct Outcome(Became);

enum Became {
    /// It ran and was judged from its run directory.
    Judged(Box<Judged>, Verdict, Option<String>),
    /// It came to no history worth judging.
    Unrun {
        verdict: Verdict,
        reason: String,
        line: Box<RunLine>,
    },
}

impl Outcome {
    /// The verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match &self.0 {
            Became::Judged(_, verdict, _) | Became::Unrun { verdict, .. } => *verdict,
        }
    }

    /// Why, in one sentence.
    #[must_use]
    pub fn reason(&self) -> &str {
        match &self.0 {
            Became::Judged(_, _, Some(failure)) => failure,
            Became::Judged(judged, _, None) => &judged.judgement.reason,
            Became::Unrun { reason, .. } => reason,
        }
    }

    /// What the history amounts to, if there is one.
    #[must_use]
    pub fn judgement(&self) -> Option<&Judgement> {
        match &self.0 {
            Became::Judged(judged, ..) => Some(&judged.judgement),
            Became::Unrun { .. } => None,
        }
    }

    /// The report for people, without colour.
    #[must_use]
    pub fn report(&self) -> String {
        self.report_in(Paint::default())
            .unwrap_or_else(|| format!("{}: {}", self.verdict(), self.reason()))
    }

    /// The report of a run that was judged.
    pub(crate) fn report_in(&self, paint: Paint) -> Option<String> {
        match &self.0 {
            Became::Judged(judged, _, failure) => {
                let mut text = judged.report().text(paint);
                if let Some(failure) = failure {
                    text.push_str(&format!("  The harness failed: {failure}\n"));
                }
                Some(text)
            }
            Became::Unrun { .. } => None,
        }
    }

    /// The run's id, if it ran.
    pub(crate) fn run(&self) -> Option<&str> {
        match &self.0 {
            Became::Judged(judged, ..) => Some(&judged.plan.run),
            Became::Unrun { .. } => None,
        }
    }

    /// The root of its history, where that is whole.
    pub(crate) fn root(&self) -> Option<&str> {
        match &self.0 {
            Became::Judged(judged, ..) => judged.root.as_deref(),
            Became::Unrun { .. } => None,
        }
    }

    /// The same with a failure of the harness that the history does not show.
    /// Nothing hides a FAIL.
    pub(crate) fn failed(self, why: String) -> Self {
        match self.0 {
            Became::Judged(judged, verdict, None) if verdict != Verdict::Fail => {
                Self(Became::Judged(judged, Verdict::Error, Some(why)))
            }
            other => Self(other),
        }
    }

    pub(crate) fn json(&self) -> RunLine {
        match &self.0 {
            Became::Judged(judged, verdict, failure) => {
                let mut line = judged.json();
                if let Some(failure) = failure {
                    line.overrule(*verdict, failure);
                }
                line
            }
            Became::Unrun { line, .. } => (**line).clone(),
        }
    }
}

impl Job {
    /// The same with another scenario.
    #[cfg(test)]
    pub(crate) fn with(self, source: Source) -> Self {
        Self {
            source: Arc::new(source),
            ..self
        }
    }

    /// Runs and judges. Nothing outlives it, however it ends; a bug of the
    /// harness becomes the verdict ERROR.
    pub(crate) fn run(
        &self,
        extra: &Extra,
        interrupt: &Interrupt,
        observe: &mut dyn FnMut(&Plan, &Event),
    ) -> Outcome {
        let guarded = AssertUnwindSafe(|| self.carry_out(extra, interrupt, observe));
        catch_unwind(guarded).unwrap_or_else(|panic| {
            let what = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            self.unrun(extra, Verdict::Error, format!("a bug in mailproof: {what}"))
        })
    }

    /// The job once more, into a directory beside the first, if the times did
    /// not hold on this machine.
    pub(crate) fn again_after(&self, first: &Outcome) -> Option<Self> {
        let worth = self.engine == Engine::Process
            && first.verdict() == Verdict::Inconclusive
            && first.judgement().is_some_and(|j| j.times_broken);
        worth.then(|| {
            let mut dir = self.dir.clone().into_os_string();
            dir.push("-again");
            Self {
                dir: dir.into(),
                ..self.clone()
            }
        })
    }

    fn carry_out(
        &self,
        extra: &Extra,
        interrupt: &Interrupt,
        observe: &mut dyn FnMut(&Plan, &Event),
    ) -> Outcome {
        let plan = match self.plan() {
            Ok(plan) => plan,
            Err((verdict, why)) => return self.unrun(extra, verdict, why),
        };
        let mut director = match Director::new(plan.clone()) {
            Ok(director) => director,
            Err(why) => return self.unrun(extra, Verdict::Error, why.to_string()),
        };
        let bundle = match self.prepare() {
            Ok(bundle) => bundle,
            Err(why) => return self.unrun(extra, Verdict::Error, why),
        };
        let mut observe = |event: &Event| observe(&plan, event);
        let ended =
            engines::carry_out(self, &bundle, &plan, &mut director, interrupt, &mut observe);
        let failure = match ended {
            Ok(seal) => bundle.finish(&plan.run, &seal).err().map(|e| e.to_string()),
            Err(Ended::Unavailable(why)) => {
                // Nothing was started: the directory holds only what was put
                // there above.
                let _ = fs::remove_dir_all(&self.dir);
                return self.unrun(extra, Verdict::NotApplicable, why);
            }
            Err(Ended::Failed(why)) => Some(why),
        };
        self.judge(extra, failure)
    }

    /// What will be run: the same for the same job in the simulator.
    ///
    /// # Errors
    /// The verdict on a job that comes to no plan, and why.
    pub(crate) fn plan(&self) -> Result<Plan, (Verdict, String)> {
        let built = Plan::build(
            &self.source.scenario,
            &self.target.file,
            self.engine.name(),
            self.seed,
            &self.run_id(),
        );
        let mut plan = built.map_err(|why| {
            let verdict = match &why {
                Refusal::NotApplicable { .. }
                | Refusal::NoModel { .. }
                | Refusal::NoClaim { .. }
                | Refusal::Sweep { .. } => Verdict::NotApplicable,
                Refusal::Times(_) => Verdict::Inconclusive,
                Refusal::Scenario(_) => Verdict::Error,
            };
            (verdict, why.to_string())
        })?;
        plan.disarmed.clone_from(&self.disarm);
        Ok(plan)
    }

    /// The command that repeats it.
    pub(crate) fn reproduce(&self, extra: &Extra) -> String {
        let mut command = examine::command(
            extra,
            &self.source.name,
            self.engine.name(),
            self.seed,
            &self.target.asked,
        );
        for step in &self.disarm {
            command.push_str(&format!(" --disarm {step}"));
        }
        command
    }

    /// Makes the run directory and puts the files that were run into it.
    fn prepare(&self) -> Result<Bundle, String> {
        let bundle = Bundle::create(&self.dir).map_err(|e| e.to_string())?;
        for (name, text) in [
            (examine::SCENARIO, &self.source.text),
            (examine::TARGET, &self.target.text),
        ] {
            let path = self.dir.join(name);
            fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        Ok(bundle)
    }

    fn judge(&self, extra: &Extra, failure: Option<String>) -> Outcome {
        match examine(extra, &self.dir) {
            Ok(Examined::Judged(judged)) => {
                let (verdict, failure) = match failure {
                    // Nothing hides a FAIL.
                    Some(why) if judged.verdict() != Verdict::Fail => (Verdict::Error, Some(why)),
                    _ => (judged.verdict(), None),
                };
                Outcome(Became::Judged(judged, verdict, failure))
            }
            Ok(Examined::Empty(why)) => match failure {
                Some(failure) => self.unrun(extra, Verdict::Error, failure),
                None => self.unrun(extra, Verdict::Inconclusive, why),
            },
            Ok(Examined::Altered(why)) => {
                let why = failure.unwrap_or_else(|| {
                    format!("the run directory does not hold what was written: {why}")
                });
                self.unrun(extra, Verdict::Error, why)
            }
            Err(why) => self.unrun(extra, Verdict::Error, failure.unwrap_or(why)),
        }
    }

    fn unrun(&self, extra: &Extra, verdict: Verdict, reason: String) -> Outcome {
        let scenario = &self.source.scenario.id;
        let reproduce = self.reproduce(extra);
        let dir = shown_as(&self.dir);
        let dir = self.dir.exists().then_some(dir.as_str());
        let line = Box::new(RunLine::unrun(verdict, &reason, dir).of(
            scenario,
            self.engine.name(),
            &self.target.file.name,
            self.seed,
            &reproduce,
        ));
        Outcome(Became::Unrun {
            verdict,
            reason,
            line,
        })
    }

    /// The id of the run. In the simulator it follows from what is run, so
    /// that the same run has the same history to the byte.
    fn run_id(&self) -> String {
        if self.engine == Engine::Sim {
            let mut hash = Fnv::new();
            hash.add(self.source.text.as_bytes());
            hash.add(self.target.text.as_bytes());
            hash.add(&self.seed.to_le_bytes());
            for step in &self.disarm {
                hash.add(&step.to_le_bytes());
            }
            return format!("sim-{:016x}", hash.0);
        }
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        format!(
            "{:x}-{:x}-{:x}",
            now.as_micros(),
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        )
    }
}

/// FNV-1a over parts, each closed by its length.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        let length = (bytes.len() as u64).to_le_bytes();
        for byte in bytes.iter().chain(&length) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

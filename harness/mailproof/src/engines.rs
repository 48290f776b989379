//! The worlds that a plan can be carried out in.

use mailproof_model::bundle::Bundle;
use mailproof_model::director::Director;
use mailproof_model::drive::DriveError;
use mailproof_model::event::Event;
use mailproof_model::history::Seal;
use mailproof_model::plan::Plan;
use mailproof_model::target::TargetFile;

use crate::cli::Engine;
use crate::interrupt::Interrupt;
use crate::job::Job;

/// How a run ended that was not sealed.
pub(crate) enum Ended {
    /// The engine cannot do what the plan needs; nothing was started.
    Unavailable(String),
    /// The harness failed, or the run was interrupted.
    Failed(String),
}

impl From<DriveError> for Ended {
    fn from(e: DriveError) -> Self {
        match e {
            DriveError::Unavailable(why) => Self::Unavailable(why.to_string()),
            DriveError::World(why) => Self::Failed(why.to_string()),
        }
    }
}

/// Carries a plan out and seals its history.
pub(crate) fn carry_out(
    job: &Job,
    bundle: &Bundle,
    plan: &Plan,
    director: &mut Director,
    interrupt: &Interrupt,
    observe: &mut dyn FnMut(&Event),
) -> Result<Seal, Ended> {
    let _ = (bundle, plan, director, interrupt, observe);
    Err(Ended::Failed(format!(
        "the engine {} is not built yet",
        job.engine.name()
    )))
}

/// Why an engine cannot carry a plan out, if it cannot.
pub(crate) fn refusal(engine: Engine, plan: &Plan, target: &TargetFile) -> Option<String> {
    let _ = (plan, target);
    Some(format!("the engine {} is not built yet", engine.name()))
}

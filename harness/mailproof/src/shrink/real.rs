//! The shrunk scenario on real processes.

use std::fs;
use std::sync::Arc;

use mailproof_model::plan::Plan;
use mailproof_model::shrink::reason;

use super::{Case, Shrunk};
use crate::cli::Engine;
use crate::context::Context;
use crate::engines;
use crate::interrupt::Interrupt;
use crate::job::Job;
use crate::source::Source;

/// Runs the scenario `runs` times and says whether it fails there too, or why
/// it cannot be run.
pub(super) fn repeat(
    context: &Context,
    interrupt: &Interrupt,
    case: &Case,
    source: Source,
    shrunk: &Shrunk,
    runs: u32,
) -> String {
    let target = &case.target.file;
    let refused = Plan::build(
        &source.scenario,
        target,
        "process",
        shrunk.seed,
        "plan-only",
    )
    .map_err(|why| why.to_string())
    .and_then(|plan| engines::refusal(Engine::Process, &plan, target))
    .unwrap_or_else(Some);
    if let Some(why) = refused {
        return format!("sim-only: {why}");
    }
    let source = Arc::new(source);
    let place = std::env::temp_dir().join(format!("mailproof-shrink-{}", std::process::id()));
    let (mut failed, mut ran, mut other) = (0, 0, None);
    for run in 0..runs {
        if interrupt.asked() {
            break;
        }
        let job = Job {
            source: Arc::clone(&source),
            target: Arc::clone(&case.target),
            engine: Engine::Process,
            seed: shrunk.seed,
            disarm: Vec::new(),
            dir: place.join(run.to_string()),
            keep: false,
        };
        let line = context
            .console
            .line(&format!("{} on real processes", source.scenario.id));
        let outcome = job.run(&context.extra, interrupt, &mut |_, _| {});
        drop(line);
        ran += 1;
        if outcome.judgement().and_then(reason) == Some(shrunk.finding.kind.as_str()) {
            failed += 1;
        } else {
            other.get_or_insert(format!("{}: {}", outcome.verdict(), outcome.reason()));
        }
    }
    // Only what the file says is kept.
    let _ = fs::remove_dir_all(&place);
    match (failed, ran, other) {
        (_, 0, _) => "not run: interrupted".to_owned(),
        (0, ran, other) => format!(
            "sim-only: it does not fail there (0 of {ran}); {}",
            other.unwrap_or_default()
        ),
        (failed, ran, _) => format!("fails there too ({failed} of {ran})"),
    }
}

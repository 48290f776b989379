//! What the tests of the process engine share. Their binaries are their own
//! helpers: `main` hands `__reaper` over to the engine.

#![allow(dead_code, reason = "not every test binary uses all of it")]

use std::fs::File;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use mailproof_engine::process::{Options, ProcessWorld};
use mailproof_model::director::Director;
use mailproof_model::drive::drive;
use mailproof_model::event::{Event, What};
use mailproof_model::history::{Durability, Writer};
use mailproof_model::judge::{Ending, judge};
use mailproof_model::order::{World, WorldError};
use mailproof_model::plan::Plan;
use mailproof_model::scenario;
use mailproof_model::target::{self, TargetFile};
use mailproof_model::verdict::Judgement;

/// This binary.
pub(crate) fn helper() -> PathBuf {
    std::env::current_exe().expect("the path of this binary")
}

/// A run's id that nobody else has.
pub(crate) fn run_id(test: &str) -> String {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    format!("{test}-{}-{nanos}", std::process::id())
}

pub(crate) fn check(holds: bool, otherwise: impl Into<String>) -> Result<(), Failed> {
    if holds {
        Ok(())
    } else {
        Err(otherwise.into().into())
    }
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A target file of the repository.
pub(crate) fn target(name: &str) -> Result<TargetFile, Failed> {
    let path = root().join(format!("fixtures/targets/{name}.toml"));
    let text = std::fs::read_to_string(&path)?;
    Ok(target::parse(name, &text)?)
}

/// The programs that target files start.
pub(crate) fn programs() -> Result<Vec<(String, String)>, Failed> {
    let path = root().join("fixtures/peers/pyrelay.py");
    Ok(vec![(
        "pyrelay.py".to_owned(),
        std::fs::read_to_string(path)?,
    )])
}

/// Why tests that need Python cannot run here, if they cannot.
pub(crate) fn no_python() -> Option<&'static str> {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join("python3").is_file()));
    (!found).then_some("python3 is not on this machine")
}

/// A world with its run directory.
pub(crate) struct Stage {
    pub(crate) plan: Plan,
    pub(crate) world: ProcessWorld,
    pub(crate) dir: tempfile::TempDir,
}

impl Stage {
    /// A world for a scenario (the text of its file) and a target.
    pub(crate) fn new(test: &str, target: TargetFile, text: &str) -> Result<Self, Failed> {
        let scenario = scenario::parse("scenario.toml", text)?;
        let plan = Plan::build(&scenario, &target, "process", 1, &run_id(test))?;
        let dir = tempfile::tempdir()?;
        let history = File::create_new(dir.path().join("history.jsonl"))?;
        let writer = Writer::create(history, &plan, Durability::EachEvent)?;
        let options = Options {
            helper: helper(),
            run_dir: dir.path().to_owned(),
            programs: programs()?,
            keep: false,
        };
        let world = ProcessWorld::new(plan.clone(), target, writer, options)?;
        Ok(Self { plan, world, dir })
    }

    /// Runs the plan to its end and judges what was seen.
    pub(crate) fn run(mut self) -> Result<(Judgement, Vec<Event>), Failed> {
        let mut director = Director::new(self.plan.clone())?;
        let mut events = Vec::new();
        drive(&mut self.world, &mut director, &mut |event: &Event| {
            events.push(event.clone());
        })?;
        self.world.seal()?;
        let judgement = judge(&self.plan, &events, &Ending::Sealed);
        Ok((judgement, events))
    }

    /// The next event for which `wanted` holds, within a generous time; all
    /// others are passed over.
    pub(crate) fn until(&mut self, mut wanted: impl FnMut(&What) -> bool) -> Result<Event, Failed> {
        let limit = self.world.now() + 30_000_000_000;
        let mut seen = Vec::new();
        while let Some(event) = next(&mut self.world, limit)? {
            if wanted(&event.ev) {
                return Ok(event);
            }
            seen.push(event.ev);
        }
        Err(format!("it never came; seen were {seen:#?}").into())
    }
}

fn next(world: &mut ProcessWorld, limit: u64) -> Result<Option<Event>, WorldError> {
    world.next(limit)
}

/// A judgement in short, for messages.
pub(crate) fn in_words(judgement: &Judgement) -> String {
    format!(
        "{}: {}\n{}\nfindings {:#?}\nmissing {:#?}\ntroubles {:#?}",
        judgement.verdict,
        judgement.reason,
        judgement.equation(),
        judgement.findings,
        judgement.missing,
        judgement.troubles
    )
}

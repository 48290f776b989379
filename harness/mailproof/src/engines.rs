//! The worlds that a plan can be carried out in.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use mailproof_engine::process::{Options, ProcessWorld};
use mailproof_engine::sim::SimWorld;
use mailproof_model::bundle::Bundle;
use mailproof_model::director::Director;
use mailproof_model::drive::{DriveError, drive};
use mailproof_model::event::{At, Event, What};
use mailproof_model::history::{Durability, Seal, Writer};
use mailproof_model::order::{Order, World, WorldError};
use mailproof_model::plan::Plan;
use mailproof_model::target::TargetFile;

use crate::cli::Engine;
use crate::interrupt::{self, Interrupt, Interruptible};
use crate::job::Job;
use crate::library;

/// How a run ended that was not sealed.
pub(crate) enum Ended {
    /// The engine cannot do what the plan needs; nothing was started.
    Unavailable(String),
    /// The harness failed.
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

impl From<WorldError> for Ended {
    fn from(e: WorldError) -> Self {
        Self::Failed(e.to_string())
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
    let history = bundle.history().map_err(|e| Ended::Failed(e.to_string()))?;
    match job.engine {
        Engine::Process => {
            let writer = writer(history, plan, Durability::EachEvent)?;
            let mut world = process(plan, &job.target.file, writer, &job.dir, job.keep)?;
            let look = Some(interrupt::LOOK);
            driven(&mut world, director, interrupt, look, observe)?;
            Ok(world.seal()?)
        }
        Engine::Sim => {
            let writer = writer(history, plan, Durability::Buffered)?;
            let mut world = SimWorld::new(plan.clone(), &job.target.file, writer)
                .map_err(|e| Ended::Failed(e.to_string()))?;
            driven(&mut world, director, interrupt, None, observe)?;
            world
                .seal()
                .map_err(|e| Ended::Failed(format!("the history cannot be sealed: {e}")))
        }
    }
}

/// Drives a plan to its end. When somebody asks the process to end, the world
/// is taken down and the history says so.
fn driven(
    world: &mut dyn World,
    director: &mut Director,
    interrupt: &Interrupt,
    look: Option<At>,
    observe: &mut dyn FnMut(&Event),
) -> Result<(), Ended> {
    let mut ended = false;
    let mut watched = Interruptible::new(world, interrupt, look);
    let came = drive(&mut watched, director, &mut |event| {
        ended |= matches!(event.ev, What::End { .. });
        observe(event);
    });
    if !watched.broke_off() {
        return Ok(came?);
    }
    if !ended {
        let why = interrupt::INTERRUPTED.to_owned();
        world.order(Order::Record(What::End { why }))?;
        while let Some(event) = world.next(0)? {
            observe(&event);
        }
    }
    Ok(())
}

/// Why an engine cannot carry a plan out, if it cannot.
///
/// # Errors
/// The engine cannot even be asked.
pub(crate) fn refusal(
    engine: Engine,
    plan: &Plan,
    target: &TargetFile,
) -> Result<Option<String>, String> {
    let director = Director::new(plan.clone()).map_err(|e| e.to_string())?;
    with_idle(engine, plan, target, |world| {
        let refused = director
            .preview()
            .iter()
            .find_map(|order| world.offers(order).err());
        refused.map(|why| why.to_string())
    })
}

/// Lets a world be asked in which nothing will be run.
///
/// # Errors
/// The world cannot be made.
pub(crate) fn with_idle<T>(
    engine: Engine,
    plan: &Plan,
    target: &TargetFile,
    ask: impl FnOnce(&dyn World) -> T,
) -> Result<T, String> {
    let place = Place::new().map_err(|e| format!("a temporary directory: {e}"))?;
    let history = File::create(place.0.join("history")).map_err(|e| e.to_string())?;
    match engine {
        Engine::Process => {
            let writer =
                Writer::create(history, plan, Durability::Buffered).map_err(|e| e.to_string())?;
            let mut world =
                process(plan, target, writer, &place.0, false).map_err(|e| e.to_string())?;
            let answer = ask(&world);
            world.finish().map_err(|e| e.to_string())?;
            Ok(answer)
        }
        Engine::Sim => {
            let writer = Writer::create(Vec::new(), plan, Durability::Buffered)
                .map_err(|e| e.to_string())?;
            let world = SimWorld::new(plan.clone(), target, writer).map_err(|e| e.to_string())?;
            Ok(ask(&world))
        }
    }
}

fn writer(history: File, plan: &Plan, durability: Durability) -> Result<Writer<File>, Ended> {
    Writer::create(history, plan, durability)
        .map_err(|e| Ended::Failed(format!("the history cannot be begun: {e}")))
}

fn process(
    plan: &Plan,
    target: &TargetFile,
    writer: Writer<File>,
    dir: &Path,
    keep: bool,
) -> Result<ProcessWorld, WorldError> {
    let helper = std::env::current_exe()
        .map_err(|e| WorldError(format!("the running command cannot be found: {e}")))?;
    let options = Options {
        helper,
        run_dir: dir.to_owned(),
        programs: library::programs()
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect(),
        keep,
    };
    ProcessWorld::new(plan.clone(), target.clone(), writer, options)
}

/// A directory that goes with the value.
struct Place(PathBuf);

impl Place {
    fn new() -> io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!(
            "mailproof-ask-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

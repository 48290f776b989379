//! Every scenario file is one test for each engine, `<engine>::<id>`, under
//! `cargo test` and nextest alike.
//!
//! Whether a scenario applies is decided while the tests are listed, so that
//! what cannot run here shows as ignored, with the reason as its kind, and
//! never as passed.
//!
//! The process engine starts its helpers and nodes from the running program.
//! That program is this test binary: `cargo test` then needs no other one, and
//! cannot pick up a stale one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use libtest_mimic::{Arguments, Failed, Trial};
use mailproof::{Engine, Extra, Harness, Verdict};

/// The seed of every test.
const SEED: u64 = 1;

/// The seeds of every chaos scenario. Campaigns run many more; what the
/// simulator does with these is always the same.
const SEEDS: std::ops::Range<u64> = 1..7;

/// Of a sweep every so many points are tried, and so many pairs.
const EVERY: u32 = 10;
const PAIRS: u32 = 100;

fn main() -> ExitCode {
    if let Some(done) = mailproof::helper(Extra::default) {
        return done;
    }
    let mut arguments = Arguments::from_args();
    if arguments.test_threads.is_none() {
        // Scenarios of real processes mostly wait for timers.
        let cores = thread::available_parallelism().map_or(1, usize::from);
        arguments.test_threads = Some(cores * 2);
    }
    let harness = Harness::default();
    let mut tests = Vec::new();
    for scenario in mailproof::scenarios() {
        if drawn(&scenario.id) {
            tests.extend(SEEDS.map(|seed| chaos(&scenario.id, seed)));
            continue;
        }
        if swept(&scenario.id) {
            tests.push(sweep(&scenario.id));
            continue;
        }
        for engine in Engine::ALL {
            tests.push(trial(&harness, &scenario.id, engine));
        }
    }
    libtest_mimic::run(&arguments, tests).exit_code()
}

fn trial(harness: &Harness, id: &str, engine: Engine) -> Trial {
    let name = format!("{}::{id}", engine.name());
    let dir = dir(id, engine);
    match harness.job(id, target(id), engine, SEED, &[], &dir) {
        Ok(job) => match harness.inapplicable(&job) {
            Some(why) => Trial::test(name, || Ok(()))
                .with_kind(short(&why))
                .with_ignored_flag(true),
            None => {
                let id = id.to_owned();
                Trial::test(name, move || run(&id, engine, &dir))
            }
        },
        Err(why) => Trial::test(name, move || Err(why.into())),
    }
}

/// The target that a scenario is for: what asks for the hold model does not
/// apply to the reference node as it comes.
fn target(id: &str) -> &'static str {
    let holds = |needs: &[String]| needs.iter().any(|need| need == "hold-copy");
    match mailproof::scenario(id) {
        Some(scenario) if holds(&scenario.needs) => "reference-hold",
        _ => "reference",
    }
}

/// Whether each seed of a scenario draws another one.
fn drawn(id: &str) -> bool {
    mailproof::scenario(id).is_some_and(|scenario| scenario.chaos.is_some())
}

/// Whether a scenario is many runs.
fn swept(id: &str) -> bool {
    mailproof::scenario(id).is_some_and(|scenario| scenario.sweep.is_some())
}

/// A part of a sweep, in the simulator; `ci/test` makes the whole.
fn sweep(id: &str) -> Trial {
    let name = format!("sim::{id} in part");
    let id = id.to_owned();
    Trial::test(name, move || {
        let swept = Harness::default().sweep(&id, "reference", SEED, EVERY, PAIRS)?;
        // That each act is felt somewhere can only be asked of the whole.
        let lacks = |part: &str| !part.ends_with("not one case has all of its evidence");
        let good = match swept.verdict {
            Verdict::Pass => true,
            Verdict::Inconclusive => !swept.reason.split("; ").any(lacks),
            _ => false,
        };
        if good {
            Ok(())
        } else {
            Err(swept.report.into())
        }
    })
}

/// One seed of a chaos scenario, in the simulator.
fn chaos(id: &str, seed: u64) -> Trial {
    let name = format!("sim::{id} seed {seed}");
    let id = id.to_owned();
    Trial::test(name, move || {
        let dir = dir(&format!("{id}-{seed}"), Engine::Sim);
        let outcome = mailproof::run_scenario(&id, target(&id), Engine::Sim, seed, &dir)?;
        let good = match outcome.verdict() {
            Verdict::Pass => true,
            // A seed whose faults met nothing proves nothing, and is no
            // defect; campaigns hold the share of these against their bar.
            Verdict::Inconclusive => outcome
                .judgement()
                .is_some_and(|j| j.missing.iter().all(|m| m.starts_with("not one of the"))),
            Verdict::OutsideClaim => id.starts_with("beyond/"),
            _ => false,
        };
        if good {
            let _ = fs::remove_dir_all(&dir);
            return Ok(());
        }
        Err(outcome.report().into())
    })
}

/// A reason as the kind of a test, which every line makes room for;
/// `mailproof run` gives it in full.
fn short(why: &str) -> String {
    let clause = why.split(": ").next().unwrap_or(why);
    clause.chars().take(60).collect()
}

fn run(id: &str, engine: Engine, dir: &Path) -> Result<(), Failed> {
    let outcome = mailproof::run_scenario(id, target(id), engine, SEED, dir)?;
    if outcome.verdict() == Verdict::Pass {
        // Only what went wrong is worth keeping.
        let _ = fs::remove_dir_all(dir);
        return Ok(());
    }
    Err(outcome.report().into())
}

/// A run directory that no other test and no other test run uses.
fn dir(id: &str, engine: Engine) -> PathBuf {
    let name = format!(
        "{}-{}-{}",
        engine.name(),
        id.replace('/', "."),
        std::process::id()
    );
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

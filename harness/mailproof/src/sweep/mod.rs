//! `mailproof sweep`: one fault at every point of a run, in the simulator.

mod points;
mod tally;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use mailproof_engine::sim::trial;
use mailproof_model::claims::{Cover, covers};
use mailproof_model::plan::Plan;
use mailproof_model::scenario::{self, Scenario, SweepAct, Trigger};
use mailproof_model::shrink::reason;
use mailproof_model::sweep::{Case, Standing, cases, pairs, standing};
use mailproof_model::target::TargetFile;
use mailproof_model::verdict::Verdict;
use serde::Serialize;

use crate::cli::{Engine, Format, SweepArgs};
use crate::console::Style;
use crate::context::Context;
use crate::examine::{self, shown_as};
use crate::exit_code::Exit;
use crate::interrupt::Interrupt;
use crate::job::Job;
use crate::report::quoted;
use crate::source::{self, Source};
use crate::target_choice::{self, Choice};

use points::{KEEP, RUN, fired};
use tally::{Came, Counts, Reached, Tally};

/// What is swept when nothing is named.
const SWEEPS: &str = "sweep/";

/// Failing cases that are kept as run directories.
const KEPT: usize = 10;

/// What a sweep came to.
pub struct Swept {
    /// The verdict over all of its cases.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// The report, for people.
    pub report: String,
    tally: Tally,
    points: u64,
    /// The cases that failed, the first few.
    failed: Vec<(Case, String)>,
    seconds: f64,
}

/// What `--format json` writes for a sweep.
#[derive(Serialize)]
struct SweepLine<'a> {
    schema: &'static str,
    scenario: &'a str,
    target: &'a str,
    seed: u64,
    verdict: Verdict,
    reason: &'a str,
    over: String,
    points: u64,
    exhaustive: bool,
    cases: Counts,
    by_act: &'a std::collections::BTreeMap<String, Counts>,
    seconds: f64,
}

pub(crate) fn sweep(context: &Context, args: &SweepArgs) -> Exit {
    let console = &context.console;
    let sweeps = [SWEEPS.to_owned()];
    let select = if args.select.is_empty() {
        &sweeps
    } else {
        &args.select[..]
    };
    let sources = match source::select(context, select) {
        Ok(sources) => sources,
        Err(exit) => return exit,
    };
    if let Some(other) = sources.iter().find(|s| s.scenario.sweep.is_none()) {
        let why = format!("{} is no sweep: use `run`", other.scenario.id);
        return context.refuse(Exit::Usage, &why);
    }
    if args.case.is_some() && sources.len() != 1 {
        return context.refuse(Exit::Usage, "--case needs one sweep");
    }
    let target = match target_choice::choose(context, &args.target) {
        Ok(target) => Arc::new(target),
        Err(exit) => return exit,
    };
    let out = match crate::run::out(args.out.as_deref()) {
        Ok(out) => out,
        Err(why) => return context.refuse(Exit::Usage, &why),
    };
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(e) => {
            return context.refuse(Exit::Harness, &format!("cannot listen for signals: {e}"));
        }
    };
    let jobs = args.jobs.map_or_else(cores, usize::from);
    let mut verdicts = Vec::new();
    for source in &sources {
        let mut scenario = source.scenario.clone();
        if let (Some(sweep), Some(every)) = (&mut scenario.sweep, args.every) {
            sweep.every = every;
        }
        if let Some(number) = args.case {
            return one(
                context, &interrupt, &scenario, &target, args.seed, number, &out,
            );
        }
        let line = console.line(&scenario.id);
        let stop = || interrupt.asked();
        let mut shown = Instant::now();
        let swept = swept(
            &scenario,
            &target.file,
            args.seed,
            jobs,
            &stop,
            &mut |ran, all| {
                if line.live() && shown.elapsed().as_millis() >= 100 {
                    line.set(format!("{ran} of {all} cases"));
                    shown = Instant::now();
                }
            },
        );
        drop(line);
        let word = console
            .paint
            .paint(Style::of(swept.verdict), &swept.verdict.to_string());
        console.say(&format!("{word}  {}: {}", scenario.id, scenario.title));
        console.say(&swept.report);
        for (case, why) in swept.failed.iter().take(KEPT) {
            let command = keep(context, &interrupt, case, &target, args.seed, &out);
            console.say(&format!("  FAIL {}: {why}\n    {command}", case.what));
        }
        if args.format == Format::Json {
            console.result(&crate::json::line(&SweepLine {
                schema: "mailproof.sweep/1",
                scenario: &scenario.id,
                target: &target.file.name,
                seed: args.seed,
                verdict: swept.verdict,
                reason: &swept.reason,
                over: over(&scenario),
                points: swept.points,
                exhaustive: exhaustive(&scenario, &swept.tally),
                cases: swept.tally.sum(),
                by_act: &swept.tally.by,
                seconds: swept.seconds,
            }));
        }
        verdicts.push(swept.verdict);
    }
    context.done(Exit::of(&verdicts, false, interrupt.asked()))
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

fn over(scenario: &Scenario) -> String {
    let sweep = scenario.sweep.as_ref();
    sweep.map_or_else(String::new, |sweep| sweep.over.to_string())
}

/// Only a sweep over every point can be exhaustive.
fn exhaustive(scenario: &Scenario, tally: &Tally) -> bool {
    scenario.sweep.as_ref().is_some_and(|s| s.every == 1) && tally.exhaustive()
}

/// The cases of a sweep: the number of points, singles, then pairs.
fn all_cases(
    scenario: &Scenario,
    target: &TargetFile,
    seed: u64,
) -> Result<(u64, Vec<Case>), (Verdict, String)> {
    let points = points::points(scenario, target, seed)?;
    let mut all = cases(scenario, &points);
    let covered = |scenario: &Scenario| {
        Plan::build(scenario, target, "sim", seed, RUN)
            .is_ok_and(|plan| covers(&plan) == Cover::Covered)
    };
    all.extend(pairs(scenario, &points, seed, all.len(), &covered));
    Ok((points.len() as u64, all))
}

/// Runs a sweep in memory.
pub(crate) fn swept(
    scenario: &Scenario,
    target: &TargetFile,
    seed: u64,
    jobs: usize,
    stop: &(dyn Fn() -> bool + Sync),
    progress: &mut dyn FnMut(usize, usize),
) -> Swept {
    let began = Instant::now();
    let (points, all) = match all_cases(scenario, target, seed) {
        Ok(found) => found,
        Err((verdict, reason)) => {
            return Swept {
                verdict,
                report: format!("  {reason}"),
                reason,
                tally: Tally::default(),
                points: 0,
                failed: Vec::new(),
                seconds: began.elapsed().as_secs_f64(),
            };
        }
    };
    let mut tally = Tally::default();
    for case in &all {
        tally.exists(&case.acts);
    }
    let mut came: Vec<Option<Came>> = all.iter().map(|_| None).collect();
    let next = AtomicUsize::new(0);
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, all.len()) {
            let (done, next, all) = (done.clone(), &next, &all);
            scope.spawn(move || {
                while !stop() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = all.get(index) else { return };
                    if done.send((index, run(case, target, seed))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        for (ran, (index, result)) in (1..).zip(results) {
            came[index] = Some(result);
            progress(ran, all.len());
        }
    });
    let mut failed = Vec::new();
    // In the order of the cases, whatever order they ran in.
    for (case, came) in all.iter().zip(&came) {
        let Some(came) = came else { continue };
        tally.add(case.number, &case.what, &case.acts, came);
        if came.standing == Standing::Failed(Verdict::Fail) {
            let kind = came.kind.clone().unwrap_or_default();
            failed.push((case.clone(), format!("{kind}: {}", came.reason)));
        }
    }
    let (verdict, reason) = tally.verdict();
    let seconds = began.elapsed().as_secs_f64();
    let report = report(scenario, &tally, points, &verdict, &reason, seconds);
    Swept {
        verdict,
        reason,
        report,
        tally,
        points,
        failed,
        seconds,
    }
}

/// Runs one case.
fn run(case: &Case, target: &TargetFile, seed: u64) -> Came {
    let unrun = |verdict, reason: String| Came {
        standing: Standing::Failed(verdict),
        reached: Reached::All,
        reason,
        kind: None,
    };
    let plan = match Plan::build(&case.scenario, target, "sim", seed, RUN) {
        Ok(plan) => plan,
        Err(why) => return unrun(Verdict::Error, why.to_string()),
    };
    let ran = catch_unwind(AssertUnwindSafe(|| trial(&plan, target, KEEP)));
    let trial = match ran {
        Ok(Ok(trial)) => trial,
        Ok(Err(why)) => return unrun(Verdict::Error, why.to_string()),
        Err(_) => return unrun(Verdict::Error, "a bug in mailproof: it panicked".to_owned()),
    };
    let mut faults: Vec<_> = fired(&trial).into_iter().map(|(fault, _)| fault).collect();
    faults.sort_unstable();
    faults.dedup();
    let reached = match faults.len() {
        n if n >= case.acts.len() => Reached::All,
        0 => gone(case, &trial),
        _ => Reached::First,
    };
    Came {
        standing: standing(&trial.judgement),
        reached,
        reason: trial.judgement.reason.clone(),
        kind: reason(&trial.judgement).map(str::to_owned),
    }
}

/// Whether the run of a case shows why its point never came.
fn gone(case: &Case, trial: &mailproof_engine::sim::Trial) -> Reached {
    let first = case.scenario.steps.first().and_then(|step| step.trigger());
    let Some(Trigger::Point(point)) = first else {
        // A torn write needs a write, and a sync that fails a sync.
        let hits_some = |act: &SweepAct| matches!(act, SweepAct::SyncError | SweepAct::Torn);
        return if case.acts.iter().all(hits_some) {
            Reached::Spared
        } else {
            Reached::No
        };
    };
    let same = |p: &&mailproof_engine::sim::Passage| {
        p.link == point.link && p.phase.to_string() == point.phase
    };
    let there = trial.passages.iter().filter(same).count();
    match u32::try_from(there) {
        Ok(there) if there < point.nth => Reached::Gone(there),
        _ => Reached::No,
    }
}

fn report(
    scenario: &Scenario,
    tally: &Tally,
    points: u64,
    verdict: &Verdict,
    reason: &str,
    seconds: f64,
) -> String {
    let sum = tally.sum();
    let every = scenario.sweep.as_ref().map_or(1, |sweep| sweep.every);
    let mut text = format!(
        "  {verdict}: {reason}\n  {points} points exist ({}, until {} polls after the mail is at rest){}; {} cases exist, {} ran, {} were reached{}\n",
        over(scenario),
        points::POLLS,
        if every > 1 {
            format!(", every {every}th taken")
        } else {
            String::new()
        },
        sum.cases,
        sum.ran,
        sum.reached,
        if exhaustive(scenario, tally) {
            ": exhaustive over single faults"
        } else {
            ""
        },
    );
    for (name, c) in &tally.by {
        text.push_str(&format!("    {name:<12} {} cases:", c.cases));
        for (n, what) in [
            (c.passed, "passed with all evidence"),
            (c.sound, "sound (the fault was not felt, or met no mail)"),
            (c.outside_claim, "outside the claim"),
            (c.unproved, "prove nothing"),
            (c.failed, "FAILED"),
            (c.errors, "errors"),
            (c.gone, "of them gone (their point did not come)"),
            (c.first_only, "of them with the first fault alone"),
            (c.cases - c.ran, "not run"),
        ] {
            if n > 0 {
                text.push_str(&format!(" {n} {what},"));
            }
        }
        text.pop();
        text.push('\n');
    }
    for (number, what, why) in &tally.odd {
        text.push_str(&format!("    case {number} ({what}): {why}\n"));
    }
    text.push_str(&format!(
        "  {:.1} s, {:.0} cases a second",
        seconds,
        sum.ran as f64 / seconds.max(0.001)
    ));
    text
}

/// Runs one case of a sweep as any scenario, with its report.
fn one(
    context: &Context,
    interrupt: &Interrupt,
    scenario: &Scenario,
    target: &Arc<Choice>,
    seed: u64,
    number: u32,
    out: &Path,
) -> Exit {
    let all = match all_cases(scenario, &target.file, seed) {
        Ok((_, all)) => all,
        Err((verdict, why)) => {
            context.console.error(&why);
            return Exit::of(&[verdict], false, false);
        }
    };
    let Some(case) = all.iter().find(|case| case.number == number) else {
        let why = format!("{} has the cases 1 to {}", scenario.id, all.len());
        return context.refuse(Exit::Usage, &why);
    };
    let (job, _) = match job(case, target, seed, out) {
        Ok(job) => job,
        Err(why) => return context.refuse(Exit::Usage, &why),
    };
    let outcome = job.run(&context.extra, interrupt, &mut |_, _| {});
    context.console.say(&outcome.report());
    context.done(Exit::of(&[outcome.verdict()], false, interrupt.asked()))
}

/// Runs a failing case once more into a run directory: the command that
/// repeats it.
fn keep(
    context: &Context,
    interrupt: &Interrupt,
    case: &Case,
    target: &Arc<Choice>,
    seed: u64,
    out: &Path,
) -> String {
    match job(case, target, seed, out) {
        Ok((job, file)) => {
            let _ = job.run(&context.extra, interrupt, &mut |_, _| {});
            let file = quoted(&shown_as(&file));
            examine::command(&context.extra, &file, "sim", seed, &target.asked)
        }
        Err(why) => why,
    }
}

/// A case as a job, and its file.
fn job(case: &Case, target: &Arc<Choice>, seed: u64, out: &Path) -> Result<(Job, PathBuf), String> {
    let name = case.scenario.id.replace('/', ".");
    let file = out.join(format!("{name}.toml"));
    let body = scenario::write(&case.scenario).map_err(|e| e.to_string())?;
    let text = format!("# {}\n{body}", case.what);
    fs::write(&file, &text).map_err(|e| format!("{}: {e}", file.display()))?;
    let source = Source {
        name: quoted(&shown_as(&file)),
        scenario: case.scenario.clone(),
        text,
    };
    let job = Job {
        source: Arc::new(source),
        target: Arc::clone(target),
        engine: Engine::Sim,
        seed,
        disarm: Vec::new(),
        dir: out.join(&name),
        keep: false,
    };
    Ok((job, file))
}

//! `mailproof run`: many jobs at once, shown as they go, reported in order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{fs, io, thread};

use mailproof_engine::sim;
use mailproof_model::event::Event;
use mailproof_model::plan::Plan;
use mailproof_model::verdict::Verdict;

use crate::campaign::shard::Shard;
use crate::cli::{Engine, Format, RunArgs};
use crate::context::Context;
use crate::exit_code::Exit;
use crate::interrupt::Interrupt;
use crate::job::{Job, Outcome};
use crate::progress::Progress;
use crate::report::Summary;
use crate::report::sentence::{headline, sentence};
use crate::seeds::Seeds;
use crate::{campaign, source, target_choice};

/// Where run directories go when nothing is said.
const RUNS: &str = "mailproof-runs";

/// How often the line of a running scenario changes.
const REFRESH: Duration = Duration::from_millis(100);

/// Up to so many runs are reported in full; of more, only those that did not
/// pass.
const FEW: usize = 20;

/// So many seeds may each have a run directory.
const MOST_SEEDS: u64 = 100_000;

/// Scenarios of real processes that run at the same time for each core: they
/// mostly wait for timers.
const PROCESS_JOBS_PER_CORE: usize = 2;

pub(crate) fn run(context: &Context, args: RunArgs) -> Exit {
    let console = &context.console;
    let sources = match source::select(context, &args.select) {
        Ok(sources) => sources.into_iter().map(Arc::new).collect::<Vec<_>>(),
        Err(exit) => return exit,
    };
    let target = match target_choice::choose(context, &args.target) {
        Ok(target) => Arc::new(target),
        Err(exit) => return exit,
    };
    for source in &sources {
        for step in &args.disarm {
            let faults = source::faults(&source.scenario);
            if !faults.contains(step) {
                let there = match faults.as_slice() {
                    [] => "it has no faults".to_owned(),
                    some => format!("its faults are at {some:?}, counted from 0"),
                };
                return context.refuse(
                    Exit::Usage,
                    &format!(
                        "{} has no fault at step {step} to disarm; {there}",
                        source.scenario.id
                    ),
                );
            }
        }
    }
    let simulated = [
        ("--campaign", args.campaign.is_some()),
        ("--twice", args.twice),
    ];
    for (option, given) in simulated {
        if given && args.engine != Engine::Sim {
            let why = format!("{option} is for the simulator alone: add --engine sim");
            return context.refuse(Exit::Usage, &why);
        }
    }
    let seeds = args.seeds.clone().unwrap_or_else(|| Seeds::one(args.seed));
    if let Some(dir) = &args.campaign {
        let search = campaign::Search {
            sources,
            target,
            seeds,
            shard: args.shard.unwrap_or(Shard::ALL),
            disarm: args.disarm,
            twice: args.twice,
        };
        let manner = campaign::Manner {
            dir,
            jobs: args.jobs.map_or_else(|| at_once(args.engine), usize::from),
            format: args.format,
            leave_verdict: args.leave_verdict,
        };
        return campaign::run(context, &search, &manner);
    }
    if seeds.count() > MOST_SEEDS {
        return context.refuse(
            Exit::Usage,
            &format!("at most {MOST_SEEDS} seeds, of each of which there is a run directory; --campaign takes more"),
        );
    }
    let out = match out(args.out.as_deref()) {
        Ok(out) => out,
        Err(why) => return context.refuse(Exit::Usage, &why),
    };
    let many = seeds.iter().nth(1).is_some();
    let mut jobs = Vec::new();
    for source in &sources {
        for seed in seeds.iter() {
            jobs.push(Job {
                dir: dir(&out, &source.scenario.id, many.then_some(seed)),
                source: Arc::clone(source),
                target: Arc::clone(&target),
                engine: args.engine,
                seed,
                disarm: args.disarm.clone(),
                keep: args.keep,
            });
        }
    }
    for job in &jobs {
        if let Err(why) = vacant(&job.dir) {
            return context.refuse(Exit::Usage, &why);
        }
    }
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(e) => {
            return context.refuse(Exit::Harness, &format!("cannot listen for signals: {e}"));
        }
    };
    let at_once = args
        .jobs
        .map_or_else(|| at_once(args.engine), usize::from)
        .min(jobs.len())
        .max(1);
    console.say(&format!(
        "{} on engine {}, target {}; run directories in {}",
        match jobs.len() {
            1 => "1 run".to_owned(),
            n => format!("{n} runs, {at_once} at a time"),
        },
        args.engine.name(),
        target.file.name,
        out.display()
    ));
    let began = Instant::now();
    let mut ledger = Ledger {
        context,
        json: args.format == Format::Json,
        few: jobs.len() <= FEW,
        waiting: BTreeMap::new(),
        next: 0,
        reports: Vec::new(),
        summary: Summary::new(),
    };
    let manner = Manner {
        at_once,
        many,
        twice: args.twice,
    };
    carry_out(context, &interrupt, &jobs, &manner, &mut ledger);
    let missed = jobs.len() - ledger.summary.verdicts().len();
    let verdicts = ledger.summary.verdicts();
    for report in &ledger.reports {
        console.say(report);
    }
    console.say(&ledger.summary.text(console.paint));
    if missed > 0 {
        console.say(&format!("{missed} runs did not begin: interrupted"));
    }
    console.say(&format!("{:.1} s in all", began.elapsed().as_secs_f64()));
    context.done(Exit::of(&verdicts, false, interrupt.asked()))
}

/// What has come of the jobs so far, in their order.
struct Ledger<'a> {
    context: &'a Context,
    json: bool,
    few: bool,
    waiting: BTreeMap<usize, (String, Outcome)>,
    next: usize,
    reports: Vec<String>,
    summary: Summary,
}

impl Ledger<'_> {
    fn take(&mut self, index: usize, name: String, outcome: Outcome) {
        self.waiting.insert(index, (name, outcome));
        while let Some((name, outcome)) = self.waiting.remove(&self.next) {
            self.next += 1;
            self.write(name, &outcome);
        }
    }

    /// After an interrupt there may be gaps; what came of the rest counts.
    fn take_rest(&mut self) {
        for (_, (name, outcome)) in std::mem::take(&mut self.waiting) {
            self.write(name, &outcome);
        }
    }

    fn write(&mut self, name: String, outcome: &Outcome) {
        let verdict = outcome.verdict();
        if self.json {
            self.context.console.result(&outcome.json().line());
        }
        if self.few || verdict != Verdict::Pass {
            self.reports
                .extend(outcome.report_in(self.context.console.paint));
        }
        self.summary
            .add(name, verdict, outcome.judgement(), outcome.reason());
    }
}

/// How jobs are run.
struct Manner {
    /// So many at the same time.
    at_once: usize,
    /// Whether there are several seeds.
    many: bool,
    /// Whether every seed is run twice.
    twice: bool,
}

fn carry_out(
    context: &Context,
    interrupt: &Interrupt,
    jobs: &[Job],
    manner: &Manner,
    ledger: &mut Ledger<'_>,
) {
    let next = AtomicUsize::new(0);
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..manner.at_once {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(index) else { return };
                    if interrupt.asked() {
                        return;
                    }
                    let name = name(job, manner.many);
                    let mut outcome = one(context, interrupt, job, &name);
                    if manner.twice && !interrupt.asked() {
                        outcome = alike(job, outcome);
                    }
                    if done.send((index, name, outcome)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        for (index, name, outcome) in results {
            ledger.take(index, name, outcome);
        }
    });
    ledger.take_rest();
}

/// A job that is run twice more, in memory: an ERROR if these two or the run
/// directory differ.
fn alike(job: &Job, outcome: Outcome) -> Outcome {
    let Some(root) = outcome.root().map(str::to_owned) else {
        return outcome;
    };
    let plan = match job.plan() {
        Ok(plan) => plan,
        Err((_, why)) => return outcome.failed(why),
    };
    match sim::twice(&plan, &job.target.file) {
        Ok((_, Some(parted))) => {
            outcome.failed(format!("run twice, it came out otherwise: {parted}"))
        }
        Ok((trial, None)) if trial.seal.root_hex() != root => outcome.failed(format!(
            "run twice, it came out otherwise: the history has the root {root} on disk, {} in memory",
            trial.seal.root_hex()
        )),
        Ok(_) => outcome,
        Err(why) => outcome.failed(why.to_string()),
    }
}

/// One job with its line on the console, and once more if its times did not
/// hold.
fn one(context: &Context, interrupt: &Interrupt, job: &Job, name: &str) -> Outcome {
    let first = shown(context, interrupt, job, name);
    let Some(again) = job.again_after(&first).filter(|_| !interrupt.asked()) else {
        return first;
    };
    context.console.say(&format!(
        "again    {name}  its times did not hold on this machine; it is run once more, into {}",
        again.dir.display()
    ));
    shown(context, interrupt, &again, name)
}

fn shown(context: &Context, interrupt: &Interrupt, job: &Job, name: &str) -> Outcome {
    let line = context.console.line(name);
    let mut progress: Option<Progress> = None;
    let mut last: Option<Instant> = None;
    let outcome = job.run(
        &context.extra,
        interrupt,
        &mut |plan: &Plan, event: &Event| {
            let progress = progress.get_or_insert_with(|| Progress::new(plan));
            progress.fold(event);
            if let Some(what) = headline(event) {
                line.happened(what, &sentence(event));
            }
            if line.live() && last.is_none_or(|at| at.elapsed() >= REFRESH) {
                line.set(progress.text());
                last = Some(Instant::now());
            }
        },
    );
    line.end(outcome.verdict(), outcome.reason());
    if let Some(run) = outcome.run().filter(|_| job.keep) {
        let kept = std::env::temp_dir().join(format!("mailproof-{run}"));
        if kept.exists() {
            context
                .console
                .say(&format!("kept     {name}  {}", kept.display()));
        }
    }
    outcome
}

fn name(job: &Job, many: bool) -> String {
    let id = &job.source.scenario.id;
    if many {
        format!("{id} seed {}", job.seed)
    } else {
        id.clone()
    }
}

fn dir(out: &Path, id: &str, seed: Option<u64>) -> PathBuf {
    let id = id.replace('/', ".");
    out.join(match seed {
        Some(seed) => format!("{id}-{seed}"),
        None => id,
    })
}

fn at_once(engine: Engine) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    match engine {
        Engine::Sim => cores,
        Engine::Process => cores * PROCESS_JOBS_PER_CORE,
    }
}

/// The folder for the run directories, made and tried.
pub(crate) fn out(asked: Option<&Path>) -> Result<PathBuf, String> {
    let out = match asked {
        Some(out) => out.to_owned(),
        None => Path::new(RUNS).join(format!("{}-{}", stamp(), std::process::id())),
    };
    let failed = |e: io::Error| {
        format!(
            "run directories cannot be written to {}: {e}; choose another folder with --out",
            out.display()
        )
    };
    fs::create_dir_all(&out).map_err(failed)?;
    let probe = out.join(format!(".mailproof-{}", std::process::id()));
    fs::write(&probe, b"x").map_err(failed)?;
    fs::remove_file(&probe).map_err(failed)?;
    Ok(out)
}

/// A run needs a directory of its own.
fn vacant(dir: &Path) -> Result<(), String> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(format!(
                "{} holds a run already; choose another folder with --out",
                dir.display()
            )),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(format!("{}: {e}", dir.display())),
    }
}

/// The present time in UTC, `20260131-235959`.
fn stamp() -> String {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}{month:02}{day:02}-{:02}{:02}{:02}",
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Year, month and day of a day counted from 1970-01-01 (Gregorian).
fn civil(days: u64) -> (u64, u64, u64) {
    // Eras of 400 years that begin on 1 March: leap days fall at their ends.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year + era * 400 + u64::from(month <= 2);
    (year, month, of_year - (153 * shifted_month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_453, (2025, 12, 31)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }

    #[test]
    fn every_run_has_a_directory_of_its_own() {
        let out = Path::new("o");
        assert_eq!(dir(out, "smoke/a", None), Path::new("o/smoke.a"));
        assert_eq!(dir(out, "smoke/a", Some(7)), Path::new("o/smoke.a-7"));
    }
}

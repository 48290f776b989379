//! Campaigns: many seeds of some scenarios, tried in the simulator and in
//! memory, with a store that knows which seeds are done.
//!
//! A store is a folder:
//!
//! - `campaign.toml` says what is searched ([`identity`]); nothing else is
//!   ever added to it.
//! - `results.jsonl` has what came of every seed ([`results`]). A line is
//!   added at least every second and by each job for itself, so that a command
//!   that is killed loses what its jobs had under way; called again, it runs
//!   what is missing.
//! - `kept/` has the run directories of the seeds that are worth a look
//!   ([`tally::Tally::kept`] is the rule): each is run again from the same
//!   plan, to disk, and must come to the same history.
//!
//! Totals and kept seeds follow from the seeds alone, not from their order,
//! the number of jobs, or the machines they ran on. So the stores of several
//! parts ([`shard`]) merge into the one that a single machine would have made
//! ([`merge`]).

mod identity;
mod kept;
pub(crate) mod merge;
mod results;
pub(crate) mod shard;
mod store;
mod summary;
mod tally;
mod tried;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use mailproof_model::verdict::Verdict;
use rustix::time::{ClockId, clock_gettime};

use crate::cli::{Engine, Format};
use crate::context::Context;
use crate::exit_code::Exit;
use crate::interrupt::Interrupt;
use crate::job::Job;
use crate::seeds::Seeds;
use crate::source::Source;
use crate::target_choice::Choice;

use identity::Identity;
use kept::Kept;
use results::Line;
use shard::Shard;
use store::{Done, Space, Store, StoreError};
use summary::{Here, Summary};
use tried::Tried;

/// How often the progress changes, on a terminal.
const REFRESH: Duration = Duration::from_millis(200);

/// How often it is said where there is no terminal.
const SAID: Duration = Duration::from_secs(10);

/// A job hands its trials over when the first of them is so old…
const CHUNK_AGE: Duration = Duration::from_secs(1);

/// …or when there are so many.
const CHUNK: usize = 64;

/// How often it is looked at which runs are to be kept.
const SETTLE: Duration = Duration::from_secs(2);

/// What a campaign runs.
pub(crate) struct Search {
    /// The scenarios.
    pub(crate) sources: Vec<Arc<Source>>,
    /// The target.
    pub(crate) target: Arc<Choice>,
    /// All seeds of the campaign.
    pub(crate) seeds: Seeds,
    /// Which part of them.
    pub(crate) shard: Shard,
    /// Steps whose faults are only pretended.
    pub(crate) disarm: Vec<u32>,
    /// Whether every seed is run twice.
    pub(crate) twice: bool,
}

/// How it is run.
pub(crate) struct Manner<'a> {
    /// The folder of the store, or of those of its parts.
    pub(crate) dir: &'a Path,
    /// Threads.
    pub(crate) jobs: usize,
    /// How the summary is written.
    pub(crate) format: Format,
    /// Whether to exit 0 when all is done, whatever came of it.
    pub(crate) leave_verdict: bool,
}

impl Search {
    fn id(&self, scenario: usize) -> &str {
        &self.sources[scenario].scenario.id
    }

    fn ids(&self) -> Vec<&str> {
        (0..self.sources.len()).map(|n| self.id(n)).collect()
    }

    fn job(&self, scenario: usize, seed: u64, dir: PathBuf) -> Job {
        Job {
            source: Arc::clone(&self.sources[scenario]),
            target: Arc::clone(&self.target),
            engine: Engine::Sim,
            seed,
            disarm: self.disarm.clone(),
            dir,
            keep: false,
        }
    }
}

/// `mailproof run --campaign`.
pub(crate) fn run(context: &Context, search: &Search, manner: &Manner<'_>) -> Exit {
    let console = &context.console;
    let dir = if search.shard.is_all() {
        manner.dir.to_owned()
    } else {
        manner.dir.join(search.shard.folder())
    };
    let identity = match Identity::of(
        &search.sources,
        &search.target,
        &search.seeds,
        search.shard,
        &search.disarm,
        search.twice,
    ) {
        Ok(identity) => identity,
        Err(e) => {
            let why = format!("the running command cannot be read: {e}");
            return context.refuse(Exit::Harness, &why);
        }
    };
    let mut store = match Store::open(&dir, identity) {
        Ok(store) => store,
        Err(why) => return refuse(context, &why),
    };
    let mut kept = match Kept::open(&dir, &search.ids()) {
        Ok(kept) => kept,
        Err(e) => return refuse(context, &kept_failed(&dir, &e)),
    };
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(e) => {
            return context.refuse(Exit::Harness, &format!("cannot listen for signals: {e}"));
        }
    };
    let before = store.tally.trials;
    console.say(&format!(
        "campaign in {}: {} of {} trials are done; {} jobs",
        dir.display(),
        before,
        store.space.trials(),
        manner.jobs
    ));
    let began = Instant::now();
    if let Err(why) = search_on(
        context,
        search,
        manner.jobs,
        &interrupt,
        &mut store,
        &mut kept,
    ) {
        return refuse(context, &why);
    }
    let here = Here {
        trials: store.tally.trials - before,
        seconds: began.elapsed().as_secs_f64(),
        jobs: manner.jobs,
        interrupted: interrupt.asked() && store.missing() > 0,
    };
    let summary = Summary {
        identity: &store.identity,
        tally: &store.tally,
        trials: store.space.trials(),
        dir: &dir,
        kept_dir: &dir,
        here: Some(here),
        merged: None,
        reproduce: &|scenario, seed| {
            let job = search.job(scenario, seed, PathBuf::new());
            job.reproduce(&context.extra)
        },
    };
    console.say(&summary.text(console.paint));
    if manner.format == Format::Json {
        console.result(&summary.json());
    }
    let exit = summary.exit();
    if manner.leave_verdict && store.missing() == 0 {
        return context.done(Exit::Passed);
    }
    context.done(exit)
}

fn refuse(context: &Context, why: &StoreError) -> Exit {
    let exit = match why {
        StoreError::Refused(_) => Exit::Usage,
        StoreError::Failed(_) => Exit::Harness,
    };
    context.refuse(exit, &why.to_string())
}

fn kept_failed(dir: &Path, e: &io::Error) -> StoreError {
    StoreError::Failed(format!(
        "run directories cannot be kept in {}: {e}",
        dir.join(kept::FOLDER).display()
    ))
}

/// Runs what is missing.
fn search_on(
    context: &Context,
    search: &Search,
    jobs: usize,
    interrupt: &Interrupt,
    store: &mut Store,
    kept: &mut Kept,
) -> Result<(), StoreError> {
    let done = store.done.clone();
    let space = store.space.clone();
    let work = Work {
        search,
        space: &space,
        done: &done,
        next: AtomicU64::new(0),
        interrupt,
        stop: AtomicBool::new(false),
    };
    let jobs = if store.missing() == 0 { 0 } else { jobs };
    let (send, receive) = mpsc::channel();
    let mut progress = Progress::new(context, store);
    let came = thread::scope(|scope| {
        for _ in 0..jobs {
            let (send, work) = (send.clone(), &work);
            scope.spawn(move || work.work(&send));
        }
        drop(send);
        let mut settled = Instant::now();
        let came = loop {
            match receive.recv_timeout(REFRESH) {
                Ok(trials) => {
                    if let Err(why) = store.add(Line::Tried(trials)) {
                        break Err(why);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Ok(()),
            }
            if settled.elapsed() >= SETTLE {
                if let Err(why) = settle(context, search, store, kept) {
                    break Err(why);
                }
                settled = Instant::now();
            }
            progress.show(store);
        };
        // After a failure nobody takes what is still under way.
        work.stop.store(true, Ordering::Relaxed);
        drop(receive);
        came
    });
    drop(progress);
    came?;
    settle(context, search, store, kept)?;
    store.sync()
}

fn settle(
    context: &Context,
    search: &Search,
    store: &mut Store,
    kept: &mut Kept,
) -> Result<(), StoreError> {
    let differ = kept
        .settle(&context.extra, search, &store.tally)
        .map_err(|e| kept_failed(&store.dir, &e))?;
    for differs in differ {
        store.add(Line::Differs(differs))?;
    }
    Ok(())
}

/// What the jobs share.
struct Work<'a> {
    search: &'a Search,
    space: &'a Space,
    done: &'a Done,
    next: AtomicU64,
    interrupt: &'a Interrupt,
    stop: AtomicBool,
}

impl Work<'_> {
    /// One job: makes trials until there are none left or somebody wants it
    /// to end, and hands them over.
    fn work(&self, send: &Sender<Vec<Tried>>) {
        let mut chunk = Vec::new();
        let mut begun = Instant::now();
        while !self.interrupt.asked() && !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.space.trials() {
                break;
            }
            if self.done.has(number) {
                continue;
            }
            let (scenario, seed) = self.space.trial(number);
            let job = self.search.job(scenario, seed, PathBuf::new());
            let began = processor_time();
            let mut tried = Tried::of(&job, scenario, self.search.twice);
            tried.took = processor_time().saturating_sub(began);
            chunk.push(tried);
            if chunk.len() >= CHUNK || begun.elapsed() >= CHUNK_AGE {
                if send.send(std::mem::take(&mut chunk)).is_err() {
                    return;
                }
                begun = Instant::now();
            }
        }
        if !chunk.is_empty() {
            // Nobody takes it only after a failure.
            let _ = send.send(chunk);
        }
    }
}

/// The line about a running campaign.
struct Progress<'a> {
    line: crate::console::Line<'a>,
    began: Instant,
    before: u64,
    said: Instant,
}

impl<'a> Progress<'a> {
    fn new(context: &'a Context, store: &Store) -> Self {
        Self {
            line: context.console.line("campaign"),
            began: Instant::now(),
            before: store.tally.trials,
            said: Instant::now(),
        }
    }

    fn show(&mut self, store: &Store) {
        let live = self.line.live();
        if !live && self.said.elapsed() < SAID {
            return;
        }
        self.said = Instant::now();
        let text = self.text(store);
        if live {
            self.line.set(text);
        } else {
            self.line.happened("tried", &text);
        }
    }

    fn text(&self, store: &Store) -> String {
        let here = store.tally.trials - self.before;
        let rate = per_second(here, self.began.elapsed().as_secs_f64());
        let verdicts = verdicts(&store.tally.sums());
        let left = if rate > 0.0 {
            #[allow(clippy::cast_precision_loss)] // an estimate
            let seconds = store.missing() as f64 / rate;
            format!(", {} left", span(seconds))
        } else {
            String::new()
        };
        format!(
            "{} of {} trials, {rate:.0}/s{left}: {verdicts}",
            store.tally.trials,
            store.space.trials()
        )
    }
}

/// Nanoseconds of processor time that this thread has had: what a trial costs,
/// however busy the machine is.
fn processor_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000_000 + nanos.unwrap_or(0)
}

/// `90 PASS, 2 FAIL`.
fn verdicts(sums: &std::collections::BTreeMap<Verdict, u64>) -> String {
    if sums.is_empty() {
        return "none yet".to_owned();
    }
    let parts: Vec<_> = sums.iter().map(|(v, n)| format!("{n} {v}")).collect();
    parts.join(", ")
}

#[allow(clippy::cast_precision_loss)] // a rate
fn per_second(n: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        n as f64 / seconds
    } else {
        0.0
    }
}

/// A length of real or virtual time, in the unit that suits it.
fn span(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7_200.0 => format!("{:.1} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

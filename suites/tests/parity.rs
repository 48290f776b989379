//! The same scenario on every engine: each file of `suites/parity` is run in
//! the simulator and on real processes, and must come to the same.
//!
//! These scenarios leave nothing to chance: one session, one node to talk to,
//! and faults at points where a link stands, so that what happens follows from
//! the plan and not from who is faster.
//!
//! Compared, and equal:
//! - the verdict, and how many things it lacked;
//! - for each recipient of each message: how every attempt ended (accepted,
//!   reply lost, no reply, refused with which code, not sent), its class, the
//!   copies, the licences of the extra ones, the copies without a licence, the
//!   reports of failure;
//! - the findings: rule, kind, recipients, witness message and recipient,
//!   whether they fail the run;
//! - the evidence: what each piece shows, of which fault or window.
//!
//! Not compared, because it may differ between two right engines:
//! - times, and with them the order of what happens at different parties;
//! - ids of events and connections, and how many there are: the simulator's
//!   sender pipelines and lettre does not, nodes may keep connections or not;
//! - the words of evidence after its label: which of several links noticed
//!   first that a node was gone, what a listing said, figures;
//! - codes of a refusal that never stood for an attempt's end (the sender's
//!   account of it is compared, its notes are not).
//!
//! A run whose times did not hold on this machine is repeated once by the
//! harness; that is said. A scenario that an engine cannot run here shows as
//! ignored.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use libtest_mimic::{Arguments, Failed, Trial};
use mailproof::model::history::{self, Reader};
use mailproof::model::judge::{self, RecipientOutcome};
use mailproof::model::ledger::{Ended, Ledger};
use mailproof::{Engine, Extra, Harness, Judgement, Verdict};

/// The family of these scenarios.
const FAMILY: &str = "parity/";

/// The seed of every run: messages are the same on every engine.
const SEED: u64 = 1;

/// Scenarios at once: they wait for timers, and each keeps few processes.
const AT_ONCE: usize = 8;

/// What one run came to, in lines that can be compared.
#[derive(Clone)]
struct Came {
    verdict: String,
    /// Fewest words: for the table of all scenarios.
    short: String,
    /// What must be equal, by what it is about.
    lines: BTreeMap<String, String>,
    report: String,
    dirs: Vec<PathBuf>,
}

/// Scenario by engine, for the table.
type Table = Arc<Mutex<BTreeMap<String, BTreeMap<&'static str, String>>>>;

fn main() -> ExitCode {
    if let Some(done) = mailproof::helper(Extra::default) {
        return done;
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    let harness = Harness::default();
    let table = Table::default();
    let tests = mailproof::scenarios()
        .filter(|s| s.id.starts_with(FAMILY))
        .map(|s| trial(&harness, &s.id, &table))
        .collect();
    let conclusion = libtest_mimic::run(&arguments, tests);
    if conclusion.has_failed() {
        eprint!("{}", drawn(&table));
    }
    conclusion.exit_code()
}

fn trial(harness: &Harness, id: &str, table: &Table) -> Trial {
    for engine in Engine::ALL {
        let why = match harness.job(id, "reference", engine, SEED, &[], &dir(id, engine)) {
            Ok(job) => harness.inapplicable(&job),
            Err(why) => return Trial::test(id, move || Err(why.into())),
        };
        if let Some(why) = why {
            return Trial::test(id, || Ok(()))
                .with_kind(why)
                .with_ignored_flag(true);
        }
    }
    let (name, table) = (id.to_owned(), Arc::clone(table));
    Trial::test(id, move || compare(&name, &table))
}

fn compare(id: &str, table: &Table) -> Result<(), Failed> {
    let mut all: Vec<(Engine, Came)> = Vec::new();
    for engine in Engine::ALL {
        let came = run(id, engine)?;
        table
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(id.to_owned())
            .or_default()
            .insert(engine.name(), came.short.clone());
        all.push((engine, came));
    }
    let (first, rest) = all.split_first().ok_or("there is no engine")?;
    let mut wrong = String::new();
    for other in rest {
        wrong += &difference(first, other);
    }
    for (engine, came) in &all {
        if came.verdict != Verdict::Pass.to_string() {
            let _ = writeln!(wrong, "on {}:\n{}", engine.name(), came.report);
        }
    }
    if wrong.is_empty() {
        // Only what went wrong is worth keeping.
        for dir in all.iter().flat_map(|(_, came)| &came.dirs) {
            let _ = fs::remove_dir_all(dir);
        }
        return Ok(());
    }
    for dir in all.iter().flat_map(|(_, came)| &came.dirs) {
        let _ = writeln!(wrong, "kept: {}", dir.display());
    }
    Err(wrong.into())
}

fn run(id: &str, engine: Engine) -> Result<Came, Failed> {
    let dir = dir(id, engine);
    let outcome = mailproof::run_scenario(id, "reference", engine, SEED, &dir)?;
    let mut again = dir.clone().into_os_string();
    again.push("-again");
    let mut dirs = vec![dir.clone()];
    let mut last = dir;
    if Path::new(&again).exists() {
        eprintln!(
            "{id} on {}: its times did not hold on this machine; it was run once more",
            engine.name()
        );
        last = again.into();
        dirs.push(last.clone());
    }
    let Some(judgement) = outcome.judgement() else {
        return Err(format!(
            "{id} on {}: {}: {}",
            engine.name(),
            outcome.verdict(),
            outcome.reason()
        )
        .into());
    };
    let recipients = recipients(&last)?;
    let classes: Vec<String> = judgement
        .classes
        .iter()
        .filter(|(_, n)| **n > 0)
        .map(|(class, n)| format!("{n} {class}"))
        .collect();
    Ok(Came {
        verdict: outcome.verdict().to_string(),
        short: format!("{} {}", outcome.verdict(), classes.join(" + ")),
        lines: lines(outcome.verdict(), judgement, &recipients),
        report: outcome.report(),
        dirs,
    })
}

/// The way of every recipient, read from the run directory as `check` would.
fn recipients(dir: &Path) -> Result<Vec<RecipientOutcome>, String> {
    let path = dir.join(history::FILE);
    let failed = |why: String| format!("{}: {why}", path.display());
    let mut reader = Reader::open(&path).map_err(|e| failed(e.to_string()))?;
    let plan = reader.plan().clone();
    let mut ledger = Ledger::new(plan.scenario.workload.messages);
    while let Some(event) = reader.next_event().map_err(|e| failed(e.to_string()))? {
        ledger.fold(&event);
    }
    let found = judge::outcomes(&plan, &ledger);
    if found.is_empty() {
        return Err(failed("it names no recipient".to_owned()));
    }
    Ok(found)
}

fn lines(
    verdict: Verdict,
    judgement: &Judgement,
    recipients: &[RecipientOutcome],
) -> BTreeMap<String, String> {
    let mut lines = BTreeMap::new();
    lines.insert("verdict".to_owned(), verdict.to_string());
    lines.insert("lacking".to_owned(), judgement.missing.len().to_string());
    for r in recipients {
        let attempts: Vec<String> = r.attempts.iter().map(|(n, e)| ended(*n, *e)).collect();
        let mut text = format!("{}; {}; copies {}", attempts.join(", "), r.class, r.copies);
        for (licence, n) in &r.licensed {
            let _ = write!(text, ", {n} by {licence}");
        }
        if r.unlicensed > 0 {
            let _ = write!(text, ", {} by nothing", r.unlicensed);
        }
        if r.bounces > 0 {
            let _ = write!(text, "; bounces {}", r.bounces);
        }
        lines.insert(format!("message {:02} recipient {}", r.msg, r.rcpt), text);
    }
    for finding in &judgement.findings {
        let about = format!("finding {} {}", finding.rule, finding.kind);
        let text = format!(
            "{} recipients, witness {:?} {:?}, fails {}",
            finding.count, finding.message, finding.recipient, finding.fails
        );
        lines.insert(about, text);
    }
    let mut shown: BTreeMap<String, u32> = BTreeMap::new();
    for evidence in &judgement.evidence {
        // `fault 0 (crash): …`, `window takeover: …`; what has no label says
        // only what it shows.
        let label = evidence
            .text
            .split_once(": ")
            .map_or("", |(label, _)| label);
        *shown
            .entry(format!("evidence {} {label}", evidence.kind))
            .or_default() += 1;
    }
    lines.extend(shown.into_iter().map(|(about, n)| (about, n.to_string())));
    lines
}

fn ended(attempt: u16, ended: Ended) -> String {
    let how = match ended {
        Ended::Accepted => "accepted".to_owned(),
        Ended::ReplyLost => "reply lost".to_owned(),
        Ended::NoReply => "no reply".to_owned(),
        Ended::Refused(code) => format!("refused {code}"),
        Ended::NotSent => "not sent".to_owned(),
    };
    format!("{attempt} {how}")
}

/// What differs between two engines; nothing if nothing does.
fn difference((one, a): &(Engine, Came), (two, b): &(Engine, Came)) -> String {
    let nothing = || "-".to_owned();
    let mut rows: Vec<[String; 3]> = Vec::new();
    let keys: std::collections::BTreeSet<&String> = a.lines.keys().chain(b.lines.keys()).collect();
    for key in keys {
        let (left, right) = (a.lines.get(key), b.lines.get(key));
        if left != right {
            rows.push([
                key.clone(),
                left.cloned().unwrap_or_else(nothing),
                right.cloned().unwrap_or_else(nothing),
            ]);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let names = ["", one.name(), two.name()];
    rows.insert(0, names.map(str::to_owned));
    columns(&rows)
}

/// Every scenario that was run, by engine.
fn drawn(table: &Table) -> String {
    let table = table.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rows = vec![[
        "scenario".to_owned(),
        Engine::ALL[0].name().to_owned(),
        Engine::ALL[1].name().to_owned(),
    ]];
    for (id, came) in table.iter() {
        let cell = |engine: Engine| came.get(engine.name()).cloned().unwrap_or_default();
        rows.push([id.clone(), cell(Engine::ALL[0]), cell(Engine::ALL[1])]);
    }
    columns(&rows)
}

fn columns(rows: &[[String; 3]]) -> String {
    let width = |n: usize| rows.iter().map(|r| r[n].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    rows.iter().fold(String::new(), |mut text, [a, b, c]| {
        let _ = writeln!(text, "  {a:first$} | {b:second$} | {c}");
        text
    })
}

/// A run directory that no other test and no other test run uses.
fn dir(id: &str, engine: Engine) -> PathBuf {
    let name = format!(
        "parity-{}-{}-{}",
        engine.name(),
        id.replace('/', "."),
        std::process::id()
    );
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

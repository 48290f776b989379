//! Judging a run directory. `run` and `check` both end here, so that they
//! cannot differ.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use mailproof_model::bundle::{self, Integrity};
use mailproof_model::event::Event;
use mailproof_model::history::{self, OpenError, Reader, Tail};
use mailproof_model::judge::{self, Ending};
use mailproof_model::ledger::Ledger;
use mailproof_model::plan::Plan;
use mailproof_model::verdict::{Judgement, Verdict};

use crate::context::Extra;
use crate::json::RunLine;
use crate::report::{self, Report, quoted};
use crate::{library, target_choice};

/// The scenario file of a run directory.
pub(crate) const SCENARIO: &str = "scenario.toml";

/// The target file of a run directory.
pub(crate) const TARGET: &str = "target.toml";

/// What a run directory amounts to.
pub(crate) enum Examined {
    /// It can be judged.
    Judged(Box<Judged>),
    /// It is what a run left behind that ended before its plan was written.
    Empty(String),
    /// It was changed after it was written; nothing in it is believed.
    Altered(String),
}

/// A judged run.
pub(crate) struct Judged {
    pub(crate) plan: Plan,
    pub(crate) judgement: Judgement,
    /// The root of the history, 64 hex digits, if it is sealed.
    pub(crate) root: Option<String>,
    /// The events that a report shows.
    pub(crate) events: BTreeMap<u64, Event>,
    /// Files in the directory that are no part of the run.
    pub(crate) unlisted: Vec<String>,
    /// The directory, as it was given.
    pub(crate) dir: String,
    /// The command that repeats the run.
    pub(crate) reproduce: String,
}

/// Reads and judges a run directory.
///
/// # Errors
/// Why nothing can be said of it: it is no run directory, cannot be read, or
/// was made by another version.
pub(crate) fn examine(extra: &Extra, dir: &Path) -> Result<Examined, String> {
    let verified = bundle::verify(dir).map_err(|e| e.to_string())?;
    let ending = match &verified.integrity {
        Integrity::Altered { file, line, why } => {
            let line = line.map_or(String::new(), |line| format!(", line {line}"));
            return Ok(Examined::Altered(format!("{file}{line}: {why}")));
        }
        Integrity::Sealed { .. } => Ending::Sealed,
        Integrity::Unsealed { why, .. } => Ending::Unsealed(why.clone()),
    };
    let path = dir.join(history::FILE);
    let mut reader = match Reader::open(&path) {
        Ok(reader) => reader,
        Err(e @ OpenError::Torn) => return Ok(Examined::Empty(e.to_string())),
        Err(e) => return Err(format!("{}: {e}", path.display())),
    };
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    let mut ledger = Ledger::new(reader.plan().scenario.workload.messages);
    while let Some(event) = reader.next_event().map_err(failed)? {
        ledger.fold(&event);
    }
    match (reader.tail(), &ending) {
        (Some(Tail::Sealed { .. }), Ending::Sealed)
        | (Some(Tail::Unsealed { .. }), Ending::Unsealed(_)) => {}
        (Some(Tail::Altered { line, why }), _) => {
            return Ok(Examined::Altered(format!(
                "{}, line {line}: {why}",
                history::FILE
            )));
        }
        _ => {
            return Ok(Examined::Altered(format!(
                "{}: it ends otherwise than run.json says",
                history::FILE
            )));
        }
    }
    let plan = reader.plan().clone();
    let judgement = judge::from_ledger(&plan, &ledger, &ending);
    drop(ledger);
    let events = pick(&path, &report::shown(&judgement))?;
    let shown_as = shown_as(dir);
    let reproduce = reproduce(extra, &plan, &shown_as);
    let root = match verified.integrity {
        Integrity::Sealed { root, .. } => Some(root),
        _ => None,
    };
    Ok(Examined::Judged(Box::new(Judged {
        plan,
        judgement,
        root,
        events,
        unlisted: verified.unlisted,
        dir: shown_as,
        reproduce,
    })))
}

impl Judged {
    pub(crate) fn verdict(&self) -> Verdict {
        self.judgement.verdict
    }

    pub(crate) fn json(&self) -> RunLine {
        RunLine::judged(&self.plan, &self.judgement, &self.dir, &self.reproduce)
    }

    pub(crate) fn report(&self) -> Report<'_> {
        Report {
            plan: &self.plan,
            judgement: &self.judgement,
            events: &self.events,
            dir: &self.dir,
            reproduce: &self.reproduce,
        }
    }

    /// The scenario and, where it matters, the seed.
    pub(crate) fn name(&self) -> String {
        self.plan.scenario.id.clone()
    }
}

/// The events with these ids.
fn pick(path: &Path, wanted: &BTreeSet<u64>) -> Result<BTreeMap<u64, Event>, String> {
    let mut found = BTreeMap::new();
    let Some(last) = wanted.last() else {
        return Ok(found);
    };
    let mut reader = Reader::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
    while let Some(event) = reader
        .next_event()
        .map_err(|e| format!("{}: {e}", path.display()))?
    {
        let id = event.id;
        if wanted.contains(&id) {
            found.insert(id, event);
        }
        if id >= *last {
            break;
        }
    }
    Ok(found)
}

/// A directory as reports show it: as given, but for slashes at its end.
pub(crate) fn shown_as(dir: &Path) -> String {
    let text = dir.display().to_string();
    let cut = text.trim_end_matches('/');
    if cut.is_empty() { text } else { cut.to_owned() }
}

/// The command that repeats a run. Names are used where they still mean what
/// was run, the files in the run directory where they do not.
fn reproduce(extra: &Extra, plan: &Plan, dir: &str) -> String {
    let scenario = match library::scenario(&plan.scenario.id) {
        Some(carried) if *carried == plan.scenario => plan.scenario.id.clone(),
        _ => quoted(&format!("{dir}/{SCENARIO}")),
    };
    let text = fs::read_to_string(Path::new(dir).join(TARGET));
    let known = target_choice::known(extra)
        .any(|(name, known)| name == plan.target.name && text.as_ref().is_ok_and(|t| t == known));
    let target = if known {
        plan.target.name.clone()
    } else {
        quoted(&format!("{dir}/{TARGET}"))
    };
    let mut command = command(extra, &scenario, &plan.engine, plan.seed, &target);
    for step in &plan.disarmed {
        command.push_str(&format!(" --disarm {step}"));
    }
    command
}

/// A `run` command.
pub(crate) fn command(
    extra: &Extra,
    scenario: &str,
    engine: &str,
    seed: u64,
    target: &str,
) -> String {
    format!(
        "{} run {scenario} --engine {engine} --seed {seed} --target {target}",
        extra.program
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::Exit;
    use crate::facade::Harness;
    use crate::{Engine, source};
    use mailproof_model::scenario;

    /// What `check` exits with.
    fn code(dir: &Path) -> u8 {
        let (verdict, altered) = match examine(&Extra::default(), dir) {
            Ok(Examined::Judged(judged)) => (judged.verdict(), false),
            Ok(Examined::Empty(_)) => (Verdict::Inconclusive, false),
            Ok(Examined::Altered(_)) => (Verdict::Error, true),
            Err(why) => panic!("{why}"),
        };
        Exit::of(&[verdict], altered, false).code()
    }

    /// A sealed run of a scenario so small that every byte of it can be tried.
    fn small(dir: &Path) {
        let text = r#"
id = "test/small"
title = "As small as it gets"
[cluster]
nodes = 1
[workload]
messages = 2
sessions = 1
"#;
        let scenario = scenario::lint("small.toml", text).unwrap();
        let harness = Harness::default();
        let job = harness
            .job("smoke/no-fault", "reference", Engine::Sim, 1, &[], dir)
            .unwrap()
            .with(source::Source {
                name: scenario.id.clone(),
                scenario,
                text: text.to_owned(),
            });
        let _ = harness.run(&job);
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        small(&run);
        assert_eq!(code(&run), 0);

        for name in [history::FILE, bundle::FILE, SCENARIO, TARGET] {
            let path = run.join(name);
            let whole = fs::read(&path).unwrap();
            for at in 0..whole.len() {
                let mut changed = whole.clone();
                changed[at] ^= 0x01;
                fs::write(&path, &changed).unwrap();
                assert_eq!(code(&run), 71, "{name}, byte {at}");
            }
            fs::write(&path, &whole).unwrap();
        }
        assert_eq!(code(&run), 0);

        let history = run.join(history::FILE);
        let whole = fs::read(&history).unwrap();
        for length in 0..whole.len() {
            fs::write(&history, &whole[..length]).unwrap();
            assert_eq!(code(&run), 71, "sealed, cut to {length}");
        }
        // As a killed harness leaves it.
        fs::remove_file(run.join(bundle::FILE)).unwrap();
        for length in 0..whole.len() {
            fs::write(&history, &whole[..length]).unwrap();
            assert_eq!(code(&run), 3, "unsealed, cut to {length}");
        }
    }
}

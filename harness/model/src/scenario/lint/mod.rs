//! Whether a scenario makes sense: names that exist, times that can be, steps
//! that can happen, expectations that do not contradict each other. Every
//! problem is found and stands at the very value that causes it.

mod chaos;
mod disk;
mod expect;
mod network;
mod steps;
mod sweep;
mod world;

use std::collections::BTreeMap;

use super::{Back, NodeFault, Scenario, Span, Step, Times, parse_all};
use crate::diagnostic::Diagnostic;
use crate::planning;
use crate::strict::Document;

/// Reads a scenario and checks that it makes sense; `file` is the name shown
/// in messages.
///
/// # Errors
/// Every problem of the file, in its order; at least one.
pub fn lint(file: &str, text: &str) -> Result<Scenario, Vec<Diagnostic>> {
    let (scenario, document) = parse_all(file, text)?;
    let problems = check(&scenario, &document);
    if problems.is_empty() {
        Ok(scenario)
    } else {
        Err(problems)
    }
}

/// Reads and checks many files (name, text), and finds ids that two of them
/// share.
///
/// # Errors
/// Every problem of every file, in the order given; at least one.
pub fn lint_all<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<Vec<Scenario>, Vec<Diagnostic>> {
    let mut scenarios = Vec::new();
    let mut problems = Vec::new();
    let mut ids: BTreeMap<String, &str> = BTreeMap::new();
    for (file, text) in files {
        let (scenario, document) = match parse_all(file, text) {
            Ok(read) => read,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        problems.extend(check(&scenario, &document));
        match ids.get(&scenario.id) {
            Some(first) => problems.push(document.value(
                "id",
                format!("the id `{}` is already that of {first}", scenario.id),
            )),
            None => {
                ids.insert(scenario.id.clone(), file);
            }
        }
        scenarios.push(scenario);
    }
    if problems.is_empty() {
        Ok(scenarios)
    } else {
        Err(problems)
    }
}

/// What is wrong with a scenario that could be read, in the order of its
/// file.
#[must_use]
pub fn check(scenario: &Scenario, document: &Document) -> Vec<Diagnostic> {
    let mut lint = Lint {
        scenario,
        document,
        times: Times::new(),
        problems: Vec::new(),
    };
    lint.identity();
    if let Some(chaos) = &scenario.chaos {
        lint.chaos(chaos);
    } else {
        lint.cluster();
        lint.workload();
        lint.times();
        lint.pace();
        lint.steps();
        lint.expect();
        if let Some(sweep) = &scenario.sweep {
            lint.sweep(sweep);
        }
    }
    let mut problems = lint.problems;
    problems.sort_by_key(|d| d.span().start);
    problems.dedup();
    problems
}

struct Lint<'a> {
    scenario: &'a Scenario,
    document: &'a Document,
    /// The planned times; empty while they are not known.
    times: Times,
    problems: Vec<Diagnostic>,
}

impl Lint<'_> {
    fn wrong(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(self.document.value(path, message));
    }

    fn wrong_with(&mut self, path: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.problems
            .push(self.document.value(path, message).hint(hint));
    }

    /// With "did you mean" where a name is near.
    fn unknown(&mut self, path: &str, message: String, near: Option<&str>) {
        let problem = self.document.value(path, message);
        self.problems.push(match near {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem,
        });
    }

    /// The value of a span; a problem when it has none, or when it is 0 and
    /// may not be.
    fn span(&mut self, path: &str, span: &Span) -> Option<u64> {
        match span.resolve(&self.times) {
            Ok(0) => {
                self.wrong(
                    path,
                    format!("`{span}` is no time at all: expected more than 0"),
                );
                None
            }
            Ok(value) => Some(value),
            Err(e) => {
                let unknown: Vec<&str> = span.names().filter(|n| !self.resolves(n)).collect();
                if unknown.is_empty() {
                    self.wrong(path, e.to_string());
                }
                for name in unknown {
                    self.no_time(path, name, false);
                }
                None
            }
        }
    }

    fn resolves(&self, name: &str) -> bool {
        name.parse::<Span>()
            .is_ok_and(|span| span.resolve(&self.times).is_ok())
    }

    /// A name of a time that has no value here: the caret below that name.
    fn no_time(&mut self, path: &str, name: &str, measured_too: bool) {
        let known = planning::TIMES.map(|(name, _)| name);
        let one = |known: &str| {
            name == known
                || name.strip_suffix('s') == Some(known)
                || name
                    .strip_suffix("ies")
                    .is_some_and(|stem| known.strip_suffix('y') == Some(stem))
        };
        let mut names = known.to_vec();
        if measured_too {
            names.extend(planning::MEASURED);
        }
        let say = |message: String| self.document.part(path, name, message);
        let problem = if known.into_iter().any(one) {
            say(format!("`{name}` has no value here yet")).hint(format!(
                "times are settled in the order {}: each may refer to those before it",
                known.join(", ")
            ))
        } else if planning::MEASURED.into_iter().any(one) {
            say(format!("`{name}` is known only after a run")).hint("inequalities may name it")
        } else {
            let problem = say(format!(
                "no time is called `{name}`; times are {}",
                names.join(", ")
            ));
            match crate::suggest::nearest(name, names) {
                Some(near) => problem.hint(format!("did you mean `{near}`?")),
                None => problem,
            }
        };
        self.problems.push(problem);
    }

    /// Whether the scenario says that it needs a capability.
    fn needs(&self, capability: &str) -> bool {
        self.scenario.needs.iter().any(|n| n == capability)
    }

    /// The planned value of a time, in nanoseconds.
    fn time(&self, name: &str) -> u64 {
        self.times.get(name).copied().unwrap_or(0)
    }

    /// The value of a span whose problems are reported elsewhere.
    fn value(&self, span: &Span) -> Option<u64> {
        span.resolve(&self.times).ok()
    }

    /// Whether a step keeps a transport node away for longer than its peers
    /// wait, so that they may take its mail over.
    fn outlasts_takeover(&self, step: &Step) -> bool {
        let takeover = self.time("takeover");
        let long = |span: &Option<Span>| {
            span.as_ref()
                .is_some_and(|s| self.value(s).is_none_or(|v| v > takeover))
        };
        match step {
            Step::Crash(f) | Step::PowerCut(f) | Step::NodeLost(f) | Step::Restart(f) => {
                f.back != Back::Same || long(&f.after)
            }
            Step::Pause(p) => self.value(&p.lasts).is_none_or(|v| v > takeover),
            Step::Link(l) => {
                use super::LinkAct::{Blackhole, Mute, Refuse};
                let cut = matches!(l.act, Blackhole | Mute(_) | Refuse);
                cut && (l.lasts.is_none() || long(&l.lasts))
            }
            Step::Partition(p) => {
                let apart = p.sides.iter().all(|s| s.iter().any(|n| n.is_node()));
                apart && p.flap.is_none() && (p.lasts.is_none() || long(&p.lasts))
            }
            Step::Disk(f) => f.back != Back::Same || long(&f.after),
            // A node whose store is damaged may refuse to start.
            Step::Corrupt(_) => true,
            Step::Clock(_) | Step::Wait(_) => false,
        }
    }
}

/// The name of a step's kind, which is its key in the file.
fn kind(step: &Step) -> &'static str {
    match step {
        Step::Crash(_) => "crash",
        Step::PowerCut(_) => "power-cut",
        Step::NodeLost(_) => "node-lost",
        Step::Pause(_) => "pause",
        Step::Restart(_) => "restart",
        Step::Link(_) => "link",
        Step::Partition(_) => "partition",
        Step::Disk(_) => "disk",
        Step::Corrupt(_) => "corrupt",
        Step::Clock(_) => "clock",
        Step::Wait(_) => "wait",
    }
}

/// The fault that a step does to a node's life.
fn node_fault(step: &Step) -> Option<&NodeFault> {
    match step {
        Step::Crash(f) | Step::PowerCut(f) | Step::NodeLost(f) | Step::Restart(f) => Some(f),
        Step::Pause(_)
        | Step::Link(_)
        | Step::Partition(_)
        | Step::Disk(_)
        | Step::Corrupt(_)
        | Step::Clock(_)
        | Step::Wait(_) => None,
    }
}

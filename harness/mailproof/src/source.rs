//! Scenario files: which ones were asked for, read and linted.

use std::path::Path;

use mailproof_model::diagnostic::Diagnostic;
use mailproof_model::scenario::{self, Scenario, Step};

use crate::context::Context;
use crate::exit_code::Exit;
use crate::report::quoted;
use crate::{library, list, selection};

/// What `run` runs when nothing is named.
pub(crate) const SMOKE: &str = "smoke/";

/// A scenario and the file it was read from.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// What it was asked by: its id where the command carries it, else the
    /// file.
    pub(crate) name: String,
    /// What it says.
    pub(crate) scenario: Scenario,
    /// The file itself; it is copied into the run directory.
    pub(crate) text: String,
}

/// Reads a scenario and looks for everything that is wrong with it.
pub(crate) fn read(file: &str, text: &str) -> Result<Scenario, Vec<Diagnostic>> {
    scenario::lint(file, text)
}

/// Whether an argument names a file rather than a pattern over ids.
pub(crate) fn is_file(argument: &str) -> bool {
    argument.ends_with(".toml")
}

/// The scenarios that the arguments select, each once, in the order of the
/// arguments and then of the library; or the exit code, after everything that
/// is wrong was said.
pub(crate) fn select(context: &Context, arguments: &[String]) -> Result<Vec<Source>, Exit> {
    let smoke = [SMOKE.to_owned()];
    let arguments = if arguments.is_empty() {
        &smoke
    } else {
        arguments
    };
    let mut files: Vec<(String, String)> = Vec::new();
    let mut unmatched = Vec::new();
    let mut unreadable = false;
    for argument in arguments {
        if is_file(argument) {
            match std::fs::read_to_string(argument) {
                Ok(text) => add(&mut files, argument, text),
                Err(e) => {
                    context
                        .console
                        .error(&format!("the scenario file {argument} cannot be read: {e}"));
                    unreadable = true;
                }
            }
            continue;
        }
        let before = files.len();
        let mut known = false;
        for carried in library::scenarios() {
            if selection::matches(argument, &carried.id) {
                known = true;
                add(&mut files, carried.path, carried.text.to_owned());
            }
        }
        if !known && files.len() == before {
            unmatched.push(argument.clone());
        }
    }
    if unreadable {
        return Err(Exit::Usage);
    }
    if !unmatched.is_empty() {
        return Err(list::nothing(context, &unmatched));
    }
    let carried = |file: &str| {
        !arguments.iter().any(|argument| argument == file)
            && library::scenarios().any(|carried| carried.path == file)
    };
    let texts = files
        .iter()
        .map(|(file, text)| (file.as_str(), text.as_str()));
    let scenarios = match scenario::lint_all(texts) {
        Ok(scenarios) => scenarios,
        Err(problems) => {
            for problem in &problems {
                context.console.diagnostic(problem);
            }
            context
                .console
                .error("nothing was started: a scenario file is broken");
            return Err(Exit::Usage);
        }
    };
    let source = |(scenario, (file, text)): (Scenario, (String, String))| Source {
        name: if carried(&file) {
            scenario.id.clone()
        } else {
            quoted(&file)
        },
        scenario,
        text,
    };
    Ok(scenarios.into_iter().zip(files).map(source).collect())
}

fn add(files: &mut Vec<(String, String)>, file: &str, text: String) {
    let same = |known: &str| {
        known == file
            || matches!(
                (Path::new(known).canonicalize(), Path::new(file).canonicalize()),
                (Ok(a), Ok(b)) if a == b
            )
    };
    if !files.iter().any(|(known, _)| same(known)) {
        files.push((file.to_owned(), text));
    }
}

/// The steps of a scenario that are faults, counted from 0.
pub(crate) fn faults(scenario: &Scenario) -> Vec<u32> {
    (0u32..)
        .zip(&scenario.steps)
        .filter(|(_, step)| !matches!(step, Step::Wait(_)))
        .map(|(n, _)| n)
        .collect()
}

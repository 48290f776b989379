//! `mailproof lint`: what is wrong with scenario files, without running any.

use mailproof_model::scenario;

use crate::cli::LintArgs;
use crate::context::Context;
use crate::exit_code::Exit;
use crate::library;

pub(crate) fn lint(context: &Context, args: &LintArgs) -> Exit {
    let console = &context.console;
    let mut files = Vec::new();
    let mut problems = 0;
    if args.files.is_empty() {
        for carried in library::scenarios() {
            files.push((carried.path.to_owned(), carried.text.to_owned()));
        }
    }
    for path in &args.files {
        match std::fs::read_to_string(path) {
            Ok(text) => files.push((path.display().to_string(), text)),
            Err(e) => {
                console.error(&format!("{} cannot be read: {e}", path.display()));
                problems += 1;
            }
        }
    }
    let read = files.len();
    let texts = files
        .iter()
        .map(|(file, text)| (file.as_str(), text.as_str()));
    if let Err(found) = scenario::lint_all(texts) {
        problems += found.len();
        for problem in &found {
            console.diagnostic(problem);
        }
    }
    let files = match read {
        1 => "1 file".to_owned(),
        n => format!("{n} files"),
    };
    match problems {
        0 => {
            console.say(&format!("{files}: nothing wrong"));
            Exit::Passed
        }
        n => {
            console.say(&format!("{files}: {n} problems"));
            Exit::Usage
        }
    }
}

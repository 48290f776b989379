//! `mailproof shrink`: the fewest messages, nodes and faults that still fail
//! for the same reason.

mod real;
mod search;
mod seen;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use mailproof_model::history::{self, Reader};
use mailproof_model::scenario::{self, Scenario};
use mailproof_model::shrink::Size;
use mailproof_model::{rules, target::TargetFile};

use crate::cli::ShrinkArgs;
use crate::context::Context;
use crate::examine::{self, shown_as};
use crate::exit_code::Exit;
use crate::interrupt::Interrupt;
use crate::report::quoted;
use crate::source::{self, Source};
use crate::target_choice::{self, Choice};

pub use search::{Limits, Shrunk};
pub(crate) use search::{failing, shrink as search};

/// The file that holds what was found.
const FILE: &str = "shrunk.toml";

/// Seeds that are tried when the run came from another engine, so that its
/// own seed need not fail here.
const SEEDS: u64 = 200;

/// What is to be shrunk.
struct Case {
    scenario: Scenario,
    seed: u64,
    target: Arc<Choice>,
    /// Where the result goes.
    file: PathBuf,
    /// The engine of the run that failed.
    engine: String,
}

pub(crate) fn shrink(context: &Context, args: &ShrinkArgs) -> Exit {
    let console = &context.console;
    let case = match case(context, args) {
        Ok(case) => case,
        Err(exit) => return exit,
    };
    let interrupt = match Interrupt::listen() {
        Ok(interrupt) => interrupt,
        Err(e) => {
            return context.refuse(Exit::Harness, &format!("cannot listen for signals: {e}"));
        }
    };
    let stop = || interrupt.asked();
    let target = &case.target.file;
    let first = failing(
        &case.scenario,
        target,
        std::iter::once(case.seed),
        None,
        &stop,
    );
    let others = (0..SEEDS).filter(|seed| *seed != case.seed);
    let Some(first) = first.or_else(|| failing(&case.scenario, target, others, None, &stop)) else {
        return context.refuse(
            Exit::Nothing,
            &format!(
                "{} with the target {} does not fail in the simulator, neither with seed {} nor with the seeds 0..{SEEDS}; {}",
                case.scenario.id,
                target.name,
                case.seed,
                if case.engine == "sim" {
                    "it may have been run by another version"
                } else {
                    "what only real processes show cannot be shrunk"
                }
            ),
        );
    };
    let name = format!("{} seed {}", case.scenario.id, first.seed);
    let finding = first.finding();
    console.say(&format!("{name} fails: {}: {}", finding.kind, finding.text));
    console.say(&format!(
        "  from   {}",
        in_words(&Size::of(&first.scenario))
    ));
    let limits = Limits {
        trials: args.trials,
        time: Duration::from_secs(args.time),
    };
    let line = console.line(&name);
    let mut said = in_words(&Size::of(&first.scenario));
    let shrunk = search(first, target, limits, &stop, &mut |progress| {
        let size = in_words(&progress.size);
        let text = format!(
            "{size} (seed {}, trial {}, {:.1} s)",
            progress.seed,
            progress.trials,
            progress.took.as_secs_f64()
        );
        if progress.smaller && size != said {
            console.say(&format!("  to     {text}"));
            said = size;
        }
        line.set(text);
    });
    drop(line);
    let ended = if shrunk.complete {
        "nothing smaller fails"
    } else if interrupt.asked() {
        "interrupted"
    } else {
        "the limit of trials or time was reached"
    };
    console.say(&format!(
        "  {} in {} trials and {:.1} s; {ended}",
        in_words(&shrunk.size),
        shrunk.trials,
        shrunk.took.as_secs_f64(),
    ));
    let sim = match written(context, &case, &shrunk, None) {
        Ok(text) => text,
        Err(why) => return context.refuse(Exit::Harness, &why),
    };
    let real = if args.no_process || interrupt.asked() {
        None
    } else {
        let source = Source {
            name: quoted(&shown_as(&case.file)),
            scenario: sim.0,
            text: sim.1,
        };
        Some(real::repeat(
            context, &interrupt, &case, source, &shrunk, args.runs,
        ))
    };
    if let Some(real) = &real {
        console.say(&format!("  on real processes: {real}"));
        if let Err(why) = written(context, &case, &shrunk, Some(real)) {
            return context.refuse(Exit::Harness, &why);
        }
    }
    console.say(&format!("  written to {}", case.file.display()));
    console.result(&command(context, &case, &shrunk));
    context.done(if interrupt.asked() {
        Exit::Inconclusive
    } else {
        Exit::Passed
    })
}

/// What the arguments name.
fn case(context: &Context, args: &ShrinkArgs) -> Result<Case, Exit> {
    let dir = Path::new(&args.what);
    if !dir.is_dir() {
        let sources = source::select(context, std::slice::from_ref(&args.what))?;
        let target = target_choice::choose(context, &args.target)?;
        let [source] = &sources[..] else {
            return Err(context.refuse(
                Exit::Usage,
                &format!(
                    "`{}` means {} scenarios; name one",
                    args.what,
                    sources.len()
                ),
            ));
        };
        return Ok(Case {
            scenario: source.scenario.clone(),
            seed: args.seed,
            target: Arc::new(target),
            file: args.out.clone().unwrap_or_else(|| FILE.into()),
            engine: "sim".to_owned(),
        });
    }
    let usage = |why: String| context.refuse(Exit::Usage, &why);
    let path = dir.join(history::FILE);
    let reader = Reader::open(&path).map_err(|e| usage(format!("{}: {e}", path.display())))?;
    let plan = reader.plan().clone();
    let target = target_of(context, dir, &plan.target.name).map_err(usage)?;
    Ok(Case {
        scenario: plan.scenario,
        seed: plan.seed,
        target: Arc::new(target),
        file: args.out.clone().unwrap_or_else(|| dir.join(FILE)),
        engine: plan.engine,
    })
}

/// The target of a run directory, by its name where that still means it.
pub(crate) fn target_of(context: &Context, dir: &Path, name: &str) -> Result<Choice, String> {
    let path = dir.join(examine::TARGET);
    let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let file: TargetFile = target_choice::read(&shown_as(&path), &text).map_err(|problems| {
        problems
            .first()
            .map_or_else(String::new, ToString::to_string)
    })?;
    let known = target_choice::known(&context.extra).any(|known| known == (name, text.as_str()));
    Ok(Choice {
        asked: if known {
            name.to_owned()
        } else {
            quoted(&shown_as(&path))
        },
        file,
        text,
    })
}

/// The command that repeats the shrunk run.
fn command(context: &Context, case: &Case, shrunk: &Shrunk) -> String {
    let file = quoted(&shown_as(&case.file));
    examine::command(
        &context.extra,
        &file,
        "sim",
        shrunk.seed,
        &case.target.asked,
    )
}

/// Writes the result: the scenario and the text of its file.
fn written(
    context: &Context,
    case: &Case,
    shrunk: &Shrunk,
    real: Option<&str>,
) -> Result<(Scenario, String), String> {
    let mut scenario = shrunk.scenario.clone();
    scenario.id = format!("shrunk/{}", case.scenario.id.replace('/', "-"));
    let title = format!("Shrunk from {}: {}", case.scenario.id, shrunk.finding.kind);
    scenario.title = title.chars().take(100).collect();
    if rules::get(&shrunk.finding.rule).is_some() {
        scenario.rules = vec![shrunk.finding.rule.clone()];
    }
    let mut text = format!(
        "# {} ({}): {}\n# seed {}, target {}\n# {}\n",
        shrunk.finding.kind,
        shrunk.finding.rule,
        shrunk.finding.text.replace('\n', " "),
        shrunk.seed,
        case.target.file.name,
        command(context, case, shrunk),
    );
    if let Some(real) = real {
        text.push_str(&format!(
            "# On real processes: {}\n",
            real.replace('\n', " ")
        ));
    }
    let body = scenario::write(&scenario).map_err(|e| format!("the shrunk scenario: {e}"))?;
    text.push_str(&body);
    let failed = |e: io::Error| format!("{}: {e}", case.file.display());
    fs::write(&case.file, &text).map_err(failed)?;
    Ok((scenario, text))
}

/// `3 messages, 2 nodes, 1 fault`.
fn in_words(size: &Size) -> String {
    let count = |n: u64, one: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    };
    format!(
        "{}, {}, {}, {} a message, {}",
        count(size.messages.into(), "message"),
        count(size.nodes.into(), "node"),
        count(size.faults as u64, "fault"),
        match size.recipients {
            1 => "1 recipient".to_owned(),
            n => format!("up to {n} recipients"),
        },
        count(size.sessions.into(), "session"),
    )
}

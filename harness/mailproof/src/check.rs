//! `mailproof check`: judging finished runs again, offline.

use std::fs;
use std::path::{Path, PathBuf};

use mailproof_model::verdict::Verdict;
use mailproof_model::{bundle, history};

use crate::cli::{CheckArgs, Format};
use crate::console::Style;
use crate::context::Context;
use crate::examine::{Examined, examine, shown_as};
use crate::exit_code::Exit;
use crate::json::RunLine;
use crate::report::Summary;

/// How deep below a given folder run directories are looked for.
const DEEPEST: u32 = 4;

pub(crate) fn check(context: &Context, args: &CheckArgs) -> Exit {
    let console = &context.console;
    let mut dirs = Vec::new();
    for dir in &args.dirs {
        if let Err(why) = find(dir, 0, &mut dirs) {
            return context.refuse(Exit::Usage, &why);
        }
    }
    let json = args.format == Format::Json;
    let mut summary = Summary::new();
    let mut any_altered = false;
    let mut unreadable = false;
    for dir in &dirs {
        let shown = shown_as(dir);
        // A run that has no plan to name itself by.
        let nameless = |verdict, reason: &str| RunLine::unrun(verdict, reason, Some(&shown));
        match examine(&context.extra, dir) {
            Ok(Examined::Judged(judged)) => {
                console.say(&judged.report().text(console.paint));
                if !judged.unlisted.is_empty() {
                    console.say(&format!(
                        "  These files were added after the run and prove nothing: {}",
                        judged.unlisted.join(", ")
                    ));
                }
                if json {
                    console.result(&judged.json().line());
                }
                summary.add(
                    judged.name(),
                    judged.verdict(),
                    Some(&judged.judgement),
                    &shown,
                );
            }
            Ok(Examined::Empty(why)) => {
                console.say(&format!("{shown}: {why}"));
                if json {
                    console.result(&nameless(Verdict::Inconclusive, &why).line());
                }
                summary.add(shown.clone(), Verdict::Inconclusive, None, &why);
            }
            Ok(Examined::Altered(why)) => {
                any_altered = true;
                let word = console.paint.paint(Style::Bad, "ALTERED");
                console.say(&format!(
                    "{word}  {shown}: {why}. Nothing in it is believed."
                ));
                if json {
                    let reason = format!("the run was altered: {why}");
                    console.result(&nameless(Verdict::Error, &reason).line());
                }
                summary.add(shown.clone(), Verdict::Error, None, "altered");
            }
            Err(why) => {
                unreadable = true;
                console.error(&why);
            }
        }
    }
    console.say(&summary.text(console.paint));
    let verdicts = summary.verdicts();
    let exit = Exit::of(&verdicts, any_altered, false);
    if unreadable && exit != Exit::Failed && exit != Exit::Altered {
        return Exit::Usage;
    }
    context.done(exit)
}

/// The run directories that a path means: itself, or those below it.
fn find(dir: &Path, depth: u32, found: &mut Vec<PathBuf>) -> Result<(), String> {
    let none = || {
        format!(
            "{} is no run directory: it has neither {} nor {}",
            dir.display(),
            bundle::FILE,
            history::FILE
        )
    };
    if dir.join(bundle::FILE).exists() || dir.join(history::FILE).exists() {
        found.push(dir.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut below = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", dir.display()))?.path();
        if path.is_dir() {
            below.push(path);
        }
    }
    if below.is_empty() || depth >= DEEPEST {
        return Err(none());
    }
    below.sort();
    for path in below {
        find(&path, depth + 1, found)?;
    }
    Ok(())
}

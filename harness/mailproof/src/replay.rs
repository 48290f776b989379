//! `mailproof replay`: a simulated run once more, byte by byte.

use std::fs;
use std::path::Path;

use mailproof_engine::sim::{TrialOptions, trial};
use mailproof_model::bundle::{self, Integrity};
use mailproof_model::history::{self, Reader};

use crate::cli::ReplayArgs;
use crate::context::Context;
use crate::examine::shown_as;
use crate::exit_code::Exit;
use crate::shrink;

pub(crate) fn replay(context: &Context, args: &ReplayArgs) -> Exit {
    match again(context, &args.dir) {
        Ok(Came::Same(events)) => {
            context.console.result(&format!(
                "{}: the same {events} events, byte for byte",
                shown_as(&args.dir)
            ));
            context.done(Exit::Passed)
        }
        Ok(Came::Other(why)) => context.refuse(Exit::Harness, &why),
        Ok(Came::Altered(why)) => context.refuse(Exit::Altered, &why),
        Err(why) => context.refuse(Exit::Usage, &why),
    }
}

/// What came of running it again.
enum Came {
    /// The same history, of so many lines.
    Same(usize),
    /// Another one: the first difference.
    Other(String),
    /// The stored run is not what it was.
    Altered(String),
}

fn again(context: &Context, dir: &Path) -> Result<Came, String> {
    let shown = shown_as(dir);
    match bundle::verify(dir).map_err(|e| e.to_string())?.integrity {
        Integrity::Sealed { .. } => {}
        Integrity::Unsealed { why, .. } => {
            return Err(format!("{shown} did not come to its end: {why}"));
        }
        Integrity::Altered { file, why, .. } => {
            return Ok(Came::Altered(format!("{shown}/{file} was altered: {why}")));
        }
    }
    let path = dir.join(history::FILE);
    let reader = Reader::open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let plan = reader.plan();
    if plan.engine != "sim" {
        return Err(format!(
            "{shown} was run on {}; only simulated runs can be replayed to the byte",
            plan.engine
        ));
    }
    let target = shrink::target_of(context, dir, &plan.target.name)?;
    let options = TrialOptions {
        history: true,
        ..TrialOptions::default()
    };
    let ran = trial(plan, &target.file, options).map_err(|e| e.to_string())?;
    let stored = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    if stored == ran.history {
        return Ok(Came::Same(stored.split(|b| *b == b'\n').count()));
    }
    let (mut old, mut new) = (
        stored.split(|b| *b == b'\n'),
        ran.history.split(|b| *b == b'\n'),
    );
    let mut number = 0;
    loop {
        number += 1;
        let (old, new) = (old.next(), new.next());
        if old != new || old.is_none() {
            let text = |line: Option<&[u8]>| {
                line.map_or_else(
                    || "nothing".to_owned(),
                    |l| String::from_utf8_lossy(l).into_owned(),
                )
            };
            return Ok(Came::Other(format!(
                "{shown}: the run is not the same again. The first difference is in line {number} of the history:\n  stored  {}\n  now     {}",
                text(old),
                text(new)
            )));
        }
    }
}

//! `mailproof list`: the scenarios and targets that there are.

use mailproof_model::scenario;

use crate::cli::{Format, ListArgs};
use crate::context::Context;
use crate::exit_code::Exit;
use crate::json::{self, ScenarioLine, TargetLine};
use crate::{library, selection, target_choice};

pub(crate) fn list(context: &Context, args: &ListArgs) -> Exit {
    if args.targets {
        return targets(context, args);
    }
    let console = &context.console;
    let mut shown = 0;
    for carried in library::scenarios() {
        let wanted = args.select.is_empty()
            || args
                .select
                .iter()
                .any(|pattern| selection::matches(pattern, &carried.id));
        if !wanted {
            continue;
        }
        let scenario = match scenario::parse(carried.path, carried.text) {
            Ok(scenario) => scenario,
            Err(e) => {
                console.diagnostic(&e);
                return Exit::Usage;
            }
        };
        shown += 1;
        if args.format == Format::Json {
            console.result(&json::line(&ScenarioLine {
                schema: "mailproof.scenario/1",
                scenario: &scenario.id,
                title: &scenario.title,
                rules: &scenario.rules,
                needs: &scenario.needs,
            }));
            continue;
        }
        console.result(&format!("{:<28}  {}", scenario.id, scenario.title));
        let mut notes = Vec::new();
        if !scenario.rules.is_empty() {
            notes.push(format!("rules {}", scenario.rules.join(" ")));
        }
        if !scenario.needs.is_empty() {
            notes.push(format!("needs {}", scenario.needs.join(" ")));
        }
        if !notes.is_empty() {
            console.result(&format!("{:<28}  {}", "", notes.join("; ")));
        }
    }
    if shown == 0 {
        return nothing(context, &args.select);
    }
    context.done(Exit::Passed)
}

/// Nothing was selected: says what is near.
pub(crate) fn nothing(context: &Context, patterns: &[String]) -> Exit {
    let ids = library::scenarios().map(|c| c.id.as_str());
    for pattern in patterns {
        let near = selection::did_you_mean(pattern, ids.clone());
        context.console.error(&format!(
            "no scenario matches `{pattern}`; {near} `{} list` shows all, and a file must end in `.toml`",
            context.extra.program
        ));
    }
    Exit::Nothing
}

fn targets(context: &Context, args: &ListArgs) -> Exit {
    let mut shown = 0;
    for (name, text) in target_choice::known(&context.extra) {
        let wanted = args.select.is_empty()
            || args
                .select
                .iter()
                .any(|pattern| selection::matches(pattern, name));
        if !wanted {
            continue;
        }
        let target = match target_choice::read(name, text) {
            Ok(target) => target,
            Err(problems) => {
                for problem in &problems {
                    context.console.diagnostic(problem);
                }
                return Exit::Usage;
            }
        };
        shown += 1;
        if args.format == Format::Json {
            context.console.result(&json::line(&TargetLine {
                schema: "mailproof.target/1",
                target: name,
                title: &target.title,
                capabilities: &target.capabilities,
            }));
        } else {
            context
                .console
                .result(&format!("{name:<28}  {}", target.title));
            context.console.result(&format!(
                "{:<28}  can {}",
                "",
                target.capabilities.join(", ")
            ));
        }
    }
    if shown == 0 {
        let names = target_choice::known(&context.extra).map(|(name, _)| name);
        for pattern in &args.select {
            let near = selection::did_you_mean(pattern, names.clone());
            context
                .console
                .error(&format!("no target matches `{pattern}`; {near}"));
        }
        return Exit::Nothing;
    }
    context.done(Exit::Passed)
}

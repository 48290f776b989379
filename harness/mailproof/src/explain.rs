//! `mailproof explain`: what a rule asks for.

use mailproof_model::rules::{self, Origin, Rule};
use mailproof_model::scenario;

use crate::cli::ExplainArgs;
use crate::context::Context;
use crate::exit_code::Exit;
use crate::library;

pub(crate) fn explain(context: &Context, args: &ExplainArgs) -> Exit {
    let console = &context.console;
    let Some(asked) = &args.rule else {
        for rule in rules::all() {
            console.result(&format!("{:<8}  {}", rule.id, rule.text));
        }
        return context.done(Exit::Passed);
    };
    let Some(rule) = rules::get(asked) else {
        let hint = rules::nearest(asked).map_or_else(
            || format!("`{} explain` lists all", context.extra.program),
            |near| format!("did you mean `{}`? {}", near.id, near.text),
        );
        return context.refuse(Exit::Usage, &format!("no rule is called `{asked}`; {hint}"));
    };
    console.result(&format!("{}  {}", rule.id, rule.text));
    console.result(&format!("          {}", origin(rule)));
    let shown_by: Vec<_> = library::scenarios()
        .filter_map(|c| scenario::parse(c.path, c.text).ok())
        .filter(|s| s.rules.contains(&rule.id))
        .map(|s| s.id)
        .collect();
    if shown_by.is_empty() {
        console.result("          no scenario gives evidence for it yet");
    } else {
        console.result(&format!("          evidence from {}", shown_by.join(", ")));
    }
    context.done(Exit::Passed)
}

/// Where a rule comes from and how binding it is.
pub(crate) fn origin(rule: &Rule) -> String {
    match &rule.origin {
        Origin::Shadow {
            model,
            grades,
            profile,
            sources,
        } => {
            let grades: Vec<_> = grades.iter().map(ToString::to_string).collect();
            let mut text = format!("shadow redundancy, {model}; {}", grades.join(", "));
            if *profile {
                text.push_str("; the value is this project's own choice");
            }
            if !sources.is_empty() {
                text.push_str(&format!("; {}", sources.join("; ")));
            }
            text
        }
        Origin::Smtp {
            level,
            reference,
            unread,
        } => {
            let mut text = match reference {
                Some(reference) => format!("{reference}; {level}"),
                None => format!("{level}; no RFC says it"),
            };
            if *unread {
                text.push_str("; written from memory of the RFC");
            }
            text
        }
    }
}

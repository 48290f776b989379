//! `mailproof explain`: what a rule asks for.

use crate::cli::ExplainArgs;
use crate::context::Context;
use crate::exit_code::Exit;
use crate::{library, rule, selection};
use mailproof_model::scenario;

pub(crate) fn explain(context: &Context, args: &ExplainArgs) -> Exit {
    let console = &context.console;
    let Some(asked) = &args.rule else {
        for (id, rule) in rule::all() {
            console.result(&format!("{id:<7}  {}", rule.text));
        }
        return context.done(Exit::Passed);
    };
    let Some((id, rule)) = rule::find(asked) else {
        let near = selection::did_you_mean(asked, rule::all().map(|(id, _)| id));
        return context.refuse(Exit::Usage, &format!("no rule is called `{asked}`; {near}"));
    };
    console.result(&format!("{id}  {}", rule.text));
    console.result(&format!("source: {} ({})", rule.source, rule.grade.words()));
    let shown_by: Vec<_> = library::scenarios()
        .iter()
        .filter_map(|c| scenario::parse(c.path, c.text).ok())
        .filter(|s| s.rules.iter().any(|r| r == id))
        .map(|s| s.id)
        .collect();
    if shown_by.is_empty() {
        console.result("no scenario gives evidence for it yet");
    } else {
        console.result(&format!("evidence from: {}", shown_by.join(", ")));
    }
    context.done(Exit::Passed)
}

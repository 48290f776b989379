//! mailproof starts a mail cluster, sends it mail, breaks it in a chosen way,
//! and accounts for every recipient of every message.
//!
//! This crate is the `mailproof` command, and the facade for those who run
//! scenarios from `cargo test`: see [`Harness`] and [`run_scenario`].

mod bench;
mod campaign;
mod check;
mod cli;
mod console;
mod context;
mod doctor;
mod engines;
mod examine;
mod exit_code;
mod explain;
mod facade;
mod gc;
mod interrupt;
mod job;
mod json;
mod library;
mod lint;
mod list;
mod node;
mod plan;
mod progress;
mod queue;
mod replay;
mod report;
mod run;
mod seeds;
mod selection;
mod shrink;
mod source;
mod store;
mod sweep;
mod target_choice;

use std::process::{ExitCode, Termination};

use clap::{CommandFactory, FromArgMatches};

pub use cli::Engine;
pub use context::{Extra, ExtraCommand};
pub use exit_code::Exit;
pub use facade::{Harness, faults, helper, run_scenario};
pub use job::{Job, Outcome};
pub use library::{Carried, scenario, scenarios, targets};
pub use seeds::Seeds;
pub use shrink::{Limits, Shrunk};
pub use sweep::Swept;

pub use mailproof_model as model;
pub use mailproof_model::plan::Plan;
pub use mailproof_model::scenario::Scenario;
pub use mailproof_model::verdict::{Judgement, Verdict};

use cli::{Cli, Command};
use console::Console;
use context::Context;

/// The command: reads the arguments of the process, does what they ask, and
/// says how it went. `extra` is what `mailproof-selftest` adds.
#[must_use]
pub fn main_with(extra: Extra) -> ExitCode {
    let helper = std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == mailproof_engine::process::SUBCOMMAND);
    if helper {
        return mailproof_engine::process::reaper_main();
    }
    command(extra).report()
}

/// Says something to people, on standard error.
pub fn say(text: &str) {
    Console::new().say(text);
}

fn command(extra: Extra) -> Exit {
    let mut command = Cli::command().name(extra.program).bin_name(extra.program);
    for more in &extra.commands {
        // What it takes is its own affair.
        let rest = clap::Arg::new("arguments")
            .num_args(0..)
            .allow_hyphen_values(true)
            .trailing_var_arg(true);
        command = command.subcommand(clap::Command::new(more.name).about(more.about).arg(rest));
    }
    let matches = match command.try_get_matches() {
        Ok(matches) => matches,
        Err(e) => {
            // Help and version are asked for; the rest is a usage error.
            let _ = e.print();
            return if e.use_stderr() {
                Exit::Usage
            } else {
                Exit::Passed
            };
        }
    };
    let asked = extra
        .commands
        .iter()
        .find(|more| matches.subcommand_name() == Some(more.name))
        .map(|more| more.run);
    let context = Context::new(extra);
    if let Some(run) = asked {
        return run(&context.extra);
    }
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(e) => {
            context.console.error(&e.to_string());
            return Exit::Usage;
        }
    };
    match cli.command {
        Command::Run(args) => run::run(&context, args),
        Command::Merge(args) => campaign::merge::merge(&context, &args),
        Command::Check(args) => check::check(&context, &args),
        Command::Doctor(args) => doctor::doctor(&context, &args),
        Command::Gc(args) => gc::gc(&context, &args),
        Command::Sweep(args) => sweep::sweep(&context, &args),
        Command::Shrink(args) => shrink::shrink(&context, &args),
        Command::Replay(args) => replay::replay(&context, &args),
        Command::List(args) => list::list(&context, &args),
        Command::Lint(args) => lint::lint(&context, &args),
        Command::Plan(args) => plan::plan(&context, &args),
        Command::Explain(args) => explain::explain(&context, &args),
        Command::Bench(args) => bench::bench(&context, &args),
        Command::Node(args) => node::node(&context, &args),
        Command::Queue(args) => queue::queue(&context, &args),
        Command::Store(args) => store::store(&context, &args),
    }
}

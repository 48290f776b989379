//! `mailproof plan`: what a scenario will do, without doing it.

use mailproof_model::plan::Plan;
use mailproof_model::planning::Refusal;
use mailproof_model::scenario::{
    Back, ClockFault, DiskAct, LinkAct, LinkFault, NodeFault, Partition, Step, Toward, Until,
};

use crate::cli::{Format, PlanArgs};
use crate::context::Context;
use crate::exit_code::Exit;
use crate::report::sentence::seconds;
use crate::{json, source, target_choice};

pub(crate) fn plan(context: &Context, args: &PlanArgs) -> Exit {
    let console = &context.console;
    let sources = match source::select(context, std::slice::from_ref(&args.scenario)) {
        Ok(sources) => sources,
        Err(exit) => return exit,
    };
    let target = match target_choice::choose(context, &args.target) {
        Ok(target) => target,
        Err(exit) => return exit,
    };
    let mut exit = Exit::Nothing;
    for source in &sources {
        let scenario = &source.scenario;
        let plan = Plan::build(
            scenario,
            &target.file,
            args.engine.name(),
            args.seed,
            "plan-only",
        );
        let plan = match plan {
            Ok(plan) => plan,
            Err(
                why @ (Refusal::NotApplicable { .. }
                | Refusal::NoModel { .. }
                | Refusal::NoClaim { .. }
                | Refusal::Sweep { .. }),
            ) => {
                console.say(&format!("{}: does not apply: {why}", scenario.id));
                continue;
            }
            Err(why) => {
                console.error(&format!("{}: {why}", scenario.id));
                return Exit::Usage;
            }
        };
        exit = Exit::Passed;
        if args.format == Format::Json {
            console.result(&json::line(&plan));
            continue;
        }
        console.result(&words(&plan));
        match toml::to_string_pretty(&plan) {
            Ok(text) => console.result(&format!("\n{text}")),
            Err(e) => return context.refuse(Exit::Harness, &format!("the plan: {e}")),
        };
    }
    context.done(exit)
}

/// The plan, as a person would tell it. Lines begin with `#`, so that the
/// whole output is TOML.
fn words(plan: &Plan) -> String {
    let scenario = &plan.scenario;
    let mut text = format!("# {}: {}\n", scenario.id, scenario.title);
    for line in scenario.about.as_deref().unwrap_or("").lines() {
        text.push_str(&format!("#   {line}\n"));
    }
    let stores = match scenario.cluster.stores {
        0 => "mail ends in the harness's mailbox".to_owned(),
        n => format!("mail ends in {n} nodes that own mailboxes"),
    };
    text.push_str(&format!(
        "# Target {} on engine {}, seed {}: {} nodes; {stores}.\n",
        plan.target.name, plan.engine, plan.seed, scenario.cluster.nodes
    ));
    let w = &scenario.workload;
    text.push_str(&format!(
        "# Mail: {} messages of {} for {} recipients each, over {} sessions to {}.\n",
        w.messages, w.size, w.recipients, w.sessions, w.to
    ));
    let times: Vec<_> = plan
        .times
        .iter()
        .map(|(name, ns)| format!("{name} {}", seconds(*ns)))
        .collect();
    text.push_str(&format!("# Times: {}.\n", times.join(", ")));
    for (n, step) in scenario.steps.iter().enumerate() {
        text.push_str(&format!("# Step {n}: {}.\n", step_words(step)));
    }
    if scenario.steps.is_empty() {
        text.push_str("# Steps: none; nothing is broken.\n");
    }
    text.push_str(&format!(
        "# Then everything must come to rest; mail may arrive until {} later.\n",
        seconds(plan.grace())
    ));
    text
}

fn step_words(step: &Step) -> String {
    match step {
        Step::Crash(fault) => node_fault("kill the process tree of", fault),
        Step::PowerCut(fault) => node_fault("cut the power of", fault),
        Step::NodeLost(fault) => node_fault("lose, without a word to its peers,", fault),
        Step::Restart(fault) => node_fault("stop in order", fault),
        Step::Pause(pause) => format!(
            "at {}, stop every thread of {} for {}",
            pause.at, pause.node, pause.lasts
        ),
        Step::Link(fault) => link_fault(fault),
        Step::Clock(fault) => clocks(fault),
        Step::Partition(partition) => cut(partition),
        Step::Disk(fault) => {
            let lasts = fault
                .lasts
                .as_ref()
                .map_or(String::new(), |lasts| format!(" for {lasts}"));
            let by = match &fault.act {
                DiskAct::Slow(by) => format!(" by {by} an operation"),
                _ => String::new(),
            };
            format!(
                "at {}, the disk of {}: {}{by}{lasts}",
                fault.at,
                fault.node,
                fault.act.name()
            )
        }
        Step::Corrupt(fault) => format!(
            "at {}, kill {} and damage its files: {}",
            fault.at,
            fault.node,
            fault.act.name()
        ),
        Step::Wait(wait) => {
            let until = match wait.until {
                Until::Takeover => "another node delivers what a broken one accepted",
                Until::Back => "every node that is to come back answers",
                Until::Drained => "every accepted recipient was delivered",
                Until::Sent => "the sender has done with every message",
                Until::Elapsed => return format!("wait {}", wait.max),
            };
            format!("wait until {until}, at most {}", wait.max)
        }
    }
}

fn node_fault(what: &str, fault: &NodeFault) -> String {
    let after = fault
        .after
        .as_ref()
        .map_or("at once".to_owned(), |span| format!("after {span}"));
    let back = match fault.back {
        Back::Same => format!("it comes back {after} with its store"),
        Back::Empty => format!("it comes back {after} with an empty store"),
        Back::Never => "it never comes back".to_owned(),
    };
    format!("at {}, {what} {}; {back}", fault.at, fault.node)
}

fn clocks(fault: &ClockFault) -> String {
    let mut what = Vec::new();
    if let Some(offset) = &fault.offset {
        what.push(format!("let its wall clock jump by {offset}"));
    }
    if let Some(drift) = &fault.drift {
        what.push(format!("let its monotonic clock drift by {drift}"));
    }
    let lasts = fault
        .lasts
        .as_ref()
        .map_or(", for good".to_owned(), |span| format!(", for {span}"));
    format!(
        "at {}, of {}, {}{lasts}",
        fault.at,
        fault.node,
        what.join(" and ")
    )
}

fn cut(partition: &Partition) -> String {
    let side = |n: usize| {
        let names = partition.sides.get(n).into_iter().flatten();
        names
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let what = if partition.one_way {
        format!("lose what {} send to {}", side(0), side(1))
    } else {
        format!("cut {} from {}, both ways", side(0), side(1))
    };
    let flap = partition.flap.as_ref().map_or(String::new(), |span| {
        format!(", healing and cutting again every {span}")
    });
    let lasts = partition
        .lasts
        .as_ref()
        .map_or(", for good".to_owned(), |span| format!(", for {span}"));
    format!("at {}, {what}{flap}{lasts}", partition.at)
}

fn link_fault(fault: &LinkFault) -> String {
    let act = match &fault.act {
        LinkAct::Hold => "hold it there".to_owned(),
        LinkAct::Reset => "reset both legs".to_owned(),
        LinkAct::HalfClose => "close the leg towards the dialler".to_owned(),
        LinkAct::LoseReply => "swallow the reply, so that the sender never sees it".to_owned(),
        LinkAct::CutAt(k) => format!("pass on {k} bytes, then reset both legs"),
        LinkAct::Blackhole => "carry nothing any more".to_owned(),
        LinkAct::Delay(span) => format!("delay every byte by {span}"),
        LinkAct::Mute(Toward::Server) => "carry nothing to the server any more".to_owned(),
        LinkAct::Mute(Toward::Client) => "carry nothing to the client any more".to_owned(),
        LinkAct::Throttle(rate) => format!("carry {rate} on each connection and direction"),
        LinkAct::Refuse => "refuse new connections".to_owned(),
        LinkAct::Answer(reply) => format!("answer `{reply}` in the server's place"),
    };
    let on = fault
        .on
        .map_or(String::new(), |link| format!(" on link {link}"));
    let lasts = fault
        .lasts
        .as_ref()
        .map_or(String::new(), |span| format!(", for {span}"));
    format!("at {}{on}, {act}{lasts}", fault.at)
}

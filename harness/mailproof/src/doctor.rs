//! `mailproof doctor`: what this machine can do, and why not the rest.

use mailproof_model::order::{Act, Order, World};
use mailproof_model::party::{Link, Party};
use mailproof_model::plan::Plan;
use mailproof_model::scenario::{
    Damage, DiskAct, DiskPoint, LinkAct, OpKind, Point, Rate, Span, Toward,
};

use crate::cli::{DoctorArgs, Engine, Format};
use crate::console::Style;
use crate::context::Context;
use crate::exit_code::Exit;
use crate::json::{self, Ability, DoctorLine};
use crate::{engines, library, target_choice};

/// The scenario and target whose cluster is asked about.
const SCENARIO: &str = "smoke/no-fault";
const TARGET: &str = "reference";

pub(crate) fn doctor(context: &Context, args: &DoctorArgs) -> Exit {
    let target = match target_choice::choose(context, TARGET) {
        Ok(target) => target,
        Err(exit) => return exit,
    };
    let Some(scenario) = library::scenario(SCENARIO) else {
        return context.refuse(Exit::Harness, &format!("{SCENARIO} is not carried"));
    };
    let mut found = DoctorLine {
        schema: "mailproof.doctor/1",
        engines: Vec::new(),
        faults: Vec::new(),
    };
    for engine in Engine::ALL {
        let plan = match Plan::build(scenario, &target.file, engine.name(), 1, "doctor") {
            Ok(plan) => plan,
            Err(why) => return context.refuse(Exit::Harness, &why.to_string()),
        };
        let asked = engines::with_idle(engine, &plan, &target.file, |world| faults(world));
        let reason = match &asked {
            Ok(_) => "ready".to_owned(),
            Err(why) => why.clone(),
        };
        found.engines.push(Ability {
            name: engine.name().to_owned(),
            available: asked.is_ok(),
            reason,
        });
        if engine == Engine::default() {
            found.faults = asked.unwrap_or_default();
        }
    }
    if args.format == Format::Json {
        context.console.result(&json::line(&found));
        return context.done(Exit::Passed);
    }
    let paint = context.console.out_paint;
    let show = |title: &str, abilities: &[Ability]| {
        context.console.result(&paint.paint(Style::Bold, title));
        for ability in abilities {
            let (style, word) = if ability.available {
                (Style::Good, "yes")
            } else {
                (Style::Bad, "no ")
            };
            context.console.result(&format!(
                "  {}  {:<22}  {}",
                paint.paint(style, word),
                ability.name,
                ability.reason
            ));
        }
    };
    show("Engines", &found.engines);
    show("Faults of the engine `process`", &found.faults);
    context.done(Exit::Passed)
}

/// Whether a world offers each kind of fault.
fn faults(world: &dyn World) -> Vec<Ability> {
    let node = Party::Node(1);
    let link = Link::new(Party::Client, node);
    let on_node = |act| Order::Break {
        fault: 0,
        act,
        disarmed: false,
    };
    let on_link = |act| on_node(Act::Link(link, act));
    let at = |phase: &str, act| Order::Arm {
        fault: 0,
        point: Point {
            link,
            phase: phase.to_owned(),
            nth: 1,
        },
        act,
        disarmed: false,
    };
    let delay = LinkAct::Delay(Span::nanoseconds(1_000_000));
    let all = [
        ("crash", on_node(Act::Crash(node))),
        ("power-cut", on_node(Act::PowerCut(node))),
        ("node-lost", on_node(Act::NodeLost { node, wipe: false })),
        (
            "node-lost, empty",
            on_node(Act::NodeLost { node, wipe: true }),
        ),
        ("pause", on_node(Act::Pause(node))),
        ("restart", on_node(Act::Restart(node))),
        ("disk error", on_node(Act::Disk(node, DiskAct::Error))),
        ("disk full", on_node(Act::Disk(node, DiskAct::Full))),
        (
            "disk sync-error",
            on_node(Act::Disk(node, DiskAct::SyncError)),
        ),
        ("disk torn", on_node(Act::Disk(node, DiskAct::Torn))),
        (
            "disk slow",
            on_node(Act::Disk(node, DiskAct::Slow(Span::nanoseconds(1_000_000)))),
        ),
        (
            "disk read-only",
            on_node(Act::Disk(node, DiskAct::ReadOnly)),
        ),
        ("corrupt", on_node(Act::Corrupt(node, Damage::FlipBit))),
        ("link refuse", on_link(LinkAct::Refuse)),
        ("link reset", on_link(LinkAct::Reset)),
        ("link half-close", on_link(LinkAct::HalfClose)),
        ("link blackhole", on_link(LinkAct::Blackhole)),
        ("link mute", on_link(LinkAct::Mute(Toward::Client))),
        ("link delay", on_link(delay)),
        ("link throttle", on_link(LinkAct::Throttle(Rate::new(1024)))),
        ("hold at a phase", at("dot", LinkAct::Hold)),
        ("lose a reply", at("end-reply", LinkAct::LoseReply)),
        ("cut at byte k", at("dot", LinkAct::CutAt(1))),
        (
            "stop at a disk operation",
            Order::ArmDisk {
                fault: 0,
                point: DiskPoint {
                    disk: node,
                    op: OpKind::Any,
                    nth: 1,
                },
            },
        ),
        (
            "answer for the server",
            at("mail-reply", LinkAct::Answer("451 4.3.2 later".to_owned())),
        ),
    ];
    all.into_iter()
        .map(|(name, order)| {
            let (available, reason) = match world.offers(&order) {
                Ok(()) => (true, "offered".to_owned()),
                Err(why) => (false, why.why),
            };
            Ability {
                name: name.to_owned(),
                available,
                reason,
            }
        })
        .collect()
}

//! Single orders to the process engine, and what they lead to.

mod process_support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use mailproof_engine::process::{RUN_VARIABLE, SUBCOMMAND, reaper_main};
use mailproof_model::event::{Shut, Stage, StoreState, What};
use mailproof_model::order::{Act, Order, World};
use mailproof_model::party::{Link, Party};
use mailproof_model::scenario::LinkAct;
use process_support::{Stage as Run, check, no_python, target};

const N1: Party = Party::Node(1);

type Test = fn() -> Result<(), Failed>;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(SUBCOMMAND) {
        return reaper_main();
    }
    let tests: [(&str, Test); 8] = [
        ("a_crash_is_seen_and_mended", crash),
        ("a_lost_node_falls_silent_and_its_store_is_gone", lost),
        ("a_pause_is_proved_and_taken_back", pause),
        ("a_restart_ends_in_order", restart),
        ("a_disarmed_fault_only_claims", disarmed),
        ("a_queue_is_listed_running_and_stopped", listing),
        ("nothing_is_left_of_a_finished_run", finished),
        ("what_cannot_be_done_is_refused_with_the_reason", offers),
    ];
    let trials = tests
        .into_iter()
        .map(|(name, test)| match no_python() {
            Some(why) => Trial::test(name, || Ok(()))
                .with_kind(why)
                .with_ignored_flag(true),
            None => Trial::test(name, test),
        })
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

const SCENARIO: &str = r#"
id = "test/orders"
title = "Orders one by one"
[cluster]
nodes = 1
[time]
retry = "100 ms"
patience = "500 ms"
[workload]
messages = 10
"#;

/// A world whose node answers.
fn up() -> Result<Run, Failed> {
    let mut run = Run::new("orders", target("pyrelay")?, SCENARIO)?;
    start(&mut run, StoreState::Empty)?;
    Ok(run)
}

fn start(run: &mut Run, store: StoreState) -> Result<(), Failed> {
    run.world.order(Order::Start { node: N1, store })?;
    run.until(|what| matches!(what, What::Ready { node: N1, .. }))?;
    Ok(())
}

fn break_now(run: &mut Run, act: Act) -> Result<(), Failed> {
    run.world.order(Order::Break {
        fault: 0,
        act,
        disarmed: false,
    })?;
    run.until(|what| {
        matches!(
            what,
            What::Fault {
                stage: Stage::Fired,
                ..
            }
        )
    })?;
    Ok(())
}

/// Hands message `msg` over; the reply to its end of data.
fn submit(run: &mut Run, msg: u32) -> Result<Vec<u16>, Failed> {
    run.world.order(Order::Submit {
        session: 0,
        msg,
        attempt: 1,
        rcpts: vec![0],
        node: N1,
    })?;
    let event = run.until(|what| matches!(what, What::Outcome { .. }))?;
    match event.ev {
        What::Outcome { end, .. } => Ok(end),
        _ => Err("no outcome".into()),
    }
}

fn exit(run: &mut Run) -> Result<String, Failed> {
    let event = run.until(|what| matches!(what, What::Exit { node: N1, .. }))?;
    match event.ev {
        What::Exit { status, .. } => Ok(status),
        _ => Err("no exit".into()),
    }
}

fn crash() -> Result<(), Failed> {
    let mut run = up()?;
    check(submit(&mut run, 0)? == [250], "not taken")?;
    break_now(&mut run, Act::Crash(N1))?;
    let status = exit(&mut run)?;
    check(status == "signal 9", status)?;
    check(submit(&mut run, 1)?.is_empty(), "a dead node took mail")?;
    start(&mut run, StoreState::Same)?;
    check(submit(&mut run, 2)? == [250], "not taken")
}

fn lost() -> Result<(), Failed> {
    let mut run = up()?;
    check(submit(&mut run, 0)? == [250], "not taken")?;
    let wipe = true;
    break_now(&mut run, Act::NodeLost { node: N1, wipe })?;
    // The client's kept connection: nothing is said to it.
    run.until(|what| {
        matches!(
            what,
            What::Shut {
                how: Shut::Silent,
                from: Some(N1),
                ..
            }
        )
    })?;
    let status = exit(&mut run)?;
    check(status == "signal 9", status)?;
    run.until(|what| matches!(what, What::StoreGone { node: N1 }))?;
    // Neither the old connection nor a new one is answered.
    for msg in 1..=2 {
        check(submit(&mut run, msg)?.is_empty(), "a lost node took mail")?;
    }
    start(&mut run, StoreState::Empty)?;
    check(submit(&mut run, 3)? == [250], "not taken")
}

fn pause() -> Result<(), Failed> {
    let mut run = up()?;
    break_now(&mut run, Act::Pause(N1))?;
    run.until(|what| matches!(what, What::Paused { node: N1, life: 1 }))?;
    check(
        submit(&mut run, 0)?.is_empty(),
        "a node that stands still took mail",
    )?;
    run.world.order(Order::Mend {
        fault: 0,
        act: Act::Pause(N1),
        disarmed: false,
    })?;
    run.until(|what| matches!(what, What::Resumed { node: N1, life: 1 }))?;
    check(submit(&mut run, 1)? == [250], "not taken")
}

fn restart() -> Result<(), Failed> {
    let mut run = up()?;
    break_now(&mut run, Act::Restart(N1))?;
    let status = exit(&mut run)?;
    check(status == "code 0", status)?;
    start(&mut run, StoreState::Same)
}

fn disarmed() -> Result<(), Failed> {
    let mut run = up()?;
    run.world.order(Order::Break {
        fault: 0,
        act: Act::Crash(N1),
        disarmed: true,
    })?;
    run.until(|what| {
        matches!(
            what,
            What::Fault {
                stage: Stage::Fired,
                ..
            }
        )
    })?;
    check(submit(&mut run, 0)? == [250], "it was done all the same")
}

fn rows(run: &mut Run) -> Result<usize, Failed> {
    let event = run.until(|what| matches!(what, What::Queues { .. } | What::Unlisted { .. }))?;
    match event.ev {
        What::Queues { rows, .. } => Ok(rows.len()),
        other => Err(format!("{other:?}").into()),
    }
}

fn listing() -> Result<(), Failed> {
    let mut run = up()?;
    run.world.order(Order::Break {
        fault: 0,
        act: Act::Link(Link::new(N1, Party::Mailbox), LinkAct::Refuse),
        disarmed: false,
    })?;
    check(submit(&mut run, 0)? == [250], "not taken")?;
    check(submit(&mut run, 1)? == [250], "not taken")?;
    run.world.order(Order::List { node: N1 })?;
    let listed = rows(&mut run)?;
    check(listed == 2, format!("{listed} rows instead of 2"))?;
    run.world.order(Order::Stop { node: N1 })?;
    exit(&mut run)?;
    run.world.order(Order::Read { node: N1 })?;
    let listed = rows(&mut run)?;
    check(listed == 2, format!("{listed} rows instead of 2, stopped"))
}

fn finished() -> Result<(), Failed> {
    let mut run = up()?;
    let id = run.plan.run.clone();
    let scratch = std::env::temp_dir().join(format!("mailproof-{id}"));
    check(scratch.is_dir(), "no temporary directory to remove")?;
    run.world.finish()?;
    exit(&mut run)?;
    run.world.seal()?;
    check(!scratch.exists(), "the temporary directory is left")?;
    let entry = format!("{RUN_VARIABLE}={id}");
    for process in std::fs::read_dir("/proc")?.flatten() {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        let ours = environment
            .split(|b| *b == 0)
            .any(|e| e == entry.as_bytes());
        check(!ours, format!("{} is left", process.path().display()))?;
    }
    let log = run.dir.path().join("nodes/n1/node.out");
    let said = std::fs::read_to_string(log)?;
    check(said.contains("n1 listens on 127."), said)
}

fn offers() -> Result<(), Failed> {
    let run = up()?;
    let ask = |act| {
        run.world.offers(&Order::Break {
            fault: 0,
            act,
            disarmed: false,
        })
    };
    let refused = ask(Act::PowerCut(N1))
        .err()
        .ok_or("a power cut was offered")?;
    check(refused.why.contains("crashable disk"), refused.to_string())?;
    let nowhere = Link::new(Party::Client, Party::Node(7));
    check(
        ask(Act::Link(nowhere, LinkAct::Reset)).is_err(),
        "a link to nowhere",
    )?;
    check(ask(Act::Crash(N1)).is_ok(), "a crash was refused")?;
    let mut other = target("pyrelay")?;
    other.node.command[0] = "no-such-program".to_owned();
    other.queue.store = None;
    let run = Run::new("offers", other, SCENARIO)?;
    let refused = run.world.offers(&Order::Start {
        node: N1,
        store: StoreState::Empty,
    });
    let why = refused
        .err()
        .ok_or("a program that is not there was offered")?;
    check(why.to_string().contains("no-such-program"), why.to_string())?;
    let act = Act::NodeLost {
        node: N1,
        wipe: true,
    };
    let refused = run.world.offers(&Order::Break {
        fault: 0,
        act,
        disarmed: false,
    });
    check(
        refused.is_err(),
        "a store that nobody named was to be wiped",
    )
}

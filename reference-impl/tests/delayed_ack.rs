//! Delayed acknowledgement of the hold model.

mod world;

use std::time::Duration;

use mailproof_node::config::ShadowModel;
use mailproof_node::disk::Crash;
use mailproof_node::mark::Mark;
use world::hold::{hold_config, hub, settled, to_sink};
use world::sink::Sink;
use world::{Party, World};

const CAP: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_secs(1);
const SHORT: Duration = Duration::from_secs(20);

/// One node whose next hop takes no connection up.
fn alone() -> World {
    alone_with(|_| {})
}

fn alone_with(change: impl Fn(&mut mailproof_node::Config)) -> World {
    let mut config = hold_config(0, 1, &[]);
    change(&mut config);
    World::new(vec![config])
}

/// The time from the final dot to its answer.
fn waited(world: &mut World, id: &str, recipients: &[&str]) -> Duration {
    let client = world.mail(0, id, recipients);
    let begin = world.now;
    world.until("an answer", CAP * 4, |w| w.answer(client).is_some());
    assert_eq!(world.answer(client), Some(250));
    Duration::from_nanos(world.now - begin)
}

fn is_cap(time: Duration) -> bool {
    time >= CAP && time < CAP + TICK
}

#[test]
fn dack_01_dack_03_the_250_is_held_until_the_cap_where_delivery_stalls() {
    let mut world = alone();
    world.sinks[0].rule(".", "");
    let time = waited(&mut world, "m1", &["a@x"]);
    assert!(is_cap(time), "{time:?}");
    assert_eq!(world.view(0).counters.accepted_unverified, 1);
    assert_eq!(world.marked(Mark::AckUnverified), 1);
}

#[test]
fn dack_02_delivered_before_the_cap_it_follows_at_once() {
    let mut world = alone();
    world.sinks[0].rule("RCPT", "");
    let client = world.mail(0, "m1", &["a@x"]);
    world.run(Duration::from_secs(5));
    assert_eq!(world.answer(client), None);
    // The next hop gives up the silent session; the next one gets through.
    world.sinks[0].rules.clear();
    world.kill(0, Crash::DropAll);
    world.start(0);
    let mut world = alone();
    let time = waited(&mut world, "m1", &["a@x"]);
    assert!(time < TICK, "{time:?}");
    assert_eq!(world.taken("m1", "a@x"), 1);
    assert_eq!(world.view(0).counters.accepted_unverified, 0);
}

#[test]
fn dack_02_delivered_on_a_retry_it_follows_at_once() {
    let mut world = alone_with(|config| config.retry_interval = Duration::from_secs(10));
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    let client = world.mail(0, "m1", &["a@x"]);
    let begin = world.now;
    world.run(Duration::from_secs(5));
    assert_eq!(world.answer(client), None);
    world.sinks[0].rules.clear();
    world.until("an answer", CAP, |w| w.answer(client) == Some(250));
    let time = Duration::from_nanos(world.now - begin);
    assert!((9..12).contains(&time.as_secs()), "{time:?}");
}

#[test]
fn dack_04_the_wait_covers_the_slowest_recipient() {
    let mut world = alone_with(|config| {
        config.routes = vec![to_sink("x", 0), to_sink("y", 1)];
    });
    world.add_sink(Sink::default());
    world.sinks[1].rule(".", "");
    let client = world.mail(0, "m1", &["a@x", "b@y"]);
    let begin = world.now;
    world.until("the fast one", TICK, |w| w.taken("m1", "a@x") == 1);
    world.until("an answer", CAP * 2, |w| w.answer(client).is_some());
    assert!(is_cap(Duration::from_nanos(world.now - begin)));
}

#[test]
fn dack_05_a_peer_that_negotiated_tracking_is_not_delayed() {
    let mut world = hub(2);
    world.sinks[0].rule(".", "");
    // The hub's own client waits for the edge alone, and that is not delayed.
    let time = waited(&mut world, "m1", &["a@x"]);
    assert!(time < TICK, "{time:?}");
    assert_eq!(world.view(1).counters.acknowledgements_delayed, 0);
    assert_eq!(world.view(0).counters.acknowledgements_delayed, 1);
    assert_eq!(world.view(0).counters.accepted_unverified, 0);
}

#[test]
fn dack_06_where_the_queue_is_in_retry_there_is_no_delay() {
    for refused in [true, false] {
        let mut world = alone();
        if refused {
            world.sinks[0].listening = false;
        } else {
            world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
        }
        assert!(is_cap(waited(&mut world, "m1", &["a@x"])));
        let time = waited(&mut world, "m2", &["a@x"]);
        assert!(time < TICK, "{time:?}");
        assert_eq!(world.marked(Mark::AckSkipped), 1);
        assert_eq!(world.view(0).counters.accepted_unverified, 2);
    }
}

#[test]
fn dack_07_with_skipping_off_the_second_waits_too() {
    let mut world = alone_with(|config| config.delayed_ack_skipping_enabled = false);
    world.sinks[0].listening = false;
    for id in ["m1", "m2"] {
        let time = waited(&mut world, id, &["a@x"]);
        assert!(is_cap(time), "{time:?}");
    }
}

#[test]
fn dack_08_a_long_queue_is_not_waited_for() {
    let mut world = alone_with(|config| {
        config.delayed_ack_skipping_queue_length = 3;
        config.max_connections_per_host = 1;
    });
    // The only session hangs at the first message; the others queue up.
    world.sinks[0].rule(".", "");
    let clients: Vec<usize> = (0..6)
        .map(|n| world.mail(0, &format!("m{n}"), &["a@x"]))
        .collect();
    world.run(TICK);
    // In front of the fifth wait three, and in front of the sixth four.
    let answered: Vec<bool> = clients.iter().map(|c| world.answer(*c).is_some()).collect();
    assert_eq!(answered, [false, false, false, false, false, true]);
}

#[test]
fn dack_09_a_cap_of_0_means_no_delay() {
    let mut world = alone_with(|config| config.max_acknowledgement_delay = Duration::ZERO);
    world.sinks[0].rule(".", "");
    let time = waited(&mut world, "m1", &["a@x"]);
    assert!(time < TICK, "{time:?}");
    assert_eq!(world.view(0).counters.acknowledgements_delayed, 0);
}

/// The node crashes at every step of the delay; the sender, which saw no 250,
/// sends again. A mailbox, which knows a message by Message-ID and Date, gets
/// it once.
#[test]
fn dack_10_a_crash_in_the_delay_loses_nothing() {
    for at in 0..80 {
        let mut world = alone();
        world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
        let client = world.mail(0, "m1", &["a@x"]);
        for _ in 0..at {
            world.step(world.now + 100_000_000);
        }
        assert_eq!(world.answer(client), None);
        world.kill(0, Crash::Subset(at));
        world.run(TICK);
        world.start(0);
        world.sinks[0].rules.clear();
        assert_eq!(world.answer(client), None);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.until("the end of it", CAP * 4, settled);
        let copies = world.taken("m1", "a@x");
        assert!((1..=2).contains(&copies), "{copies} at {at}");
    }
}

#[test]
fn dack_10_what_was_delivered_in_the_delay_is_not_delivered_by_the_restart() {
    let mut world = alone_with(|config| {
        config.routes = vec![to_sink("x", 0), to_sink("y", 1)];
    });
    world.add_sink(Sink::default());
    world.sinks[1].rule("RCPT", "451 4.2.0 later\r\n");
    let client = world.mail(0, "m1", &["a@x", "b@y"]);
    world.run(TICK);
    assert_eq!(world.taken("m1", "a@x"), 1);
    world.kill(0, Crash::DropAll);
    world.start(0);
    assert_eq!(world.answer(client), None);
    world.sinks[1].rules.clear();
    world.until("the end of it", CAP * 4, settled);
    assert_eq!(world.taken("m1", "a@x"), 1);
    assert_eq!(world.sinks[1].count("m1", "b@y"), 1);
}

#[test]
fn dack_11_the_copy_model_knows_no_delay() {
    let mut world = World::cluster_with(2, |config| {
        assert_eq!(config.shadow_model, ShadowModel::Copy);
        config.max_acknowledgement_delay = CAP;
    });
    world.sinks[0].rule(".", "");
    let time = waited(&mut world, "m1", &["a@x"]);
    assert!(time < TICK, "{time:?}");
}

#[test]
fn a_recipient_that_fails_is_verified_when_its_dsn_is_safe() {
    let mut world = alone();
    world.sinks[0].rule("RCPT TO:<no@", "550 5.1.1 unknown\r\n");
    let time = waited(&mut world, "m1", &["a@x", "no@x"]);
    assert!(time < TICK, "{time:?}");
    world.until("the end of it", SHORT, settled);
    let dsns = |w: &World| {
        w.sinks[0]
            .taken
            .iter()
            .filter(|t| t.sender.is_empty())
            .count()
    };
    assert_eq!(dsns(&world), 1);
}

#[test]
fn a_client_that_leaves_in_the_delay_changes_nothing() {
    let mut world = alone();
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    let client = world.mail(0, "m1", &["a@x"]);
    world.run(TICK);
    world.hang_up(client);
    world.run(CAP * 2);
    world.sinks[0].rules.clear();
    world.until("the end of it", CAP * 4, settled);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn the_delay_ends_with_the_edge_that_comes_first() {
    // The first edge is gone, the second takes over the delivery.
    let mut world = hub(3);
    world.cut(Party::Node(0), Party::Node(1));
    let client = world.mail(0, "m1", &["a@x"]);
    world.until("an answer", CAP, |w| w.answer(client) == Some(250));
    assert_eq!(world.view(0).counters.accepted_unverified, 0);
}

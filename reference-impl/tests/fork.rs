//! Several next hops and what a message causes (FORK).

mod world;

use std::time::Duration;

use world::cluster::{POLL, SHORT, TAKEOVER};
use world::sink::Sink;
use world::{Party, World, config, sink_address};

/// A cluster whose mail for `y` goes to another next hop.
fn two_hops(count: usize) -> World {
    let mut configs: Vec<_> = (0..count).map(|n| config(n, count)).collect();
    for config in &mut configs {
        let mut other = config.routes[0].clone();
        other.domain = "y".to_owned();
        other.next_hops = vec![sink_address(1)];
        config.routes.push(other);
    }
    let mut world = World::new(configs);
    world.add_sink(Sink::default());
    world
}

#[test]
fn fork_01_the_copy_stays_until_both_next_hops_have_completed() {
    for slow in [0, 1] {
        let mut world = two_hops(2);
        world.sinks[slow].rule("RCPT", "451 4.2.0 later\r\n");
        assert_eq!(world.deliver(0, "m1", &["a@x", "b@y"]), 250);
        let taken = |w: &World| [w.taken("m1", "a@x"), w.sinks[1].count("m1", "b@y")];
        world.until("the fast one", SHORT, |w| taken(w)[1 - slow] == 1);
        world.run(POLL * 4);
        assert_eq!(world.held(1), ["m1"], "only one next hop completed");
        assert!(world.view(0).discards.is_empty());
        world.sinks[slow].rules.clear();
        world.until("the slow one", TAKEOVER, |w| taken(w) == [1, 1]);
        world.until("the copy goes", POLL * 2, World::settled);
        assert_eq!(taken(&world), [1, 1]);
    }
}

/// A message of which a recipient is refused: its copy is held until the DSN
/// is as safe as the message was, and the DSN's copy until that is delivered.
#[test]
fn fork_02_the_copy_stays_until_the_dsn_is_protected() {
    let mut world = World::cluster(2);
    world.sinks[0].rule("RCPT TO:<a@x>", "550 5.1.1 unknown\r\n");
    world.sinks[0].rule("RCPT TO:<s@", "451 4.2.0 later\r\n");
    world.run(Duration::from_secs(1));
    let client = world.mail(0, "m1", &["a@x"]);
    world.until("the answer", SHORT, |w| w.answer(client) == Some(250));
    assert_eq!(world.held(1), ["m1"]);
    // From now on the holder writes slowly: the DSN's copy takes a while.
    world.nodes[1].disk_op = 4_000_000_000;
    world.until("the DSN", SHORT, |w| w.view(0).counters.dsns == 1);
    let mut waited = false;
    world.until("the DSN's copy", Duration::from_secs(40), |w| {
        w.view(1).shadows.len() == 2
    });
    for _ in 0..10_000 {
        let view = world.view(0);
        let dsn = view.messages.iter().find(|m| m.sender.is_empty());
        let safe = dsn.is_some_and(|m| !m.shadowed_at.is_empty());
        let owed = !view.discards.is_empty();
        assert!(
            safe || !owed,
            "the message is done with, its DSN is not safe"
        );
        waited |= !safe;
        if owed {
            break;
        }
        world.step(world.now + POLL.as_nanos() as u64);
    }
    assert!(waited, "the DSN was safe at once");
    world.nodes[1].disk_op = 50_000;
    world.until("the message's copy goes", POLL * 2, |w| {
        w.view(1).shadows.len() == 1
    });
    assert_eq!(world.view(1).shadows[0].sender, "");
    // The primary is lost with the DSN in its queue: the sender gets it.
    world.wipe(0);
    world.sinks[0].rules.clear();
    world.until("the DSN after takeover", TAKEOVER + POLL * 2, |w| {
        let taken = &w.sinks[0].taken;
        taken.iter().filter(|t| t.sender.is_empty()).count() == 1
    });
    world.run(TAKEOVER);
    assert_eq!(world.sinks[0].taken.len(), 1, "{:?}", world.sinks[0].taken);
}

#[test]
fn fork_05_after_the_takeover_of_a_partly_delivered_message_nobody_is_left_out() {
    let mut world = two_hops(2);
    world.sinks[1].rule("RCPT", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x", "b@y"]), 250);
    world.until("one part", SHORT, |w| w.taken("m1", "a@x") == 1);
    world.cut(Party::Node(0), Party::Sink(1));
    world.wipe(0);
    world.sinks[1].rules.clear();
    world.run(TAKEOVER + POLL * 2);
    assert_eq!(world.sinks[1].count("m1", "b@y"), 1, "the one not served");
    let served = world.taken("m1", "a@x");
    assert!((1..=2).contains(&served), "{served}");
    world.until("the end of it", POLL * 4, World::settled);
}

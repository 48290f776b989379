//! Heartbeat and takeover (HB).

mod world;

use std::time::Duration;

use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;
use mailproof_node::mark::Mark;
use world::cluster::{POLL, SHORT, TAKEOVER};
use world::sink::Sink;
use world::{Party, World, node_address, sink_address};

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn hb_01_a_primary_is_asked_at_least_once_in_every_interval() {
    let mut world = World::stalled(2);
    world.keep_captures();
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let mut asked = 0;
    let mut last = world.now;
    let mut longest = 0;
    for _ in 0..3600 {
        world.run(Duration::from_secs(1));
        let now = world.captured(1, 0).matches("XQDISCARD").count();
        if now > asked {
            longest = longest.max(world.now - last);
            (asked, last) = (now, world.now);
        }
    }
    assert!(asked >= 29, "{asked} questions in an hour");
    // A second is how finely this test looks.
    let limit = POLL + Duration::from_secs(2);
    assert!(Duration::from_nanos(longest) <= limit, "{longest} ns");
}

#[test]
fn hb_02_nobody_is_asked_for_whom_nothing_is_held() {
    let mut world = World::cluster(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("the end of it", POLL * 2, World::settled);
    world.run(POLL * 2);
    world.keep_captures();
    world.run(TAKEOVER * 4);
    assert_eq!(world.captured(0, 1), "");
    assert_eq!(world.captured(1, 0), "");
}

#[test]
fn hb_03_hb_04_an_unreachable_primary_is_taken_over_at_the_time_and_not_before() {
    for silent in [false, true] {
        let mut world = World::stalled(3);
        assert_eq!(world.deliver(0, "m1", &["a@x", "b@x"]), 250);
        let q = world.holder(0);
        let last = world.now;
        if silent {
            world.cut(Party::Node(0), Party::Node(q));
        } else {
            world.wipe(0);
        }
        world.run(TAKEOVER - MINUTE);
        assert_eq!(world.takeovers(q), 0);
        assert_eq!(world.held(q), ["m1"]);
        world.until("takeover", POLL, |w| w.takeovers(q) == 1);
        let after = Duration::from_nanos(world.now - last);
        assert!(after >= TAKEOVER && after <= TAKEOVER + POLL, "{after:?}");
        if silent {
            continue;
        }
        world.open();
        world.until("delivery", POLL, |w| w.taken("m1", "b@x") == 1);
        assert_eq!(world.taken("m1", "a@x"), 1);
    }
}

#[test]
fn hb_05_another_database_is_taken_over_within_the_interval() {
    for away in [MINUTE, Duration::from_secs(3600), TAKEOVER - POLL * 2] {
        let mut world = World::stalled(3);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        let q = world.holder(0);
        world.wipe(0);
        world.run(away);
        assert_eq!(world.takeovers(q), 0);
        world.start(0);
        // One interval until it is asked, one from the detection on.
        world.until("takeover", POLL * 2, |w| w.takeovers(q) == 1);
        let at = |kind| {
            let mut events = world.nodes[q].events.iter();
            events.find(|e| e.event == kind).map(|e| e.at).unwrap_or(0)
        };
        let detected = at(EventKind::DatabaseChanged);
        assert!(detected > 0, "{}", world.picture());
        let after = Duration::from_millis(at(EventKind::Resubmit) - detected);
        assert!(after <= POLL, "{after:?}");
        world.open();
        world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
        world.run(TAKEOVER * 2);
        assert_eq!(world.taken("m1", "a@x"), 1);
        assert_eq!(world.marked(Mark::TakeoverByDatabase), 1);
    }
}

#[test]
fn hb_06_a_restart_with_the_same_database_triggers_nothing() {
    for away in [Duration::from_secs(1), MINUTE, TAKEOVER - POLL * 2] {
        let mut world = World::stalled(3);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        let database = world.view(0).database_id;
        world.kill(0, Crash::Subset(3));
        world.run(away);
        world.start(0);
        assert_eq!(world.view(0).database_id, database);
        world.run(POLL * 3);
        assert_eq!(world.held(world.holder(0)), ["m1"]);
        world.open();
        world.until("the end of it", TAKEOVER, World::settled);
        world.run(TAKEOVER * 2);
        assert_eq!(world.taken("m1", "a@x"), 1);
        assert_eq!(world.takeovers(1) + world.takeovers(2), 0);
    }
}

#[test]
fn hb_07_every_contact_starts_the_time_anew() {
    let mut world = World::stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    for _ in 0..3 {
        world.cut(Party::Node(0), Party::Node(1));
        world.run(TAKEOVER - POLL * 4);
        world.heal(Party::Node(0), Party::Node(1));
        let failed = world.count(1, EventKind::Heartbeat);
        world.until("contact", POLL * 3, |w| {
            w.count(1, EventKind::Heartbeat) > failed
        });
    }
    assert_eq!(world.takeovers(1), 0);
    world.cut(Party::Node(0), Party::Node(1));
    world.run(TAKEOVER + POLL);
    assert_eq!(world.takeovers(1), 1);
}

#[test]
fn hb_08_hb_09_takeover_concerns_one_primary_and_its_holder() {
    let mut world = World::stalled(4);
    for n in 0..4 {
        for m in 0..6 {
            assert_eq!(world.deliver(n, &format!("m{n}{m}"), &["a@x"]), 250);
        }
    }
    let held = |w: &World, n: usize, primary: &str| -> Vec<String> {
        let shadows = w.view(n).shadows.into_iter();
        shadows
            .filter(|s| s.origin.primary == primary)
            .map(|s| s.x_mailproof)
            .collect()
    };
    let lost: Vec<Vec<String>> = (0..4).map(|n| held(&world, n, "n1")).collect();
    assert_eq!(lost.iter().map(Vec::len).sum::<usize>(), 6);
    let others: Vec<Vec<String>> = (1..4).map(|n| held(&world, n, "n2")).collect();
    world.wipe(0);
    world.run(TAKEOVER + POLL);
    for n in 1..4 {
        // Each took over what it held of the lost one, nothing else.
        assert_eq!(world.takeovers(n), lost[n].len(), "n{}", n + 1);
        let messages = world.view(n).messages;
        let taken = messages.iter().filter(|m| m.taken_over_from.is_some());
        let mut taken: Vec<String> = taken.map(|m| m.x_mailproof.clone()).collect();
        taken.sort_unstable();
        assert_eq!(taken, lost[n]);
        // Copies for other primaries stay where they are.
        let still = held(&world, n, "n2");
        assert!(others[n - 1].iter().all(|id| still.contains(id)));
    }
}

#[test]
fn hb_10_a_message_taken_over_is_made_redundant_again_while_it_is_processed() {
    let mut world = World::stalled(3);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let q = world.holder(0);
    let third = 3 - q;
    world.wipe(0);
    world.until("takeover", TAKEOVER + POLL, |w| w.takeovers(q) == 1);
    assert!(world.held(third).is_empty());
    world.until("a new copy", SHORT, |w| w.held(third) == ["m1"]);
    let name = format!("n{}", third + 1);
    world.until("its acknowledgement", SHORT, |w| {
        w.view(q).messages[0].shadowed_at == [name.clone()]
    });
    assert_eq!(world.taken("m1", "a@x"), 0, "it is still being processed");
    // The new owner is lost as well: the third delivers.
    world.wipe(q);
    world.open();
    world.until("the second takeover", TAKEOVER + POLL, |w| {
        w.takeovers(third) == 1
    });
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    world.run(TAKEOVER * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn hb_11_resubmitted_mail_is_routed_from_the_start() {
    let mut world = World::stalled(2);
    world.add_sink(Sink::default());
    assert_eq!(world.deliver(0, "m1", &["a@x", "b@y"]), 250);
    // Since then the holder learnt another way to y, and none to z.
    world.kill(1, Crash::DropAll);
    let mut way = world.nodes[1].config.routes[0].clone();
    way.domain = "y".to_owned();
    way.next_hops = vec![sink_address(1)];
    world.nodes[1].config.routes.push(way);
    world.start(1);
    world.run(Duration::from_secs(1));
    world.wipe(0);
    world.open();
    world.run(TAKEOVER + POLL);
    assert_eq!(world.taken("m1", "a@x"), 1);
    assert_eq!(world.taken("m1", "b@y"), 0);
    assert_eq!(world.sinks[1].count("m1", "b@y"), 1);
}

#[test]
fn hb_12_a_failed_heartbeat_is_reported() {
    let mut world = World::stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.kill(0, Crash::DropAll);
    world.run(POLL * 5);
    let said = world.said(1, EventKind::HeartbeatFail);
    assert!((4..=5).contains(&said.len()), "{said:?}");
    assert!(said.iter().all(|(server, detail)| {
        server == "n1" && detail.starts_with("event 22004: ") && detail.contains("refused")
    }));
    assert_eq!(EventKind::HeartbeatFail.number(), Some(22004));
    assert_eq!(
        world.view(1).counters.heartbeats_failed as usize,
        said.len()
    );
    assert!(!world.view(1).peers[0].reachable);
    world.start(0);
    world.until("it is reached", POLL * 2, |w| w.view(1).peers[0].reachable);
}

#[test]
fn hb_13_a_resubmitted_message_carries_a_trace_of_its_origin() {
    let mut world = World::stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let origin = world.view(1).shadows[0].origin.clone();
    world.wipe(0);
    world.open();
    world.until("delivery", TAKEOVER + POLL, |w| w.taken("m1", "a@x") == 1);
    let content = &world.sinks[0].taken[0].content;
    let first = content.split("\r\n").next().unwrap_or("");
    assert!(first.starts_with("Received: by n2 with ShadowRedundancy id "));
    assert!(content.contains(&format!(
        "taken over from n1, database {}",
        origin.database_id
    )));
}

#[test]
fn hb_14_after_its_own_start_a_holder_counts_from_that_start() {
    let mut world = World::stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.wipe(0);
    world.kill(1, Crash::DropAll);
    world.run(TAKEOVER * 2);
    world.start(1);
    world.run(TAKEOVER - MINUTE);
    assert_eq!(world.takeovers(1), 0);
    world.run(POLL);
    assert_eq!(world.takeovers(1), 1);
    assert_eq!(world.marked(Mark::TakeoverAfterOwnStart), 1);
}

/// Something takes connections at the primary's address and refuses SMTP: the
/// primary is unreachable. One that only puts mail off is there.
#[test]
fn hb_15_a_refused_session_is_no_contact_and_deferred_mail_is_one() {
    let mut world = World::stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let refusing = world.add_sink(Sink::default());
    world.sinks[refusing].greeting = "554 5.3.2 no service\r\n".to_owned();
    world.wipe(0);
    world.replace_by_sink(node_address(0), refusing);
    world.run(TAKEOVER - MINUTE);
    assert!(world.sinks[refusing].connections > 80);
    assert_eq!(world.takeovers(1), 0);
    world.run(POLL);
    assert_eq!(world.takeovers(1), 1);
    // No memory for mail: every MAIL of a size is answered 452.
    let mut world = World::cluster_with(2, |config| {
        if config.name == "n1" {
            config.max_message_bytes = 64 << 10;
            config.body_budget_bytes = 64 << 10;
        }
    });
    world.stall();
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let client = world.client(0);
    world.send(client, "EHLO c\r\nMAIL FROM:<s@c> SIZE=65536\r\n");
    world.until("the answer", SHORT, |w| {
        w.clients[client].codes().len() == 3
    });
    assert_eq!(world.clients[client].codes()[2], 452);
    world.run(TAKEOVER * 3);
    assert_eq!(world.takeovers(1), 0);
    // Beside it the report of delay to the sender, if there is one.
    assert!(world.held(1).contains(&"m1".to_owned()));
}

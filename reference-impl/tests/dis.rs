//! Discard notifications (DIS): what is reported, to whom, and what it moves.

mod world;

use std::time::Duration;

use mailproof_node::Config;
use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;
use mailproof_node::mark::Mark;
use world::cluster::{POLL, SHORT, TAKEOVER};
use world::sink::Sink;
use world::{Party, World, node_address, sink_address};

const DAY: Duration = Duration::from_secs(86_400);

/// Questions come only with sessions, as good as never by the timer.
fn rare_polls(config: &mut Config) {
    config.shadow_heartbeat_frequency = DAY;
    config.shadow_resubmit_time_span = DAY;
}

/// Has a node ask after all: it starts anew with the ordinary interval.
fn asks_now(world: &mut World, n: usize) {
    world.nodes[n].config.shadow_heartbeat_frequency = POLL;
    world.restart(n);
}

#[test]
fn dis_01_nothing_is_reported_before_the_next_hop_acknowledged() {
    let mut world = World::cluster(2);
    // The next hop takes the content and does not answer.
    world.sinks[0].rule(".", "");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("the content is there", SHORT, |w| {
        w.sinks[0].lines.iter().any(|l| l == ".")
    });
    world.keep_captures();
    world.run(POLL * 4);
    let asked = world.captured(1, 0).matches("XQDISCARD").count();
    assert!(asked >= 3, "{asked}");
    assert_eq!(world.captured(0, 1).matches("count=0").count(), asked);
    assert!(world.view(0).discards.is_empty());
    assert_eq!(world.held(1), ["m1"]);
    // It answers the next attempt.
    world.open();
    world.until("delivery", TAKEOVER, |w| {
        w.count(0, EventKind::Deliver) == 1
    });
    world.until("the copy goes", POLL * 2, |w| w.held(1).is_empty());
    assert_eq!(world.count(1, EventKind::HaDiscard), 1);
}

#[test]
fn dis_02_the_holder_asks_on_any_session_that_it_opens() {
    let mut world = World::cluster_with(2, |config| {
        rare_polls(config);
        if config.name == "n2" {
            // Its mail goes by way of the primary.
            config.routes[0].next_hops = vec![node_address(0)];
        }
    });
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(Duration::from_secs(3600));
    assert_eq!(world.held(1), ["m1"], "nobody had a reason to ask");
    world.keep_captures();
    // Unrelated mail.
    assert_eq!(world.deliver(1, "other", &["b@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("other", "b@x") == 1);
    let lines = world.captured(1, 0);
    let ask = lines.find("XQDISCARD").expect("it asks");
    let mail = lines.find("MAIL FROM").expect("it delivers");
    assert!(ask < mail, "{lines}");
    world.until("the copy goes", SHORT, |w| {
        !w.held(1).contains(&"m1".to_owned())
    });
}

#[test]
fn dis_03_a_server_learns_only_of_what_it_holds() {
    let mut world = World::cluster_with(3, rare_polls);
    for n in 0..10 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
    }
    world.until("all are delivered", SHORT, |w| {
        w.view(0).messages.is_empty()
    });
    let held = |w: &World, n: usize| -> Vec<u64> {
        let shadows = w.view(n).shadows.into_iter();
        shadows.map(|s| s.origin.sequence).collect()
    };
    let (second, third) = (held(&world, 1), held(&world, 2));
    assert_eq!(second.len() + third.len(), 10);
    assert!(!second.is_empty() && !third.is_empty());
    // One of them asks: it starts anew.
    world.keep_captures();
    asks_now(&mut world, 1);
    world.until("the answer", POLL * 2, |w| w.held(1).is_empty());
    let named = reported(world.captured(0, 1));
    assert_eq!(named, second);
    assert_eq!(held(&world, 2), third);
    world.until("the confirmation", SHORT, |w| w.view(0).discards.len() == 1);
    let left = world.view(0).discards;
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].peer.as_str(), &left[0].sequences), ("n3", &third));
}

/// The sequences that all reports in a stream of replies name.
fn reported(replies: &str) -> Vec<u64> {
    let lines = replies.lines().filter_map(|l| l.strip_prefix("250-2.0.0 "));
    lines
        .flat_map(|l| l.split(' '))
        .map(|s| u64::from_str_radix(s, 16).expect("a sequence"))
        .collect()
}

#[test]
fn dis_04_dis_16_exactly_the_named_copies_go_and_each_is_logged() {
    let mut world = World::cluster(2);
    world.sinks[0].rule("RCPT TO:<late", "451 4.2.0 later\r\n");
    for (id, recipient) in [
        ("m1", "a@x"),
        ("m2", "late@x"),
        ("m3", "a@x"),
        ("m4", "late@x"),
    ] {
        assert_eq!(world.deliver(0, id, &[recipient]), 250);
    }
    let names: Vec<String> = (1..5).map(|n| format!("1.{n}")).collect();
    world.until("two copies go", POLL * 2, |w| w.held(1).len() == 2);
    assert_eq!(world.held(1), ["m2", "m4"]);
    let discarded = || -> Vec<String> {
        let said = world.said(1, EventKind::HaDiscard).into_iter();
        said.map(|(server, detail)| format!("{server} {detail}"))
            .collect()
    };
    assert_eq!(
        discarded(),
        [format!("n1 {}", names[0]), format!("n1 {}", names[2])]
    );
    world.open();
    world.until("the others go", POLL * 20, World::settled);
    assert_eq!(world.count(1, EventKind::HaDiscard), 4);
    assert_eq!(world.view(1).counters.shadows_discarded, 4);
}

#[test]
fn dis_06_a_copy_stays_until_the_last_part_is_done() {
    let mut world = World::cluster(2);
    let stalled = ["b", "c"];
    for user in stalled {
        world.sinks[0].rule(&format!("RCPT TO:<{user}@x>"), "451 4.2.0 later\r\n");
    }
    assert_eq!(world.deliver(0, "m1", &["a@x", "b@x", "c@x"]), 250);
    world.until("the first part", SHORT, |w| w.taken("m1", "a@x") == 1);
    for done in 1..=2 {
        world.run(POLL * 3);
        assert_eq!(world.held(1), ["m1"], "{done} of 3 recipients are served");
        assert!(world.view(0).discards.is_empty());
        world.sinks[0].rules.pop();
        world.run(Duration::from_secs(1800));
    }
    assert_eq!(world.taken("m1", "b@x") + world.taken("m1", "c@x"), 2);
    assert!(world.settled(), "{}", world.picture());
}

#[test]
fn dis_07_a_notification_survives_the_restart_of_its_server() {
    for crash in [Crash::DropAll, Crash::Subset(1), Crash::Prefix(usize::MAX)] {
        let mut world = World::cluster_with(2, rare_polls);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.until("the notification", SHORT, |w| w.view(0).discards.len() == 1);
        world.kill(0, crash);
        world.run(Duration::from_secs(60));
        world.start(0);
        world.run(Duration::from_secs(1));
        let discards = world.view(0).discards;
        assert_eq!(discards[0].peer, "n2");
        assert_eq!(world.held(1), ["m1"]);
        asks_now(&mut world, 1);
        world.until("the copy goes", POLL * 2, World::settled);
        assert_eq!(world.count(1, EventKind::HaDiscard), 1);
        assert_eq!(world.taken("m1", "a@x"), 1);
    }
}

/// The link is cut for a minute at every single step of the dialogue: what is
/// lost is said again, and nothing is stranded, sent twice or complained of.
#[test]
fn dis_08_dis_12_a_notification_that_is_lost_or_repeated_does_no_harm() {
    let mut repeated = 0;
    let mut lost = 0;
    for at in 0.. {
        let mut world = World::cluster(2);
        for id in ["m1", "m2"] {
            assert_eq!(world.deliver(0, id, &["a@x"]), 250);
        }
        world.until("the notifications", SHORT, |w| {
            w.view(0).messages.is_empty()
        });
        world.kill(1, Crash::DropAll);
        world.start(1);
        let mut over = false;
        for _ in 0..at {
            world.step(world.now + POLL.as_nanos() as u64 * 2);
            over = world.settled();
        }
        let owed = !world.view(0).discards.is_empty();
        world.cut(Party::Node(0), Party::Node(1));
        world.run(Duration::from_secs(60));
        world.heal(Party::Node(0), Party::Node(1));
        world.until("the end of it", POLL * 4, World::settled);
        lost += u32::from(owed && world.count(1, EventKind::HeartbeatFail) > 0);
        repeated += world.marked(Mark::DiscardRepeated);
        assert_eq!(world.takeovers(1), 0, "step {at}");
        for id in ["m1", "m2"] {
            assert_eq!(world.taken(id, "a@x"), 1, "step {at}");
        }
        assert_eq!(world.count(1, EventKind::HaDiscard), 2, "step {at}");
        assert_eq!(world.count(0, EventKind::PeerRefused), 0, "step {at}");
        if over {
            break;
        }
        assert!(at < 500, "the dialogue never ends");
    }
    assert!(lost > 0 && repeated > 0, "{lost} {repeated}");
}

#[test]
fn dis_09_dis_10_a_notification_is_kept_for_its_time_and_no_longer() {
    for (away, kept) in [(2 * DAY - Duration::from_secs(300), true), (2 * DAY, false)] {
        let mut world = World::cluster(2);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.until("the notification", SHORT, |w| w.view(0).discards.len() == 1);
        let since = world.now;
        world.kill(1, Crash::DropAll);
        world.run(away - Duration::from_nanos(world.now - since) - Duration::from_secs(1));
        assert_eq!(world.view(0).discards.len(), 1);
        world.run(Duration::from_secs(if kept { 0 } else { 1800 }));
        assert_eq!(world.view(0).discards.len(), usize::from(kept));
        assert_eq!(world.view(0).counters.discards_expired, u64::from(!kept));
        world.keep_captures();
        world.start(1);
        world.until("the question", POLL * 2, |w| {
            w.captured(0, 1).contains("count=")
        });
        let named = reported(world.captured(0, 1));
        assert_eq!(named.len(), usize::from(kept));
        // The copy goes either way: the primary is there and does not know it.
        world.until("the end of it", POLL * 2, World::settled);
        world.run(TAKEOVER * 2);
        assert_eq!(world.taken("m1", "a@x"), 1);
    }
}

/// Databases count their messages alike: the same number means another message
/// to every server and in every database.
#[test]
fn dis_13_a_discard_is_bound_to_its_server() {
    let mut world = World::cluster(3);
    world.add_sink(Sink::default());
    // n3 delivers elsewhere; both can only ask n2 for copies.
    for n in [0, 2] {
        world.kill(n, Crash::DropAll);
        world.nodes[n].config.peers.retain(|p| p.name == "n2");
        if n == 2 {
            world.nodes[n].config.routes[0].next_hops = vec![sink_address(1)];
        }
        world.start(n);
    }
    world.stall();
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.deliver(2, "k1", &["a@x"]), 250);
    let shadows = world.view(1).shadows;
    let sequences: Vec<u64> = shadows.iter().map(|s| s.origin.sequence).collect();
    assert_eq!(sequences.len(), 2);
    assert_eq!(sequences[0], sequences[1], "the same number from both");
    world.until("n3 reports its own", POLL * 2, |w| {
        w.count(1, EventKind::HaDiscard) == 1
    });
    assert_eq!(world.said(1, EventKind::HaDiscard)[0].0, "n3");
    assert_eq!(world.held(1), ["m1"]);
    world.run(POLL * 3);
    assert_eq!(world.held(1), ["m1"]);
}

#[test]
fn dis_13_a_discard_is_bound_to_its_database() {
    let mut world = World::stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let old = world.view(1).shadows[0].origin.clone();
    world.wipe(0);
    world.start(0);
    world.run(Duration::from_secs(1));
    world.sinks[0].rules.clear();
    world.sinks[0].rule("MAIL FROM:<never", "451\r\n");
    // The new database does the message of the same number.
    assert_eq!(world.deliver(0, "k1", &["a@x"]), 250);
    world.until("both are delivered", Duration::from_secs(600), |w| {
        w.taken("k1", "a@x") == 1 && w.taken("m1", "a@x") == 1
    });
    world.until("the end of it", POLL * 3, World::settled);
    // The old copy was not dropped, it was resubmitted.
    let origin = |e: &(String, String)| e.0 == "n1";
    let resubmitted = world.said(1, EventKind::Resubmit);
    assert_eq!(resubmitted.iter().filter(|e| origin(e)).count(), 1);
    let discarded = world.said(1, EventKind::HaDiscard);
    let name = format!("{:x}.{:x}", old.sequence >> 40, old.sequence & 0xff);
    assert_eq!(discarded, [("n1".to_owned(), name)], "of the new one only");
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn dis_14_more_notifications_than_one_report_holds_all_arrive() {
    let mut world = World::cluster_with(2, rare_polls);
    for n in 0..2100 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
    }
    assert_eq!(world.view(1).shadows.len(), 2100);
    world.keep_captures();
    asks_now(&mut world, 1);
    world.until("the end of it", POLL * 2, World::settled);
    let replies = world.captured(0, 1);
    let counts: Vec<&str> = replies
        .lines()
        .filter_map(|l| l.strip_prefix("250 2.0.0 count="))
        .filter_map(|l| l.split(' ').next())
        .collect();
    assert_eq!(counts, ["1000", "1000", "100"]);
    let counters = world.view(1).counters;
    assert_eq!(counters.shadows_discarded, 2100);
    assert_eq!(counters.shadows_orphaned, 0);
}

/// A primary that is there and is never heard to be done: it makes copies (so
/// it lives), but nobody listens where it is asked.
#[test]
fn dis_11_a_copy_that_is_never_reported_expires_after_its_time() {
    let mut configs: Vec<Config> = (0..2).map(|n| world::config(n, 2)).collect();
    configs[1].peers[0].address = sink_address(9);
    let sum = configs[1].safety_net_hold_time + configs[1].message_expiration_timeout;
    assert_eq!(sum, DAY * 4, "the documented arithmetic");
    configs[1].safety_net_hold_time = Duration::from_secs(7200);
    configs[1].message_expiration_timeout = Duration::from_secs(3600);
    let life = Duration::from_secs(3 * 3600);
    let mut world = World::new(configs);
    assert_eq!(world.deliver(0, "m0", &["a@x"]), 250);
    let begun = world.now;
    // Something every hundred seconds, so that it counts as alive.
    let mut sent = 1;
    while world.now < begun + life.as_nanos() as u64 - 600_000_000_000 {
        assert_eq!(world.deliver(0, &format!("m{sent}"), &["a@x"]), 250);
        sent += 1;
        world.run(Duration::from_secs(100));
        assert!(
            world.view(1).shadows[0].x_mailproof == "m0",
            "it went early"
        );
    }
    for _ in 0..12 {
        assert_eq!(world.deliver(0, &format!("m{sent}"), &["a@x"]), 250);
        sent += 1;
        world.run(Duration::from_secs(100));
    }
    let view = world.view(1);
    assert!(view.shadows[0].x_mailproof != "m0", "it stays for ever");
    let expired = view.counters.shadows_expired;
    assert!((1..=14).contains(&expired), "{expired}");
    assert_eq!(view.shadows.len() as u64 + expired, sent as u64);
    assert!(world.marked(Mark::CopyAged) > 0);
    let said = world.said(1, EventKind::HaDiscard);
    assert!(said[0].1.contains("expired, never reported"), "{said:?}");
    assert_eq!(world.takeovers(1), 0);
    assert_eq!(world.taken("m0", "a@x"), 1);
}

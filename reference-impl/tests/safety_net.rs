//! The Safety Net and resubmit requests, rule by rule.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::time::Duration;

use mailproof_node::Config;
use mailproof_node::config::{Role, Route};
use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;
use mailproof_node::mark::Mark;
use mailproof_node::view::RequestRow;
use world::mailboxes::letters;
use world::{Party, World, config, node_address, sink_address};

const SHORT: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// A user of the mailbox domain whose mailbox is in `db1` or `db2`.
fn user(database: u8) -> String {
    (0..)
        .map(|n| format!("u{n}@local.example"))
        .find(|address| blake3::hash(address.as_bytes()).as_bytes()[0] % 2 == database - 1)
        .unwrap()
}

/// `count` transport nodes; mail for the mailbox domain goes to sink 1, which
/// stands for a mailbox server that hides nothing.
fn transports(count: usize, change: impl Fn(&mut Config)) -> World {
    let mut world = World::cluster_with(count, |config| {
        config.mailbox_domains = vec!["local.example".to_owned()];
        config.databases = vec!["db1".to_owned(), "db2".to_owned()];
        config.routes.push(Route {
            domain: "local.example".to_owned(),
            next_hops: vec![sink_address(1)],
            ..config.routes[0].clone()
        });
        change(config);
    });
    world.add_sink(world::sink::Sink::default());
    world.run(SHORT);
    world
}

/// Two transport nodes and a mailbox node `m1` behind them, all peers.
fn with_mailboxes(change: impl Fn(&mut Config)) -> World {
    let configs = (0..3).map(|n| {
        let mut config = config(n, 3);
        for peer in &mut config.peers {
            if peer.address == node_address(2) {
                peer.name = "m1".to_owned();
                peer.role = Role::Mailbox;
            }
        }
        config.databases = vec!["db1".to_owned(), "db2".to_owned()];
        if n == 2 {
            config.name = "m1".to_owned();
            config.role = Role::Mailbox;
            config.local_domains = vec!["local.example".to_owned()];
        } else {
            config.mailbox_domains = vec!["local.example".to_owned()];
            config.routes.push(Route {
                domain: "local.example".to_owned(),
                next_hops: vec![node_address(2)],
                ..config.routes[0].clone()
            });
        }
        change(&mut config);
        config.check().unwrap();
        config
    });
    let mut world = World::new(configs.collect());
    // The first mounts ask for replays of what there is not yet.
    world.run(10 * MINUTE);
    world
}

const M1: usize = 2;

/// Delivers a message through node `n` and waits until nothing is queued and
/// no copy is held any more.
fn settled(world: &mut World, n: usize, id: &str, to: &[&str]) {
    assert_eq!(world.deliver(n, id, to), 250);
    rest(world);
}

fn rest(world: &mut World) {
    world.until("rest", Duration::from_secs(600), |w| {
        (0..w.nodes.len()).all(|n| {
            w.nodes[n].node.is_none() || {
                let view = w.view(n);
                view.messages.is_empty() && view.shadows.is_empty()
            }
        })
    });
    // What was said last is durable.
    world.run(Duration::from_secs(1));
}

/// How often sink 1 took message `id`.
fn at_mailbox(world: &World, id: &str, recipient: &str) -> usize {
    world.sinks[1].count(id, recipient)
}

/// Ids in the mailboxes of m1, in order.
fn ids(world: &World) -> Vec<String> {
    let mut ids: Vec<String> = letters(&world.nodes[M1].disk)
        .iter()
        .map(|letter| letter.id().to_owned())
        .collect();
    ids.sort();
    ids
}

fn requests(world: &World, n: usize) -> Vec<RequestRow> {
    world.view(n).requests
}

/// A request at node `n` for everything up to now; waits for its end.
fn replay(world: &mut World, n: usize, database: &str, start: u64, end: u64) -> RequestRow {
    world.run(Duration::from_secs(1));
    let answer = world.command(n, &format!("resubmit {database} {start} {end}"));
    assert!(answer.contains("\"done\":true"), "{answer}");
    let id = requests(world, n).last().unwrap().id;
    world.until("the end of the request", Duration::from_secs(900), |w| {
        requests(w, n)
            .iter()
            .any(|r| r.id == id && r.state == "done")
    });
    requests(world, n).into_iter().find(|r| r.id == id).unwrap()
}

/// Mounts a database of m1 as it was at a time.
fn lag(world: &mut World, database: &str, as_of: u64) {
    let answer = world.command(M1, &format!("dismount {database}"));
    assert!(answer.contains("\"done\":true"), "{answer}");
    let answer = world.command(M1, &format!("mount {database} as-of={as_of}"));
    assert!(answer.contains("\"done\":true"), "{answer}");
}

#[test]
fn sn_01_a_processed_message_can_be_replayed_for_the_hold_time() {
    let to = user(1);
    let mut world = transports(2, |_| {});
    let begun = world.wall();
    settled(&mut world, 0, "m1", &[&to]);
    let end = world.wall();
    world.run(2 * DAY - 2 * MINUTE);
    assert_eq!(world.view(0).safety_net.primary, 1);
    replay(&mut world, 0, "db1", begun, end);
    assert_eq!(at_mailbox(&world, "m1", &to), 2);
}

#[test]
fn sn_02_after_the_hold_time_it_is_gone() {
    let to = user(1);
    let mut world = transports(2, |_| {});
    let begun = world.wall();
    settled(&mut world, 0, "m1", &[&to]);
    let end = world.wall();
    world.run(2 * DAY + 5 * MINUTE);
    for n in [0, 1] {
        let net = world.view(n).safety_net;
        assert_eq!((net.primary, net.shadow), (0, 0));
    }
    replay(&mut world, 0, "db1", begun, end);
    assert_eq!(at_mailbox(&world, "m1", &to), 1);
    assert!(world.marked(Mark::HoldTimeOver) >= 2);
}

#[test]
fn sn_02_the_hold_time_goes_on_over_a_restart() {
    let to = user(1);
    let mut world = transports(2, |c| c.safety_net_hold_time_interval = Some(HOUR));
    settled(&mut world, 0, "m1", &[&to]);
    world.run(30 * MINUTE);
    for n in [0, 1] {
        world.kill(n, Crash::DropAll);
        world.start(n);
    }
    world.run(20 * MINUTE);
    assert_eq!(world.view(0).safety_net.primary, 1);
    assert_eq!(world.view(1).safety_net.shadow, 1);
    world.run(15 * MINUTE);
    assert_eq!(world.view(0).safety_net.primary, 0);
    assert_eq!(world.view(1).safety_net.shadow, 0);
}

#[test]
fn sn_03_dis_05_acknowledged_copies_are_replayed_from_the_shadow_server() {
    let to = user(1);
    let mut world = transports(2, |_| {});
    let begun = world.wall();
    settled(&mut world, 0, "m1", &[&to, "x@remote.example"]);
    assert_eq!(world.view(1).safety_net.shadow, 1);
    let end = world.wall();
    world.wipe(0);
    world.run(MINUTE);
    let line = format!("resubmit db1 {begun} {end} unresponsive=n1");
    world.command(1, &line);
    world.until("the replay", 2 * MINUTE, |w| at_mailbox(w, "m1", &to) == 2);
    assert_eq!(world.taken("m1", "x@remote.example"), 1);
    assert!(world.marked(Mark::ReplayedShadow) > 0);
}

#[test]
fn sn_04_without_shadow_redundancy_there_is_only_the_primary_one() {
    let to = user(1);
    let mut world = transports(2, |c| c.shadow_redundancy_enabled = false);
    let begun = world.wall();
    settled(&mut world, 0, "m1", &[&to]);
    assert_eq!(world.view(0).safety_net.primary, 1);
    assert_eq!(world.view(1).safety_net.shadow, 0);
    let end = world.wall();
    replay(&mut world, 0, "db1", begun, end);
    assert_eq!(at_mailbox(&world, "m1", &to), 2);
}

#[test]
fn sn_04_switching_it_off_ends_the_shadow_safety_net() {
    let to = user(1);
    let mut world = transports(2, |_| {});
    settled(&mut world, 0, "m1", &[&to]);
    assert_eq!(world.view(1).safety_net.shadow, 1);
    world.kill(1, Crash::DropAll);
    world.nodes[1].config.shadow_redundancy_enabled = false;
    world.start(1);
    world.run(SHORT);
    assert_eq!(world.view(1).safety_net.shadow, 0);
}

#[test]
fn sn_05_only_time_limits_what_is_kept_and_no_content_stays_in_memory() {
    let to = user(1);
    let mut world = transports(2, |c| c.body_budget_bytes = c.max_message_bytes);
    for n in 0..300 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &[&to]), 250);
    }
    rest(&mut world);
    assert_eq!(world.view(0).safety_net.primary, 300);
    assert_eq!(world.view(1).safety_net.shadow, 300);
    assert_eq!(world.view(0).body_bytes, 0);
    assert_eq!(world.view(1).body_bytes, 0);
}

#[test]
fn sn_06_a_request_names_database_and_interval() {
    let (one, two) = (user(1), user(2));
    let mut world = transports(2, |_| {});
    let mut times = Vec::new();
    for id in ["a", "b", "c"] {
        times.push(world.wall());
        settled(&mut world, 0, id, &[&one, &two]);
        world.run(MINUTE);
    }
    let row = replay(&mut world, 0, "db1", times[1], times[2] - 1);
    assert_eq!(row.replays, 1);
    assert_eq!(at_mailbox(&world, "a", &one), 1);
    assert_eq!(at_mailbox(&world, "b", &one), 2);
    assert_eq!(at_mailbox(&world, "c", &one), 1);
    assert_eq!(at_mailbox(&world, "b", &two), 1);
}

#[test]
fn sn_07_an_interval_that_is_none_or_not_past_is_refused() {
    let mut world = transports(1, |_| {});
    let now = world.wall();
    for (start, end) in [(5, 5), (6, 5), (now, now + 60_000), (now + 1, now + 2)] {
        let answer = world.command(0, &format!("resubmit db1 {start} {end}"));
        assert!(answer.contains("error"), "{start} {end}: {answer}");
    }
    let answer = world.command(0, "resubmit db9 1 2");
    assert!(answer.contains("db9"), "{answer}");
    assert!(requests(&world, 0).is_empty());
}

#[test]
fn sn_08_sn_16_mounting_a_lagged_copy_replays_by_itself_and_shows_nothing_twice() {
    let to = user(1);
    let mut world = with_mailboxes(|_| {});
    settled(&mut world, 0, "a", &[&to]);
    world.run(10 * MINUTE);
    let as_of = world.wall();
    world.run(MINUTE);
    settled(&mut world, 0, "b", &[&to]);
    settled(&mut world, 1, "c", &[&to]);
    lag(&mut world, "db1", as_of);
    assert_eq!(world.view(M1).counters.mailbox_lost, 2);
    world.until("the replay", 10 * MINUTE, |w| ids(w) == ["a", "b", "c"]);
    rest(&mut world);
    world.run(HOUR);
    assert_eq!(ids(&world), ["a", "b", "c"]);
    // What the lag left alone is not replayed.
    let resubmitted: usize = [0, 1]
        .map(|n| world.count(n, EventKind::Resubmit))
        .iter()
        .sum();
    assert_eq!(resubmitted, 2);
    assert!(world.count(M1, EventKind::DuplicateDeliver) > 0);
}

#[test]
fn sn_08_a_database_that_is_new_to_its_node_is_filled_again() {
    let (one, two) = (user(1), user(2));
    let mut world = with_mailboxes(|_| {});
    settled(&mut world, 0, "a", &[&one]);
    settled(&mut world, 1, "b", &[&one, &two]);
    world.wipe(M1);
    world.run(MINUTE);
    world.start(M1);
    world.until("the replay", 10 * MINUTE, |w| ids(w) == ["a", "b", "b"]);
    rest(&mut world);
    world.run(HOUR);
    assert_eq!(ids(&world), ["a", "b", "b"]);
}

/// The store of the mailbox node and the primary are gone; only the copies
/// that n2 held are left.
#[test]
fn sn_09_a_silent_primary_is_tried_for_12_hours_then_copies_are_broadcast() {
    let to = user(1);
    let mut world = with_mailboxes(|_| {});
    settled(&mut world, 0, "a", &[&to]);
    assert_eq!(world.view(1).safety_net.shadow, 1);
    world.wipe(0);
    world.wipe(M1);
    world.start(M1);
    world.run(12 * HOUR - MINUTE);
    assert_eq!(ids(&world), Vec::<String>::new());
    assert!(world.count(M1, EventKind::ResubmitDefer) > 10);
    world.until("the replay", 10 * MINUTE, |w| ids(w) == ["a"]);
    assert!(world.marked(Mark::ReplayFromShadows) > 0);
    let asked = |r: &RequestRow| r.shadow_of == "n1" && r.asker == "m1";
    assert!(requests(&world, 1).iter().any(asked));
}

#[test]
fn sn_10_a_primary_that_dies_in_the_middle_of_its_replay_is_replaced_too() {
    let to = user(1);
    let mut world = with_mailboxes(|_| {});
    for n in 0..100 {
        assert_eq!(world.deliver(0, &format!("m{n:02}"), &[&to]), 250);
    }
    rest(&mut world);
    world.wipe(M1);
    world.start(M1);
    world.until("the replay begins", 10 * MINUTE, |w| {
        w.view(0).counters.resubmitted >= 10
    });
    assert!(ids(&world).len() < 100);
    world.wipe(0);
    // What it had begun, its peer takes over; the rest comes from the copies.
    world.run(13 * HOUR);
    let expected: Vec<String> = (0..100).map(|n| format!("m{n:02}")).collect();
    assert_eq!(ids(&world), expected);
}

#[test]
fn sn_11_a_hole_is_asked_of_the_peers_and_nothing_else_is() {
    let to = user(1);
    let mut world = transports(2, |_| {});
    let begun = world.wall();
    settled(&mut world, 0, "before", &[&to]);
    world.run(MINUTE);
    world.wipe(0);
    world.start(0);
    world.run(MINUTE);
    settled(&mut world, 0, "after", &[&to]);
    let end = world.wall();
    replay(&mut world, 0, "db1", begun, end);
    world.until("the hole", 10 * MINUTE, |w| {
        at_mailbox(w, "before", &to) == 2
    });
    rest(&mut world);
    world.run(HOUR);
    assert_eq!(at_mailbox(&world, "after", &to), 2);
    assert_eq!(at_mailbox(&world, "before", &to), 2);
    let since = world.view(0).safety_net.since;
    let hole = requests(&world, 1)
        .into_iter()
        .find(|r| r.shadow_of == "n1");
    let hole = hole.unwrap();
    assert_eq!((hole.start, hole.end), (begun, since));
    assert!(world.marked(Mark::ReplayHole) > 0);
}

#[test]
fn sn_12_nobody_outside_the_boundary_is_asked() {
    let to = user(1);
    let mut world = transports(3, |config| {
        let boundary = |name: &str| if name == "n3" { "b" } else { "a" }.to_owned();
        config.boundary = Some(boundary(&config.name));
        for peer in &mut config.peers {
            peer.boundary = Some(boundary(&peer.name));
        }
    });
    let begun = world.wall();
    settled(&mut world, 0, "m1", &[&to]);
    let end = world.wall();
    world.cut(Party::Node(0), Party::Node(1));
    world.run(MINUTE);
    world.command(0, &format!("resubmit db1 {begun} {end}"));
    world.run(13 * HOUR);
    assert!(world.marked(Mark::ReplayFromShadows) > 0);
    assert!(requests(&world, 2).is_empty());
    let mine = requests(&world, 0);
    assert!(
        mine.iter()
            .all(|r| !r.waiting_for.contains(&"n3".to_owned()))
    );
}

/// The route of the mailbox domain changes between the delivery and the
/// replay: the copy is categorised anew, with the envelope that it had.
#[test]
fn sn_13_sn_14_a_shadow_replay_is_categorised_anew_and_carries_what_was_copied() {
    let to = user(1);
    let mut world = transports(2, |_| {});
    let begun = world.wall();
    settled(&mut world, 0, "m1", &[&to]);
    let end = world.wall();
    world.wipe(0);
    let other = world.add_sink(world::sink::Sink::default());
    world.kill(1, Crash::DropAll);
    world.nodes[1].config.routes[1].next_hops = vec![sink_address(other)];
    world.start(1);
    world.run(MINUTE);
    world.command(1, &format!("resubmit db1 {begun} {end} unresponsive=n1"));
    world.until("the replay", 2 * MINUTE, |w| {
        w.sinks[other].count("m1", &to) == 1
    });
    assert_eq!(at_mailbox(&world, "m1", &to), 1);
    let first = &world.sinks[1].taken[0];
    let again = &world.sinks[other].taken[0];
    assert_eq!(again.sender, first.sender);
    assert!(
        again
            .content
            .starts_with("Received: by n2 with SafetyNet id ")
    );
    assert!(again.content.ends_with(&first.content), "{}", again.content);
}

#[test]
fn sn_15_no_dsn_results_from_a_replay() {
    let to = user(1);
    let mut world = transports(2, |_| {});
    let begun = world.wall();
    settled(&mut world, 0, "m1", &[&to]);
    world.sinks[1].rule("RCPT", "550 5.1.1 no such user\r\n");
    let end = world.wall();
    replay(&mut world, 0, "db1", begun, end);
    rest(&mut world);
    world.run(3 * DAY);
    assert!(
        world.sinks[0].taken.is_empty(),
        "{:?}",
        world.sinks[0].taken
    );
    assert_eq!(world.view(0).counters.dsns, 0);
    assert!(world.count(0, EventKind::ResubmitFail) > 0);
}

/// The same when the peer that holds the copy of the replay has to deliver it.
#[test]
fn sn_15_nor_from_one_that_was_taken_over() {
    let to = user(1);
    let mut world = transports(2, |_| {});
    let begun = world.wall();
    settled(&mut world, 0, "m1", &[&to]);
    world.sinks[1].rule("RCPT", "450 4.2.0 later\r\n");
    world.run(Duration::from_secs(1));
    let end = world.wall() - 1;
    world.command(0, &format!("resubmit db1 {begun} {end}"));
    world.until("the copy", MINUTE, |w| !w.view(1).shadows.is_empty());
    world.wipe(0);
    world.sinks[1].rules.clear();
    world.sinks[1].rule("RCPT", "550 5.1.1 no such user\r\n");
    world.run(4 * HOUR);
    assert!(world.marked(Mark::TakeoverBySilence) > 0);
    assert!(world.view(1).messages.is_empty());
    assert_eq!(world.view(1).counters.dsns, 0);
}

#[test]
fn sn_17_mail_that_crossed_the_boundary_is_not_replayed() {
    let to = user(1);
    let mut world = transports(2, |_| {});
    let begun = world.wall();
    settled(&mut world, 0, "m1", &[&to, "x@remote.example"]);
    settled(&mut world, 0, "m2", &["x@remote.example"]);
    assert_eq!(world.view(0).safety_net.primary, 1);
    let end = world.wall();
    replay(&mut world, 0, "db1", begun, end);
    world.run(HOUR);
    assert_eq!(world.taken("m1", "x@remote.example"), 1);
    assert_eq!(world.taken("m2", "x@remote.example"), 1);
    assert_eq!(at_mailbox(&world, "m1", &to), 2);
}

#[test]
fn sn_18_a_hold_time_below_the_lag_is_warned_of() {
    let world = with_mailboxes(|config| {
        if config.role == Role::Mailbox {
            config.replay_lag_time = 3 * DAY;
        }
    });
    let mut world = world;
    world.run(SHORT);
    assert_eq!(world.count(M1, EventKind::Warning), 1);
    assert_eq!(world.count(0, EventKind::Warning), 0);
}

#[test]
fn sn_19_requests_are_listed_disabled_and_removed_and_their_numbers_grow() {
    let to = user(1);
    let mut world = transports(2, |_| {});
    let begun = world.wall();
    settled(&mut world, 0, "m1", &[&to]);
    world.cut(Party::Node(0), Party::Node(1));
    world.run(Duration::from_secs(1));
    let end = world.wall() - 1;
    for _ in 0..2 {
        world.command(0, &format!("resubmit db1 {begun} {end}"));
    }
    let ids: Vec<u64> = requests(&world, 0).iter().map(|r| r.id).collect();
    assert_eq!(ids, [1, 2]);
    let listed = world.command(0, "requests");
    assert!(listed.contains("\"waiting-for\":[\"n2\"]"), "{listed}");
    world.command(0, "disable-request 2");
    assert_eq!(requests(&world, 0)[1].state, "disabled");
    // Disabled, it asks nobody, not even for copies.
    world.command(0, "remove-request 1");
    world.run(13 * HOUR);
    assert_eq!(requests(&world, 0).len(), 1);
    world.command(0, "enable-request 2");
    world.run(13 * HOUR);
    assert_eq!(requests(&world, 0).len(), 2);
    for id in [2, 3] {
        world.command(0, &format!("remove-request {id}"));
    }
    assert!(requests(&world, 0).is_empty());
    assert!(world.command(0, "remove-request 3").contains("error"));
    // The number of a removed request is not used again, not after a restart
    // either.
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.run(SHORT);
    let answer = world.command(0, &format!("resubmit db1 {begun} {end}"));
    assert!(answer.contains("\"request\":4"), "{answer}");
}

#[test]
fn sn_20_a_primary_declared_unresponsive_is_not_waited_for() {
    let to = user(1);
    let mut world = with_mailboxes(|_| {});
    let begun = world.wall();
    settled(&mut world, 0, "a", &[&to]);
    let end = world.wall();
    world.wipe(0);
    world.wipe(M1);
    world.start(M1);
    world.run(MINUTE);
    assert!(ids(&world).is_empty());
    let line = format!("resubmit db1 {begun} {end} unresponsive=n1");
    world.command(M1, &line);
    world.until("the replay", 5 * MINUTE, |w| ids(w) == ["a"]);
}

#[test]
fn sn_21_replays_pause_when_memory_is_short() {
    let to = user(1);
    let mut world = transports(1, |config| {
        config.max_message_bytes = 64 << 10;
        config.body_budget_bytes = 64 << 10;
    });
    let begun = world.wall();
    settled(&mut world, 0, "m1", &[&to]);
    let end = world.wall();
    // Mail for elsewhere that cannot leave fills more than half of the memory.
    world.sinks[0].rule("RCPT", "450 4.2.0 later\r\n");
    let big = "0123456789012345678901234567890123456789012345678901234567890\r\n".repeat(600);
    let client = world.client(0);
    world.send(
        client,
        "EHLO c\r\nMAIL FROM:<s@c>\r\nRCPT TO:<x@remote.example>\r\nDATA\r\n",
    );
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    world.send(client, &format!("{big}.\r\n"));
    world.until("an answer", SHORT, |w| w.answer(client) == Some(250));
    world.run(MINUTE);
    world.command(0, &format!("resubmit db1 {begun} {end}"));
    world.run(HOUR);
    assert_eq!(requests(&world, 0)[0].state, "paused");
    assert_eq!(world.count(0, EventKind::ResubmitDefer), 1);
    assert_eq!(at_mailbox(&world, "m1", &to), 1);
    world.sinks[0].rules.clear();
    world.until("the replay", HOUR, |w| at_mailbox(w, "m1", &to) == 2);
}

#[test]
fn sn_22_replay_deferral_and_failure_are_events_of_their_own() {
    let to = user(1);
    let mut world = transports(2, |_| {});
    let begun = world.wall();
    settled(&mut world, 0, "m1", &[&to]);
    world.kill(1, Crash::DropAll);
    world.sinks[1].rule("RCPT", "550 5.1.1 no such user\r\n");
    world.run(MINUTE);
    let end = world.wall() - 1;
    world.command(0, &format!("resubmit db1 {begun} {end}"));
    world.run(10 * MINUTE);
    for kind in [
        EventKind::Resubmit,
        EventKind::ResubmitDefer,
        EventKind::ResubmitFail,
    ] {
        assert!(world.count(0, kind) > 0, "{kind:?}");
    }
}

#[test]
fn dis_15_a_message_that_is_done_is_kept_in_the_same_queue_database() {
    let to = user(1);
    let mut world = transports(2, |_| {});
    settled(&mut world, 0, "m1", &[&to]);
    let database = world.view(0).database_id;
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.run(SHORT);
    assert_eq!(world.view(0).database_id, database);
    assert_eq!(world.view(0).safety_net.primary, 1);
    assert!(world.marked(Mark::RecoveredSafetyNet) > 0);
}

/// A message that was refused must never be delivered: its copy is not kept.
#[test]
fn a_refused_message_does_not_enter_the_shadow_safety_net() {
    let to = user(1);
    let mut world = transports(2, |c| c.reject_message_on_shadow_failure = true);
    // The copy arrives, its acknowledgement does not.
    let client = world.mail(0, "m1", &[&to]);
    world.until("the copy", SHORT, |w| !w.view(1).shadows.is_empty());
    world.cut(Party::Node(0), Party::Node(1));
    world.until("an answer", Duration::from_secs(700), |w| {
        w.answer(client).is_some()
    });
    if world.answer(client) == Some(250) {
        // The acknowledgement was on its way already.
        return;
    }
    assert_eq!(world.answer(client), Some(451));
    world.heal(Party::Node(0), Party::Node(1));
    world.run(HOUR);
    assert!(world.view(1).shadows.is_empty());
    assert_eq!(world.view(1).safety_net.shadow, 0);
}

/// Requests of strangers change nothing.
#[test]
fn only_peers_may_ask_for_a_replay() {
    let mut world = transports(2, |_| {});
    let client = world.client(0);
    world.send(client, "EHLO c\r\nXRESUBMIT db1 1 2\r\nQUIT\r\n");
    world.until("the end", SHORT, |w| w.clients[client].closed);
    assert!(world.clients[client].codes().contains(&530));
    assert!(requests(&world, 0).is_empty());
}

/// The segments of what is kept go when its time is over.
#[test]
fn the_log_shrinks_when_the_hold_time_is_over() {
    let to = user(1);
    let mut world = transports(2, |c| c.safety_net_hold_time = HOUR);
    let files = |world: &World, n: usize| {
        use mailproof_node::disk::Disk as _;
        world.nodes[n].disk.list().unwrap().len()
    };
    for n in 0..600 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &[&to]), 250);
    }
    rest(&mut world);
    let before = [0, 1].map(|n| files(&world, n));
    assert!(before.iter().all(|n| *n > 5), "{before:?}");
    world.run(2 * HOUR);
    // Segments are looked at when there is a new one.
    for n in 0..60 {
        assert_eq!(world.deliver(0, &format!("again{n}"), &[&to]), 250);
    }
    rest(&mut world);
    let after = [0, 1].map(|n| files(&world, n));
    let shrunk = before
        .iter()
        .zip(&after)
        .all(|(b, a)| a * 2 < *b || *a < 12);
    assert!(shrunk && after[0] < 30, "{before:?} {after:?}");
}

/// Every node is killed at every step of a small replay run: nothing is lost,
/// and the mailboxes show nothing twice.
#[test]
fn a_replay_survives_a_crash_at_every_step() {
    let to = user(1);
    let prepared = || {
        let mut world = with_mailboxes(|_| {});
        settled(&mut world, 0, "a", &[&to]);
        settled(&mut world, 1, "b", &[&to]);
        let answer = world.command(M1, "dismount db1");
        assert!(answer.contains("done"));
        let answer = world.command(M1, "mount db1 as-of=1");
        assert!(answer.contains("done"));
        world
    };
    for victim in 0..3 {
        let mut reached = 0;
        for at in (1..400).step_by(if victim == 2 { 1 } else { 2 }) {
            let mut world = prepared();
            for _ in 0..at {
                world.step(world.now + 1_000_000_000);
            }
            if ids(&world).len() < 2 {
                reached += 1;
            }
            world.kill(victim, Crash::Subset(at));
            world.run(Duration::from_secs(1));
            world.start(victim);
            world.run(2 * HOUR);
            assert_eq!(
                ids(&world),
                ["a", "b"],
                "n{} killed at {at}\n{}",
                victim + 1,
                world.picture()
            );
        }
        assert!(reached > 5, "{reached}");
    }
}

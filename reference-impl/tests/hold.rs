//! The hold model: what a next hop took is kept until it reports, and
//! resubmitted when it will not.

mod world;

use std::time::Duration;

use mailproof_node::config::ShadowModel;
use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;
use mailproof_node::mark::Mark;
use mailproof_node::view::QueuesView;
use world::hold::{FAILED, INTERVAL, hold_config, hub, hub_with, settled, to_nodes, to_sink};
use world::sink::Sink;
use world::{Party, World, config, sink_address};

const SHORT: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_secs(60);

/// A hub and edges whose next hop puts everything off.
fn stalled(count: usize) -> World {
    let mut world = hub(count);
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    world
}

fn open(world: &mut World) {
    world.sinks[0].rules.clear();
}

/// Sends one message to the hub, to a next hop that stalls: it ends up with
/// the first edge, its shadow with the hub.
fn with_shadow(world: &mut World, id: &str) {
    assert_eq!(world.deliver(0, id, &["a@x"]), 250);
    assert_eq!(world.view(0).shadows.len(), 1, "{}", world.picture());
    world.until("a durable end", SHORT, |w| w.view(0).messages.is_empty());
}

fn shadow_queue(view: &QueuesView, primary: &str) -> u64 {
    let queue = view
        .queues
        .iter()
        .find(|q| q.delivery_type == "ShadowRedundancy" && q.next_hop_domain == primary);
    queue.map_or(0, |q| q.message_count)
}

/// The reply of a node to EHLO from a client that has not authenticated.
fn ehlo(world: &mut World, n: usize) -> String {
    let client = world.client(n);
    world.send(client, "EHLO c\r\n");
    world.until("a reply", SHORT, |w| w.clients[client].replies().len() == 2);
    world.clients[client].replies()[1].clone()
}

#[test]
fn neg_01_neg_03_the_capability_is_a_bare_keyword_for_everybody() {
    let mut world = hub(2);
    let lines = ehlo(&mut world, 1);
    assert!(lines.ends_with("250 XSHADOW"), "{lines}");
}

#[test]
fn neg_02_without_a_key_it_is_not_listed() {
    let mut world = World::new(vec![hold_config(0, 1, &[])]);
    assert!(!ehlo(&mut world, 0).contains("XSHADOW"));
    let mut world = hub_with(2, |config| config.shadow_redundancy_enabled = false);
    assert!(!ehlo(&mut world, 1).contains("XSHADOW"));
}

#[test]
fn neg_06_neg_07_each_model_lists_its_own_capability() {
    let mut world = hub(2);
    assert!(!ehlo(&mut world, 0).contains("XSHADOWREQUEST"));
    let mut world = World::cluster(2);
    let lines = ehlo(&mut world, 0);
    assert!(lines.contains("XSHADOWREQUEST") && !lines.contains("XSHADOW\r\n"));
    assert!(!lines.ends_with("XSHADOW"));
}

/// Four next hops: one that offers and is a peer, one that does not offer, one
/// that offers and is no peer, one that is at a peer's address and cannot
/// prove it.
#[test]
fn neg_04_only_a_peer_that_offers_it_is_asked_to_track() {
    let mut world = stalled(2);
    with_shadow(&mut world, "m1");
    for offers in [vec!["PIPELINING"], vec!["XSHADOW", "PIPELINING"]] {
        let mut world = hub(1);
        world.sinks[0].offers = offers;
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        assert_eq!(world.taken("m1", "a@x"), 1);
        assert!(!world.sinks[0].lines.iter().any(|l| l.starts_with('X')));
    }
    // At the address of a peer stands something else.
    let mut config = hold_config(0, 2, &[]);
    config.peers[0].address = sink_address(0);
    let mut world = World::new(vec![config]);
    world.sinks[0].offers = vec!["XSHADOW", "PIPELINING"];
    world.sinks[0].rule("XPEER", "535 5.7.8 no\r\n");
    let client = world.mail(0, "m1", &["a@x"]);
    world.run(MINUTE * 2);
    assert_eq!(world.answer(client), Some(250));
    assert!(
        !world.sinks[0]
            .lines
            .iter()
            .any(|l| l.starts_with("XSHADOW"))
    );
    assert!(world.view(0).shadows.is_empty());
}

#[test]
fn neg_05_strangers_change_and_learn_nothing() {
    let mut world = stalled(2);
    with_shadow(&mut world, "m1");
    let state = |w: &World| {
        (
            w.view(0).shadows,
            w.view(1).messages.len(),
            w.view(1).discards,
        )
    };
    let before = state(&world);
    let client = world.client(1);
    world.send(
        client,
        "EHLO c\r\nXSHADOW 1\r\nXQDISCARD HOLD\r\nXQSTATUS HOLD 1\r\nXQCONFIRM 0\r\n",
    );
    world.until("replies", SHORT, |w| w.clients[client].codes().len() == 6);
    assert_eq!(world.clients[client].codes()[2..], [530, 530, 530, 530]);
    assert_eq!(before, state(&world));
    assert_eq!(world.view(1).counters.private_verbs_refused, 4);
}

#[test]
fn neg_08_disabled_nothing_is_requested_or_kept() {
    let mut world = hub_with(2, |config| config.shadow_redundancy_enabled = false);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    assert_eq!(world.view(0).counters.shadows_kept, 0);
    assert!(world.view(0).shadows.is_empty());
}

#[test]
fn neg_10_e14_06_without_tracking_the_copy_goes_at_the_250() {
    let mut world = hub(1);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(SHORT);
    assert_eq!(world.taken("m1", "a@x"), 1);
    assert!(settled(&world), "{}", world.picture());
}

#[test]
fn e14_01_what_the_next_hop_took_is_kept() {
    let mut world = stalled(2);
    with_shadow(&mut world, "m1");
    let shadow = &world.view(0).shadows[0];
    assert_eq!(shadow.origin.primary, "n2");
    assert_eq!(shadow.origin.database_id, world.view(1).database_id);
    assert_eq!(shadow.x_mailproof, "m1");
    world.run(INTERVAL * 3);
    assert_eq!(world.view(0).shadows.len(), 1);
}

#[test]
fn e14_02_fork_03_one_shadow_queue_for_each_server_that_accepted() {
    let configs = vec![
        {
            let mut hub = hold_config(0, 3, &[1]);
            hub.routes.push(to_nodes("y", &[2]));
            hub
        },
        hold_config(1, 3, &[]),
        hold_config(2, 3, &[]),
    ];
    let mut world = World::new(configs);
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.deliver(0, "m2", &["b@y"]), 250);
    assert_eq!(world.deliver(0, "m3", &["c@y", "d@x"]), 250);
    let view = world.view(0);
    assert_eq!(shadow_queue(&view, "n2"), 2);
    assert_eq!(shadow_queue(&view, "n3"), 2);
    assert!(world.marked(Mark::ForksKept) == 1);
}

#[test]
fn e14_03_only_the_requesting_server_gets_the_report() {
    let mut world = hub(3);
    // Nobody asks: what is to be reported stays with the edge.
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("a report", SHORT, |w| !w.view(1).discards.is_empty());
    let told: Vec<String> = world
        .view(1)
        .discards
        .iter()
        .map(|d| d.peer.clone())
        .collect();
    assert_eq!(told, ["n1"]);
    // Another authenticated server asks, and gets nothing.
    world.cut(Party::Node(0), Party::Node(1));
    world.kill(2, Crash::DropAll);
    world.start(2);
    world.run(INTERVAL * 2);
    assert_eq!(world.view(1).discards.len(), 1);
    assert_eq!(world.view(0).shadows.len(), 1);
}

#[test]
fn e14_04_dis_01_complete_only_when_the_next_hop_of_the_next_hop_acknowledged() {
    let mut world = stalled(2);
    with_shadow(&mut world, "m1");
    world.run(INTERVAL * 2);
    assert_eq!(world.view(0).shadows.len(), 1);
    assert!(world.view(1).discards.is_empty());
    open(&mut world);
    world.until("the report", INTERVAL * 2, |w| w.view(0).shadows.is_empty());
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn e14_05_a_report_deletes_the_shadow() {
    let mut world = hub(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.view(0).shadows.len(), 1);
    world.until("the end of it", MINUTE, settled);
    assert_eq!(world.count(0, EventKind::HaDiscard), 1);
    assert_eq!(world.view(0).counters.shadows_released, 1);
    assert_eq!(world.view(0).body_bytes, 0);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn e14_07_along_a_chain_two_servers_have_the_message() {
    let configs = (0..4)
        .map(|n| hold_config(n, 4, if n < 3 { &[[1], [2], [3]][n][..] } else { &[] }))
        .collect();
    let mut world = World::new(configs);
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(MINUTE * 2);
    let has = |n: usize| {
        let view = world.view(n);
        view.messages.len() + view.shadows.len()
    };
    let all: Vec<usize> = (0..4).map(has).collect();
    assert_eq!(all, [0, 0, 1, 1], "{}", world.picture());
}

#[test]
fn e14_08_dis_02_every_session_ends_with_the_question() {
    // A next hop of the hub that is a peer and stands in the middle can be
    // listened to only by its own log: what counts is that the shadow goes
    // long before the interval has passed.
    let mut world = hub_with(2, |config| {
        config.send_connection_idle_time = Duration::from_secs(3);
    });
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    world.until("the question", Duration::from_secs(5), settled);
    // Also at the end of a session for unrelated mail.
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    with_shadow(&mut world, "m2");
    world.run(SHORT);
    assert_eq!(world.view(0).shadows.len(), 1);
    open(&mut world);
    world.until("delivery", MINUTE * 5, |w| w.taken("m2", "a@x") == 1);
    assert_eq!(world.view(0).shadows.len(), 1);
    assert_eq!(world.deliver(0, "m3", &["a@x"]), 250);
    world.until("the question", Duration::from_secs(5), |w| {
        w.view(0).shadows.is_empty()
    });
}

#[test]
fn e14_09_without_a_session_one_is_opened_at_the_interval() {
    let mut world = stalled(2);
    with_shadow(&mut world, "m1");
    world.run(MINUTE);
    open(&mut world);
    world.until("delivery", MINUTE * 5, |w| w.taken("m1", "a@x") == 1);
    let view = world.view(0);
    assert_eq!(view.shadows.len(), 1);
    world.run(INTERVAL - MINUTE * 6);
    assert_eq!(world.view(0).shadows.len(), 1, "asked before its time");
    world.until("the question", MINUTE * 6, settled);
}

#[test]
fn e14_10_e14_11_failed_after_so_many_time_outs_and_not_earlier() {
    let mut world = stalled(3);
    with_shadow(&mut world, "m1");
    world.run(MINUTE);
    world.kill(1, Crash::DropAll);
    let begin = world.now;
    world.until("takeover", FAILED + INTERVAL, |w| {
        w.count(0, EventKind::Resubmit) == 1
    });
    let took = Duration::from_nanos(world.now - begin);
    assert!(took > FAILED - INTERVAL && took <= FAILED, "{took:?}");
    assert_eq!(world.count(0, EventKind::HeartbeatFail), 12);
}

#[test]
fn e14_12_with_another_route_it_is_resubmitted_and_delivered() {
    let mut world = stalled(3);
    with_shadow(&mut world, "m1");
    world.kill(1, Crash::DropAll);
    open(&mut world);
    world.run(FAILED - INTERVAL * 2);
    assert_eq!(world.taken("m1", "a@x"), 0);
    world.until("delivery", INTERVAL * 3, |w| {
        w.count(2, EventKind::Deliver) == 1
    });
    assert_eq!(world.taken("m1", "a@x"), 1);
    let content = &world.sinks[0].taken[0].content;
    assert!(content.contains("with ShadowRedundancy id"), "{content}");
    assert_eq!(world.marked(Mark::ResubmitBySilence), 1);
    world.until("the end of it", INTERVAL * 2, settled);
    world.run(FAILED * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn e14_13_without_an_alternative_route_copies_stay() {
    let mut world = stalled(2);
    with_shadow(&mut world, "m1");
    world.kill(1, Crash::DropAll);
    world.run(FAILED * 30);
    assert_eq!(world.view(0).shadows.len(), 1);
    assert_eq!(world.count(0, EventKind::Resubmit), 0);
    assert_eq!(world.count(0, EventKind::Dsn), 0);
    assert!(world.marked(Mark::FailedWithoutRoute) > 0);
    // Nor does a restart change that.
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.run(FAILED * 2);
    assert_eq!(world.view(0).shadows.len(), 1);
}

#[test]
fn e14_13_an_alternative_that_is_down_too_is_none() {
    let mut world = stalled(3);
    with_shadow(&mut world, "m1");
    world.kill(1, Crash::DropAll);
    world.kill(2, Crash::DropAll);
    // Something that waits keeps trying both.
    let client = world.mail(0, "m2", &["a@x"]);
    world.run(FAILED * 2);
    assert_eq!(world.answer(client), Some(250));
    assert_eq!(world.view(0).shadows.len(), 1);
    world.start(2);
    open(&mut world);
    world.until("delivery", INTERVAL * 2, |w| {
        w.taken("m1", "a@x") == 1 && w.taken("m2", "a@x") == 1
    });
}

#[test]
fn e14_14_dis_13_a_new_database_gets_the_mail_again() {
    let mut world = stalled(2);
    with_shadow(&mut world, "m1");
    world.wipe(1);
    world.run(INTERVAL * 20);
    assert_eq!(world.view(0).shadows.len(), 1);
    world.start(1);
    open(&mut world);
    world.until("delivery", INTERVAL * 2, |w| w.taken("m1", "a@x") == 1);
    assert_eq!(world.marked(Mark::ResubmitByDatabase), 1);
    world.until("the end of it", INTERVAL * 2, settled);
    world.run(FAILED * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn e14_15_the_same_database_delivers_and_reports() {
    let mut world = stalled(2);
    with_shadow(&mut world, "m1");
    world.kill(1, Crash::DropAll);
    world.run(FAILED * 2);
    world.start(1);
    open(&mut world);
    world.until("delivery", MINUTE * 5, |w| w.taken("m1", "a@x") == 1);
    world.until("the end of it", INTERVAL * 2, settled);
    assert_eq!(world.count(0, EventKind::Resubmit), 0);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn e14_16_any_success_sets_the_count_back() {
    let mut world = stalled(3);
    with_shadow(&mut world, "m1");
    for _ in 0..2 {
        world.cut(Party::Node(0), Party::Node(1));
        world.run(FAILED - INTERVAL - MINUTE);
        world.heal(Party::Node(0), Party::Node(1));
        world.run(INTERVAL + MINUTE);
    }
    assert_eq!(world.count(0, EventKind::Resubmit), 0);
    assert!(world.count(0, EventKind::HeartbeatFail) >= 20);
}

#[test]
fn fork_01_dis_06_it_stays_until_every_next_hop_reported() {
    let mut world = fork(|_| {});
    world.sinks[1].rule("RCPT", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x", "b@y"]), 250);
    world.until("one delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    world.run(INTERVAL * 2);
    let view = world.view(0);
    assert_eq!(view.shadows.len(), 1);
    assert_eq!(view.shadows[0].recipients, ["b@y"]);
    world.sinks[1].rules.clear();
    world.until("the end of it", INTERVAL * 3, settled);
    assert_eq!(world.sinks[1].count("m1", "b@y"), 1);
}

#[test]
fn fork_04_only_the_part_of_the_next_hop_that_failed_is_resubmitted() {
    let mut world = fork(|_| {});
    world.sinks[1].rule("RCPT", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x", "b@y"]), 250);
    world.until("one delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    world.wipe(2);
    world.sinks[1].rules.clear();
    world.until("takeover", FAILED + INTERVAL * 2, |w| {
        w.sinks[1].count("m1", "b@y") == 1
    });
    world.until("the end of it", INTERVAL * 2, settled);
    assert_eq!(world.taken("m1", "a@x"), 1);
    assert_eq!(world.sinks[1].count("m1", "a@x"), 0);
}

/// A hub that relays `x` to n2 and `y` to n3, or n4 if that is lost; `x` ends
/// in sink 0 and `y` in sink 1.
fn fork(change: impl Fn(&mut mailproof_node::Config)) -> World {
    let configs = (0..4).map(|n| {
        let mut config = hold_config(n, 4, &[1]);
        config.routes = if n == 0 {
            vec![to_nodes("x", &[1]), to_nodes("y", &[2, 3])]
        } else {
            vec![to_sink("x", 0), to_sink("y", 1)]
        };
        change(&mut config);
        config
    });
    let mut world = World::new(configs.collect());
    world.add_sink(Sink::default());
    world
}

#[test]
fn dis_03_reports_go_to_the_one_who_sent_it() {
    let configs = vec![
        hold_config(0, 3, &[2]),
        hold_config(1, 3, &[2]),
        hold_config(2, 3, &[]),
    ];
    let mut world = World::new(configs);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.deliver(1, "m2", &["a@x"]), 250);
    world.until("both", SHORT, |w| {
        w.taken("m1", "a@x") + w.taken("m2", "a@x") == 2
    });
    world.until("the end of it", MINUTE * 2, settled);
    assert_eq!(world.marked(Mark::DiscardNotHeld), 0);
}

#[test]
fn dis_07_what_is_to_be_reported_survives_a_restart() {
    let mut world = hub(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| !w.view(1).discards.is_empty());
    world.kill(1, Crash::DropAll);
    world.start(1);
    world.run(Duration::from_secs(1));
    assert_eq!(world.view(1).discards.len(), 1);
    assert_eq!(world.marked(Mark::RecoveredDiscards), 1);
    world.until("the end of it", INTERVAL * 2, settled);
    world.run(FAILED * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

/// The connection is cut at every step of the dialogue about the report.
#[test]
fn dis_08_a_report_lost_at_any_step_strands_nothing() {
    for at in 0..60 {
        let mut world = hub(2);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
        // The idle session asks when it ends, half a minute later.
        world.run(Duration::from_secs(29));
        for _ in 0..at {
            world.step(world.now + 5_000_000_000);
        }
        world.cut(Party::Node(0), Party::Node(1));
        world.run(MINUTE * 3);
        world.heal(Party::Node(0), Party::Node(1));
        world.until("the end of it", INTERVAL * 4, settled);
        assert_eq!(world.taken("m1", "a@x"), 1);
        assert_eq!(world.count(0, EventKind::Resubmit), 0);
    }
}

#[test]
fn dis_09_dis_10_an_unasked_report_expires_and_the_shadow_goes_all_the_same() {
    let day = Duration::from_secs(86_400);
    let mut world = hub(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("a report", SHORT, |w| !w.view(1).discards.is_empty());
    world.kill(0, Crash::DropAll);
    world.run(day * 2 - MINUTE);
    assert_eq!(world.view(1).discards.len(), 1);
    world.run(MINUTE * 60);
    assert!(world.view(1).discards.is_empty());
    assert_eq!(world.marked(Mark::DiscardExpired), 1);
    world.start(0);
    world.until("the end of it", INTERVAL * 3, settled);
    assert_eq!(world.marked(Mark::KeptUnknown), 1);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn dis_14_many_reports_come_in_parts() {
    let mut world = hub_with(2, |config| {
        config.send_connection_idle_time = Duration::from_secs(3600);
    });
    for n in 0..1050 {
        let recipients: Vec<String> = (0..1).map(|r| format!("r{r}@x")).collect();
        let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
        assert_eq!(world.deliver(0, &format!("m{n}"), &recipients), 250);
    }
    world.until("the end of it", INTERVAL * 2, settled);
    assert_eq!(world.marked(Mark::DiscardInParts), 1);
}

#[test]
fn hb_15_a_server_that_accepts_and_does_not_answer_is_out_of_reach() {
    let mut world = stalled(3);
    with_shadow(&mut world, "m1");
    // It greets nobody: its disk does not come to an end.
    world.kill(1, Crash::DropAll);
    world.nodes[1].disk_op = u64::MAX / 4;
    world.start(1);
    open(&mut world);
    world.until("delivery", FAILED + INTERVAL * 2, |w| {
        w.count(2, EventKind::Deliver) == 1
    });
}

#[test]
fn out_09_an_old_primary_that_returns_after_the_takeover_may_deliver_too() {
    let mut world = stalled(3);
    with_shadow(&mut world, "m1");
    world.kill(1, Crash::DropAll);
    open(&mut world);
    world.until("delivery", FAILED + INTERVAL * 2, |w| {
        w.taken("m1", "a@x") == 1
    });
    world.start(1);
    world.until("the end of it", INTERVAL * 3, settled);
    assert_eq!(world.taken("m1", "a@x"), 2);
}

#[test]
fn out_09_a_report_after_the_takeover_ends_what_is_left() {
    let mut world = stalled(3);
    with_shadow(&mut world, "m1");
    world.cut(Party::Node(0), Party::Node(1));
    // The other edge cannot deliver, the first can.
    world.cut(Party::Node(2), Party::Sink(0));
    world.until("takeover", FAILED + INTERVAL * 2, |w| {
        w.count(0, EventKind::Resubmit) == 1
    });
    world.cut(Party::Node(0), Party::Node(2));
    open(&mut world);
    world.until("delivery", MINUTE * 20, |w| w.taken("m1", "a@x") == 1);
    world.heal(Party::Node(0), Party::Node(1));
    world.run(INTERVAL * 2);
    world.heal(Party::Node(0), Party::Node(2));
    world.heal(Party::Node(2), Party::Sink(0));
    world.until("the end of it", INTERVAL * 4, settled);
    assert!((1..=2).contains(&world.taken("m1", "a@x")));
}

#[test]
fn e14_crash_of_the_sender_keeps_its_shadows() {
    let mut world = stalled(2);
    with_shadow(&mut world, "m1");
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.run(Duration::from_secs(1));
    assert_eq!(world.view(0).shadows.len(), 1, "{}", world.picture());
    assert_eq!(world.marked(Mark::RecoveredKept), 1);
    world.wipe(1);
    world.start(1);
    open(&mut world);
    world.until("delivery", INTERVAL * 3, |w| w.taken("m1", "a@x") == 1);
    world.until("the end of it", INTERVAL * 3, settled);
}

/// n1 relays to n2, which is of the other model; n3 is n2's kind.
fn mixed(first: ShadowModel) -> World {
    let other = match first {
        ShadowModel::Copy => ShadowModel::Hold,
        ShadowModel::Hold => ShadowModel::Copy,
    };
    let configs = (0..3).map(|n| {
        let mut config = config(n, 3);
        config.shadow_model = if n == 0 { first } else { other };
        if n == 0 {
            config.routes = vec![to_nodes("*", &[1])];
        }
        config
    });
    World::new(configs.collect())
}

#[test]
fn mix_01_mix_02_a_copy_node_makes_its_own_copy_and_nothing_is_kept_before_it() {
    let mut world = mixed(ShadowModel::Hold);
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(Duration::from_secs(1));
    assert!(world.view(0).shadows.is_empty());
    assert_eq!(world.view(0).counters.shadows_kept, 0);
    assert_eq!(world.view(1).messages.len(), 1);
    assert_eq!(world.view(2).shadows.len(), 1, "{}", world.picture());
    assert_eq!(world.view(1).counters.accepted_unshadowed, 0);
    open(&mut world);
    world.until("the end of it", INTERVAL, settled);
}

#[test]
fn mix_03_mix_04_to_a_hold_node_a_message_is_processed_at_its_250() {
    let mut world = mixed(ShadowModel::Copy);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    world.until("the end of it", INTERVAL, settled);
    world.kill(1, Crash::DropAll);
    world.run(FAILED * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
    assert_eq!(world.count(0, EventKind::Resubmit), 0);
}

#[test]
fn adm_07_settings_hold_from_one_start_to_the_next() {
    // The configuration is read once, at the start; there is no other way to
    // set anything.
    let mut world = stalled(2);
    world.nodes[0].config.max_acknowledgement_delay = Duration::ZERO;
    world.sinks[0].rule("EHLO", "close");
    world.kill(1, Crash::DropAll);
    let client = world.mail(0, "m1", &["a@x"]);
    world.run(Duration::from_secs(5));
    assert_eq!(world.answer(client), None);
    world.kill(0, Crash::DropAll);
    world.start(0);
    assert_eq!(world.deliver(0, "m2", &["a@x"]), 250);
    assert_eq!(world.view(0).counters.acknowledgements_delayed, 0);
}

#[test]
fn mix_05_mix_06_across_a_boundary_nothing_is_tracked() {
    let configs = (0..2).map(|n| {
        let mut config = hold_config(n, 2, if n == 0 { &[1] } else { &[] });
        config.boundary = Some(format!("b{n}"));
        config.peers[0].boundary = Some(format!("b{}", 1 - n));
        config
    });
    let mut world = World::new(configs.collect());
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    // The far side waits for the delivery itself: it knows no shadow.
    let client = world.mail(0, "m1", &["a@x"]);
    world.run(SHORT);
    assert_eq!(world.answer(client), None);
    open(&mut world);
    world.until("an answer", MINUTE * 2, |w| w.answer(client) == Some(250));
    assert_eq!(world.view(0).counters.shadows_kept, 0);
    world.until("delivery", MINUTE * 2, |w| w.taken("m1", "a@x") == 1);
    world.until("the end of it", MINUTE * 2, settled);
}

#[test]
fn another_site_of_the_organisation_is_tracked() {
    let configs = (0..2).map(|n| {
        let mut config = hold_config(n, 2, if n == 0 { &[1] } else { &[] });
        config.site = format!("s{n}");
        config.peers[0].site = format!("s{}", 1 - n);
        config
    });
    let mut world = World::new(configs.collect());
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    with_shadow(&mut world, "m1");
}

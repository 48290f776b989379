//! Copies on peers: made before the answer, dropped on notification, taken
//! over when the primary is lost.

mod world;

use std::time::Duration;

use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;
use world::{Party, World};

const SHORT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_secs(120);
const TAKEOVER: Duration = Duration::from_secs(3 * 3600);

/// Which node holds the only copy for node 0.
fn holder(world: &World) -> usize {
    let all: Vec<usize> = (1..world.nodes.len())
        .filter(|n| world.nodes[*n].node.is_some() && !world.view(*n).shadows.is_empty())
        .collect();
    assert_eq!(all.len(), 1, "{}", world.picture());
    all[0]
}

/// Whether no queue, shadow queue or discard list of a running node has
/// anything in it.
fn settled(world: &World) -> bool {
    (0..world.nodes.len())
        .filter(|n| world.nodes[*n].node.is_some())
        .all(|n| {
            let view = world.view(n);
            view.messages.is_empty() && view.shadows.is_empty() && view.discards.is_empty()
        })
}

/// A cluster whose next hop puts everything off until `open`.
fn stalled(count: usize) -> World {
    let mut world = World::cluster(count);
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    world
}

fn open(world: &mut World) {
    world.sinks[0].rules.clear();
}

/// Found by chaos/copy, seed 28607.
#[test]
fn a_copy_of_what_was_taken_over_and_delivered_is_not_taken_again() {
    let mut world = World::cluster(2);
    world.cut(Party::Node(0), Party::Sink(0));
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    for _ in 0..2 {
        world.cut(Party::Node(0), Party::Node(1));
        world.run(Duration::from_secs(4 * 3600));
        assert_eq!(world.taken("m1", "a@x"), 1);
        // The old primary still has it and looks for a holder again.
        world.heal(Party::Node(0), Party::Node(1));
        world.run(Duration::from_secs(3600));
    }
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn the_copy_is_made_before_the_answer_and_dropped_on_notification() {
    let mut world = World::cluster(3);
    let client = world.mail(0, "m1", &["a@x", "b@x"]);
    world.until("an answer", SHORT, |w| {
        let answered = w.answer(client).is_some();
        let held = (1..3).any(|n| !w.view(n).shadows.is_empty());
        assert!(!answered || held, "answered without a copy");
        answered
    });
    let q = holder(&world);
    let shadow = &world.view(q).shadows[0];
    assert_eq!(shadow.origin.primary, "n1");
    assert_eq!(shadow.origin.database_id, world.view(0).database_id);
    assert_eq!(shadow.x_mailproof, "m1");
    assert_eq!(shadow.recipients, ["a@x", "b@x"]);
    assert_eq!(world.view(q).queues[0].delivery_type, "ShadowRedundancy");
    assert_eq!(world.view(q).queues[0].next_hop_domain, "n1");
    let at = |kind| {
        world.nodes[0]
            .events
            .iter()
            .position(|e| e.event == kind)
            .unwrap()
    };
    assert!(at(EventKind::HaRedirect) < at(EventKind::Receive));
    assert_eq!(world.count(q, EventKind::HaReceive), 1);
    world.until("delivery", SHORT, |w| w.taken("m1", "b@x") == 1);
    world.until("the end of it", POLL * 2, settled);
    assert_eq!(world.count(q, EventKind::HaDiscard), 1);
    assert_eq!(world.view(0).counters.discards_confirmed, 1);
    world.run(TAKEOVER * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
    for n in 0..3 {
        assert_eq!(world.view(n).body_bytes, 0);
        assert_eq!(world.count(n, EventKind::Resubmit), 0);
    }
}

#[test]
fn both_copies_survive_both_crashes_at_the_answer() {
    let mut world = stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.kill(0, Crash::DropAll);
    world.kill(1, Crash::DropAll);
    world.start(0);
    world.start(1);
    world.run(Duration::from_secs(1));
    assert_eq!(world.view(0).messages.len(), 1);
    assert_eq!(world.view(1).shadows.len(), 1);
    open(&mut world);
    world.until("delivery", Duration::from_secs(200), |w| {
        w.taken("m1", "a@x") == 1
    });
    world.until("the end of it", POLL * 2, settled);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn a_silent_peer_is_given_up_for_another() {
    let mut world = World::cluster(3);
    world.run(Duration::from_secs(1));
    world.cut(Party::Node(0), Party::Node(1));
    world.cut(Party::Node(0), Party::Node(2));
    let client = world.mail(0, "m1", &["a@x"]);
    world.run(Duration::from_secs(3));
    assert_eq!(world.answer(client), None);
    world.heal(Party::Node(0), Party::Node(1));
    world.heal(Party::Node(0), Party::Node(2));
    world.until("an answer", SHORT, |w| w.answer(client) == Some(250));
    let view = world.view(0);
    assert_eq!(view.counters.shadow_attempts_failed, 1);
    assert_eq!(view.counters.accepted_unshadowed, 0);
}

#[test]
fn the_number_of_attempts_follows_the_parameter() {
    for attempts in [0, 1, 2, 5] {
        let mut world = World::cluster_with(3, |config| {
            config.max_retries_for_local_site_shadow = attempts;
        });
        world.wipe(1);
        world.wipe(2);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        assert_eq!(
            world.view(0).counters.shadow_attempts_failed,
            u64::from(attempts)
        );
        assert_eq!(world.view(0).counters.accepted_unshadowed, 1);
        assert_eq!(
            world.count(0, EventKind::HaRedirectFail),
            usize::from(attempts) + 1
        );
        world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    }
}

#[test]
fn a_message_without_a_copy_is_refused_if_so_configured() {
    let mut world = World::cluster_with(2, |config| config.reject_message_on_shadow_failure = true);
    world.wipe(1);
    let client = world.mail(0, "m1", &["a@x"]);
    world.until("an answer", SHORT, |w| w.answer(client).is_some());
    assert!(
        world.clients[client]
            .heard
            .contains("451 4.4.0 Message failed to be made redundant")
    );
    world.run(TAKEOVER);
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.start(1);
    world.run(TAKEOVER);
    assert_eq!(world.taken("m1", "a@x"), 0);
    assert!(settled(&world));
    // The next try is a message of its own.
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
}

/// The peer takes the copy but its answer is lost: 451, and the copy must go
/// although the peer holds it.
#[test]
fn a_refused_message_is_withdrawn_from_a_peer_that_holds_it() {
    for restart in [false, true] {
        let mut world =
            World::cluster_with(2, |config| config.reject_message_on_shadow_failure = true);
        let client = world.mail(0, "m1", &["a@x"]);
        world.until("a copy", SHORT, |w| w.view(1).shadows.len() == 1);
        assert_eq!(world.answer(client), None);
        world.cut(Party::Node(0), Party::Node(1));
        world.until("an answer", Duration::from_secs(120), |w| {
            w.answer(client).is_some()
        });
        assert_eq!(world.answer(client), Some(451));
        assert_eq!(world.view(0).discards[0].withdrawn.len(), 1);
        if restart {
            world.kill(0, Crash::DropAll);
            world.start(0);
            world.run(Duration::from_secs(1));
            assert_eq!(world.view(0).discards[0].withdrawn.len(), 1);
        }
        world.heal(Party::Node(0), Party::Node(1));
        world.until("withdrawal", POLL * 3, settled);
        world.wipe(0);
        world.run(TAKEOVER * 2);
        assert_eq!(world.taken("m1", "a@x"), 0);
    }
}

#[test]
fn a_withdrawal_that_never_arrives_is_counted() {
    let mut world = World::cluster_with(2, |config| config.reject_message_on_shadow_failure = true);
    let client = world.mail(0, "m1", &["a@x"]);
    world.until("a copy", SHORT, |w| w.view(1).shadows.len() == 1);
    world.cut(Party::Node(0), Party::Node(1));
    world.until("an answer", Duration::from_secs(120), |w| {
        w.answer(client) == Some(451)
    });
    world.run(TAKEOVER + POLL);
    assert_eq!(world.view(0).counters.withdrawals_unconfirmed, 1);
    assert_eq!(
        world.taken("m1", "a@x"),
        1,
        "the residual that the counter names"
    );
}

#[test]
fn a_client_that_leaves_does_not_stop_the_message() {
    let mut world = World::cluster(3);
    let client = world.mail(0, "m1", &["a@x"]);
    world.hang_up(client);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    world.until("the end of it", POLL * 2, settled);
}

#[test]
fn a_lost_primary_is_taken_over_at_the_documented_time() {
    let mut world = stalled(3);
    assert_eq!(world.deliver(0, "m1", &["a@x", "b@x"]), 250);
    let q = holder(&world);
    let third = 3 - q;
    world.wipe(0);
    world.run(TAKEOVER - POLL);
    assert_eq!(world.count(q, EventKind::Resubmit), 0);
    assert!(world.count(q, EventKind::HeartbeatFail) > 80);
    world.until("takeover", POLL * 2, |w| {
        w.count(q, EventKind::Resubmit) == 1
    });
    world.until("a new copy", SHORT, |w| !w.view(third).shadows.is_empty());
    open(&mut world);
    world.until("delivery", POLL, |w| w.taken("m1", "b@x") == 1);
    assert_eq!(world.taken("m1", "a@x"), 1);
    let content = &world.sinks[0].taken[0].content;
    assert!(content.contains("with ShadowRedundancy id"), "{content}");
    assert!(content.contains("Message-ID: <m1@client.example>"));
    // It was made redundant again, on the node that was left.
    assert_eq!(world.count(third, EventKind::HaReceive), 1);
    world.until("the end of it", POLL * 2, settled);
    world.run(TAKEOVER * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn a_restart_with_the_same_database_triggers_nothing() {
    let mut world = stalled(3);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.kill(0, Crash::Subset(3));
    world.run(Duration::from_secs(3600));
    world.start(0);
    open(&mut world);
    world.until("delivery", Duration::from_secs(600), |w| {
        w.taken("m1", "a@x") == 1
    });
    world.until("the end of it", POLL * 2, settled);
    world.run(TAKEOVER * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
    assert_eq!(
        world.count(1, EventKind::Resubmit) + world.count(2, EventKind::Resubmit),
        0
    );
}

#[test]
fn a_new_database_is_taken_over_at_once() {
    let mut world = stalled(3);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let q = holder(&world);
    world.wipe(0);
    world.run(Duration::from_secs(600));
    world.start(0);
    open(&mut world);
    world.until("takeover", POLL * 2, |w| {
        w.count(q, EventKind::Resubmit) == 1
    });
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    world.until("the end of it", POLL * 2, settled);
    world.run(TAKEOVER * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn a_primary_that_returns_too_late_may_cause_one_duplicate() {
    let mut world = stalled(3);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.kill(0, Crash::DropAll);
    open(&mut world);
    world.until("takeover", TAKEOVER + POLL, |w| w.taken("m1", "a@x") == 1);
    world.start(0);
    world.until("the second copy", Duration::from_secs(600), |w| {
        w.taken("m1", "a@x") == 2
    });
    world.until("the end of it", POLL * 3, settled);
    world.run(TAKEOVER * 2);
    assert_eq!(world.taken("m1", "a@x"), 2);
}

/// The old primary comes back and delivers while the new one cannot: its
/// report ends the new one's attempts.
#[test]
fn a_report_after_takeover_stops_what_is_not_delivered() {
    let mut world = stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.kill(0, Crash::DropAll);
    world.until("takeover", TAKEOVER + POLL, |w| {
        w.count(1, EventKind::Resubmit) == 1
    });
    // The holder's way to the next hop is cut, the primary's is open.
    world.cut(Party::Node(1), Party::Sink(0));
    open(&mut world);
    world.start(0);
    world.until("delivery by the primary", Duration::from_secs(600), |w| {
        w.taken("m1", "a@x") == 1
    });
    world.until("the end of it", Duration::from_secs(1800), settled);
    world.heal(Party::Node(1), Party::Sink(0));
    world.run(TAKEOVER);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn a_notification_survives_the_primary_and_a_late_holder() {
    let mut world = World::cluster(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.view(0).discards.len() == 1);
    world.kill(1, Crash::DropAll);
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.run(Duration::from_secs(86_400));
    assert_eq!(world.view(0).discards.len(), 1);
    world.start(1);
    world.until("the end of it", POLL * 2, settled);
    assert_eq!(world.count(1, EventKind::HaDiscard), 1);
    world.run(TAKEOVER * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn a_notification_nobody_asks_for_is_dropped_after_its_time() {
    let mut world = World::cluster(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.view(0).discards.len() == 1);
    world.kill(1, Crash::DropAll);
    world.run(Duration::from_secs(2 * 86_400 - 60));
    assert_eq!(world.view(0).discards.len(), 1);
    world.run(Duration::from_secs(120));
    assert!(world.view(0).discards.is_empty());
    assert_eq!(world.view(0).counters.discards_expired, 1);
    // The holder's question settles its copy all the same: the primary is
    // there, has its database, and does not know the message any more.
    world.start(1);
    world.until("the end of it", POLL * 2, settled);
    world.run(TAKEOVER * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn more_notifications_than_one_report_holds_all_arrive() {
    let mut world = World::cluster(2);
    for n in 0..2100 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
        if n == 0 {
            world.cut(Party::Node(1), Party::Client(0));
        }
    }
    assert!(world.view(1).shadows.len() > 1000);
    world.until("the end of it", POLL * 3, settled);
    let counters = world.view(1).counters;
    assert_eq!(counters.shadows_discarded, 2100);
    assert_eq!(counters.shadows_orphaned, 0);
}

#[test]
fn a_partition_between_two_live_nodes_costs_no_message() {
    let mut world = stalled(2);
    for n in 0..5 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
    }
    world.cut(Party::Node(0), Party::Node(1));
    world.run(TAKEOVER + POLL);
    open(&mut world);
    world.run(Duration::from_secs(3600));
    world.heal(Party::Node(0), Party::Node(1));
    world.until("convergence", TAKEOVER, settled);
    for n in 0..5 {
        let copies = world.taken(&format!("m{n}"), "a@x");
        assert!((1..=2).contains(&copies), "{copies}");
    }
}

#[test]
fn takeover_concerns_one_primary_only() {
    let mut world = stalled(3);
    for n in 0..3 {
        for m in 0..4 {
            assert_eq!(world.deliver(n, &format!("m{n}{m}"), &["a@x"]), 250);
        }
    }
    world.wipe(0);
    world.run(TAKEOVER + POLL);
    for n in 1..3 {
        let view = world.view(n);
        assert!(view.shadows.iter().all(|s| s.origin.primary != "n1"));
        assert!(
            view.messages
                .iter()
                .all(|m| { m.taken_over_from.as_ref().is_none_or(|o| o.primary == "n1") })
        );
    }
    open(&mut world);
    world.until("delivery of all", Duration::from_secs(3600), |w| {
        (0..3).all(|n| (0..4).all(|m| w.taken(&format!("m{n}{m}"), "a@x") >= 1))
    });
    world.until("the end of it", POLL * 4, |w| {
        // What n1 would be told waits for it.
        (1..3).all(|n| {
            let view = w.view(n);
            view.messages.is_empty()
                && view.shadows.is_empty()
                && view.discards.iter().all(|d| d.peer == "n1")
        })
    });
    for n in 0..3 {
        for m in 0..4 {
            assert_eq!(world.taken(&format!("m{n}{m}"), "a@x"), 1);
        }
    }
}

#[test]
fn a_dsn_is_protected_like_any_message() {
    let mut world = World::cluster(3);
    world.sinks[0].rule("RCPT TO:<a@x>", "550 5.1.1 unknown\r\n");
    world.sinks[0].rule("RCPT TO:<s@", "451 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("the original is done", SHORT, |w| {
        w.view(0)
            .messages
            .iter()
            .map(|m| m.sender.as_str())
            .eq([""])
    });
    let dsn = &world.view(0).messages[0];
    assert_eq!((dsn.sender.as_str(), dsn.shadowed_at.len()), ("", 1));
    world.wipe(0);
    world.sinks[0].rules.clear();
    world.run(TAKEOVER + POLL * 2);
    let dsns = world.sinks[0]
        .taken
        .iter()
        .filter(|t| t.sender.is_empty())
        .count();
    // The original's copy may be resubmitted as well: its notification died
    // with the primary if nobody had asked yet. Then its recipient is served.
    assert_eq!(dsns, 1);
}

#[test]
fn disabled_redundancy_makes_no_copies() {
    let mut world = World::cluster_with(2, |config| config.shadow_redundancy_enabled = false);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    world.run(POLL * 2);
    assert_eq!(world.view(0).counters.accepted_unshadowed, 0);
    assert_eq!(world.view(1).counters.shadows_held, 0);
    let client = world.client(1);
    world.send(client, "EHLO c\r\nQUIT\r\n");
    world.until("the end", SHORT, |w| w.clients[client].closed);
    assert!(!world.clients[client].heard.contains("XSHADOW"));
}

#[test]
fn private_verbs_are_refused_to_strangers_and_change_nothing() {
    let mut world = stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let sequence = world.view(0).messages[0].sequence;
    let before = (world.view(0).messages, world.view(0).discards);
    let client = world.client(0);
    let nonce = "00112233445566778899aabbccddeeff";
    let lines = [
        (format!("XSHADOWREQUEST {sequence:x} 1"), 530),
        ("XQDISCARD".to_owned(), 530),
        ("XQCONFIRM 0".to_owned(), 530),
        (format!("XQSTATUS {sequence:x}"), 530),
        (format!("XSHADOWABORT {sequence:x}"), 530),
        ("XPROVE 00 00 1".to_owned(), 503),
        ("XPEER n2".to_owned(), 501),
        ("XPEER n2 n1 zz".to_owned(), 501),
        (format!("XPEER stranger n1 {nonce}"), 535),
        (format!("XPEER n2 n9 {nonce}"), 535),
        (format!("XPEER n2 n1 {nonce}"), 250),
        (
            format!("XPROVE {} {} 1", "0".repeat(64), "0".repeat(32)),
            535,
        ),
        (
            format!("XPROVE {} {} 1", "0".repeat(64), "0".repeat(32)),
            503,
        ),
        ("XQDISCARD".to_owned(), 530),
        ("XELSE".to_owned(), 500),
    ];
    world.send(client, "EHLO c\r\n");
    for (line, _) in &lines {
        world.send(client, &format!("{line}\r\n"));
    }
    world.send(client, "QUIT\r\n");
    world.until("the end", SHORT, |w| w.clients[client].closed);
    let mut expected = vec![220, 250];
    expected.extend(lines.iter().map(|(_, code)| *code));
    expected.push(221);
    assert_eq!(world.clients[client].codes(), expected);
    assert_eq!((world.view(0).messages, world.view(0).discards), before);
    assert_eq!(world.view(0).counters.private_verbs_refused, 6);
    assert!(
        !world.clients[client]
            .heard
            .contains(&world.view(0).database_id)
    );
}

#[test]
fn a_peer_with_another_key_gets_and_gives_nothing() {
    let mut configs: Vec<_> = (0..2).map(|n| world::config(n, 2)).collect();
    configs[1].cluster_key = Some(b"quite another key".to_vec());
    let mut world = World::new(configs);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.view(0).counters.accepted_unshadowed, 1);
    assert!(world.view(1).shadows.is_empty());
    assert!(world.count(0, EventKind::PeerRefused) > 0);
}

#[test]
fn a_holder_that_lost_its_store_is_replaced() {
    let mut world = stalled(3);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let q = holder(&world);
    world.wipe(q);
    world.run(Duration::from_secs(60));
    world.start(q);
    world.until("another copy", POLL * 2, |w| {
        (1..3).map(|n| w.view(n).shadows.len()).sum::<usize>() == 1
    });
    world.wipe(0);
    open(&mut world);
    world.run(TAKEOVER + POLL * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

/// A holder that never comes back is replaced after the time by which anyone
/// counts as lost; one that comes back after all drops its copy.
#[test]
fn a_silent_holder_is_replaced() {
    for back in [false, true] {
        let mut world = stalled(3);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        let q = holder(&world);
        let third = 3 - q;
        // Polls of the holder are what the primary hears of it.
        world.kill(q, Crash::DropAll);
        world.run(TAKEOVER - POLL * 2);
        assert!(world.view(third).shadows.is_empty());
        world.until("another copy", TAKEOVER / 2, |w| {
            w.view(third).shadows.len() == 1
        });
        if back {
            world.start(q);
            world.until("the first copy is dropped", POLL * 2, |w| {
                w.view(q).shadows.is_empty()
            });
            assert_eq!(world.view(third).shadows.len(), 1);
        }
        // Now the primary is lost for good.
        world.wipe(0);
        open(&mut world);
        world.run(TAKEOVER + POLL * 2);
        assert_eq!(world.taken("m1", "a@x"), 1);
        assert_eq!(world.count(third, EventKind::Resubmit), 1);
        assert_eq!(world.count(q, EventKind::Resubmit), 0);
    }
}

/// A peer that does not offer the private verbs once (it refuses EHLO, say) is
/// dialled anew at the next poll; the session with it answers no poll.
#[test]
fn a_session_without_the_private_verbs_is_not_kept_for_polls() {
    let mut config = world::config(0, 2);
    config.shadow_heartbeat_frequency = Duration::from_secs(10);
    config.peers[0].address = world::sink_address(1);
    let mut world = World::new(vec![config]);
    let peer = world.add_sink(world::sink::Sink::default());
    world.sinks[peer].rule("EHLO", "550 5.5.1 what\r\n");
    world.run(Duration::from_secs(61));
    let sink = &world.sinks[peer];
    let quits = sink.lines.iter().filter(|l| *l == "QUIT").count();
    assert_eq!((sink.connections, quits), (6, 6), "{:?}", sink.lines);
    assert_eq!(world.view(0).counters.heartbeats_failed, 6);
}

/// Two nodes that have copies made by each other all the time ask for discards
/// nevertheless: contact of another kind is no answer.
#[test]
fn traffic_both_ways_does_not_put_the_question_off() {
    let mut world = World::cluster(2);
    for n in 0..60 {
        // Every 10 s a message each way: never two minutes without contact.
        for node in 0..2 {
            assert_eq!(world.deliver(node, &format!("m{node}-{n}"), &["a@x"]), 250);
        }
        world.run(Duration::from_secs(10));
        for node in 0..2 {
            // As many as come in between two questions, and the time of one.
            let held = world.view(node).shadows.len();
            assert!(held <= 14, "n{} holds {held} copies", node + 1);
        }
    }
}

//! Coverage marks: each rare condition that is cheap to bring about is, and
//! its mark is emitted; where nothing of the kind happens, none is.

mod world;

use std::time::Duration;

use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;
use mailproof_node::mark::Mark;
use world::{Party, World, config, sink_address};

const SHORT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_secs(120);
const TAKEOVER: Duration = Duration::from_secs(3 * 3600);
/// A disk operation of 10 s.
const SLOW: u64 = 10_000_000_000;

/// A cluster whose next hop puts everything off.
fn stalled(count: usize) -> World {
    let mut world = World::cluster(count);
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    world
}

/// The next hop takes mail again.
fn open(world: &mut World) {
    world.sinks[0].rules.clear();
}

/// Runs until a mark was reached.
fn reach(world: &mut World, mark: Mark, limit: Duration) {
    world.until(mark.name(), limit, |w| w.marked(mark) > 0);
}

/// Runs until no running node has anything in any queue.
fn settle(world: &mut World, limit: Duration) {
    world.until("the end of it", limit, |w| {
        (0..w.nodes.len())
            .filter(|n| w.nodes[*n].node.is_some())
            .all(|n| {
                let view = w.view(n);
                view.messages.is_empty() && view.shadows.is_empty() && view.discards.is_empty()
            })
    });
}

#[test]
fn an_ordinary_message_reaches_no_mark() {
    let mut world = World::cluster(3);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    settle(&mut world, POLL * 2);
    assert!(world.marks.is_empty(), "{:?}", world.marks);
}

#[test]
fn takeovers() {
    let mut world = stalled(3);
    world.cut(Party::Node(0), Party::Node(2));
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.kill(0, Crash::DropAll);
    // The holder forgets when it heard of the primary.
    world.kill(1, Crash::DropAll);
    world.start(1);
    reach(&mut world, Mark::TakeoverBySilence, TAKEOVER + POLL);
    assert_eq!(world.marked(Mark::TakeoverAfterOwnStart), 1);
    assert_eq!(world.marked(Mark::TakeoverByDatabase), 0);
    reach(&mut world, Mark::ProtectedAfterTakeover, SHORT);
    world.kill(1, Crash::DropAll);
    world.start(1);
    reach(&mut world, Mark::RecoveredTakeover, SHORT);
    world.start(0);
    reach(&mut world, Mark::ReturnDuringTakeover, POLL * 2);
    assert_eq!(world.marked(Mark::DiscardAfterTakeover), 0);
    // Only the old primary can deliver, and says so.
    world.cut(Party::Node(1), Party::Sink(0));
    open(&mut world);
    reach(&mut world, Mark::DiscardAfterTakeover, POLL * 20);
    assert_eq!(world.taken("m1", "a@x"), 1);
    settle(&mut world, POLL * 3);
    assert_eq!(world.marked(Mark::TakeoverBySilence), 1);
}

#[test]
fn a_new_database_and_a_bounce_by_the_new_owner() {
    let mut world = stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.wipe(0);
    world.start(0);
    reach(&mut world, Mark::TakeoverByDatabase, POLL * 2);
    assert_eq!(world.marked(Mark::TakeoverBySilence), 0);
    open(&mut world);
    world.sinks[0].rule("RCPT TO:<a@x>", "550 5.1.1 unknown\r\n");
    reach(&mut world, Mark::BounceAfterTakeover, POLL * 20);
}

#[test]
fn a_report_meets_a_delivery_or_a_promotion() {
    for slow in [false, true] {
        let mut world = stalled(2);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.kill(0, Crash::DropAll);
        world.run(TAKEOVER - POLL);
        if slow {
            // The promotion takes 400 s.
            world.nodes[1].disk_op = 10 * SLOW;
        }
        reach(&mut world, Mark::TakeoverBySilence, POLL * 2);
        if !slow {
            // The next hop takes the content and does not answer.
            open(&mut world);
            world.sinks[0].rule(".", "");
            let tries = world.sinks[0].lines.len();
            world.until("an attempt", POLL * 20, |w| {
                w.sinks[0].lines[tries..].contains(&".".to_owned())
            });
        }
        open(&mut world);
        world.start(0);
        let mark = if slow {
            Mark::DiscardDuringPromotion
        } else {
            Mark::DiscardDuringDelivery
        };
        reach(&mut world, mark, POLL * 3);
        assert_eq!(world.marked(Mark::DiscardAfterTakeover), 0);
        world.nodes[1].disk_op = 50_000;
        settle(&mut world, POLL * 20);
    }
}

#[test]
fn a_takeover_leaves_alone_what_is_not_durable() {
    let mut world = stalled(2);
    // One is durable, the other one takes eleven hours.
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.nodes[1].disk_op = 1000 * SLOW;
    let client = world.mail(0, "m2", &["a@x"]);
    world.until("the second copy", SHORT, |w| w.view(1).shadows.len() == 2);
    assert_eq!(world.answer(client), None);
    world.kill(0, Crash::DropAll);
    reach(&mut world, Mark::TakeoverSparesCopy, TAKEOVER + POLL * 2);
    assert_eq!(world.marked(Mark::TakeoverBySilence), 1);
}

#[test]
fn a_takeover_while_the_primary_is_asked() {
    let mut world = World::cluster_with(2, |config| {
        config.shadow_resubmit_time_span = Duration::from_secs(20);
        config.shadow_heartbeat_frequency = Duration::from_secs(10);
        config.shadow_attempt_timeout = Duration::from_secs(60);
        config.send_connection_idle_time = Duration::from_secs(600);
    });
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    // A first poll, so that the holder has a session to the primary.
    world.run(Duration::from_secs(15));
    world.cut(Party::Node(0), Party::Node(1));
    reach(&mut world, Mark::TakeoverDuringReport, SHORT * 2);
}

#[test]
fn copies_that_do_not_come_about_at_once() {
    // The first peer is out of reach.
    let mut world = World::cluster(3);
    world.wipe(1);
    for n in 0..2 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
    }
    assert_eq!(world.marked(Mark::CopyElsewhere), 1);
    // Both are.
    world.wipe(2);
    assert_eq!(world.deliver(0, "m3", &["a@x"]), 250);
    assert_eq!(world.marked(Mark::AcceptedUnshadowed), 1);

    // The answer to the first copy is lost; the peer is asked again.
    let mut world = World::cluster_with(2, |c| c.max_retries_for_local_site_shadow = 5);
    let client = world.mail(0, "m1", &["a@x"]);
    world.until("a copy", SHORT, |w| w.view(1).shadows.len() == 1);
    world.cut(Party::Node(0), Party::Node(1));
    reach(&mut world, Mark::CopyUncertain, SHORT * 2);
    world.heal(Party::Node(0), Party::Node(1));
    reach(&mut world, Mark::CopySentTwice, SHORT * 2);
    world.until("an answer", SHORT, |w| w.answer(client) == Some(250));

    // Two copies want the one session there may be, and the disk is slow.
    let mut world = World::cluster_with(2, |config| {
        config.max_connections_per_peer = 1;
        config.max_connections_per_host = 1;
    });
    world.nodes[1].disk_op = SLOW;
    world.mail(0, "m1", &["a@x"]);
    world.mail(0, "m2", &["a@x"]);
    reach(&mut world, Mark::CopyWithoutSession, SHORT * 3);
}

#[test]
fn withdrawals() {
    let mut world = World::cluster_with(2, |config| config.reject_message_on_shadow_failure = true);
    world.run(Duration::from_secs(1));
    // The copy takes 40 s to be durable, an attempt 30 s at most.
    world.nodes[1].disk_op = SLOW;
    let client = world.mail(0, "m1", &["a@x"]);
    world.until("a copy", SHORT, |w| w.view(1).shadows.len() == 1);
    world.cut(Party::Node(0), Party::Node(1));
    reach(&mut world, Mark::RefusedUnshadowed, POLL);
    world.run(Duration::from_secs(1));
    assert_eq!(world.answer(client), Some(451));
    world.heal(Party::Node(0), Party::Node(1));
    reach(&mut world, Mark::AbortSent, POLL * 2);
    world.run(Duration::from_secs(1));
    // Its answer waits for the disk.
    world.cut(Party::Node(0), Party::Node(1));
    reach(&mut world, Mark::AbortLost, POLL);
    world.heal(Party::Node(0), Party::Node(1));
    settle(&mut world, POLL * 4);
    assert_eq!(world.taken("m1", "a@x"), 0);

    // The holder has taken it over before the withdrawal arrives.
    let mut world = World::cluster_with(2, |config| config.reject_message_on_shadow_failure = true);
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    let client = world.mail(0, "m1", &["a@x"]);
    world.until("a copy", SHORT, |w| w.view(1).shadows.len() == 1);
    assert_eq!(world.answer(client), None);
    world.cut(Party::Node(0), Party::Node(1));
    reach(&mut world, Mark::TakeoverBySilence, TAKEOVER + POLL * 2);
    reach(&mut world, Mark::AbortUnconfirmed, POLL * 2);
    world.heal(Party::Node(0), Party::Node(1));
    // Whoever comes first: the withdrawal, or the holder's own question.
    world.until("an end of the takeover", POLL * 10, |w| {
        w.marked(Mark::AbortAfterTakeover) + w.marked(Mark::DiscardAfterTakeover) > 0
    });
}

/// The record of a copy's second holder is lost with the primary's power: the
/// holder's own question tells.
#[test]
fn a_holder_that_the_store_does_not_name() {
    let mut learnt = 0;
    for unreachable in [1, 2] {
        let mut world = stalled(3);
        world.run(Duration::from_secs(1));
        world.nodes[0].disk_op = SLOW;
        world.cut(Party::Node(0), Party::Node(unreachable));
        let client = world.mail(0, "m1", &["a@x"]);
        world.until("an answer", POLL, |w| w.answer(client) == Some(250));
        let elsewhere = world.marked(Mark::CopyElsewhere);
        world.kill(0, Crash::DropAll);
        world.nodes[0].disk_op = 50_000;
        world.start(0);
        world.run(POLL * 2);
        assert_eq!(world.marked(Mark::HolderLearnt), elsewhere);
        learnt += elsewhere;
        // Were the holder not known, nobody would tell it.
        open(&mut world);
        world.heal(Party::Node(0), Party::Node(unreachable));
        settle(&mut world, POLL * 20);
        assert_eq!(world.taken("m1", "a@x"), 1);
    }
    assert_eq!(learnt, 1);
}

#[test]
fn clients_that_leave_or_are_silent() {
    let mut world = World::cluster(1);
    let client = world.mail(0, "m1", &["a@x"]);
    world.until("the message", SHORT, |w| w.view(0).messages.len() == 1);
    world.hang_up(client);
    reach(&mut world, Mark::ClientGoneBeforeAnswer, SHORT);

    let begin = "EHLO c\r\nMAIL FROM:<s@c>\r\nRCPT TO:<a@x>\r\nDATA\r\nSubject: x\r\n";
    let client = world.client(0);
    world.send(client, begin);
    world.run(Duration::from_secs(1));
    world.hang_up(client);
    reach(&mut world, Mark::ClientGoneInData, SHORT);

    let client = world.client(0);
    world.send(client, begin);
    reach(&mut world, Mark::TimeoutInData, Duration::from_secs(301));

    let client = world.client(0);
    world.run(Duration::from_millis(300_020));
    world.send(client, "NOOP\r\n");
    reach(&mut world, Mark::LastHearing, Duration::from_millis(20));
    world.run(Duration::from_millis(100));
    assert_eq!(world.clients[client].codes(), [220, 250]);
}

#[test]
fn a_drain_meets_mail() {
    let mut world = World::cluster(1);
    world.mail(0, "m1", &["a@x"]);
    world.until("the message", SHORT, |w| w.view(0).messages.len() == 1);
    world.drain(0);
    assert_eq!(world.marked(Mark::DrainInFlight), 1);
}

#[test]
fn deliveries_that_do_not_go_straight() {
    let mut config = config(0, 1);
    config.routes[0].next_hops = vec![sink_address(1), sink_address(0)];
    config.message_expiration_timeout = Duration::from_secs(3600);
    let mut world = World::new(vec![config]);
    world.sinks[0].rule("RCPT TO:<later@", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x", "later@x"]), 250);
    reach(&mut world, Mark::OtherNextHop, SHORT);
    reach(&mut world, Mark::PartlyDelivered, SHORT);
    open(&mut world);
    world.sinks[0].rule("RCPT TO:<later@", "550 5.1.1 unknown\r\n");
    reach(&mut world, Mark::DeferredThenBounced, POLL);

    world.sinks[0].rule(".", "close");
    assert_eq!(world.deliver(0, "m2", &["a@x"]), 250);
    reach(&mut world, Mark::ReplyLost, SHORT);
    open(&mut world);
    world.sinks[0].rule(".", "421 4.3.2 leaving\r\n");
    assert_eq!(world.deliver(0, "m3", &["a@x"]), 250);
    reach(&mut world, Mark::LeftByServer, SHORT);
    open(&mut world);
    world.sinks[0].rule("RCPT TO:<b@", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m4", &["b@x"]), 250);
    reach(&mut world, Mark::Expired, Duration::from_secs(4000));
}

#[test]
fn starts_that_find_something() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..40 {
        let mut world = stalled(1);
        world.nodes[0].disk_op = 1_000_000_000;
        let client = world.mail(0, "m1", &["a@x"]);
        // Written, and not synced.
        world.run(Duration::from_millis(1_500));
        assert_eq!(world.answer(client), None);
        world.kill(0, Crash::Subset(seed));
        world.start(0);
        world.run(Duration::from_secs(1));
        for (mark, n) in &world.marks {
            *seen.entry(*mark).or_insert(0) += n;
        }
    }
    for mark in [Mark::TornTail, Mark::UnreportedBatch] {
        assert!(seen.contains_key(&mark), "{seen:?}");
    }

    let mut world = World::cluster(2);
    world.sinks[0].rule("RCPT TO:<later@", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.deliver(0, "m2", &["a@x", "later@x"]), 250);
    world.until("deliveries", SHORT, |w| {
        w.taken("m2", "a@x") == 1 && w.view(0).discards.len() == 1
    });
    world.run(Duration::from_secs(1));
    world.kill(0, Crash::DropAll);
    world.start(0);
    reach(&mut world, Mark::RecoveredPartly, SHORT);
    world.run(Duration::from_secs(1));
    assert_eq!(world.marked(Mark::RecoveredDiscards), 1);
    assert_eq!(world.count(0, EventKind::Load), 1);
}

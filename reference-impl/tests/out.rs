//! The outage matrix of the copy model (OUT): what becomes of a message when
//! its primary or its holder goes. Every single crash point is in sweep.rs.

mod world;

use std::time::Duration;

use mailproof_node::config::Role;
use mailproof_node::disk::Crash;
use world::cluster::{POLL, SHORT, TAKEOVER};
use world::{Party, World, config, content, node_address};

const HOUR: Duration = Duration::from_secs(3600);

/// One message in a cluster of three, accepted and shadowed, not delivered.
fn accepted() -> (World, usize) {
    let mut world = World::stalled(3);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let holder = world.holder(0);
    (world, holder)
}

/// How many copies a foreign recipient saw in the end.
fn copies(mut world: World) -> usize {
    world.until("the end of it", TAKEOVER * 2, World::settled);
    world.run(TAKEOVER * 2);
    world.taken("m1", "a@x")
}

#[test]
fn out_01_back_with_its_database_in_time_one_copy() {
    for away in [Duration::from_secs(10), HOUR, TAKEOVER - POLL * 2] {
        let (mut world, q) = accepted();
        world.kill(0, Crash::DropAll);
        world.run(away);
        world.start(0);
        world.open();
        world.until("delivery", HOUR, |w| w.taken("m1", "a@x") == 1);
        assert_eq!(world.takeovers(q), 0);
        assert_eq!(copies(world), 1);
    }
}

#[test]
fn out_02_back_with_its_database_too_late_one_or_two_copies() {
    // The holder could deliver meanwhile, or could not.
    for delivered in [true, false] {
        let (mut world, q) = accepted();
        world.kill(0, Crash::DropAll);
        if delivered {
            world.open();
        }
        world.until("takeover", TAKEOVER + POLL, |w| w.takeovers(q) == 1);
        world.run(HOUR);
        assert_eq!(world.taken("m1", "a@x"), usize::from(delivered));
        world.start(0);
        world.open();
        let seen = copies(world);
        assert!((1..=2).contains(&seen), "{seen}");
        if delivered {
            assert_eq!(seen, 2, "both delivered");
        }
    }
}

#[test]
fn out_03_back_with_a_new_database_in_time_one_copy_soon() {
    for away in [Duration::from_secs(10), HOUR, TAKEOVER - POLL * 3] {
        let (mut world, q) = accepted();
        world.wipe(0);
        world.run(away);
        world.open();
        world.start(0);
        world.until("delivery", POLL * 2, |w| w.taken("m1", "a@x") == 1);
        assert_eq!(world.takeovers(q), 1);
        assert_eq!(copies(world), 1);
    }
}

#[test]
fn out_04_never_back_one_copy_at_the_takeover_time() {
    let (mut world, q) = accepted();
    world.wipe(0);
    world.open();
    world.run(TAKEOVER - POLL);
    assert_eq!(world.taken("m1", "a@x"), 0);
    world.until("delivery", POLL * 2, |w| w.taken("m1", "a@x") == 1);
    assert_eq!(world.takeovers(q), 1);
    assert_eq!(copies(world), 1);
}

#[test]
fn out_05_delivered_and_gone_with_its_data_no_loss() {
    let (mut world, _) = accepted();
    world.open();
    world.until("delivery", HOUR, |w| w.taken("m1", "a@x") == 1);
    // Nobody asked yet.
    world.wipe(0);
    let seen = copies(world);
    assert!((1..=2).contains(&seen), "{seen}");
}

#[test]
fn out_06_the_holder_lost_delivery_goes_on() {
    for wiped in [false, true] {
        let (mut world, q) = accepted();
        if wiped {
            world.wipe(q);
        } else {
            world.kill(q, Crash::DropAll);
        }
        world.open();
        world.until("delivery", HOUR, |w| w.taken("m1", "a@x") == 1);
        world.start(q);
        assert_eq!(copies(world), 1);
    }
}

#[test]
fn out_07_primary_and_holder_both_lost_the_message_may_be_lost_and_no_other() {
    let (mut world, q) = accepted();
    let third = 3 - q;
    assert_eq!(world.deliver(third, "other", &["a@x"]), 250);
    world.wipe(0);
    world.wipe(q);
    world.open();
    world.start(0);
    world.start(q);
    world.run(TAKEOVER * 2);
    // Nothing comes of nothing, and what was not concerned is delivered.
    assert_eq!(world.taken("m1", "a@x"), 0);
    assert_eq!(world.taken("other", "a@x"), 1);
    assert!(world.settled(), "{}", world.picture());
}

#[test]
fn out_08_cut_from_each_other_for_too_long_no_loss() {
    let (mut world, q) = accepted();
    world.cut(Party::Node(0), Party::Node(q));
    world.run(TAKEOVER + POLL);
    assert_eq!(world.takeovers(q), 1);
    world.open();
    world.run(HOUR);
    world.heal(Party::Node(0), Party::Node(q));
    let seen = copies(world);
    assert!((1..=2).contains(&seen), "{seen}");
}

#[test]
fn out_12_a_single_server_lets_mail_flow() {
    let mut world = World::cluster(1);
    for n in 0..5 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
    }
    world.until("delivery", SHORT, |w| w.view(0).messages.is_empty());
    for n in 0..5 {
        assert_eq!(world.taken(&format!("m{n}"), "a@x"), 1);
    }
    let counters = world.view(0).counters;
    assert_eq!((counters.accepted, counters.accepted_unshadowed), (5, 5));
}

/// Two nodes in front of a mailbox, and the primary killed at every single
/// step: the mailbox shows one copy of acknowledged mail, none or one of any
/// other, and one after the sender's retry.
#[test]
fn out_10_out_11_the_mailbox_shows_one_copy_whenever_the_primary_crashes() {
    let make = || {
        let mut configs = vec![config(0, 2), config(1, 2), config(2, 1)];
        for transport in &mut configs[..2] {
            transport.routes[0].next_hops = vec![node_address(2)];
        }
        configs[2].role = Role::Mailbox;
        configs[2].local_domains = vec!["local.example".to_owned()];
        World::new(configs)
    };
    let shown = |w: &World| w.view(2).counters.mailbox_delivered;
    let (mut acknowledged, mut retried, mut processed) = (0, 0, 0);
    for at in 1.. {
        let mut over = false;
        for (lost, crash) in [
            (false, Crash::DropAll),
            (false, Crash::Prefix(usize::MAX)),
            (false, Crash::Subset(at)),
            (true, Crash::DropAll),
        ] {
            let mut world = make();
            let client = world.client(0);
            world.send(
                client,
                "EHLO c\r\nMAIL FROM:<s@c>\r\nRCPT TO:<a@local.example>\r\nDATA\r\n",
            );
            let mut sent = false;
            for _ in 0..at {
                if !sent && world.clients[client].codes().contains(&354) {
                    world.send(client, &content("m1"));
                    sent = true;
                }
                world.step(world.now + POLL.as_nanos() as u64);
            }
            let answer = world.answer(client);
            // Before its answer nothing is settled: the content may be on its way.
            over = answer.is_some() && world.settled();
            world.kill(0, crash);
            if !lost {
                world.run(Duration::from_secs(1));
                world.start(0);
            }
            world.run(TAKEOVER + POLL * 4);
            if answer == Some(250) {
                acknowledged += 1;
                assert_eq!(shown(&world), 1, "step {at}, lost {lost}, {crash:?}");
                continue;
            }
            let before = shown(&world);
            assert!(before <= 1, "step {at}, lost {lost}, {crash:?}");
            processed += before;
            retried += 1;
            let again = world.client(1);
            world.send(
                again,
                "EHLO c\r\nMAIL FROM:<s@c>\r\nRCPT TO:<a@local.example>\r\nDATA\r\n",
            );
            world.until("354", SHORT, |w| w.clients[again].codes().contains(&354));
            world.send(again, &content("m1"));
            world.until("the answer", SHORT * 10, |w| w.answer(again) == Some(250));
            world.run(POLL * 4);
            assert_eq!(shown(&world), 1, "step {at}, lost {lost}, {crash:?}");
        }
        if over {
            break;
        }
        assert!(at < 2000, "the message never passes through");
    }
    assert!(
        acknowledged > 50 && retried > 50,
        "{acknowledged} {retried}"
    );
    assert!(processed > 0, "no message was processed without its answer");
}

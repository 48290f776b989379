//! Duplicate detection at the mailbox (DED), and its absence everywhere else.

mod world;

use std::time::Duration;

use mailproof_node::Config;
use mailproof_node::config::Role;
use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;
use world::cluster::{POLL, SHORT, TAKEOVER};
use world::{World, config, node_address};

const A: &str = "a@local.example";
const B: &str = "b@local.example";
const ONE: &str = "Message-ID: <1@x>\r\nDate: Sat, 21 Nov 2026 20:03:00 +0000\r\n\
                   Subject: one\r\n\r\nfirst\r\n";

fn mailbox(n: usize, count: usize) -> Config {
    let mut config = config(n, count);
    config.role = Role::Mailbox;
    config.local_domains = vec!["local.example".to_owned()];
    config
}

fn send(world: &mut World, n: usize, recipients: &[&str], content: &str) {
    let client = world.client(n);
    let mut text = "EHLO c\r\nMAIL FROM:<s@c>\r\n".to_owned();
    for recipient in recipients {
        text += &format!("RCPT TO:<{recipient}>\r\n");
    }
    world.send(client, &(text + "DATA\r\n"));
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    world.send(client, &format!("{content}.\r\n"));
    world.until("an answer", SHORT, |w| w.answer(client).is_some());
    assert_eq!(
        world.answer(client),
        Some(250),
        "a duplicate is answered alike"
    );
}

/// Deliveries and suppressed duplicates of node `n`.
fn counts(world: &World, n: usize) -> (u64, u64) {
    let counters = world.view(n).counters;
    (counters.mailbox_delivered, counters.mailbox_duplicates)
}

#[test]
fn ded_01_ded_06_equal_id_and_date_are_one_message_and_the_other_is_logged() {
    let mut world = World::new(vec![mailbox(0, 1)]);
    for _ in 0..3 {
        send(&mut world, 0, &[A], ONE);
    }
    assert_eq!(counts(&world, 0), (1, 2));
    let logged = world.nodes[0].events.iter();
    let logged: Vec<&str> = logged
        .filter(|e| e.event == EventKind::DuplicateDeliver)
        .map(|e| e.recipient.as_str())
        .collect();
    assert_eq!(logged, [A, A]);
    // A restart forgets nothing.
    world.restart(0);
    send(&mut world, 0, &[A], ONE);
    assert_eq!(counts(&world, 0), (0, 1));
}

/// A primary that comes back after its takeover delivers a second time: the
/// mailbox shows one (OUT-02).
#[test]
fn ded_01_out_02_the_mailbox_shows_one_of_two_copies() {
    let mut configs = vec![config(0, 2), config(1, 2), mailbox(2, 1)];
    for transport in &mut configs[..2] {
        transport.routes[0].next_hops = vec![node_address(2)];
    }
    let mut world = World::new(configs);
    world.kill(2, Crash::DropAll);
    send(&mut world, 0, &[A, B], ONE);
    world.kill(0, Crash::DropAll);
    world.start(2);
    world.until("delivery after takeover", TAKEOVER + POLL * 2, |w| {
        counts(w, 2) == (2, 0)
    });
    world.start(0);
    world.until("the second copy", Duration::from_secs(1200), |w| {
        counts(w, 2) == (2, 2)
    });
    world.until("the end of it", TAKEOVER, World::settled);
    world.run(TAKEOVER * 2);
    assert_eq!(counts(&world, 2), (2, 2));
}

#[test]
fn ded_02_another_date_is_another_message() {
    let mut world = World::new(vec![mailbox(0, 1)]);
    send(&mut world, 0, &[A], ONE);
    send(&mut world, 0, &[A], &ONE.replace("20:03:00", "20:03:01"));
    send(&mut world, 0, &[A], &ONE.replace("<1@x>", "<2@x>"));
    assert_eq!(counts(&world, 0), (3, 0));
    // Without an id nothing can be told apart, or is.
    let bare = "Date: Sat, 21 Nov 2026 20:03:00 +0000\r\n\r\nbare\r\n";
    send(&mut world, 0, &[A], bare);
    send(&mut world, 0, &[A], bare);
    assert_eq!(counts(&world, 0), (5, 0));
}

#[test]
fn ded_03_body_and_subject_do_not_matter() {
    let mut world = World::new(vec![mailbox(0, 1)]);
    send(&mut world, 0, &[A], ONE);
    send(
        &mut world,
        0,
        &[A],
        &ONE.replace("first", "quite another body"),
    );
    send(
        &mut world,
        0,
        &[A],
        &ONE.replace("Subject: one", "Subject: two"),
    );
    assert_eq!(counts(&world, 0), (1, 2));
}

#[test]
fn ded_04_the_record_of_a_delivery_expires() {
    let mut world = World::new(vec![mailbox(0, 1)]);
    send(&mut world, 0, &[A], ONE);
    world.run(Duration::from_secs(167 * 3600));
    send(&mut world, 0, &[A], ONE);
    assert_eq!(counts(&world, 0), (1, 1));
    world.run(Duration::from_secs(2 * 3600));
    send(&mut world, 0, &[A], ONE);
    assert_eq!(counts(&world, 0), (2, 1));
}

#[test]
fn ded_05_transport_suppresses_nothing() {
    // Neither a transport node nor a mailbox node that relays.
    for configs in [vec![config(0, 1)], vec![mailbox(0, 1)]] {
        let mut world = World::new(configs);
        for _ in 0..3 {
            send(&mut world, 0, &["r@remote.example"], ONE);
        }
        world.until("all three", SHORT, |w| w.sinks[0].taken.len() == 3);
        world.until("the end of it", SHORT, World::settled);
        assert_eq!(world.count(0, EventKind::DuplicateDeliver), 0);
    }
}

#[test]
fn ded_07_a_copy_keeps_id_and_date_and_all_that_follows() {
    let mut world = World::stalled(2);
    send(&mut world, 0, &["r@remote.example"], ONE);
    world.wipe(0);
    world.open();
    world.until("delivery", TAKEOVER + POLL, |w| w.sinks[0].taken.len() == 1);
    let content = &world.sinks[0].taken[0].content;
    assert!(content.ends_with(&format!("\r\n{ONE}")), "{content}");
    assert_eq!(content.matches("Message-ID:").count(), 1);
    assert_eq!(content.matches("\r\nDate:").count(), 1);
}

#[test]
fn ded_08_every_recipient_gets_theirs() {
    let mut world = World::new(vec![mailbox(0, 1)]);
    send(&mut world, 0, &[A, B], ONE);
    assert_eq!(counts(&world, 0), (2, 0));
    send(&mut world, 0, &["c@local.example", A], ONE);
    assert_eq!(counts(&world, 0), (3, 1));
}

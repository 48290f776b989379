//! Duplicate detection of the mailbox store, rule by rule.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::time::Duration;

use mailproof_node::config::Role;
use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;
use mailproof_node::mark::Mark;
use world::mailboxes::letters;
use world::{World, config, content};

const SHORT: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);
const A: &str = "a@local.example";
const B: &str = "b@local.example";
const X: &str = "x@remote.example";

fn mailbox() -> World {
    let mut config = config(0, 1);
    config.role = Role::Mailbox;
    config.local_domains = vec!["local.example".to_owned()];
    World::new(vec![config])
}

fn send(world: &mut World, recipients: &[&str], content: &str) {
    let client = world.client(0);
    let mut text = "EHLO c\r\nMAIL FROM:<s@c>\r\n".to_owned();
    for recipient in recipients {
        text += &format!("RCPT TO:<{recipient}>\r\n");
    }
    world.send(client, &(text + "DATA\r\n"));
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    world.send(client, content);
    world.until("an answer", SHORT, |w| w.answer(client).is_some());
    assert_eq!(world.answer(client), Some(250));
}

fn count(world: &World, recipient: &str) -> usize {
    let letters = letters(&world.nodes[0].disk);
    letters.iter().filter(|l| l.recipient == recipient).count()
}

#[test]
fn ded_01_equal_message_id_and_date_for_one_recipient_are_one() {
    let mut world = mailbox();
    send(&mut world, &[A], &content("m1"));
    send(&mut world, &[A], &content("m1"));
    send(&mut world, &["A@LOCAL.example"], &content("m1"));
    assert_eq!(count(&world, A), 1);
}

#[test]
fn ded_02_another_date_is_another_message() {
    let mut world = mailbox();
    send(&mut world, &[A], &content("m1"));
    send(&mut world, &[A], &content("m1").replace("20:03", "20:04"));
    assert_eq!(count(&world, A), 2);
}

#[test]
fn ded_03_body_and_subject_do_not_matter() {
    let mut world = mailbox();
    send(&mut world, &[A], &content("m1"));
    let other = content("m1")
        .replace("Hello", "Bye")
        .replace("test", "other");
    send(&mut world, &[A], &other);
    assert_eq!(count(&world, A), 1);
}

#[test]
fn ded_04_the_record_expires_after_its_window() {
    let mut world = mailbox();
    send(&mut world, &[A], &content("m1"));
    world.run(100 * HOUR);
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.run(67 * HOUR);
    send(&mut world, &[A], &content("m1"));
    assert_eq!(count(&world, A), 1);
    world.run(2 * HOUR);
    send(&mut world, &[A], &content("m1"));
    assert_eq!(count(&world, A), 2);
    assert_eq!(world.marked(Mark::DuplicateForgotten), 1);
}

#[test]
fn ded_05_nothing_is_suppressed_towards_foreign_systems() {
    let mut world = mailbox();
    for _ in 0..2 {
        send(&mut world, &[A, X], &content("m1"));
    }
    world.until("both", SHORT, |w| w.taken("m1", X) == 2);
    assert_eq!(count(&world, A), 1);
}

#[test]
fn ded_06_suppression_is_logged() {
    let mut world = mailbox();
    send(&mut world, &[A, B], &content("m1"));
    send(&mut world, &[A, B], &content("m1"));
    assert_eq!(world.count(0, EventKind::DuplicateDeliver), 2);
    assert_eq!(world.view(0).counters.mailbox_duplicates, 2);
}

/// What a copy or a takeover passes on has the fields of the original; what a
/// replay passes on, see `sn_13_sn_14` in safety_net.rs.
#[test]
fn ded_07_message_id_and_date_stay_the_same() {
    let mut world = World::cluster(2);
    let client = world.mail(0, "m1", &[X]);
    world.sinks[0].listening = false;
    world.until("an answer", HOUR, |w| w.answer(client).is_some());
    world.wipe(0);
    world.sinks[0].listening = true;
    world.run(4 * HOUR);
    let taken = &world.sinks[0].taken[0].content;
    let sent = content("m1");
    for field in ["Message-ID: ", "Date: "] {
        let line = |text: &str| {
            let line = text.lines().find(|l| l.starts_with(field));
            line.map(str::to_owned)
        };
        assert_eq!(line(taken), line(&sent));
        assert!(line(taken).is_some());
    }
    assert!(taken.contains("with ShadowRedundancy"), "{taken}");
}

#[test]
fn ded_08_the_key_is_per_recipient() {
    let mut world = mailbox();
    send(&mut world, &[A], &content("m1"));
    send(&mut world, &[B], &content("m1"));
    assert_eq!((count(&world, A), count(&world, B)), (1, 1));
}

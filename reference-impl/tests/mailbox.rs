//! A node that owns mailboxes: duplicate detection, atomic with delivery.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::time::Duration;

use mailproof_node::Config;
use mailproof_node::config::{Network, Role, Route};
use mailproof_node::disk::{Crash, MemDisk};
use mailproof_node::event::EventKind;
use mailproof_node::store::{Store, StoreOptions};
use world::{World, config, node_address, sink_address};

const SHORT: Duration = Duration::from_secs(20);
const MAILBOX: u8 = 11;

/// A mailbox node that relays everything else to sink 0.
fn mailbox(n: usize) -> Config {
    let mut config = config(n, 1);
    config.name = "mb".to_owned();
    config.role = Role::Mailbox;
    config.local_domains = vec!["local.example".to_owned()];
    config.databases = vec!["db1".to_owned(), "db2".to_owned()];
    config.check().unwrap();
    config
}

/// Recipients of every delivery that the store holds, read as STORE.md has it.
fn deliveries(disk: &MemDisk) -> Vec<String> {
    let mut disk = disk.clone();
    disk.crash(Crash::DropAll);
    let (_, records) = Store::open(&mut disk, StoreOptions::default(), 1).unwrap();
    let text = |bytes: &mut &[u8]| {
        let len = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        let text = String::from_utf8(bytes[2..2 + len].to_vec()).unwrap();
        *bytes = &bytes[2 + len..];
        text
    };
    records
        .iter()
        .filter(|record| record.kind == MAILBOX)
        .map(|record| {
            let mut header = &record.header[1..];
            let database = text(&mut header);
            assert!(["db1", "db2"].contains(&database.as_str()));
            text(&mut header)
        })
        .collect()
}

fn send(world: &mut World, recipients: &[&str], content: &str) -> u16 {
    let client = world.client(0);
    let mut text = "EHLO c\r\nMAIL FROM:<s@c>\r\n".to_owned();
    for recipient in recipients {
        text += &format!("RCPT TO:<{recipient}>\r\n");
    }
    world.send(client, &(text + "DATA\r\n"));
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    world.send(client, &format!("{content}\r\n.\r\n"));
    world.until("an answer", SHORT, |w| w.answer(client).is_some());
    world.answer(client).unwrap()
}

const A: &str = "a@local.example";
const ONE: &str = "Message-ID: <1@x>\r\nDate: Sat, 21 Nov 2026 20:03:00 +0000\r\n\r\nfirst\r\n";

#[test]
fn a_duplicate_is_answered_250_and_not_kept() {
    let mut world = World::new(vec![mailbox(0)]);
    assert_eq!(send(&mut world, &[A], ONE), 250);
    assert_eq!(
        send(
            &mut world,
            &["A@LOCAL.example"],
            &ONE.replace("first", "other")
        ),
        250
    );
    assert_eq!(deliveries(&world.nodes[0].disk), [A]);
    assert_eq!(world.count(0, EventKind::DuplicateDeliver), 1);
    // Another date, another recipient, no id: all new.
    assert_eq!(send(&mut world, &[A], &ONE.replace("20:03", "20:04")), 250);
    assert_eq!(send(&mut world, &["b@local.example"], ONE), 250);
    assert_eq!(send(&mut world, &[A], "Subject: no id\r\n\r\n"), 250);
    assert_eq!(send(&mut world, &[A], "Subject: no id\r\n\r\n"), 250);
    assert_eq!(deliveries(&world.nodes[0].disk).len(), 5);
    assert_eq!(world.view(0).counters.mailbox_delivered, 5);
    assert_eq!(world.view(0).body_bytes, 0);
}

#[test]
fn the_window_outlives_a_restart_and_ends() {
    let mut world = World::new(vec![mailbox(0)]);
    assert_eq!(send(&mut world, &[A], ONE), 250);
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.run(Duration::from_secs(167 * 3600));
    assert_eq!(send(&mut world, &[A], ONE), 250);
    assert_eq!(deliveries(&world.nodes[0].disk).len(), 1);
    world.run(Duration::from_secs(2 * 3600));
    assert_eq!(send(&mut world, &[A], ONE), 250);
    assert_eq!(deliveries(&world.nodes[0].disk).len(), 2);
}

#[test]
fn local_and_remote_recipients_part() {
    let mut world = World::new(vec![mailbox(0)]);
    let both = [A, "r@remote.example", "b@local.example"];
    assert_eq!(send(&mut world, &both, ONE), 250);
    world.until("delivery", SHORT, |w| w.sinks[0].taken.len() == 1);
    assert_eq!(world.sinks[0].taken[0].recipients, ["r@remote.example"]);
    world.until("an empty queue", SHORT, |w| w.view(0).messages.is_empty());
    assert_eq!(deliveries(&world.nodes[0].disk), [A, "b@local.example"]);
    // Once more: the local ones are duplicates, the remote one is not ours
    // to judge.
    assert_eq!(send(&mut world, &both, ONE), 250);
    world.until("delivery", SHORT, |w| w.sinks[0].taken.len() == 2);
    world.until("an empty queue", SHORT, |w| w.view(0).messages.is_empty());
    assert_eq!(deliveries(&world.nodes[0].disk).len(), 2);
    assert_eq!(world.view(0).counters.mailbox_duplicates, 2);
}

#[test]
fn strangers_reach_local_mailboxes_only() {
    let mut config = mailbox(0);
    config.relay_from = vec![Network::new("10.0.0.0".parse().unwrap(), 8).unwrap()];
    let mut world = World::new(vec![config]);
    let client = world.client(0);
    world.send(
        client,
        "EHLO c\r\nMAIL FROM:<s@c>\r\nRCPT TO:<a@local.example>\r\nRCPT TO:<r@x>\r\nRCPT TO:<postmaster>\r\nQUIT\r\n",
    );
    world.until("the end", SHORT, |w| w.clients[client].closed);
    assert_eq!(
        world.clients[client].codes(),
        [220, 250, 250, 250, 550, 250, 221]
    );
}

/// Two transport nodes in front of a mailbox node, the primary killed at every
/// step: the mailbox holds exactly one copy of acknowledged mail.
#[test]
fn a_mailbox_behind_a_cluster_sees_one_copy_of_every_acknowledged_message() {
    let to_mailbox = Route {
        domain: "*".to_owned(),
        next_hops: vec![node_address(2)],
        ..config(0, 1).routes[0].clone()
    };
    let make = || {
        let mut configs = vec![config(0, 2), config(1, 2), mailbox(2)];
        for transport in &mut configs[..2] {
            transport.routes = vec![to_mailbox.clone()];
        }
        configs[2].routes[0].next_hops = vec![sink_address(0)];
        World::new(configs)
    };
    let mut acknowledged = 0;
    for at in 1..200 {
        for lost in [false, true] {
            let mut world = make();
            let client = world.client(0);
            world.send(
                client,
                "EHLO c\r\nMAIL FROM:<s@c>\r\nRCPT TO:<a@local.example>\r\nDATA\r\n",
            );
            let mut sent = false;
            for _ in 0..at {
                if !sent && world.clients[client].codes().contains(&354) {
                    world.send(client, &world::content("m1"));
                    sent = true;
                }
                world.step(world.now + 1_000_000_000);
            }
            world.kill(0, Crash::DropAll);
            if !lost {
                world.run(Duration::from_secs(1));
                world.start(0);
            }
            world.run(Duration::from_secs(4 * 3600));
            let copies = deliveries(&world.nodes[2].disk).len();
            if world.answer(client) == Some(250) {
                assert_eq!(copies, 1, "at {at}, lost {lost}\n{}", world.picture());
                acknowledged += 1;
            } else {
                assert!(copies <= 1, "at {at}, lost {lost}");
            }
        }
    }
    assert!(acknowledged > 50, "{acknowledged}");
}

// --- databases -----------------------------------------------------------------

/// A user whose mailbox is in `db1` or `db2`.
fn user(database: u8) -> String {
    (0..)
        .map(|n| format!("u{n}@local.example"))
        .find(|address| blake3::hash(address.as_bytes()).as_bytes()[0] % 2 == database - 1)
        .unwrap()
}

fn ids(world: &World, n: usize) -> Vec<String> {
    let letters = world::mailboxes::letters(&world.nodes[n].disk);
    letters.iter().map(|l| l.id().to_owned()).collect()
}

#[test]
fn mail_for_a_dismounted_database_waits_in_a_queue_of_its_name() {
    let (one, two) = (user(1), user(2));
    let mut world = World::new(vec![mailbox(0)]);
    world.command(0, "dismount db1");
    assert_eq!(world.deliver(0, "m1", &[&one, &two]), 250);
    world.until("the other half", SHORT, |w| ids(w, 0) == ["m1"]);
    let view = world.view(0);
    let queue = view.queues.iter().find(|q| q.next_hop_domain == "db1");
    let queue = queue.unwrap();
    assert_eq!(queue.identity, "mb\\db1");
    assert_eq!(queue.status, "Retry");
    assert_eq!(queue.message_count, 1);
    assert!(queue.last_error.contains("db1"), "{}", queue.last_error);
    let wait = Duration::from_nanos(queue.next_retry.unwrap());
    assert!(wait <= Duration::from_secs(300), "{wait:?}");
    // Only once it is mounted again, and then at once.
    world.run(Duration::from_secs(3600));
    assert_eq!(ids(&world, 0), ["m1"]);
    world.command(0, "mount db1");
    world.until("delivery", SHORT, |w| ids(w, 0) == ["m1", "m1"]);
    world.until("an empty queue", SHORT, |w| w.view(0).messages.is_empty());
}

#[test]
fn a_dismounted_database_stays_dismounted_over_a_restart() {
    let one = user(1);
    let mut world = World::new(vec![mailbox(0)]);
    world.command(0, "dismount db1");
    assert_eq!(world.deliver(0, "m1", &[&one]), 250);
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.run(Duration::from_secs(600));
    assert!(ids(&world, 0).is_empty());
    world.command(0, "mount db1");
    world.until("delivery", SHORT, |w| ids(w, 0) == ["m1"]);
}

#[test]
fn databases_are_mounted_as_configured_at_the_first_start() {
    let (one, two) = (user(1), user(2));
    let mut config = mailbox(0);
    config.mounted_databases = Some(vec!["db2".to_owned()]);
    let mut world = World::new(vec![config]);
    assert_eq!(world.deliver(0, "m1", &[&one]), 250);
    assert_eq!(world.deliver(0, "m2", &[&two]), 250);
    world.run(Duration::from_secs(600));
    assert_eq!(ids(&world, 0), ["m2"]);
    let view = world.view(0);
    let mounted: Vec<bool> = view.databases.iter().map(|d| d.mounted).collect();
    assert_eq!(mounted, [false, true]);
}

#[test]
fn adm_08_mail_that_waits_for_a_database_for_too_long_is_returned() {
    let one = user(1);
    let mut world = World::new(vec![mailbox(0)]);
    world.command(0, "dismount db1");
    assert_eq!(world.deliver(0, "m1", &[&one]), 250);
    world.run(Duration::from_secs(2 * 86_400 + 600));
    assert!(world.view(0).messages.is_empty());
    let failed = |t: &&world::sink::Taken| t.content.contains("Action: failed");
    let taken = &world.sinks[0].taken;
    assert_eq!(taken.iter().filter(failed).count(), 1);
    let dsn = taken.iter().find(failed).unwrap();
    assert!(dsn.content.contains("not mounted"), "{}", dsn.content);
}

#[test]
fn commands_that_make_no_sense_are_refused() {
    let mut world = World::new(vec![mailbox(0)]);
    for line in [
        "mount db9",
        "mount db1",
        "dismount db9",
        "dismount db1 to=n9",
        "mount db1 as-of=99999999999999",
    ] {
        let answer = world.command(0, line);
        assert!(answer.contains("error"), "{line}: {answer}");
    }
}

/// A database moves to another node: what waits for it there follows.
#[test]
fn a_database_is_mounted_on_another_node() {
    let one = user(1);
    let configs = (0..2).map(|n| {
        let mut config = config(n, 2);
        config.role = Role::Mailbox;
        config.local_domains = vec!["local.example".to_owned()];
        config.databases = vec!["db1".to_owned(), "db2".to_owned()];
        config.peers[0].role = Role::Mailbox;
        if n == 1 {
            config.mounted_databases = Some(vec![]);
        }
        config.check().unwrap();
        config
    });
    let mut world = World::new(configs.collect());
    assert_eq!(world.deliver(0, "m1", &[&one]), 250);
    world.command(0, "dismount db1");
    assert_eq!(world.deliver(0, "m2", &[&one]), 250);
    world.run(Duration::from_secs(60));
    world.command(1, "mount db1 as-of=1");
    world.command(0, "dismount db1 to=n2");
    assert_eq!(world.deliver(0, "m3", &[&one]), 250);
    world.until("the mail", Duration::from_secs(600), |w| {
        let mut ids = ids(w, 1);
        ids.sort();
        ids == ["m1", "m2", "m3"]
    });
    world.until("empty queues", Duration::from_secs(600), |w| {
        w.view(0).messages.is_empty() && w.view(1).messages.is_empty()
    });
}

//! The harness's reader of a store against real nodes: what they owe, hold for
//! others and have in their mailboxes, read from their disks.

#![allow(clippy::unwrap_used)] // helpers of tests

#[path = "../../../reference-impl/tests/world/mod.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mailproof_engine::spool::{Holdings, OnDisk, read_store};
use mailproof_model::event::{Msg, Rcpt, Row, RowState, Stored};
use mailproof_model::workload;
use mailproof_node::config::Role;
use mailproof_node::disk::{Crash, Disk};
use mailproof_node::view::MessageState;
use mailproof_wire::{MessageSpec, body_digest};
use world::World;

const RUN: &str = "r7";
const SHORT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_secs(120);
const TAKEOVER: Duration = Duration::from_secs(3 * 3600);

fn content(msg: Msg, rcpts: Rcpt) -> Vec<u8> {
    let to: Vec<String> = (0..rcpts).map(|r| workload::address(msg, r)).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let spec = MessageSpec {
        run: RUN,
        number: msg.into(),
        size: 900,
        seed: 3,
        from: &workload::sender(msg),
        to: &to,
        unix_seconds: 1_795_291_380,
    };
    spec.content(1)
}

fn digest(content: &[u8]) -> String {
    body_digest(content)[..16]
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

/// Sends a message of the workload to a node and waits for the answer.
fn send(world: &mut World, node: usize, msg: Msg, rcpts: Rcpt) -> u16 {
    let client = world.client(node);
    let mut text = format!(
        "EHLO client.test\r\nMAIL FROM:<{}>\r\n",
        workload::sender(msg)
    );
    for rcpt in 0..rcpts {
        text += &format!("RCPT TO:<{}>\r\n", workload::address(msg, rcpt));
    }
    world.send(client, &(text + "DATA\r\n"));
    world.until("354", SHORT, |w| {
        w.clients[client].heard.contains("\r\n354 ")
    });
    let mut stuffed = Vec::new();
    mailproof_wire::body::stuff(&content(msg, rcpts), &mut stuffed);
    world.send_bytes(client, &stuffed);
    world.until("an answer", Duration::from_secs(700), |w| {
        w.answer(client).is_some()
    });
    world.answer(client).unwrap()
}

fn read(world: &World, node: usize) -> Holdings {
    read_store(&OnDisk(&world.nodes[node].disk), RUN).unwrap()
}

fn row(msg: Msg, rcpts: &[Rcpt], state: RowState) -> Row {
    Row {
        msg: Some(msg),
        rcpts: rcpts.to_vec(),
        state,
    }
}

/// A cluster whose next hop puts everything off.
fn stalled(count: usize) -> World {
    let mut world = World::cluster(count);
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    world
}

/// The node that holds a copy for node 0.
fn holder(world: &World) -> usize {
    (1..world.nodes.len())
        .find(|n| !world.view(*n).shadows.is_empty())
        .unwrap()
}

#[test]
fn a_new_store_holds_nothing() {
    let world = World::cluster(1);
    assert_eq!(read(&world, 0), Holdings::default());
}

#[test]
fn accepted_mail_is_owed_and_its_copy_is_held() {
    let mut world = stalled(3);
    assert_eq!(send(&mut world, 0, 4, 2), 250);
    let q = holder(&world);
    world.kill(0, Crash::DropAll);
    assert_eq!(read(&world, 0).rows, [row(4, &[0, 1], RowState::Queued)]);
    assert_eq!(read(&world, q).rows, [row(4, &[0, 1], RowState::Shadow)]);
    let other = 3 - q;
    assert_eq!(read(&world, other), Holdings::default());
    // Of another run it is not known what it is.
    let foreign = read_store(&OnDisk(&world.nodes[0].disk), "r8").unwrap();
    assert_eq!(foreign.rows.len(), 1);
    assert_eq!(foreign.rows[0].msg, None);
}

#[test]
fn delivered_mail_is_no_longer_owed() {
    let mut world = World::cluster(3);
    assert_eq!(send(&mut world, 0, 0, 3), 250);
    world.until("delivery", SHORT, |w| !w.sinks[0].taken.is_empty());
    world.run(POLL * 3);
    for node in 0..3 {
        assert_eq!(read(&world, node), Holdings::default(), "n{}", node + 1);
    }
}

#[test]
fn only_recipients_that_are_put_off_are_still_owed() {
    let mut world = World::cluster(1);
    let late = format!("RCPT TO:<{}>", workload::address(2, 1));
    world.sinks[0].rule(&late, "451 4.2.0 later\r\n");
    assert_eq!(send(&mut world, 0, 2, 3), 250);
    world.until("delivery", SHORT, |w| !w.sinks[0].taken.is_empty());
    world.run(SHORT);
    world.kill(0, Crash::DropAll);
    assert_eq!(read(&world, 0).rows, [row(2, &[1], RowState::Queued)]);
}

#[test]
fn a_notification_stands_for_those_it_tells_of() {
    let mut world = World::cluster(1);
    let never = format!("RCPT TO:<{}>", workload::address(2, 1));
    world.sinks[0].rule(&never, "550 5.1.1 nobody\r\n");
    let back = format!("RCPT TO:<{}>", workload::sender(2));
    world.sinks[0].rule(&back, "451 4.2.0 later\r\n");
    assert_eq!(send(&mut world, 0, 2, 3), 250);
    world.until("delivery", SHORT, |w| !w.sinks[0].taken.is_empty());
    world.run(SHORT);
    world.kill(0, Crash::DropAll);
    assert_eq!(read(&world, 0).rows, [row(2, &[1], RowState::Queued)]);
}

#[test]
fn a_copy_that_was_taken_over_is_owed() {
    let mut world = stalled(3);
    assert_eq!(send(&mut world, 0, 9, 2), 250);
    let q = holder(&world);
    world.wipe(0);
    let disk = OnDisk(&world.nodes[0].disk);
    assert_eq!(read_store(&disk, RUN).unwrap(), Holdings::default());
    world.run(TAKEOVER + POLL * 2);
    let rows = read(&world, q).rows;
    assert_eq!(rows, [row(9, &[0, 1], RowState::Queued)]);
}

#[test]
fn mailboxes_are_counted() {
    let mut world = World::cluster_with(1, |config| {
        config.role = Role::Mailbox;
        config.local_domains = vec!["mail.test".into()];
    });
    assert_eq!(send(&mut world, 0, 1, 2), 250);
    assert_eq!(send(&mut world, 0, 3, 1), 250);
    world.run(SHORT);
    let found = read(&world, 0);
    let copy = |msg, rcpt, rcpts| Stored {
        msg,
        rcpt,
        copies: 1,
        digest: digest(&content(msg, rcpts)),
    };
    assert_eq!(found.stored, [copy(1, 0, 2), copy(1, 1, 2), copy(3, 0, 1)]);
    assert_eq!(found.rows, []);
    assert_eq!(found.damage, None);
}

#[test]
fn damage_is_told_and_what_can_be_read_is_read() {
    let mut world = stalled(1);
    for msg in 0..5 {
        assert_eq!(send(&mut world, 0, msg, 1), 250);
    }
    // With its marks: without them damage to the last batch passes for torn.
    world.kill(0, Crash::Prefix(usize::MAX));
    let whole = read(&world, 0);
    assert_eq!((whole.rows.len(), &whole.damage), (5, &None));
    let (segment, len) = world.nodes[0].disk.list().unwrap()[1].clone();
    let mut seen = BTreeSet::new();
    for at in (0..len).step_by(211) {
        let mut disk = world.nodes[0].disk.clone();
        disk.flip(&segment, at, 0x40);
        let found = read_store(&OnDisk(&disk), RUN).unwrap();
        let intact = found.damage.is_none();
        assert!(whole.rows.starts_with(&found.rows), "{at}");
        assert!(!intact || found.rows == whole.rows, "{at}");
        seen.insert((intact, found.rows.len()));
    }
    assert!(seen.contains(&(true, 5)), "{seen:?}");
    assert!(seen.iter().any(|(intact, rows)| !intact && *rows == 3));
}

/// What a node says that it holds, in the same terms.
fn said(world: &World, node: usize) -> BTreeMap<(Msg, RowState), BTreeSet<Rcpt>> {
    let view = world.view(node);
    let mut rows: BTreeMap<(Msg, RowState), BTreeSet<Rcpt>> = BTreeMap::new();
    let mut add = |address: &str, state| {
        let (msg, rcpt) = workload::read_address(address.as_bytes()).unwrap();
        rows.entry((msg, state)).or_default().insert(rcpt);
    };
    for message in &view.messages {
        assert_ne!(message.state, MessageState::Pending, "still being received");
        for recipient in &message.recipients {
            add(&recipient.address, RowState::Queued);
        }
    }
    for shadow in &view.shadows {
        for address in &shadow.recipients {
            add(address, RowState::Shadow);
        }
    }
    rows
}

fn found(holdings: &Holdings) -> BTreeMap<(Msg, RowState), BTreeSet<Rcpt>> {
    let mut rows: BTreeMap<(Msg, RowState), BTreeSet<Rcpt>> = BTreeMap::new();
    for row in holdings.rows.iter().filter(|r| r.state != RowState::Done) {
        let key = (row.msg.expect("only the workload's mail"), row.state);
        rows.entry(key).or_default().extend(&row.rcpts);
    }
    rows
}

/// Mail, restarts, crashes and take-overs on three nodes, with old segments
/// going and what lives in them being written again: at every rest the disk
/// says what the node says.
#[test]
fn at_rest_the_disk_says_what_the_node_says() {
    let mut world = World::cluster(3);
    // One message in five is put off all the time, and one recipient in two.
    for msg in (0..400).step_by(5) {
        let put_off = format!("RCPT TO:<{}>", workload::address(msg, 0));
        world.sinks[0].rule(&put_off, "451 4.2.0 later\r\n");
    }
    let mut removed = false;
    for msg in 0..400 {
        let node = (msg % 3) as usize;
        assert_eq!(send(&mut world, node, msg, 1 + (msg % 2) as u16), 250);
        if msg % 40 == 39 {
            world.run(POLL * 2);
            for node in 0..3 {
                let holdings = read(&world, node);
                assert_eq!(holdings.damage, None);
                assert_eq!(found(&holdings), said(&world, node), "n{}", node + 1);
                let files = world.nodes[node].disk.list().unwrap();
                removed |= !files
                    .iter()
                    .any(|(name, _)| name.as_str() == "segment-0000000000000001.log");
            }
            let victim = (msg / 40 % 3) as usize;
            world.kill(victim, Crash::DropAll);
            world.start(victim);
            world.run(SHORT);
        }
    }
    assert!(removed, "no segment was ever removed");
    let owed: usize = (0..3).map(|n| read(&world, n).rows.len()).sum();
    assert!(owed >= 80, "{owed}");
}

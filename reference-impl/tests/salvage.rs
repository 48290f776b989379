//! A node whose store is damaged: it starts with what is left, and its peers
//! and it see to it that nothing is lost and nothing is sent twice.

mod world;

use std::time::Duration;

use mailproof_node::config::OnStoreDamage;
use mailproof_node::disk::{Crash, Disk, FileName};
use mailproof_node::event::EventKind;
use mailproof_node::mark::Mark;
use mailproof_node::{Boot, Now};
use world::{Party, World};

const SHORT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_secs(120);
const TAKEOVER: Duration = Duration::from_secs(3 * 3600);
/// Longer than any retry of the default configuration.
const RETRY: Duration = Duration::from_secs(700);

/// What the power leaves of a disk from which nothing was lost.
const ALL: Crash = Crash::Prefix(usize::MAX);

/// A cluster whose next hop puts everything off until `open`.
fn stalled(count: usize) -> World {
    let mut world = World::cluster(count);
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    world
}

fn open(world: &mut World) {
    world.sinks[0].rules.clear();
}

fn settled(world: &World) -> bool {
    (0..world.nodes.len())
        .filter(|n| world.nodes[*n].node.is_some())
        .all(|n| {
            let view = world.view(n);
            view.messages.is_empty() && view.shadows.is_empty() && view.discards.is_empty()
        })
}

/// Every place in a node's log where these bytes stand.
fn places(world: &World, n: usize, needle: &[u8]) -> Vec<(FileName, u64)> {
    let disk = &world.nodes[n].disk;
    let mut found = Vec::new();
    for (file, len) in disk.list().expect("a listing") {
        if !file.as_str().ends_with(".log") {
            continue;
        }
        let bytes = disk.read(&file, 0, len as usize).expect("a segment");
        for at in 0..bytes.len().saturating_sub(needle.len()) {
            if bytes[at..].starts_with(needle) {
                found.push((file.clone(), at as u64));
            }
        }
    }
    found
}

/// The records of a kind, by where they begin.
fn records(world: &World, n: usize, kind: u8) -> Vec<(FileName, u64)> {
    places(world, n, &[b'M', b'P', b'R', b'C', kind, 0, 0, 0])
}

/// Flips a bit of the content of a message at rest.
fn spoil_content(world: &mut World, n: usize, id: &str) {
    let (file, at) = places(world, n, format!("X-Mailproof: {id}\r").as_bytes())
        .pop()
        .expect("the content is in the log");
    assert!(world.nodes[n].disk.flip(&file, at + 2, 4));
}

/// Flips a bit in the fixed part of the last record of a kind.
fn spoil_record(world: &mut World, n: usize, kind: u8) {
    let (file, at) = records(world, n, kind).pop().expect("such a record");
    assert!(world.nodes[n].disk.flip(&file, at + 17, 1));
}

fn exactly_once(world: &World, ids: &[&str]) {
    for id in ids {
        assert_eq!(world.taken(id, "a@x"), 1, "{id}\n{}", world.picture());
    }
}

#[test]
fn hb_05_of_a_salvaged_primary_its_holder_takes_over_what_is_lost_and_nothing_else() {
    let mut world = stalled(2);
    for id in ["m1", "m2", "m3"] {
        assert_eq!(world.deliver(0, id, &["a@x"]), 250);
    }
    let before = world.view(0).database_id;
    world.kill(0, ALL);
    spoil_content(&mut world, 0, "m2");
    world.start(0);
    let counters = world.view(0).counters;
    assert_eq!(counters.records_lost, 1);
    assert!(counters.records_salvaged >= 3);
    assert_ne!(world.view(0).database_id, before);
    assert!(
        world.count(0, EventKind::StoreDamage) >= 2,
        "the damage and what came of it"
    );
    world.until("the inventory", SHORT, |w| {
        w.marked(Mark::SalvageWithInventory) == 1
    });
    assert_eq!(world.marked(Mark::InventoryKept), 2);
    assert_eq!(world.marked(Mark::InventoryLost), 1);
    assert_eq!(world.view(1).counters.shadows_taken_over, 1);
    open(&mut world);
    world.until("the end of it", RETRY + POLL * 2, settled);
    exactly_once(&world, &["m1", "m2", "m3"]);
    world.run(TAKEOVER * 2);
    exactly_once(&world, &["m1", "m2", "m3"]);
    assert_eq!(world.view(0).counters.salvage_unanswered, 0);
    // The record of the salvage has done its work.
    world.kill(0, ALL);
    world.start(0);
    world.run(SHORT);
    assert_eq!(world.marked(Mark::SalvageWithInventory), 1);
}

#[test]
fn a_salvaged_message_waits_for_the_inventory_of_its_holder() {
    let mut world = stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.deliver(0, "m2", &["a@x"]), 250);
    world.kill(0, ALL);
    spoil_content(&mut world, 0, "m2");
    open(&mut world);
    world.cut(Party::Node(0), Party::Node(1));
    world.start(0);
    world.run(RETRY);
    assert_eq!(
        world.taken("m1", "a@x"),
        0,
        "sent before its holder was asked"
    );
    assert!(world.marked(Mark::InventoryAwaited) >= 1);
    world.heal(Party::Node(0), Party::Node(1));
    world.until("the end of it", RETRY + POLL * 3, settled);
    exactly_once(&world, &["m1", "m2"]);
}

#[test]
fn a_message_whose_end_was_lost_is_ended_by_what_its_holder_was_told() {
    let mut world = World::cluster(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("the end of it", POLL * 2, settled);
    world.kill(0, ALL);
    // DONE.
    spoil_record(&mut world, 0, 5);
    world.start(0);
    assert!(world.view(0).counters.records_lost >= 1);
    world.until("the inventory", POLL, |w| {
        w.marked(Mark::SalvageWithInventory) == 1
    });
    assert_eq!(world.marked(Mark::InventoryGone), 1, "{}", world.picture());
    world.run(TAKEOVER * 2);
    exactly_once(&world, &["m1"]);
    assert!(settled(&world), "{}", world.picture());
}

#[test]
fn a_message_done_before_the_damage_is_not_taken_over() {
    let mut world = World::cluster(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    world.run(Duration::from_secs(1));
    assert_eq!(
        world.view(0).discards.len(),
        1,
        "the holder has not asked yet"
    );
    world.kill(0, ALL);
    // BOOT.
    spoil_record(&mut world, 0, 1);
    world.start(0);
    world.until("the inventory", POLL, |w| {
        w.marked(Mark::SalvageWithInventory) == 1
    });
    assert_eq!(world.marked(Mark::InventoryDone), 1);
    world.run(TAKEOVER * 2);
    exactly_once(&world, &["m1"]);
    assert!(settled(&world), "{}", world.picture());
}

#[test]
fn what_a_holder_took_over_meanwhile_is_left_to_it() {
    let mut world = stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.deliver(0, "m2", &["a@x"]), 250);
    world.kill(0, ALL);
    spoil_content(&mut world, 0, "m2");
    world.run(TAKEOVER + POLL * 2);
    assert_eq!(world.view(1).counters.shadows_taken_over, 2);
    world.start(0);
    world.until("the inventory", POLL, |w| {
        w.marked(Mark::SalvageWithInventory) == 1
    });
    assert_eq!(world.marked(Mark::InventoryCeded), 1);
    assert!(world.view(0).messages.is_empty(), "{}", world.picture());
    open(&mut world);
    world.until("the end of it", RETRY + POLL * 3, settled);
    world.run(TAKEOVER);
    exactly_once(&world, &["m1", "m2"]);
}

#[test]
fn what_a_holder_delivered_meanwhile_is_not_sent_again() {
    let mut world = stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.deliver(0, "m2", &["a@x"]), 250);
    world.kill(0, ALL);
    spoil_content(&mut world, 0, "m2");
    open(&mut world);
    world.run(TAKEOVER + POLL * 2 + RETRY);
    exactly_once(&world, &["m1", "m2"]);
    world.start(0);
    world.run(TAKEOVER * 2);
    assert_eq!(world.marked(Mark::InventoryGone), 1);
    exactly_once(&world, &["m1", "m2"]);
    assert!(settled(&world), "{}", world.picture());
}

#[test]
fn a_holder_that_never_answers_is_not_waited_for_for_ever() {
    let mut world = stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.deliver(0, "m2", &["a@x"]), 250);
    world.kill(0, ALL);
    world.kill(1, ALL);
    spoil_content(&mut world, 0, "m2");
    open(&mut world);
    world.start(0);
    world.run(TAKEOVER + POLL);
    assert_eq!(world.taken("m1", "a@x"), 0);
    world.until("delivery", POLL * 2 + RETRY, |w| w.taken("m1", "a@x") == 1);
    assert_eq!(world.view(0).counters.salvage_unanswered, 1);
    // The other one comes back: m1 is done, m2 is its own.
    world.start(1);
    world.run(TAKEOVER * 2);
    exactly_once(&world, &["m1", "m2"]);
    assert!(settled(&world), "{}", world.picture());
}

#[test]
fn a_store_that_lost_every_file_but_its_marks_starts_anew_and_nothing_is_lost() {
    let mut world = stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.kill(0, ALL);
    for (file, _) in world.nodes[0].disk.list().expect("a listing") {
        if file.as_str().ends_with(".log") {
            world.nodes[0].disk.delete(&file);
        }
    }
    world.start(0);
    open(&mut world);
    world.until("the end of it", RETRY + POLL * 3, settled);
    exactly_once(&world, &["m1"]);
}

#[test]
fn a_salvaged_holder_keeps_its_copies() {
    let mut world = stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.deliver(0, "m2", &["a@x"]), 250);
    world.kill(1, ALL);
    spoil_content(&mut world, 1, "m2");
    world.start(1);
    assert_eq!(world.view(1).shadows.len(), 1);
    world.run(POLL * 4);
    assert_eq!(world.view(1).shadows.len(), 2, "one kept, one made again");
    open(&mut world);
    world.until("the end of it", RETRY + POLL * 3, settled);
    world.run(TAKEOVER * 2);
    exactly_once(&world, &["m1", "m2"]);
}

/// Each node in turn loses its power at every step of the start after the
/// damage, of the inventory and of what follows.
#[test]
fn a_power_cut_at_any_step_of_an_inventory_loses_and_doubles_nothing() {
    let scene = |cut: Option<(u64, usize)>| {
        let mut world = stalled(2);
        for id in ["m1", "m2", "m3"] {
            assert_eq!(world.deliver(0, id, &["a@x"]), 250);
        }
        world.kill(0, ALL);
        spoil_content(&mut world, 0, "m2");
        world.start(0);
        let from = world.steps;
        let end = world.now + SHORT.as_nanos() as u64;
        while world.step(end) {
            if cut.is_some_and(|(at, _)| world.steps - from == at) {
                break;
            }
            if cut.is_none() && world.marked(Mark::SalvageWithInventory) == 1 {
                break;
            }
        }
        let steps = world.steps - from;
        if let Some((_, n)) = cut {
            world.kill(n, Crash::DropAll);
            world.start(n);
        }
        world.run(POLL * 2);
        open(&mut world);
        world.until("the end of it", RETRY + POLL * 3, settled);
        world.run(POLL * 3);
        exactly_once(&world, &["m1", "m2", "m3"]);
        steps
    };
    let steps = scene(None);
    assert!(steps > 20, "{steps} steps");
    for step in 1..=steps + 5 {
        for n in [0, 1] {
            scene(Some((step, n)));
        }
    }
}

#[test]
fn on_store_damage_refuse_does_not_start_and_changes_nothing() {
    let mut world = stalled(2);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.kill(0, ALL);
    spoil_content(&mut world, 0, "m1");
    let slot = &mut world.nodes[0];
    slot.config.on_store_damage = OnStoreDamage::Refuse;
    let files = slot.disk.list().expect("a listing");
    let now = Now { mono: 1, wall: 1 };
    let refused = Boot::open(slot.config.clone(), 1, 1, now, &mut slot.disk);
    let text = refused.expect_err("a damaged store").to_string();
    assert!(text.contains("is damaged at byte"), "{text}");
    assert_eq!(slot.disk.list().expect("a listing"), files);
}

#[test]
fn an_inventory_is_for_peers_and_for_predecessors_only() {
    let mut world = World::cluster(2);
    let client = world.client(0);
    let id = "0123456789abcdef0123456789abcdef";
    world.send(client, &format!("EHLO x\r\nXINVENTORY {id} END\r\n"));
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[client].codes().last(), Some(&530));
    assert_eq!(world.view(0).counters.private_verbs_refused, 1);
}

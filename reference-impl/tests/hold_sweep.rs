//! One message, or twenty at once, through a hub and an edge of the hold model,
//! and every step of it a crash of either: what was answered 250 arrives, nothing stays behind,
//! and no copy too many.

mod world;

use std::time::Duration;

use mailproof_node::disk::Crash;
use world::hold::{FAILED, INTERVAL, hub_with, settled};
use world::{Party, World};

/// What befalls the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Back after a second with what its disk kept.
    Restart(Crash),
    /// Back after a minute with an empty disk.
    Wiped,
    /// Never back.
    Lost,
    /// Its connections to the other nodes are silent for longer than a
    /// takeover takes.
    CutOff,
}

/// Runs `count` messages up to step `at`, lets `fate` befall node `victim`, and
/// waits until everything is settled. True when they had passed through
/// completely before.
fn run(count: usize, victim: usize, at: u64, fate: Fate) -> bool {
    let mut world = hub_with(3, |config| {
        config.send_connection_idle_time = Duration::from_secs(2);
    });
    world.sinks[0].rule("RCPT TO:<no@", "550 5.1.1 unknown\r\n");
    let recipients = "RCPT TO:<a@x>\r\nRCPT TO:<no@x>\r\nRCPT TO:<b@x>\r\n";
    let mut unsent = Vec::new();
    for n in 0..count {
        let client = world.client(0);
        let text = format!("EHLO c\r\nMAIL FROM:<s{n}@c>\r\n{recipients}DATA\r\n");
        world.send(client, &text);
        unsent.push(client);
    }
    let name = |client: usize| format!("m{client}");
    for _ in 0..at {
        let ready = |client: &usize| world.clients[*client].codes().contains(&354);
        if let Some(found) = unsent.iter().position(ready) {
            let client = unsent.remove(found);
            world.send(client, &world::content(&name(client)));
        }
        if !world.step(world.now + INTERVAL.as_nanos() as u64 * 2) {
            break;
        }
    }
    let ended = unsent.is_empty() && settled(&world);
    let context = |world: &World| format!("n{} at {at}, {fate:?}\n{}", victim + 1, world.picture());
    match fate {
        Fate::Restart(crash) => {
            world.kill(victim, crash);
            world.run(Duration::from_secs(1));
            world.start(victim);
        }
        Fate::Wiped => {
            world.wipe(victim);
            world.run(Duration::from_secs(60));
            world.start(victim);
        }
        Fate::Lost => world.wipe(victim),
        Fate::CutOff => {
            for other in (0..3).filter(|n| *n != victim) {
                world.cut(Party::Node(victim), Party::Node(other));
            }
            world.run(FAILED + INTERVAL * 2);
            for other in (0..3).filter(|n| *n != victim) {
                world.heal(Party::Node(victim), Party::Node(other));
            }
        }
    }
    world.run(FAILED + INTERVAL * 4);
    for client in 0..count {
        let acknowledged = world.answer(client) == Some(250);
        let sender = format!("s{client}@c");
        let dsns = world.sinks[0]
            .taken
            .iter()
            .filter(|t| t.sender.is_empty() && t.recipients.contains(&sender))
            .count();
        for recipient in ["a@x", "b@x"] {
            let copies = world.taken(&name(client), recipient);
            assert!(copies >= 1 || !acknowledged, "lost: {}", context(&world));
            assert!(copies <= 2, "{copies} copies: {}", context(&world));
        }
        if acknowledged {
            assert!((1..=4).contains(&dsns), "{dsns} DSNs: {}", context(&world));
        }
    }
    let there = |n: &usize| world.nodes[*n].node.is_some();
    for n in (0..3).filter(there) {
        let view = world.view(n);
        assert!(view.messages.is_empty(), "queued: {}", context(&world));
        assert!(view.shadows.is_empty(), "kept: {}", context(&world));
        let owed = |name: &str| {
            (0..3)
                .filter(there)
                .any(|n| world.nodes[n].config.name == name)
        };
        assert!(
            view.discards.iter().all(|d| !owed(&d.peer)),
            "owed: {}",
            context(&world)
        );
    }
    ended
}

/// Sweeps over all steps; answers with how many there were.
fn sweep(count: usize, victim: usize, fate: impl Fn(u64) -> Fate) -> u64 {
    for at in 1..20_000 {
        if run(count, victim, at, fate(at)) {
            return at;
        }
    }
    panic!("the message never passes through");
}

#[test]
fn out_10_out_11_the_hub_restarts() {
    assert!(sweep(1, 0, |_| Fate::Restart(Crash::DropAll)) > 40);
    sweep(1, 0, |_| Fate::Restart(Crash::Prefix(usize::MAX)));
    sweep(1, 0, |at| Fate::Restart(Crash::Subset(at)));
}

#[test]
fn out_10_out_11_the_edge_restarts() {
    sweep(1, 1, |_| Fate::Restart(Crash::DropAll));
    sweep(1, 1, |at| Fate::Restart(Crash::Subset(at)));
}

#[test]
fn e14_14_the_edge_is_wiped() {
    sweep(1, 1, |_| Fate::Wiped);
}

#[test]
fn e14_12_the_edge_is_lost() {
    sweep(1, 1, |_| Fate::Lost);
}

#[test]
fn out_06_the_hub_is_wiped_or_lost() {
    sweep(1, 0, |_| Fate::Wiped);
    sweep(1, 0, |_| Fate::Lost);
}

#[test]
fn out_08_the_edge_is_cut_off() {
    sweep(1, 1, |_| Fate::CutOff);
}

#[test]
fn out_10_out_11_twenty_messages_and_a_restart_of_the_hub() {
    assert!(sweep(20, 0, |at| Fate::Restart(Crash::Subset(at))) > 200);
}

#[test]
fn out_10_out_11_twenty_messages_and_a_restart_of_the_edge() {
    assert!(sweep(20, 1, |at| Fate::Restart(Crash::Subset(at))) > 200);
}

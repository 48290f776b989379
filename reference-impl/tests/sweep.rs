//! One message through a cluster of three, and every step of it a crash: what
//! was answered 250 arrives, nothing stays behind, and no copy too many.

mod world;

use std::time::Duration;

use mailproof_node::disk::Crash;
use world::World;

const POLL: Duration = Duration::from_secs(120);
const TAKEOVER: Duration = Duration::from_secs(3 * 3600);

/// What befalls the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Back after a second with what its disk kept.
    Restart(Crash),
    /// Back after a minute with an empty disk.
    Wiped,
    /// Never back.
    Lost,
}

/// Runs one message up to step `at`, lets `fate` befall node `victim`, and
/// waits until everything is settled. True when the message had passed
/// through completely before.
fn run(victim: usize, at: u64, fate: Fate, reject: bool) -> bool {
    let mut world = World::cluster_with(3, |config| {
        config.reject_message_on_shadow_failure = reject;
    });
    world.sinks[0].rule("RCPT TO:<no@", "550 5.1.1 unknown\r\n");
    let client = world.client(0);
    let recipients = "RCPT TO:<a@x>\r\nRCPT TO:<no@x>\r\nRCPT TO:<b@x>\r\n";
    world.send(
        client,
        &format!("EHLO c\r\nMAIL FROM:<s@c>\r\n{recipients}DATA\r\n"),
    );
    let mut sent = false;
    for _ in 0..at {
        if !sent && world.clients[client].codes().contains(&354) {
            world.send(client, &world::content("m1"));
            sent = true;
        }
        if !world.step(world.now + POLL.as_nanos() as u64 * 3) {
            break;
        }
    }
    let ended = sent && quiet(&world);
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
    }
    world.run(TAKEOVER + POLL * 4);
    let acknowledged = world.answer(client) == Some(250);
    let refused = world.answer(client).is_some_and(|code| code >= 400);
    let dsns = world.sinks[0]
        .taken
        .iter()
        .filter(|t| t.sender.is_empty())
        .count();
    for recipient in ["a@x", "b@x"] {
        let copies = world.taken("m1", recipient);
        assert!(copies >= 1 || !acknowledged, "lost: {}", context(&world));
        assert!(copies <= 2, "{copies} copies: {}", context(&world));
        assert!(
            copies == 0 || !refused,
            "refused yet delivered: {}",
            context(&world)
        );
        if victim != 0 {
            assert!(copies <= 1, "{copies} copies: {}", context(&world));
        }
    }
    if acknowledged {
        // The primary's DSN, the copy of it, and the one that the holder of the
        // message itself makes: a primary lost before anybody asked can leave
        // all three.
        let most = if matches!(fate, Fate::Restart(_)) {
            2
        } else {
            3
        };
        assert!(
            (1..=most).contains(&dsns),
            "{dsns} DSNs: {}",
            context(&world)
        );
    }
    assert!(quiet(&world), "not settled: {}", context(&world));
    ended
}

/// Whether nothing is queued or held anywhere, and nothing is owed to a node
/// that runs.
fn quiet(world: &World) -> bool {
    let running: Vec<usize> = (0..world.nodes.len())
        .filter(|n| world.nodes[*n].node.is_some())
        .collect();
    let runs = |name: &str| running.iter().any(|n| world.nodes[*n].config.name == name);
    running.iter().all(|n| {
        let view = world.view(*n);
        view.messages.is_empty()
            && view.shadows.is_empty()
            && view.discards.iter().all(|d| !runs(&d.peer))
    })
}

/// Sweeps over all steps; answers with how many there were.
fn sweep(victim: usize, fate: impl Fn(u64) -> Fate, reject: bool) -> u64 {
    for at in 1..2000 {
        if run(victim, at, fate(at), reject) {
            return at;
        }
    }
    panic!("the message never passes through");
}

#[test]
fn the_primary_restarts() {
    assert!(sweep(0, |_| Fate::Restart(Crash::DropAll), false) > 100);
    sweep(0, |_| Fate::Restart(Crash::Prefix(usize::MAX)), false);
    sweep(0, |at| Fate::Restart(Crash::Subset(at)), false);
    sweep(0, |_| Fate::Restart(Crash::DropAll), true);
}

#[test]
fn the_primary_is_wiped() {
    sweep(0, |_| Fate::Wiped, false);
}

#[test]
fn the_primary_is_lost() {
    sweep(0, |_| Fate::Lost, false);
    sweep(0, |_| Fate::Lost, true);
}

#[test]
fn a_peer_restarts() {
    for victim in [1, 2] {
        sweep(victim, |_| Fate::Restart(Crash::DropAll), false);
        sweep(victim, |at| Fate::Restart(Crash::Subset(at)), true);
    }
}

#[test]
fn a_peer_is_wiped_or_lost() {
    for victim in [1, 2] {
        sweep(victim, |_| Fate::Wiped, true);
        sweep(victim, |_| Fate::Lost, false);
    }
}

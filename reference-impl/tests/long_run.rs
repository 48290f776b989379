//! A store that stays short although one message stays for long.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::time::Duration;

use mailproof_node::disk::{Crash, Disk as _};
use world::World;

const SHORT: Duration = Duration::from_secs(20);

fn bytes(world: &World, n: usize) -> u64 {
    world.nodes[n]
        .disk
        .list()
        .unwrap()
        .iter()
        .map(|(_, len)| len)
        .sum()
}

/// One message that is partly delivered and one copy stay while thousands
/// pass; segments go nevertheless, and a restart finds everything.
#[test]
fn what_stays_moves_and_what_passed_goes() {
    let mut world = World::cluster(2);
    world.sinks[0].rule("RCPT TO:<stuck@", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "old", &["a@x", "stuck@x"]), 250);
    world.until("half of it", SHORT, |w| w.taken("old", "a@x") == 1);
    for n in 0..3000 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
        if n % 300 == 0 {
            // The other node asks now and then.
            world.run(Duration::from_secs(130));
        }
    }
    world.run(Duration::from_secs(300));
    for n in 0..2 {
        assert!(
            bytes(&world, n) < 1 << 20,
            "n{}: {}",
            n + 1,
            bytes(&world, n)
        );
    }
    assert_eq!(world.view(0).messages.len(), 1);
    assert_eq!(world.view(1).shadows.len(), 1);
    for n in 0..2 {
        world.kill(n, Crash::DropAll);
        world.start(n);
    }
    world.run(Duration::from_secs(1));
    let message = &world.view(0).messages[0];
    assert_eq!(message.recipients.len(), 1);
    assert_eq!(message.recipients[0].address, "stuck@x");
    assert_eq!(message.x_mailproof, "old");
    assert_eq!(world.view(1).shadows[0].x_mailproof, "old");
    world.sinks[0].rules.clear();
    world.until("the rest", Duration::from_secs(1000), |w| {
        w.taken("old", "stuck@x") == 1
    });
    world.until("the end of it", Duration::from_secs(1000), |w| {
        (0..2).all(|n| {
            let view = w.view(n);
            view.messages.is_empty() && view.shadows.is_empty() && view.discards.is_empty()
        })
    });
    assert_eq!(world.taken("old", "a@x"), 1);
    for n in 0..3000 {
        assert_eq!(world.taken(&format!("m{n}"), "a@x"), 1);
    }
}

/// A crash at any moment of the moving loses nothing.
#[test]
fn a_crash_while_records_move_loses_nothing() {
    for seed in 0..20 {
        let mut world = World::cluster(1);
        world.sinks[0].rule("RCPT TO:<stuck@", "451 4.2.0 later\r\n");
        for n in 0..3 {
            assert_eq!(world.deliver(0, &format!("old{n}"), &["stuck@x"]), 250);
        }
        for n in 0..150 + seed {
            assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
        }
        for _ in 0..seed {
            world.step(world.now + 1_000_000);
        }
        world.kill(0, Crash::Subset(seed));
        world.start(0);
        world.run(Duration::from_secs(1));
        let left = world.view(0).messages;
        let stuck = left
            .iter()
            .filter(|m| m.x_mailproof.starts_with("old"))
            .count();
        assert_eq!(stuck, 3, "seed {seed}");
    }
}

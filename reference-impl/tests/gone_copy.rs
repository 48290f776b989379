//! A peer that took a copy over is asked for it again: it refuses, and nothing
//! but the refusal comes of it.

mod world;

use std::time::Duration;

use mailproof_node::event::EventKind;
use mailproof_node::mark::Mark;
use world::{Party, World};

const SHORT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_secs(120);
const TAKEOVER: Duration = Duration::from_secs(3 * 3600);

#[test]
fn a_refused_request_for_a_copy_delivers_nothing() {
    let mut world = World::cluster(3);
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    world.run(Duration::from_secs(1));
    // The first peer to be asked takes its copy, and its answer is lost: the
    // other one gets a copy as well.
    let client = world.mail(0, "m1", &["a@x"]);
    world.until("a copy", SHORT, |w| {
        (1..3).any(|n| !w.view(n).shadows.is_empty())
    });
    assert_eq!(world.answer(client), None);
    let first = if world.view(1).shadows.is_empty() {
        2
    } else {
        1
    };
    let second = 3 - first;
    world.cut(Party::Node(0), Party::Node(first));
    world.until("an answer", POLL, |w| w.answer(client) == Some(250));
    assert_eq!(world.view(second).shadows.len(), 1);
    world.until("takeover", TAKEOVER + POLL, |w| {
        w.count(first, EventKind::Resubmit) == 1
    });
    world.heal(Party::Node(0), Party::Node(first));
    world.run(POLL * 6);
    // The other one loses its copy; the one that took over is asked instead.
    world.wipe(second);
    world.until("a request too late", TAKEOVER * 2, |w| {
        w.marked(Mark::CopyTooLate) > 0
    });
    world.run(POLL);
    // Beside it perhaps a report of its delay.
    let messages = world.view(first).messages;
    let left = messages.iter().filter(|m| m.x_mailproof == "m1").count();
    assert_eq!(left, 1, "{}", world.picture());
    world.sinks[0].rules.clear();
    world.run(TAKEOVER * 2);
    let copies = world.taken("m1", "a@x");
    assert!((1..=2).contains(&copies), "{copies}");
    let taken = &world.sinks[0].taken;
    let mail = taken.iter().filter(|t| !t.sender.is_empty());
    assert_eq!(mail.count(), copies, "{taken:?}");
}

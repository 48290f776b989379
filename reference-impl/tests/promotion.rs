//! Promotion: mail whose delivery cannot be verified goes to another server of
//! the site, and what stays is its shadow.

mod world;

use std::time::Duration;

use mailproof_node::Config;
use mailproof_node::config::ShadowModel;
use mailproof_node::event::EventKind;
use mailproof_node::mark::Mark;
use world::hold::{hold_config, settled, to_sink};
use world::sink::Sink;
use world::{Party, World};

const CAP: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

/// Hubs that all deliver to sink 0, which puts everything off.
fn hubs(count: usize, change: impl Fn(usize, &mut Config)) -> World {
    let configs = (0..count).map(|n| {
        let mut config = hold_config(n, count, &[]);
        config.shadow_redundancy_promotion_enabled = true;
        change(n, &mut config);
        config
    });
    let mut world = World::new(configs.collect());
    world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
    world
}

fn reopen(world: &mut World) {
    world.sinks[0].rules.clear();
}

#[test]
fn prom_01_prom_02_another_server_becomes_the_primary() {
    let mut world = hubs(2, |_, _| {});
    assert_eq!(world.deliver(0, "m1", &["a@x", "b@x"]), 250);
    world.run(Duration::from_secs(1));
    let view = world.view(0);
    assert!(view.messages.is_empty(), "{}", world.picture());
    assert_eq!(view.shadows.len(), 1);
    assert_eq!(view.shadows[0].origin.primary, "n2");
    assert_eq!(view.counters.promoted, 1);
    assert_eq!(view.counters.accepted_unverified, 0);
    assert_eq!(world.view(1).messages.len(), 1);
    // It is as safe as any: the new primary and its store are lost.
    world.wipe(1);
    reopen(&mut world);
    world.until("delivery", HOUR * 4, |w| w.taken("m1", "b@x") == 1);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

#[test]
fn prom_01_also_where_the_wait_is_skipped() {
    let mut world = hubs(2, |_, _| {});
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    // m1 left the queue of n1, so m2 waits again, and m3 beside it does not.
    let second = world.mail(0, "m2", &["a@x"]);
    world.run(Duration::from_secs(5));
    assert_eq!(world.answer(second), None);
    let third = world.mail(0, "m3", &["a@x"]);
    world.run(Duration::from_secs(1));
    assert_eq!(world.answer(third), Some(250));
    world.run(CAP);
    assert_eq!(world.view(0).counters.promoted, 3);
    assert_eq!(world.view(0).shadows.len(), 3);
    reopen(&mut world);
    world.until("the end of it", HOUR, settled);
}

#[test]
fn prom_03_it_is_off_by_default() {
    assert!(!hold_config(0, 2, &[]).shadow_redundancy_promotion_enabled);
    let mut world = hubs(2, |_, config| {
        config.shadow_redundancy_promotion_enabled = false;
    });
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(Duration::from_secs(1));
    assert_eq!(world.view(0).messages.len(), 1);
    assert!(world.view(0).shadows.is_empty());
    assert!(world.view(1).messages.is_empty());
}

#[test]
fn prom_04_what_was_promoted_is_not_promoted_again() {
    let mut world = hubs(3, |_, _| {});
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(HOUR);
    let promoted: u64 = (0..3).map(|n| world.view(n).counters.promoted).sum();
    assert_eq!(promoted, 1);
    reopen(&mut world);
    world.until("delivery", HOUR, |w| w.taken("m1", "a@x") == 1);
    let content = &world.sinks[0].taken[0].content;
    assert_eq!(content.matches("Received:").count(), 2, "{content}");
    world.until("the end of it", HOUR, settled);
}

#[test]
fn prom_05_without_another_server_it_is_accepted_plainly() {
    for cut_off in [false, true] {
        let mut world = hubs(if cut_off { 2 } else { 1 }, |_, _| {});
        if cut_off {
            world.cut(Party::Node(0), Party::Node(1));
        }
        let client = world.mail(0, "m1", &["a@x"]);
        world.until("an answer", CAP * 3, |w| w.answer(client) == Some(250));
        assert_eq!(world.view(0).counters.accepted_unverified, 1);
        assert_eq!(world.view(0).messages.len(), 1);
        let mark = if cut_off {
            Mark::PromotionFailed
        } else {
            Mark::PromotionWithoutPeer
        };
        world.until("the mark", CAP * 2, |w| w.marked(mark) == 1);
        reopen(&mut world);
        world.until("the end of it", HOUR, settled);
        assert_eq!(world.taken("m1", "a@x"), 1);
    }
}

#[test]
fn prom_05_a_server_of_the_other_model_does_not_count() {
    let mut world = hubs(2, |n, config| {
        if n == 1 {
            config.shadow_model = ShadowModel::Copy;
        }
    });
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.view(0).counters.accepted_unverified, 1);
    assert!(world.view(1).messages.is_empty());
}

#[test]
fn a_part_that_was_delivered_or_is_being_sent_stays() {
    let mut world = hubs(2, |_, config| {
        config.routes = vec![to_sink("x", 0), to_sink("y", 1), to_sink("z", 2)];
    });
    world.add_sink(Sink::default());
    world.add_sink(Sink::default());
    world.sinks[2].rule(".", "");
    let client = world.mail(0, "m1", &["a@x", "b@y", "c@z"]);
    world.until("an answer", CAP * 3, |w| w.answer(client) == Some(250));
    world.run(Duration::from_secs(1));
    assert_eq!(world.marked(Mark::PromotionLeavesPart), 1);
    let shadows = world.view(0).shadows;
    assert_eq!(shadows.len(), 1);
    assert_eq!(shadows[0].recipients, ["a@x"]);
    world.sinks[2].rules.clear();
    reopen(&mut world);
    world.until("the end of it", HOUR, settled);
    assert_eq!(world.sinks[1].count("m1", "b@y"), 1);
    assert_eq!(world.taken("m1", "a@x"), 1);
    assert_eq!(world.sinks[2].count("m1", "c@z"), 1);
}

#[test]
fn a_next_hop_that_returns_meanwhile_changes_nothing() {
    let mut world = hubs(2, |_, _| {});
    let client = world.mail(0, "m1", &["a@x"]);
    world.run(CAP - Duration::from_secs(1));
    reopen(&mut world);
    world.until("an answer", SHORT, |w| w.answer(client) == Some(250));
    world.until("the end of it", HOUR, settled);
    assert_eq!(world.taken("m1", "a@x"), 1);
    assert_eq!(world.marked(Mark::PromotionMeetsReturn), 1);
    assert_eq!(world.count(0, EventKind::Resubmit), 0);
}

#[test]
fn prom_06_it_does_not_cross_the_site() {
    let mut world = hubs(2, |n, config| {
        config.site = format!("s{n}");
        config.peers[0].site = format!("s{}", 1 - n);
    });
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.view(0).counters.accepted_unverified, 1);
    assert!(world.view(1).messages.is_empty());
    assert_eq!(world.marked(Mark::PromotionWithoutPeer), 1);
}

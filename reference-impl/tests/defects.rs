//! Each planted defect does what its name says, and only when switched on.
#![cfg(feature = "defects")]

mod world;

use std::time::Duration;

use mailproof_node::defect::Defect;
use mailproof_node::disk::Crash;
use world::{Party, World};

const SHORT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_secs(120);
const TAKEOVER: Duration = Duration::from_secs(3 * 3600);

fn cluster(count: usize, defect: Option<Defect>) -> World {
    World::cluster_with(count, |config| config.defect = defect)
}

/// Stops at the first 250 to a message; the power fails at once.
fn power_fails_at_the_answer(defect: Option<Defect>) -> usize {
    let mut world = cluster(1, defect);
    world.run(SHORT);
    // The answer is to be there long before the disk is done.
    world.nodes[0].disk_op = 50_000_000;
    let client = world.mail(0, "m1", &["a@x"]);
    world.cut(Party::Node(0), Party::Sink(0));
    world.until("an answer", SHORT, |w| w.answer(client) == Some(250));
    world.kill(0, Crash::DropAll);
    world.heal(Party::Node(0), Party::Sink(0));
    world.start(0);
    world.run(SHORT);
    world.taken("m1", "a@x")
}

#[test]
fn ack_before_sync_loses_mail_in_a_power_cut() {
    assert_eq!(power_fails_at_the_answer(None), 1);
    assert_eq!(power_fails_at_the_answer(Some(Defect::AckBeforeSync)), 0);
}

/// The primary is gone at the first 250; what the others deliver.
fn primary_is_lost_at_the_answer(defect: Option<Defect>, recipients: &[&str]) -> Vec<usize> {
    let mut world = cluster(3, defect);
    let client = world.mail(0, "m1", recipients);
    world.cut(Party::Node(0), Party::Sink(0));
    world.until("an answer", SHORT, |w| w.answer(client) == Some(250));
    world.wipe(0);
    world.run(TAKEOVER + POLL * 2);
    recipients.iter().map(|r| world.taken("m1", r)).collect()
}

#[test]
fn ack_before_copy_loses_mail_with_the_primary() {
    assert_eq!(primary_is_lost_at_the_answer(None, &["a@x"]), [1]);
    assert_eq!(
        primary_is_lost_at_the_answer(Some(Defect::AckBeforeCopy), &["a@x"]),
        [0]
    );
}

#[test]
fn never_take_over_loses_mail_with_the_primary() {
    assert_eq!(
        primary_is_lost_at_the_answer(Some(Defect::NeverTakeOver), &["a@x"]),
        [0]
    );
}

#[test]
fn takeover_forgets_one_recipient_of_several() {
    let both = ["a@x", "b@x"];
    assert_eq!(primary_is_lost_at_the_answer(None, &both), [1, 1]);
    let defect = Some(Defect::TakeoverForgetsRecipient);
    assert_eq!(primary_is_lost_at_the_answer(defect, &both), [1, 0]);
    assert_eq!(primary_is_lost_at_the_answer(defect, &["a@x"]), [1]);
}

#[test]
fn deliver_after_discard_sends_twice() {
    for (defect, copies) in [(None, 1), (Some(Defect::DeliverAfterDiscard), 2)] {
        let mut world = cluster(2, defect);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.run(POLL * 3);
        assert_eq!(world.taken("m1", "a@x"), copies);
    }
}

#[test]
fn forget_database_id_takes_over_after_a_mere_restart() {
    for (defect, changed) in [(None, false), (Some(Defect::ForgetDatabaseId), true)] {
        let mut world = cluster(2, defect);
        world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        let before = world.view(0).database_id;
        world.kill(0, Crash::Prefix(usize::MAX));
        world.start(0);
        world.run(POLL * 2);
        assert_eq!(world.view(0).database_id != before, changed);
        assert_eq!(world.view(1).shadows.is_empty(), changed);
    }
}

/// A hub relays to an edge that cannot deliver and is lost; the other edge can.
fn edge_lost(defect: Option<Defect>) -> usize {
    let mut world = world::hold::hub_with(3, |config| config.defect = defect);
    world.cut(Party::Node(1), Party::Sink(0));
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(SHORT);
    world.wipe(1);
    world.run(world::hold::FAILED + world::hold::INTERVAL);
    world.taken("m1", "a@x")
}

#[test]
fn forget_kept_loses_what_a_next_hop_took() {
    assert_eq!(edge_lost(None), 1);
    assert_eq!(edge_lost(Some(Defect::ForgetKept)), 0);
}

#[test]
fn ack_undelivered_answers_at_once() {
    for (defect, answer) in [(None, None), (Some(Defect::AckUndelivered), Some(250))] {
        let mut world = world::hold::hub_with(1, |config| config.defect = defect);
        world.sinks[0].rule("RCPT", "451 4.2.0 later\r\n");
        let client = world.mail(0, "m1", &["a@x"]);
        world.run(Duration::from_secs(5));
        assert_eq!(world.answer(client), answer);
    }
}

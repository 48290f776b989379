//! Making a copy before the answer (CRE). Which peers are asked is in
//! sites.rs.

mod world;

use std::time::Duration;

use mailproof_node::Config;
use mailproof_node::config::Role;
use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;
use mailproof_node::mark::Mark;
use world::cluster::{SHORT, TAKEOVER};
use world::{Party, World, content};

/// The longest that all attempts may take together.
const ATTEMPTS: Duration = Duration::from_secs(700);

fn reject(config: &mut Config) {
    config.reject_message_on_shadow_failure = true;
}

/// Nodes that have started, so that slow disks do not slow their start.
fn started(count: usize, change: impl Fn(&mut Config)) -> World {
    let mut world = World::cluster_with(count, change);
    world.run(Duration::from_secs(1));
    world
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn cre_01_no_answer_before_the_copy_is_acknowledged() {
    let mut world = started(2, |_| {});
    // The primary is done with its own part at once, the peer takes seconds.
    world.nodes[1].disk_op = 2 * SECOND;
    let client = world.mail(0, "m1", &["a@x"]);
    let begun = world.now;
    while world.count(1, EventKind::HaReceive) == 0 {
        assert_eq!(world.answer(client), None, "answered without a copy");
        assert!(world.step(begun + 30 * SECOND), "{}", world.picture());
    }
    assert!(world.now > begun + 2 * SECOND);
    world.until("the answer", SHORT, |w| w.answer(client) == Some(250));
    assert_eq!(world.view(0).counters.accepted_unshadowed, 0);
}

#[test]
fn cre_02_the_copy_is_made_while_the_session_of_the_sender_is_open() {
    let mut world = started(2, |_| {});
    world.keep_captures();
    let client = world.mail(0, "m1", &["a@x"]);
    world.until("the copy", SHORT, |w| w.count(1, EventKind::HaReceive) == 1);
    assert!(world.captured(0, 1).contains("XSHADOWREQUEST"));
    assert!(!world.clients[client].closed);
    assert_eq!(world.answer(client), None);
    // And the session goes on afterwards.
    world.send(client, "NOOP\r\nQUIT\r\n");
    world.until("the end", SHORT, |w| w.clients[client].closed);
    assert!(world.clients[client].codes().ends_with(&[250, 250, 221]));
}

#[test]
fn cre_03_what_the_sender_supports_does_not_matter() {
    let openings = [
        "HELO c\r\nMAIL FROM:<s@c>\r\n",
        "EHLO c\r\nMAIL FROM:<s@c>\r\n",
        "EHLO c\r\nMAIL FROM:<s@c> SIZE=200 BODY=8BITMIME SMTPUTF8\r\n",
        "EHLO c\r\nNOOP\r\nMAIL FROM:<>\r\n",
    ];
    for opening in openings {
        for pipelined in [false, true] {
            let mut world = World::stalled(2);
            let client = world.client(0);
            let lines = format!("{opening}RCPT TO:<a@x>\r\nDATA\r\n");
            if pipelined {
                world.send(client, &lines);
            } else {
                for (at, line) in lines.split_inclusive("\r\n").enumerate() {
                    world.until("a reply", SHORT, |w| w.clients[client].codes().len() > at);
                    world.send(client, line);
                }
            }
            world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
            world.send(client, &content("m1"));
            world.until("the answer", SHORT, |w| w.answer(client).is_some());
            assert_eq!(world.answer(client), Some(250), "{opening}");
            assert_eq!(world.held(1), ["m1"], "{opening}");
        }
    }
}

#[test]
fn cre_04_both_copies_survive_a_kill_of_both_servers_at_the_answer() {
    for seed in 0..24 {
        let crash = |salt: u64| match seed {
            0 => Crash::DropAll,
            _ => Crash::Subset(seed * 2 + salt),
        };
        let mut world = World::stalled(2);
        world.piece = 40 + seed as usize * 7;
        world.mail(0, "m1", &["a@x", "b@x"]);
        // The moment at which the primary writes its 250.
        world.until("the answer", SHORT, |w| w.count(0, EventKind::Receive) == 1);
        world.kill(0, crash(0));
        world.kill(1, crash(1));
        world.start(0);
        world.start(1);
        world.run(Duration::from_secs(1));
        let ours: Vec<String> = world
            .view(0)
            .messages
            .into_iter()
            .map(|m| m.x_mailproof)
            .collect();
        assert_eq!(ours, ["m1"], "seed {seed}");
        assert_eq!(world.held(1), ["m1"], "seed {seed}");
        assert_eq!(world.view(1).shadows[0].recipients, ["a@x", "b@x"]);
    }
}

#[test]
fn cre_12_without_any_copy_a_message_is_accepted_all_the_same() {
    let mut world = World::cluster(3);
    world.kill(1, Crash::DropAll);
    world.kill(2, Crash::DropAll);
    world.stall();
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let counters = world.view(0).counters;
    assert_eq!(
        (counters.accepted_unshadowed, counters.refused),
        (1, 0),
        "{counters:?}"
    );
    assert!(world.view(0).messages[0].unshadowed);
    assert_eq!(world.marked(Mark::AcceptedUnshadowed), 1);
    world.open();
    world.until("delivery", ATTEMPTS, |w| w.taken("m1", "a@x") == 1);
}

#[test]
fn cre_13_cre_14_if_so_configured_it_is_refused_and_a_retry_is_a_new_message() {
    let mut world = World::cluster_with(3, reject);
    world.kill(1, Crash::DropAll);
    world.kill(2, Crash::DropAll);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 451);
    let heard = &world.clients[0].heard;
    assert!(heard.contains("451 4.4.0 Message failed to be made redundant"));
    assert!(world.view(0).messages.is_empty());
    // Nobody delivers it, whatever happens later.
    world.restart(0);
    world.start(1);
    world.start(2);
    world.run(TAKEOVER * 2);
    assert_eq!(world.taken("m1", "a@x"), 0);
    assert_eq!(world.sinks[0].connections, 0);
    // The sender tries again.
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(world.view(0).counters.accepted_unshadowed, 0);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    world.run(TAKEOVER * 2);
    assert_eq!(world.taken("m1", "a@x"), 1);
}

/// Every way in which an attempt fails has an event of its own with the
/// reason, and so has the end of all attempts.
#[test]
fn cre_15_every_failed_attempt_is_reported_with_its_reason() {
    let reasons = |prepare: &dyn Fn(&mut World)| -> Vec<String> {
        let mut world = started(2, |_| {});
        prepare(&mut world);
        let client = world.mail(0, "m1", &["a@x"]);
        world.until("an answer", ATTEMPTS, |w| w.answer(client).is_some());
        let said = world.said(0, EventKind::HaRedirectFail);
        assert!(said.iter().all(|(server, _)| server == "n2"), "{said:?}");
        let counted = world.view(0).counters.shadow_attempts_failed;
        assert_eq!(counted as usize + 1, said.len(), "{said:?}");
        said.into_iter().map(|(_, detail)| detail).collect()
    };
    let dead = reasons(&|w| w.kill(1, Crash::DropAll));
    assert_eq!(
        dead,
        [
            "attempt 1: connection refused",
            "attempt 2: connection refused",
            "2 attempts failed"
        ]
    );
    let cut = reasons(&|w| w.cut(Party::Node(0), Party::Node(1)));
    assert!(cut[0].contains("timed out"), "{cut:?}");
    let slow = reasons(&|w| w.nodes[1].disk_op = 1000 * SECOND);
    assert!(slow[0].starts_with("attempt 1: "), "{slow:?}");
    assert!(slow.iter().all(|why| !why.ends_with(": ")), "{slow:?}");
    // A peer that refuses.
    let mut world = World::cluster_with(2, |config| {
        config.shadow_redundancy_enabled = config.name == "n1";
    });
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let said = world.said(0, EventKind::HaRedirectFail);
    assert_eq!(said.len(), 3);
    assert_ne!(said[0].1, dead[0]);
    // None to be asked at all.
    let mut world = World::cluster(1);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert_eq!(
        world.said(0, EventKind::HaRedirectFail),
        [(String::new(), "no peer".to_owned())]
    );
}

#[test]
fn cre_16_the_copy_is_logged_before_the_receipt_and_at_its_holder() {
    let mut world = World::cluster(3);
    for n in 0..5 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
    }
    let events = &world.nodes[0].events;
    for receive in events.iter().filter(|e| e.event == EventKind::Receive) {
        let at = |kind| {
            let same = |e: &&_| same_message(e, kind, &receive.message);
            events.iter().position(|e| same(&e)).expect("it is logged")
        };
        assert!(at(EventKind::HaRedirect) < at(EventKind::Receive));
        let redirect = &events[at(EventKind::HaRedirect)];
        let holder = usize::from(redirect.server == "n3") + 1;
        let received = world.said(holder, EventKind::HaReceive);
        assert!(received.contains(&("n1".to_owned(), receive.message.clone())));
    }
    assert_eq!(world.count(0, EventKind::Receive), 5);
    assert_eq!(
        world.count(1, EventKind::HaReceive) + world.count(2, EventKind::HaReceive),
        5
    );
}

fn same_message(event: &mailproof_node::event::NodeEvent, kind: EventKind, message: &str) -> bool {
    event.event == kind && event.message == message
}

/// The peer is silent after the dot, the link is cut, the session breaks:
/// each counts as a failed attempt, and the configuration decides.
#[test]
fn cre_17_a_time_out_before_the_acknowledgement_is_a_failed_attempt() {
    let silent = |w: &mut World| w.nodes[1].disk_op = 1000 * SECOND;
    let cut = |w: &mut World| w.cut(Party::Node(0), Party::Node(1));
    let ends: [&dyn Fn(&mut World); 2] = [&silent, &cut];
    for end in ends {
        for refuse in [false, true] {
            let mut world = started(2, |config| {
                config.reject_message_on_shadow_failure = refuse;
            });
            end(&mut world);
            let client = world.mail(0, "m1", &["a@x"]);
            let begun = world.now;
            world.until("an answer", ATTEMPTS, |w| w.answer(client).is_some());
            let expected = if refuse { 451 } else { 250 };
            assert_eq!(world.answer(client), Some(expected));
            assert_eq!(world.view(0).counters.shadow_attempts_failed, 2);
            // Two attempts of 30 s at most.
            assert!(world.now < begun + 61 * SECOND);
        }
    }
}

#[test]
fn cre_18_cre_19_a_sender_that_is_gone_and_its_retry() {
    let mut world = started(2, |_| {});
    world.stall();
    // The copy is there, the primary's own disk is not done yet.
    world.nodes[0].disk_op = SECOND;
    let client = world.mail(0, "m1", &["a@x"]);
    world.until("the copy", SHORT, |w| w.count(1, EventKind::HaReceive) == 1);
    assert_eq!(world.answer(client), None);
    world.hang_up(client);
    world.nodes[0].disk_op = 50_000;
    world.until("it is processed", SHORT, |w| {
        w.count(0, EventKind::Receive) == 1
    });
    // The sender, who knows nothing, sends it again: another message with
    // another copy.
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    let shadows = world.view(1).shadows;
    assert_eq!(shadows.len(), 2);
    assert_ne!(shadows[0].origin.sequence, shadows[1].origin.sequence);
    assert_eq!(shadows[0].message_id, shadows[1].message_id);
    world.open();
    world.until("both are processed", ATTEMPTS, |w| {
        w.taken("m1", "a@x") == 2
    });
    world.until("the end of it", TAKEOVER, World::settled);
    assert_eq!(world.count(1, EventKind::HaDiscard), 2);
    assert_eq!(world.takeovers(1), 0);
}

#[test]
fn cre_20_mail_submitted_at_a_mailbox_server_gets_a_copy() {
    let mut world = World::cluster_with(2, |config| {
        if config.name == "n1" {
            config.role = Role::Mailbox;
            config.local_domains = vec!["local.example".to_owned()];
        }
    });
    world.stall();
    let client = world.client(0);
    world.send(
        client,
        "EHLO c\r\nMAIL FROM:<user@local.example>\r\nRCPT TO:<a@x>\r\n\
         RCPT TO:<other@local.example>\r\nDATA\r\n",
    );
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    world.send(client, &content("m1"));
    world.until("the answer", SHORT, |w| w.answer(client).is_some());
    assert_eq!(world.answer(client), Some(250));
    assert_eq!(world.held(1), ["m1"]);
    assert_eq!(world.view(1).shadows[0].sender, "user@local.example");
    // The server is lost; what was submitted is not.
    world.wipe(0);
    world.open();
    world.run(TAKEOVER + Duration::from_secs(600));
    assert_eq!(world.taken("m1", "a@x"), 1);
}

//! Administration and pressure (ADM), and what of them touches copies
//! (CRE-23, CRE-24).

mod world;

use std::time::Duration;

use mailproof_node::Config;
use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;
use mailproof_node::mark::Mark;
use world::cluster::{POLL, SHORT, TAKEOVER};
use world::{Party, World};

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn adm_01_shadow_queues_are_listed_by_primary_with_their_count() {
    let mut world = World::stalled(3);
    // n3 holds for both others.
    world.kill(1, Crash::DropAll);
    for id in ["m1", "m2"] {
        assert_eq!(world.deliver(0, id, &["a@x"]), 250);
    }
    world.kill(0, Crash::DropAll);
    world.start(1);
    world.run(Duration::from_secs(1));
    for id in ["k1", "k2", "k3"] {
        assert_eq!(world.deliver(1, id, &["a@x"]), 250);
    }
    let view = world.view(2);
    let shadow = |q: &&mailproof_node::view::QueueRow| q.delivery_type == "ShadowRedundancy";
    let rows: Vec<(String, String, u64)> = view
        .queues
        .iter()
        .filter(shadow)
        .map(|q| {
            (
                q.identity.clone(),
                q.next_hop_domain.clone(),
                q.message_count,
            )
        })
        .collect();
    let named: Vec<(&str, u64)> = rows.iter().map(|r| (r.1.as_str(), r.2)).collect();
    assert_eq!(named, [("n1", 2), ("n2", 3)]);
    assert!(
        rows.iter().all(|r| r.0.starts_with("n3\\Shadow\\")),
        "{rows:?}"
    );
    assert_ne!(rows[0].0, rows[1].0);
    // A count that falls is seen.
    world.open();
    world.until("n2 is done", TAKEOVER / 2, |w| w.view(2).shadows.len() == 2);
    let view = world.view(2);
    let left: Vec<u64> = view
        .queues
        .iter()
        .filter(shadow)
        .map(|q| q.message_count)
        .collect();
    assert_eq!(left, [2]);
}

#[test]
fn adm_02_cre_23_redirected_mail_is_protected_by_its_new_owner_and_shadows_stay() {
    let mut world = World::stalled(4);
    for id in ["m1", "m2", "m3"] {
        assert_eq!(world.deliver(0, id, &["a@x", "b@x"]), 250);
    }
    for n in 0..12 {
        assert_eq!(world.deliver(1 + n % 3, &format!("k{n}"), &["a@x"]), 250);
    }
    let shadows = world.held(0);
    assert!(!shadows.is_empty(), "it holds some for others");
    world.redirect(0, "n3");
    assert_eq!(world.view(0).redirected_to, "n3");
    world.until("it is empty", SHORT, |w| w.view(0).messages.is_empty());
    // The new owner has them, with copies elsewhere, before it answered.
    let ours = |w: &World| -> Vec<mailproof_node::view::MessageRow> {
        let messages = w.view(2).messages.into_iter();
        messages
            .filter(|m| m.x_mailproof.starts_with('m'))
            .collect()
    };
    assert_eq!(ours(&world).len(), 3);
    for message in ours(&world) {
        assert_eq!(message.shadowed_at.len(), 1, "{message:?}");
        assert_ne!(message.shadowed_at[0], "n1", "it takes no copies any more");
        assert!(!message.unshadowed);
    }
    // Its shadow queues were not moved; new mail and new copies are refused.
    assert_eq!(world.held(0), shadows);
    let client = world.client(0);
    world.send(client, "EHLO c\r\nMAIL FROM:<s@c>\r\n");
    world.until("the answer", SHORT, |w| {
        w.clients[client].codes().len() == 3
    });
    assert!(world.clients[client].heard.contains("\r\n451 4.3.2 "));
    for n in 0..9 {
        assert_eq!(world.deliver(1, &format!("l{n}"), &["a@x"]), 250);
    }
    assert_eq!(world.held(0), shadows);
    assert_eq!(world.view(1).counters.accepted_unshadowed, 0);
    assert!(world.view(1).counters.shadow_attempts_failed > 0);
    // The first owner's copies go, and each message arrives once.
    world.open();
    world.until("the end of it", TAKEOVER, World::settled);
    for id in ["m1", "m2", "m3"] {
        for recipient in ["a@x", "b@x"] {
            assert_eq!(world.taken(id, recipient), 1, "{id} {recipient}");
        }
    }
    for n in 0..4 {
        assert_eq!(world.takeovers(n), 0);
    }
    assert_eq!(world.count(0, EventKind::Redirect), 1);
    assert_eq!(world.marked(Mark::Redirected), 1);
}

/// The new owner is lost after a redirect: the holder of its copy delivers.
#[test]
fn cre_23_redirected_mail_survives_its_new_owner() {
    let mut world = World::stalled(3);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.redirect(0, "n2");
    // n1 takes no copies: n3 has it.
    world.until("the new copy", SHORT, |w| w.view(0).messages.is_empty());
    world.wipe(1);
    world.open();
    world.until("delivery", TAKEOVER + POLL, |w| w.taken("m1", "a@x") == 1);
    assert_eq!(world.takeovers(2), 1);
    // A stranger is no target.
    world.redirect(2, "nobody");
    assert_eq!(world.view(2).redirected_to, "");
    assert_eq!(world.count(2, EventKind::Redirect), 0);
}

/// What is under way at the redirect and fails, and what waits for a record.
#[test]
fn a_redirect_catches_what_was_under_way() {
    let mut world = World::cluster(3);
    world.sinks[0].rule(".", "");
    assert_eq!(world.deliver(0, "m1", &["a@x", "b@x"]), 250);
    world.until("the content is out", SHORT, |w| {
        w.sinks[0].lines.iter().any(|l| l == ".")
    });
    world.redirect(0, "n2");
    world.run(Duration::from_secs(1));
    assert_eq!(world.view(0).messages.len(), 1, "it is being sent");
    world.cut(Party::Node(0), Party::Sink(0));
    world.open();
    world.until("delivery by the other", TAKEOVER, |w| {
        w.taken("m1", "a@x") >= 1 && w.view(0).messages.is_empty()
    });
    assert!(world.count(1, EventKind::Receive) == 1);
}

#[test]
fn adm_04_values_outside_the_documented_ranges_are_refused() {
    let read = |line: &str| {
        let text = format!("name = \"n1\"\nlisten = \"127.0.0.1:25\"\nstore = \"s\"\n{line}\n");
        Config::from_toml(&text, "f").map_err(|e| e.to_string())
    };
    // As the documents have them, not as our table does.
    for (key, bad, good) in [
        (
            "shadow-heartbeat-frequency",
            ["0 s", "2 d"],
            ["1 s", "24 h"],
        ),
        ("shadow-resubmit-time-span", ["0 s", "2 d"], ["1 s", "1 d"]),
        (
            "shadow-message-auto-discard-interval",
            ["4999 ms", "2161 h"],
            ["5 s", "90 d"],
        ),
        (
            "message-expiration-timeout",
            ["4 s", "91 d"],
            ["5 s", "90 d"],
        ),
        ("connection-timeout", ["0 s", "25 h"], ["6 min", "1 d"]),
    ] {
        for value in bad {
            let error = read(&format!("{key} = \"{value}\"")).unwrap_err();
            assert!(error.starts_with("f:4:") && error.contains(key), "{error}");
        }
        for value in good {
            read(&format!("{key} = \"{value}\"")).unwrap();
        }
    }
    for key in [
        "max-retries-for-local-site-shadow",
        "max-retries-for-remote-site-shadow",
    ] {
        for bad in ["-1", "256"] {
            read(&format!("{key} = {bad}")).unwrap_err();
        }
        for good in ["0", "255"] {
            read(&format!("shadow-attempt-timeout = \"1 s\"\n{key} = {good}")).unwrap();
        }
    }
    read("shadow-message-preference-setting = \"remote\"").unwrap_err();
}

#[test]
fn adm_05_an_idle_limit_that_is_not_below_the_absolute_one_is_refused() {
    let read = |idle: &str, absolute: &str| {
        let text = format!(
            "name = \"n1\"\nlisten = \"127.0.0.1:25\"\nstore = \"s\"\n\
             connection-inactivity-timeout = \"{idle}\"\nconnection-timeout = \"{absolute}\"\n"
        );
        Config::from_toml(&text, "f").map_err(|e| e.to_string())
    };
    for (idle, absolute) in [("10 min", "10 min"), ("11 min", "10 min"), ("1 d", "1 d")] {
        let error = read(idle, absolute).unwrap_err();
        assert!(error.contains("connection-inactivity-timeout"), "{error}");
    }
    read("599 s", "10 min").unwrap();
}

/// A node whose memory for content ends early: medium at 30 KiB, high at 45.
fn small(config: &mut Config) {
    config.max_message_bytes = 64 << 10;
    config.body_budget_bytes = 64 << 10;
    config.pressure_medium_percent = 47;
    config.pressure_high_percent = 70;
}

/// One message with a body of so many lines of 62 bytes, to a node; the code
/// of the first refusal, or of the end of data.
fn send_big(world: &mut World, n: usize, id: &str, lines: usize) -> u16 {
    let client = world.client(n);
    world.send(
        client,
        "EHLO c\r\nMAIL FROM:<s@c>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
    );
    world.until("354 or not", SHORT, |w| {
        w.clients[client].codes().len() >= 5
    });
    let codes = world.clients[client].codes();
    if codes[4] != 354 {
        return codes[2];
    }
    let text = format!(
        "X-Mailproof: {id}\r\n\r\n{}.\r\n",
        format!("{}\r\n", "y".repeat(60)).repeat(lines)
    );
    world.send(client, &text);
    world.until("the answer", Duration::from_secs(200), |w| {
        w.answer(client).is_some()
    });
    world.answer(client).expect("it is there")
}

#[test]
fn cre_24_adm_06_medium_pressure_refuses_copies_high_pressure_all_mail() {
    // n3 sends its mail through n2, which is small.
    let mut world = World::cluster_with(3, |config| {
        if config.name == "n2" {
            small(config);
        }
        if config.name == "n3" {
            config.routes[0].next_hops = vec![world::node_address(1)];
        }
    });
    world.stall();
    assert_eq!(world.view(1).pressure, "normal");
    // Without pressure it takes copies.
    for n in 0..4 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
    }
    let before = world.held(1).len();
    assert!(before > 0);
    // Half of its memory: medium.
    assert_eq!(send_big(&mut world, 1, "big", 500), 250);
    for n in 0..4 {
        assert_eq!(world.deliver(0, &format!("k{n}"), &["a@x"]), 250);
    }
    assert_eq!(world.held(1).len(), before, "no copy was taken");
    assert_eq!(world.view(1).pressure, "medium");
    let refused = world.view(1).counters.pressure_refused_shadows;
    assert!(refused > 0);
    // To the primary each is a failed attempt, and it asked another.
    let failed: Vec<(String, String)> = world
        .said(0, EventKind::HaRedirectFail)
        .into_iter()
        .filter(|(server, detail)| server == "n2" && detail.contains("452 4.3.1"))
        .collect();
    assert_eq!(failed.len() as u64, refused);
    assert_eq!(world.view(0).counters.shadow_attempts_failed, refused);
    assert_eq!(world.view(0).counters.accepted_unshadowed, 0);
    // Strangers are refused, peers are not.
    assert_eq!(send_big(&mut world, 1, "stranger", 1), 452);
    assert_eq!(world.deliver(2, "peer", &["a@x"]), 250);
    world.until("the peer's mail", SHORT, |w| {
        let messages = w.view(1).messages;
        messages.iter().any(|m| m.x_mailproof == "peer")
    });
    // More of a peer's mail, up to high: then it is refused as well.
    assert_eq!(send_big(&mut world, 2, "more", 300), 250);
    world.until("high", SHORT, |w| {
        w.view(1).messages.iter().any(|m| m.x_mailproof == "more")
    });
    assert_eq!(world.deliver(2, "late", &["a@x"]), 250);
    world.run(Duration::from_secs(5));
    assert_eq!(world.view(1).pressure, "high");
    let messages = world.view(1).messages;
    assert!(messages.iter().all(|m| m.x_mailproof != "late"));
    assert_eq!(world.view(2).messages.len(), 1, "it waits at the peer");
    assert!(world.view(1).counters.pressure_refused_mail >= 2);
    let levels: Vec<String> = world
        .said(1, EventKind::Pressure)
        .into_iter()
        .map(|(_, detail)| detail)
        .collect();
    assert_eq!(levels.len(), 2, "{levels:?}");
    assert!(levels[0].starts_with("medium: memory at "), "{levels:?}");
    assert!(levels[1].starts_with("high: memory at "), "{levels:?}");
    assert_eq!(world.marked(Mark::PressureMedium), 1);
    assert_eq!(world.marked(Mark::PressureHigh), 1);
    // It passes.
    world.open();
    world.until("delivery of all", TAKEOVER, |w| {
        ["big", "peer", "more", "late", "m0", "k3"]
            .iter()
            .all(|id| w.taken(id, "a@x") == 1)
    });
    world.until("the end of it", TAKEOVER, World::settled);
    assert_eq!(world.taken("stranger", "a@x"), 0);
    assert_eq!(world.deliver(1, "after", &["a@x"]), 250);
    assert_eq!(world.view(1).pressure, "normal");
}

/// The number of messages and the size of the store count as memory does.
#[test]
fn a_full_queue_and_a_full_store_are_pressure_too() {
    let mut world = World::cluster_with(1, |config| config.queue_budget_messages = 4);
    world.stall();
    for n in 0..3 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
    }
    assert_eq!(send_big(&mut world, 0, "m3", 1), 452);
    let said = &world.said(0, EventKind::Pressure)[0].1;
    assert!(said.starts_with("medium: queue at 75 %"), "{said}");
    let mut world = World::cluster_with(1, |config| {
        config.store_budget_bytes = 1 << 20;
    });
    world.stall();
    let mut taken = 0;
    while send_big(&mut world, 0, &format!("m{taken}"), 500) == 250 {
        taken += 1;
        assert!(taken < 40, "{}", world.picture());
    }
    assert!(taken > 10, "{taken}");
    let said = &world.said(0, EventKind::Pressure)[0].1;
    assert!(said.starts_with("medium: store at "), "{said}");
}

#[test]
fn adm_08_a_message_that_is_too_old_is_returned() {
    let mut world = World::stalled(2);
    world.sinks[0].rules.clear();
    world.sinks[0].rule("RCPT TO:<a@x>", "451 4.2.0 later\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x", "b@x"]), 250);
    world.until("the other part", SHORT, |w| w.taken("m1", "b@x") == 1);
    let dsns = |w: &World| -> Vec<String> {
        // A report of delay may have gone before.
        let failed = |t: &&world::sink::Taken| t.content.contains("Action: failed");
        let taken = w.sinks[0].taken.iter().filter(failed);
        taken.map(|t| t.content.clone()).collect()
    };
    world.run(2 * DAY - Duration::from_secs(60));
    assert_eq!(world.view(0).messages.len(), 1);
    assert!(dsns(&world).is_empty());
    world.run(Duration::from_secs(120) + POLL);
    let returned = dsns(&world);
    assert_eq!(returned.len(), 1);
    assert!(returned[0].contains("Final-Recipient: rfc822; a@x"));
    assert!(returned[0].contains("Status: 5.4.7"));
    assert!(!returned[0].contains("b@x"));
    world.until("the end of it", POLL * 2, World::settled);
    world.run(DAY);
    assert_eq!(world.taken("m1", "a@x"), 0);
    assert_eq!(dsns(&world).len(), 1);
}

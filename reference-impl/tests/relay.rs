//! One node between a client and a next hop.

mod world;

use std::time::Duration;

use mailproof_node::disk::Crash;
use mailproof_node::event::EventKind;
use world::{Party, World, config};

const SHORT: Duration = Duration::from_secs(20);

#[test]
fn a_message_passes_with_one_trace_field_on_top() {
    let mut world = World::cluster(1);
    assert_eq!(world.deliver(0, "m1", &["a@x.example"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x.example") == 1);
    let content = &world.sinks[0].taken[0].content;
    assert!(
        content
            .starts_with("Received: from client.example ([127.0.3.1])\r\n\tby n1 with ESMTP id 1.")
    );
    let (_, rest) = content.split_once("+0000\r\n").unwrap();
    assert_eq!(rest, world::content("m1").trim_end_matches(".\r\n"));
    world.until("an empty queue", SHORT, |w| w.view(0).messages.is_empty());
    assert_eq!(world.count(0, EventKind::HaRedirectFail), 1);
    assert_eq!(world.view(0).counters.accepted_unshadowed, 1);
    assert_eq!(world.view(0).body_bytes, 0);
}

#[test]
fn a_pipelined_session_cut_at_every_byte_gets_its_replies_in_order() {
    for piece in [1, 2, 3, 7] {
        let mut world = World::cluster(1);
        world.piece = piece;
        let client = world.client(0);
        let group = "MAIL FROM:<>\r\nRCPT TO:<a@x.example>\r\nRCPT TO:<bad>\r\nDATA\r\n";
        world.send(client, &format!("EHLO c\r\nNOOP\r\n{group}"));
        world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
        world.send(client, &format!("{}RSET\r\n{group}", world::content("m1")));
        world.until("a second 354", SHORT, |w| {
            w.clients[client]
                .codes()
                .iter()
                .filter(|c| **c == 354)
                .count()
                == 2
        });
        world.send(client, &format!("{}QUIT\r\nNOOP\r\n", world::content("m2")));
        world.until("the end", SHORT, |w| w.clients[client].closed);
        assert_eq!(
            world.clients[client].codes(),
            [
                220, 250, 250, 250, 250, 553, 354, 250, 250, 250, 250, 553, 354, 250, 221
            ]
        );
        world.until("delivery", SHORT, |w| {
            w.taken("m1", "a@x.example") == 1 && w.taken("m2", "a@x.example") == 1
        });
        assert_eq!(world.sinks[0].taken[0].sender, "");
    }
}

#[test]
fn only_listed_networks_may_relay() {
    let mut world = World::cluster_with(1, |config| config.relay_from.clear());
    let client = world.client(0);
    world.send(
        client,
        "EHLO c\r\nMAIL FROM:<s@c>\r\nRCPT TO:<a@x.example>\r\nDATA\r\nQUIT\r\n",
    );
    world.until("the end", SHORT, |w| w.clients[client].closed);
    assert_eq!(
        world.clients[client].codes(),
        [220, 250, 250, 550, 503, 221]
    );
}

#[test]
fn the_order_of_commands() {
    let mut world = World::cluster(1);
    let rows = [
        ("RSET", 250),
        ("NOOP x", 250),
        ("VRFY a", 252),
        ("MAIL FROM:<a@b>", 503),
        ("EHLO", 501),
        ("HELO c", 250),
        ("MAIL FROM:<a@b> SIZE=1", 555),
        ("eHlO c", 250),
        ("RCPT TO:<a@b>", 503),
        ("DATA", 503),
        ("MAIL FROM:<a@b> FOO=1", 555),
        ("MAIL FROM:<a@b> SIZE=99999999999", 552),
        ("mAiL fRoM:<@x:a@b> body=8bitmime", 250),
        ("MAIL FROM:<a@b>", 503),
        ("DATA", 503),
        ("RCPT TO:<PostMaster>", 250),
        ("RCPT TO:<\"a b\"@x>", 250),
        ("EHLO", 501),
        ("RCPT TO:<c@x>", 250),
        ("DATA now", 501),
        ("RSET now", 501),
        ("RSET", 250),
        ("DATA", 503),
        ("MAIL FROM:<a@b>", 250),
        ("RCPT TO:<c@x>", 250),
        ("EHLO c", 250),
        ("DATA", 503),
        ("WHAT", 500),
        ("", 500),
        ("EXPN a", 502),
        ("MAIL FROM:<ä@b>", 553),
        ("MAIL FROM:<ä@b> SMTPUTF8", 250),
        ("QUIT now", 501),
    ];
    let client = world.client(0);
    for (line, _) in rows {
        world.send(client, &format!("{line}\r\n"));
    }
    world.send(client, &format!("{}\r\n", "x".repeat(5000)));
    world.send(client, "NOOP\nNOOP\r\n");
    world.send(client, "QUIT\r\n");
    world.until("the end", SHORT, |w| w.clients[client].closed);
    let mut expected = vec![220];
    expected.extend(rows.map(|(_, code)| code));
    expected.extend([500, 500, 250, 221]);
    assert_eq!(world.clients[client].codes(), expected);
    for reply in &world.clients[client].replies() {
        for line in reply.split("\r\n") {
            assert!(line.len() <= 510, "{line}");
        }
    }
}

#[test]
fn nothing_is_smuggled() {
    for fake in [
        "\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\n.\r", "\r\n.\r",
    ] {
        let mut world = World::cluster(1);
        let client = world.client(0);
        world.send(
            client,
            "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
        );
        world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
        world.send(
            client,
            &format!("A: b\r\n\r\ntext{fake}MAIL FROM:<e@b>\r\nRCPT TO:<v@x>\r\nDATA\r\nevil\r\n.\r\nQUIT\r\n"),
        );
        world.until("the end", SHORT, |w| w.clients[client].closed);
        assert_eq!(
            world.clients[client].codes(),
            [220, 250, 250, 250, 354, 554, 221],
            "{fake:?}"
        );
        world.run(SHORT);
        assert!(world.sinks[0].taken.is_empty(), "{fake:?}");
    }
}

#[test]
fn dots_and_long_lines_come_through() {
    let mut world = World::cluster(1);
    let long = "y".repeat(5000);
    let client = world.client(0);
    world.send(
        client,
        "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
    );
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    world.send(
        client,
        &format!("A: b\r\n\r\n..\r\n...a\r\n{long}\r\n..\r\n.\r\n"),
    );
    world.until("delivery", SHORT, |w| w.sinks[0].taken.len() == 1);
    assert!(
        world.sinks[0].taken[0]
            .content
            .ends_with(&format!("A: b\r\n\r\n.\r\n..a\r\n{long}\r\n.\r\n"))
    );
}

#[test]
fn mixed_recipients_are_settled_one_by_one() {
    let mut world = World::cluster(1);
    world.sinks[0].rule("RCPT TO:<no@", "550 5.1.1 unknown\r\n");
    world.sinks[0].rule("RCPT TO:<later@", "451 4.2.0 busy\r\n");
    assert_eq!(world.deliver(0, "m1", &["yes@x", "no@x", "later@x"]), 250);
    world.until("two attempts", Duration::from_secs(100), |w| {
        w.sinks[0]
            .lines
            .iter()
            .filter(|l| l.starts_with("RCPT TO:<later@"))
            .count()
            == 2
    });
    assert_eq!(world.taken("m1", "yes@x"), 1);
    let sent = |line: &str, w: &World| w.sinks[0].lines.iter().filter(|l| *l == line).count();
    assert_eq!(sent("RCPT TO:<yes@x>", &world), 1);
    assert_eq!(sent("RCPT TO:<no@x>", &world), 1);
    let dsn: Vec<_> = world.sinks[0]
        .taken
        .iter()
        .filter(|t| t.sender.is_empty())
        .collect();
    assert_eq!(dsn.len(), 1);
    assert_eq!(dsn[0].recipients, ["s@client.example"]);
    for part in [
        "multipart/report; report-type=delivery-status",
        "Final-Recipient: rfc822; no@x",
        "Action: failed",
        "Status: 5.1.1",
        "Diagnostic-Code: smtp; 550 5.1.1 unknown",
        "X-Mailproof: m1",
    ] {
        assert!(dsn[0].content.contains(part), "{part}\n{}", dsn[0].content);
    }
    world.sinks[0].rules.clear();
    world.until("the rest", Duration::from_secs(100), |w| {
        w.taken("m1", "later@x") == 1
    });
    world.run(Duration::from_secs(2000));
    assert_eq!(world.taken("m1", "yes@x"), 1);
    assert_eq!(world.sinks[0].taken.len(), 3);
    assert!(world.view(0).messages.is_empty());
}

#[test]
fn the_null_sender_gets_no_dsn() {
    let mut world = World::cluster(1);
    world.sinks[0].rule("RCPT", "550 5.1.1 unknown\r\n");
    let client = world.client(0);
    world.send(
        client,
        "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
    );
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    world.send(client, &world::content("m1"));
    world.until("failure", SHORT, |w| w.count(0, EventKind::Fail) == 1);
    world.run(SHORT);
    assert!(world.view(0).messages.is_empty());
    assert_eq!(world.view(0).counters.dsns, 0);
}

#[test]
fn every_stage_of_refusal_is_retried_or_bounced() {
    let rows = [
        ("EHLO", "450 no\r\n"),
        ("MAIL", "450 no\r\n"),
        ("RCPT", "450 no\r\n"),
        ("DATA", "450 no\r\n"),
        (".", "450 no\r\n"),
        ("MAIL", "421 leaving\r\n"),
        ("RCPT", "552 full\r\n"),
        (".", "close"),
        ("MAIL", "close"),
        ("EHLO", "close"),
        ("MAIL", "nonsense\r\n"),
        ("MAIL", "250-a\r\n251 b\r\n"),
    ];
    for pipelining in [true, false] {
        for (line, reply) in rows {
            let mut world = World::cluster(1);
            if !pipelining {
                world.sinks[0].offers = vec![];
            }
            world.sinks[0].rule(line, reply);
            assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
            world.until("a deferral", SHORT, |w| w.count(0, EventKind::Defer) > 0);
            world.run(Duration::from_secs(5));
            world.sinks[0].rules.clear();
            assert_eq!(world.view(0).messages.len(), 1, "{line} {reply}");
            world.until("delivery", Duration::from_secs(200), |w| {
                w.taken("m1", "a@x") == 1
            });
            world.run(Duration::from_secs(500));
            assert_eq!(world.taken("m1", "a@x"), 1, "{line} {reply}");
            assert!(world.view(0).messages.is_empty());
        }
        for line in ["MAIL", "RCPT", "DATA", "."] {
            let mut world = World::cluster(1);
            if !pipelining {
                world.sinks[0].offers = vec![];
            }
            world.sinks[0].rule(line, "554 5.0.0 never\r\n");
            assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
            world.until("failure", SHORT, |w| w.count(0, EventKind::Fail) >= 1);
            world.sinks[0].rules.clear();
            world.until("a dsn or its end", Duration::from_secs(200), |w| {
                w.view(0).messages.is_empty()
            });
            assert_eq!(world.taken("m1", "a@x"), 0);
        }
    }
}

#[test]
fn the_second_hop_is_tried_when_the_first_is_down() {
    let mut config = config(0, 1);
    config.routes[0].next_hops = vec![world::sink_address(1), world::sink_address(0)];
    let mut world = World::new(vec![config]);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
}

#[test]
fn a_session_that_breaks_takes_the_idle_ones_with_it() {
    let mut config = config(0, 1);
    config.send_connection_inactivity_timeout = Duration::from_secs(5);
    config.send_connection_idle_time = Duration::from_secs(3600);
    let mut world = World::new(vec![config]);
    for id in ["m1", "m2"] {
        world.mail(0, id, &["a@x"]);
    }
    world.until("two deliveries", SHORT, |w| {
        w.taken("m1", "a@x") + w.taken("m2", "a@x") == 2
    });
    assert_eq!(world.sinks[0].connections, 2);
    // The host answers nothing on what was open, as after a loss of power.
    world.sinks[0].rule("MAIL", "");
    assert_eq!(world.deliver(0, "m3", &["a@x"]), 250);
    world.until("a deferral", SHORT, |w| w.count(0, EventKind::Defer) > 0);
    assert_eq!(world.marked(mailproof_node::mark::Mark::IdleDismissed), 1);
    world.sinks[0].rules.clear();
    world.until("delivery", Duration::from_secs(200), |w| {
        w.taken("m3", "a@x") == 1
    });
    assert_eq!(world.sinks[0].connections, 3);
}

#[test]
fn a_dead_route_waits_then_expires_with_a_dsn() {
    let mut config = config(0, 1);
    config.routes[0].domain = "x".to_owned();
    config.routes[0].next_hops = vec![world::sink_address(1)];
    let rest = mailproof_node::config::Route {
        domain: "*".to_owned(),
        next_hops: vec![world::sink_address(0)],
        ..config.routes[0].clone()
    };
    config.routes.push(rest);
    config.message_expiration_timeout = Duration::from_secs(3600);
    let mut world = World::new(vec![config]);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(Duration::from_secs(3000));
    let view = world.view(0);
    assert_eq!(view.queues[0].status, "Retry");
    assert!(view.queues[0].next_retry.is_some());
    assert!(world.sinks[0].taken.is_empty());
    world.until("the dsn", Duration::from_secs(1800), |w| {
        w.sinks[0].taken.len() == 1
    });
    assert!(world.sinks[0].taken[0].content.contains("5.4.7"));
    world.until("an empty queue", SHORT, |w| w.view(0).messages.is_empty());
}

#[test]
fn loops_end() {
    let mut world = World::cluster(1);
    let client = world.client(0);
    world.send(
        client,
        "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
    );
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    world.send(
        client,
        &format!("{}\r\ntext\r\n.\r\n", "Received: by x\r\n".repeat(100)),
    );
    world.until("an answer", SHORT, |w| w.answer(client).is_some());
    assert_eq!(world.answer(client), Some(554));
}

#[test]
fn too_much_is_refused_and_the_session_survives() {
    let mut world = World::cluster_with(1, |config| {
        config.max_message_bytes = 64 << 10;
        config.body_budget_bytes = 100 << 10;
        config.max_recipients = 100;
    });
    let client = world.client(0);
    let mut text = "EHLO c\r\nMAIL FROM:<a@b>\r\n".to_owned();
    for n in 0..101 {
        text += &format!("RCPT TO:<r{n}@x>\r\n");
    }
    world.send(client, &(text + "DATA\r\n"));
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    let codes = world.clients[client].codes();
    assert_eq!(codes.iter().filter(|c| **c == 452).count(), 1);
    world.send(client, &world::content("m1"));
    world.until("delivery", SHORT, |w| w.taken("m1", "r99@x") == 1);
    assert_eq!(world.taken("m1", "r100@x"), 0);

    // Over the size limit: 552 after the data, and the session goes on.
    let big = "z".repeat(70 << 10);
    let open = "MAIL FROM:<a@b>\r\nRCPT TO:<a@x>\r\nDATA\r\n";
    let client = world.client(0);
    world.send(client, &format!("EHLO c\r\n{open}"));
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    world.send(client, &format!("{big}\r\n.\r\n"));
    world.until("552", SHORT, |w| w.answer(client) == Some(552));

    // The budget: a queue that cannot drain fills it, then 452.
    world.sinks[0].listening = false;
    world.cut(Party::Node(0), Party::Sink(0));
    let filler = "z".repeat(60 << 10);
    world.send(client, open);
    world.run(Duration::from_secs(1));
    world.send(client, &format!("{filler}\r\n.\r\n{open}"));
    world.run(Duration::from_secs(1));
    world.send(client, &format!("{filler}\r\n.\r\nQUIT\r\n"));
    world.until("the end", SHORT, |w| w.clients[client].closed);
    let codes = world.clients[client].codes();
    assert_eq!(codes[codes.len() - 2..], [452, 221], "{codes:?}");
}

#[test]
fn an_idle_client_is_sent_away() {
    let mut world = World::cluster(1);
    let client = world.client(0);
    world.run(Duration::from_secs(299));
    assert!(!world.clients[client].closed);
    world.until("421", SHORT, |w| w.clients[client].closed);
    assert_eq!(world.clients[client].codes(), [220, 421]);
}

#[test]
fn a_session_that_breaks_before_the_dot_leaves_nothing() {
    let mut world = World::cluster(1);
    let client = world.client(0);
    world.send(
        client,
        "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
    );
    world.until("354", SHORT, |w| w.clients[client].codes().contains(&354));
    world.send(client, "some text\r\n");
    world.run(Duration::from_secs(1));
    world.hang_up(client);
    world.run(SHORT);
    assert!(world.sinks[0].taken.is_empty());
    assert_eq!(world.view(0).body_bytes, 0);
}

#[test]
fn a_refused_sender_is_not_taken_for_refused_recipients() {
    for (line, code) in [("MAIL", "450 4.7.1 not now\r\n"), ("MAIL", "451 busy\r\n")] {
        let mut world = World::cluster(1);
        world.sinks[0].rule(line, code);
        world.sinks[0].rule("RCPT", "503 5.5.1 MAIL first\r\n");
        world.sinks[0].rule("DATA", "503 5.5.1 MAIL first\r\n");
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.until("a deferral", SHORT, |w| w.count(0, EventKind::Defer) > 0);
        world.sinks[0].rules.clear();
        world.until("delivery", Duration::from_secs(200), |w| {
            w.taken("m1", "a@x") == 1
        });
        assert_eq!(world.view(0).counters.failed, 0);
    }
}

/// Kills the node at every step of one relayed message, under the disk states
/// that may be left: what was answered 250 is delivered, at most once more
/// than needed.
#[test]
fn a_crash_at_every_step_loses_nothing_acknowledged() {
    let mut reached = 0;
    for at in 1.. {
        let mut ended = true;
        for crash in [
            Crash::DropAll,
            Crash::Prefix(1),
            Crash::Prefix(usize::MAX),
            Crash::Subset(at),
        ] {
            let mut world = World::cluster(1);
            let client = world.client(0);
            world.send(
                client,
                "EHLO c\r\nMAIL FROM:<s@c>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
            );
            let mut sent = false;
            for _ in 0..at {
                if !sent && world.clients[client].codes().contains(&354) {
                    world.send(client, &world::content("m1"));
                    sent = true;
                }
                if !world.step(world.now + 1_000_000_000) {
                    break;
                }
            }
            ended &= world.taken("m1", "a@x") == 1 && world.view(0).messages.is_empty();
            let acknowledged = world.answer(client) == Some(250);
            world.kill(0, crash);
            // What was on its way to the next hop still arrives there.
            world.run(Duration::from_secs(1));
            let before = world.taken("m1", "a@x");
            world.start(0);
            world.run(Duration::from_secs(300));
            let copies = world.taken("m1", "a@x");
            if acknowledged {
                assert!(
                    copies >= 1,
                    "lost at step {at}, {crash:?}\n{}",
                    world.picture()
                );
                reached += 1;
            }
            assert!(
                copies <= before + 1 && copies <= 2,
                "step {at}, {crash:?}: {copies}"
            );
            assert!(world.view(0).messages.is_empty());
        }
        if ended {
            break;
        }
    }
    assert!(reached > 10, "{reached}");
}

#[test]
fn a_drain_answers_421_and_finishes() {
    let mut world = World::cluster(1);
    let idle = world.client(0);
    world.run(Duration::from_secs(1));
    let busy = world.mail(0, "m1", &["a@x"]);
    world.drain(0);
    world.until("answers", SHORT, |w| {
        w.clients[idle].closed && w.clients[busy].closed
    });
    assert_eq!(world.clients[idle].codes(), [220, 421]);
    let codes = world.clients[busy].codes();
    assert_eq!(codes.last(), Some(&421));
    world.until("drained", SHORT, |w| {
        w.nodes[0].node.as_ref().unwrap().drained()
    });
}

/// After a 421 nothing more is said, not even QUIT: replies may be due that
/// the server will not send, and it waits for nothing.
#[test]
fn a_server_that_leaves_is_left_without_a_word() {
    for (line, reply) in [
        ("MAIL", "421 4.3.2 leaving\r\n"),
        ("RCPT", "421 4.3.2 leaving\r\n"),
        ("DATA", "421 4.3.2 leaving\r\n"),
        (".", "421 4.3.2 leaving\r\n"),
        ("EHLO", "421 4.3.2 leaving\r\n"),
    ] {
        let mut world = World::cluster(1);
        world.sinks[0].rule(line, reply);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.run(SHORT);
        let lines = &world.sinks[0].lines;
        assert!(lines.iter().any(|l| l.starts_with(line)), "{lines:?}");
        assert!(!lines.contains(&"QUIT".to_owned()), "{line}: {lines:?}");
        world.sinks[0].rules.clear();
        world.until("delivery", Duration::from_secs(200), |w| {
            w.taken("m1", "a@x") >= 1
        });
    }
}

//! What a relay owes the next hop and its senders (RFC 5321, 2920, 6152,
//! 6531), rule by rule, against a scripted next hop. Mail exchangers are in
//! `rules_mx.rs`, reports in `rules_dsn.rs`.

mod world;

use std::time::Duration;

use mailproof_node::Config;
use mailproof_node::disk::Crash;
use world::{World, config};

const SHORT: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

/// How often the next hop was sent a line that begins so.
fn seen(world: &World, start: &str) -> usize {
    let lines = world.sinks[0].lines.iter();
    lines.filter(|line| line.starts_with(start)).count()
}

/// A world whose next hop answers `line` by `reply`.
fn answering(line: &str, reply: &str) -> World {
    let mut world = World::cluster(1);
    if line == "greeting" {
        world.sinks[0].greeting = reply.to_owned();
    } else {
        world.sinks[0].rule(line, reply);
    }
    world
}

fn mend(world: &mut World) {
    world.sinks[0].rules.clear();
    world.sinks[0].greeting = "220 sink ESMTP\r\n".to_owned();
}

const STAGES: [&str; 6] = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "."];

#[test]
fn c001_a_temporary_failure_at_any_stage_is_retried() {
    for stage in STAGES {
        let mut world = answering(stage, "451 4.3.0 not now\r\n");
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.run(HOUR);
        assert_eq!(world.view(0).messages.len(), 1, "{stage}");
        assert_eq!(world.taken("m1", "a@x"), 0, "{stage}");
        mend(&mut world);
        world.until("delivery", HOUR, |w| w.taken("m1", "a@x") == 1);
        world.run(HOUR);
        assert_eq!(
            (world.taken("m1", "a@x"), world.dsns().len()),
            (1, 0),
            "{stage}"
        );
    }
}

#[test]
fn c002_retries_wait_as_configured() {
    let mut world = answering("RCPT", "451 4.3.0 not now\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(Duration::from_secs(50));
    assert_eq!(seen(&world, "RCPT"), 1);
    world.run(Duration::from_secs(20));
    assert_eq!(seen(&world, "RCPT"), 2);
    // 1 min four times, 5 min six times, then every 10 min.
    world.run(Duration::from_secs(180));
    assert_eq!(seen(&world, "RCPT"), 5);
    world.run(HOUR);
    let before = seen(&world, "RCPT");
    world.run(HOUR);
    assert_eq!(seen(&world, "RCPT") - before, 6);
}

#[test]
fn c003_what_is_too_old_is_returned() {
    let mut world = answering("RCPT TO:<a@", "451 4.3.0 not now\r\n");
    world.nodes[0].config.delay_notification_timeout = Duration::ZERO;
    world.kill(0, Crash::DropAll);
    world.start(0);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(47 * HOUR);
    assert_eq!(world.dsns().len(), 0);
    world.run(2 * HOUR);
    assert_eq!((world.dsns().len(), world.view(0).messages.len()), (1, 0));
}

#[test]
fn c004_a_refused_sender_is_no_verdict_on_the_next_message() {
    let mut world = answering("MAIL FROM:<s@", "550 5.7.1 not you\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(SHORT);
    mend(&mut world);
    assert_eq!(world.deliver(0, "m2", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m2", "a@x") == 1);
}

#[test]
fn c012_a_next_hop_that_falls_silent_is_left_after_ten_minutes() {
    for stage in STAGES {
        let mut world = answering(stage, "");
        // Else the reply to the next command would pass for the missing one.
        world.sinks[0].offers.retain(|offer| *offer != "PIPELINING");
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.run(Duration::from_secs(599));
        assert_eq!(world.sinks[0].connections, 1, "{stage}");
        mend(&mut world);
        world.until("delivery", HOUR, |w| w.taken("m1", "a@x") == 1);
    }
}

#[test]
fn c013_a_connection_lost_at_any_stage_loses_nothing() {
    for stage in STAGES {
        let mut world = answering(stage, "close");
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.run(SHORT);
        mend(&mut world);
        world.until("delivery", HOUR, |w| w.taken("m1", "a@x") == 1);
        assert_eq!(world.dsns().len(), 0, "{stage}");
    }
}

#[test]
fn c014_unknown_codes_count_by_their_first_digit() {
    let mut world = answering(".", "259 well\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivered", SHORT, |w| w.view(0).messages.is_empty());
    assert_eq!(world.dsns().len(), 0);
    let mut world = answering("RCPT TO:<a@", "459 hm\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(HOUR);
    assert_eq!((world.view(0).messages.len(), world.dsns().len()), (1, 0));
    let mut world = answering("RCPT TO:<a@", "559 no\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("returned", SHORT, |w| w.dsns().len() == 1);
}

#[test]
fn c015_replies_of_many_lines_and_of_none() {
    for (stage, reply) in [
        ("greeting", "220-a\r\n220-b\r\n220 c\r\n"),
        ("MAIL", "250-a\r\n250 b\r\n"),
        ("RCPT", "250\r\n"),
        ("DATA", "354-go\r\n354-on\r\n354\r\n"),
        (".", "250-a\r\n250\r\n"),
    ] {
        let mut world = answering(stage, reply);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.until("delivery", SHORT, |w| {
            w.taken("m1", "a@x") == 1 && w.view(0).messages.is_empty()
        });
    }
}

#[test]
fn c016_a_server_without_ehlo_is_greeted_by_helo() {
    for code in [500, 502, 550] {
        let mut world = answering("EHLO", &format!("{code} what\r\n"));
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
        assert_eq!(seen(&world, "HELO n1"), 1);
        // None of the parameters that EHLO would have offered.
        assert_eq!(seen(&world, "MAIL FROM:<s@client.example>"), 1);
        let mail = world.sinks[0]
            .lines
            .iter()
            .find(|l| l.starts_with("MAIL"))
            .unwrap();
        assert!(mail.ends_with('>'), "{mail}");
    }
}

#[test]
fn c017_no_content_without_354() {
    for reply in ["250 ok\r\n", "451 no\r\n", "554 no\r\n"] {
        let mut world = answering("DATA", reply);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.run(SHORT);
        assert_eq!(seen(&world, "X-Mailproof"), 0, "{reply}");
        assert_eq!(seen(&world, "."), 0, "{reply}");
    }
}

#[test]
fn c018_mixed_recipients_end_each_in_its_own_way() {
    let mut world = World::cluster(1);
    world.sinks[0].rule("RCPT TO:<no@", "550 5.1.1 unknown\r\n");
    world.sinks[0].rule("RCPT TO:<later@", "451 4.2.0 busy\r\n");
    assert_eq!(world.deliver(0, "m1", &["yes@x", "no@x", "later@x"]), 250);
    world.run(Duration::from_secs(600));
    mend(&mut world);
    world.until("the rest", HOUR, |w| w.taken("m1", "later@x") == 1);
    world.run(HOUR);
    assert_eq!(
        (world.taken("m1", "yes@x"), world.taken("m1", "later@x")),
        (1, 1)
    );
    assert_eq!(
        (seen(&world, "RCPT TO:<yes@"), seen(&world, "RCPT TO:<no@")),
        (1, 1)
    );
    assert_eq!(world.dsns().len(), 1);
    assert!(!world.dsns()[0].contains("yes@x") && !world.dsns()[0].contains("later@x"));
}

#[test]
fn c019_one_transaction_for_all_recipients_of_a_next_hop() {
    let mut world = World::cluster(1);
    assert_eq!(world.deliver(0, "m1", &["a@x", "b@y", "c@z"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "c@z") == 1);
    assert_eq!(world.sinks[0].taken.len(), 1);
}

#[test]
fn c020_too_many_recipients_for_the_next_hop_come_later() {
    for reply in ["452 4.5.3 too many\r\n", "552 too many\r\n"] {
        let mut world = answering("RCPT TO:<c@", reply);
        assert_eq!(world.deliver(0, "m1", &["a@x", "b@x", "c@x"]), 250);
        world.run(SHORT);
        mend(&mut world);
        world.until("the rest", HOUR, |w| w.taken("m1", "c@x") == 1);
        world.run(HOUR);
        let taken = ["a@x", "b@x", "c@x"].map(|to| world.taken("m1", to));
        assert_eq!((taken, world.dsns().len()), ([1, 1, 1], 0), "{reply}");
    }
}

#[test]
fn c021_a_failing_quit_undoes_nothing() {
    for reply in ["close", "", "500 what\r\n"] {
        let mut world = answering("QUIT", reply);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        world.run(HOUR);
        assert_eq!(
            (world.taken("m1", "a@x"), world.view(0).messages.len()),
            (1, 0)
        );
    }
}

#[test]
fn c022_a_reply_lost_after_the_dot_costs_a_copy_and_no_mail() {
    let mut world = World::cluster(1);
    world.sinks[0].rule(".", "250 taken\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    // The sink has taken it; the node dies before it can note that.
    world.until("taken", SHORT, |w| w.taken("m1", "a@x") == 1);
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.run(HOUR);
    let taken = world.taken("m1", "a@x");
    assert!((1..=2).contains(&taken), "{taken}");
    assert_eq!(world.view(0).messages.len(), 0);
}

#[test]
fn c024_dots_are_stuffed() {
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    world.codes(client, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n");
    world.codes(client, "A: b\r\n\r\n..\r\n...\r\n.x\r\n.\r\n");
    world.until("delivery", SHORT, |w| w.sinks[0].taken.len() == 1);
    // The sink takes one dot off each such line.
    assert!(
        world.sinks[0].taken[0]
            .content
            .ends_with("A: b\r\n\r\n.\r\n..\r\nx\r\n")
    );
}

/// Sends content by the parameters of MAIL through a next hop without an
/// offer; true when it was passed on, false when it came back, with the
/// status.
fn without(offer: &str, mail: &str, to: &str, content: &str) -> Result<(), String> {
    let mut world = World::cluster(1);
    world.sinks[0].offers.retain(|o| *o != offer);
    let client = world.greeted(0);
    let group = format!("MAIL FROM:<s@client.example>{mail}\r\nRCPT TO:<{to}>\r\nDATA\r\n");
    assert_eq!(world.codes(client, &group), [250, 250, 354]);
    assert_eq!(world.codes(client, &format!("{content}.\r\n")), [250]);
    world.until("an end", SHORT, |w| w.view(0).messages.is_empty());
    let dsns = world.dsns();
    match dsns.first() {
        None => {
            assert!(world.sinks[0].taken[0].content.ends_with(content));
            Ok(())
        }
        Some(dsn) => {
            let (_, status) = dsn.split_once("Status: ").expect("it is there");
            Err(status.lines().next().expect("it is there").to_owned())
        }
    }
}

#[test]
fn c025_eight_bits_are_never_sent_to_who_does_not_take_them() {
    let eight = "A: b\r\n\r\nä\r\n";
    let seven = "A: b\r\n\r\na\r\n";
    let to = "r@x";
    for mail in ["", " BODY=8BITMIME"] {
        let result = without("8BITMIME", mail, to, eight);
        assert_eq!(result, Err("5.6.3".to_owned()), "{mail}");
        assert_eq!(without("8BITMIME", mail, to, seven), Ok(()), "{mail}");
        assert_eq!(without("none", mail, to, eight), Ok(()), "{mail}");
    }
}

#[test]
fn c026_utf8_mail_is_never_sent_to_who_does_not_take_it() {
    let (plain, utf8) = ("A: b\r\n\r\na\r\n", "Subject: ä\r\n\r\na\r\n");
    let bad = Err("5.6.7".to_owned());
    assert_eq!(without("SMTPUTF8", " SMTPUTF8", "r@x", utf8), bad);
    assert_eq!(without("SMTPUTF8", " SMTPUTF8", "ä@x", plain), bad);
    // Asked for and not needed: it goes as what it is.
    assert_eq!(without("SMTPUTF8", " SMTPUTF8", "r@x", plain), Ok(()));
    assert_eq!(without("none", " SMTPUTF8", "ä@x", utf8), Ok(()));
}

#[test]
fn c027_every_pipelined_status_counts() {
    // MAIL is refused and what follows is not: nothing goes out.
    let mut world = answering("MAIL FROM:<s@", "550 5.7.1 not you\r\n");
    world.sinks[0].rule("DATA", "354 go on\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("returned", SHORT, |w| w.view(0).messages.is_empty());
    assert_eq!(seen(&world, "X-Mailproof"), 0);
    // Every recipient is refused, and DATA is not.
    let mut world = answering("RCPT TO:<a@", "550 5.1.1 unknown\r\n");
    world.sinks[0].rule("DATA", "354 go on\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(HOUR);
    assert_eq!(world.taken("m1", "a@x"), 0);
    assert_eq!(world.view(0).messages.len(), 0);
}

#[test]
fn c028_a_server_that_leaves_concerns_the_current_message_alone() {
    let mut world = answering("RCPT TO:<bad@", "421 4.3.2 leaving\r\n");
    for (id, to) in [("m1", "a@x"), ("m2", "bad@x"), ("m3", "b@x")] {
        assert_eq!(world.deliver(0, id, &[to]), 250);
    }
    world.until("the others", Duration::from_secs(300), |w| {
        w.taken("m1", "a@x") + w.taken("m3", "b@x") == 2
    });
    mend(&mut world);
    world.until("this one", HOUR, |w| w.taken("m2", "bad@x") == 1);
    assert_eq!(world.dsns().len(), 0);
}

#[test]
fn c029_a_restart_in_a_delivery_costs_at_most_one_copy() {
    for step in 0..40 {
        let mut world = World::cluster(1);
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        let end = world.now + HOUR.as_nanos() as u64;
        for _ in 0..step {
            world.step(end);
        }
        world.kill(0, Crash::DropAll);
        world.start(0);
        world.run(HOUR);
        let taken = world.taken("m1", "a@x");
        assert!((1..=2).contains(&taken), "step {step}: {taken}");
    }
}

#[test]
fn no_more_sessions_than_allowed_and_each_is_used_again() {
    let mut config: Config = config(0, 1);
    config.max_connections_per_host = 2;
    let mut world = World::new(vec![config]);
    world.sinks[0].listening = false;
    for n in 0..30 {
        assert_eq!(world.deliver(0, &format!("m{n}"), &["a@x"]), 250);
    }
    world.sinks[0].listening = true;
    world.until("all", HOUR, |w| w.sinks[0].taken.len() == 30);
    assert!(
        world.sinks[0].connections <= 2,
        "{}",
        world.sinks[0].connections
    );
}

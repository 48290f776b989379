//! DSNs: the request in MAIL and RCPT (RFC 3461), what becomes of it on the
//! way, and the reports (RFC 3464).

mod world;

use std::time::Duration;

use mailproof_node::disk::Crash;
use mailproof_node::mark::Mark;
use world::{Party, World, config};

const SHORT: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

/// One node whose next hop offers DSN, or not.
fn world(dsn: bool) -> World {
    let mut world = World::cluster(1);
    if dsn {
        world.sinks[0].offers.push("DSN");
    }
    world
}

fn replies(mail: &str, rcpt: &str) -> Vec<u16> {
    let mut world = world(false);
    let client = world.greeted(0);
    world.codes(
        client,
        &format!("MAIL FROM:<s@x>{mail}\r\nRCPT TO:<r@x>{rcpt}\r\n"),
    )
}

#[test]
fn d001_never_stands_alone() {
    assert_eq!(replies("", " NOTIFY=NEVER"), [250, 250]);
    assert_eq!(replies("", " NOTIFY=NEVER,DELAY"), [250, 501]);
    assert_eq!(replies("", " NOTIFY=FAILURE,NEVER"), [250, 501]);
}

#[test]
fn d002_a_parameter_given_twice_is_refused() {
    for mail in [" RET=FULL RET=HDRS", " ENVID=a ENVID=b"] {
        assert_eq!(replies(mail, ""), [501, 503], "{mail}");
    }
    for rcpt in [
        " NOTIFY=DELAY NOTIFY=DELAY",
        " ORCPT=rfc822;a@b ORCPT=rfc822;a@b",
    ] {
        assert_eq!(replies("", rcpt), [250, 501], "{rcpt}");
    }
}

#[test]
fn d003_the_stated_sizes_are_taken() {
    let envid = format!(" RET=hdrs ENVID={}", "e".repeat(100));
    let orcpt = format!(
        " notify=success,failure,delay ORCPT=rfc822;{}",
        "o".repeat(493)
    );
    assert_eq!(replies(&envid, &orcpt), [250, 250]);
    let ehlo = {
        let mut world = world(false);
        let client = world.client(0);
        world.ask(client, "EHLO c\r\n")[1].clone()
    };
    assert!(ehlo.contains("\r\n250-DSN\r\n"), "{ehlo}");
}

#[test]
fn d004_the_request_travels_on_as_it_came() {
    let mut world = world(true);
    world.submit(
        0,
        "m1",
        " RET=HDRS ENVID=QQ+3D1",
        &[
            ("a@x", " ORCPT=rfc822;Bob+2B1@X NOTIFY=delay,SUCCESS"),
            ("b@x", ""),
            ("c@x", " NOTIFY=never"),
        ],
    );
    world.until("delivery", SHORT, |w| w.taken("m1", "c@x") == 1);
    let lines: Vec<&String> = world.sinks[0]
        .lines
        .iter()
        .filter(|l| l.starts_with("MAIL") || l.starts_with("RCPT"))
        .collect();
    assert!(lines[0].ends_with(" RET=HDRS ENVID=QQ+3D1"), "{lines:?}");
    assert_eq!(
        lines[1],
        "RCPT TO:<a@x> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob+2B1@X"
    );
    // Nothing is made up.
    assert_eq!(lines[2], "RCPT TO:<b@x>");
    assert_eq!(lines[3], "RCPT TO:<c@x> NOTIFY=NEVER");
    world.run(HOUR);
    assert_eq!(world.dsns().len(), 0, "the next hop answers for it now");
}

#[test]
fn d005_where_the_request_ends_success_is_reported_as_relayed() {
    let mut world = world(false);
    world.submit(
        0,
        "m1",
        " ENVID=QQ+3D1",
        &[
            ("a@x", " NOTIFY=SUCCESS ORCPT=rfc822;O+2B@x"),
            ("b@x", " NOTIFY=SUCCESS,FAILURE"),
            ("c@x", " NOTIFY=FAILURE"),
            ("d@x", ""),
        ],
    );
    world.until("the report", SHORT, |w| w.dsns().len() == 1);
    assert!(
        world.sinks[0]
            .lines
            .iter()
            .all(|l| !l.contains("NOTIFY") && !l.contains("ORCPT") && !l.contains("ENVID")),
    );
    let dsn = world.dsns()[0].to_owned();
    assert_eq!(dsn.matches("Action: relayed\r\n").count(), 2, "{dsn}");
    assert_eq!(dsn.matches("Status: 2.0.0\r\n").count(), 2, "{dsn}");
    assert!(dsn.contains("Original-Envelope-Id: QQ=1\r\n"), "{dsn}");
    assert!(
        dsn.contains("Original-Recipient: rfc822; O+@x\r\nFinal-Recipient: rfc822; a@x\r\n"),
        "{dsn}"
    );
    assert!(!dsn.contains("c@x") && !dsn.contains("d@x"), "{dsn}");
    world.run(HOUR);
    assert_eq!(world.dsns().len(), 1);
    assert_eq!(world.view(0).messages.len(), 0);
    assert!(world.marked(Mark::DsnOtherThanFailure) > 0);
}

#[test]
fn d006_a_failure_is_reported_to_who_wants_to_know() {
    let mut world = world(true);
    world.sinks[0].rule("RCPT TO:<no", "550 5.1.1 unknown\r\n");
    world.submit(
        0,
        "m1",
        "",
        &[
            ("no1@x", " NOTIFY=FAILURE"),
            ("no2@x", ""),
            ("no3@x", " NOTIFY=NEVER"),
            ("no4@x", " NOTIFY=SUCCESS,DELAY"),
        ],
    );
    world.until("the report", SHORT, |w| w.dsns().len() == 1);
    let dsn = world.dsns()[0].to_owned();
    let told = |n: u8| dsn.contains(&format!("Final-Recipient: rfc822; no{n}@x\r\n"));
    assert_eq!([1, 2, 3, 4].map(told), [true, true, false, false]);
    world.run(HOUR);
    assert_eq!((world.dsns().len(), world.view(0).messages.len()), (1, 0));
    assert_eq!(world.marked(Mark::FailureUnreported), 1);
}

#[test]
fn d006_when_nobody_wants_to_know_the_message_ends_in_silence() {
    let mut world = world(true);
    world.sinks[0].rule("RCPT TO:<no", "550 5.1.1 unknown\r\n");
    world.submit(0, "m1", "", &[("no1@x", " NOTIFY=NEVER")]);
    world.run(HOUR);
    assert_eq!((world.dsns().len(), world.view(0).messages.len()), (0, 0));
    world.start(0);
    world.run(HOUR);
    let tries = |w: &World| {
        w.sinks[0]
            .lines
            .iter()
            .filter(|l| l.contains("no1"))
            .count()
    };
    assert_eq!(tries(&world), 1, "a restart remembers");
}

#[test]
fn d007_a_delay_is_reported_once_unless_it_is_not_wanted() {
    let mut world = world(true);
    world.sinks[0].rule("RCPT TO:<later", "451 4.2.0 busy\r\n");
    world.submit(
        0,
        "m1",
        "",
        &[
            ("later1@x", ""),
            ("later2@x", " NOTIFY=FAILURE"),
            ("later3@x", " NOTIFY=DELAY"),
        ],
    );
    world.run(4 * HOUR - Duration::from_secs(60));
    assert_eq!(world.dsns().len(), 0);
    world.run(HOUR);
    assert_eq!(world.dsns().len(), 1);
    let dsn = world.dsns()[0].to_owned();
    let told = |n: u8| dsn.contains(&format!("Final-Recipient: rfc822; later{n}@x\r\n"));
    assert_eq!([1, 2, 3].map(told), [true, false, true]);
    for field in ["Action: delayed\r\nStatus: 4.2.0\r\n", "Will-Retry-Until: "] {
        assert!(dsn.contains(field), "{dsn}");
    }
    // Not again, whether the node runs on or starts anew.
    world.run(10 * HOUR);
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.run(10 * HOUR);
    assert_eq!(world.dsns().len(), 1);
    // In the end it fails, and that is told to those who want to know.
    world.run(48 * HOUR);
    assert_eq!(world.dsns().len(), 2);
    let dsn = world.dsns()[1].to_owned();
    let told = |n: u8| dsn.contains(&format!("Final-Recipient: rfc822; later{n}@x\r\n"));
    assert_eq!([1, 2, 3].map(told), [true, true, false]);
    assert!(dsn.contains("Status: 5.4.7\r\n"), "{dsn}");
}

#[test]
fn d007_a_next_hop_that_is_down_counts_as_delay() {
    let mut world = world(true);
    world.sinks[0].listening = false;
    world.submit(0, "m1", "", &[("a@x", "")]);
    world.run(5 * HOUR);
    world.sinks[0].listening = true;
    world.until("both", HOUR, |w| {
        w.dsns().len() == 1 && w.taken("m1", "a@x") == 1
    });
    world.run(50 * HOUR);
    assert_eq!(world.dsns().len(), 1);
    assert_eq!(world.view(0).messages.len(), 0);
}

#[test]
fn d008_the_envelope_of_a_dsn() {
    let mut world = world(true);
    world.sinks[0].rule("RCPT TO:<no", "550 5.1.1 unknown\r\n");
    world.submit(
        0,
        "m1",
        " RET=FULL ENVID=e",
        &[("no1@x", " NOTIFY=FAILURE")],
    );
    world.until("the report", SHORT, |w| w.dsns().len() == 1);
    let at = world.sinks[0]
        .lines
        .iter()
        .position(|l| l.starts_with("MAIL FROM:<>"))
        .unwrap();
    let mail = &world.sinks[0].lines[at];
    assert!(!mail.contains("RET=") && !mail.contains("ENVID="), "{mail}");
    assert_eq!(world.sinks[0].lines[at + 1], "RCPT TO:<s@client.example>");
}

#[test]
fn d009_a_message_from_nobody_is_never_reported_on() {
    let mut world = world(false);
    world.sinks[0].rule("RCPT TO:<no", "550 5.1.1 unknown\r\n");
    world.submit(
        0,
        "m1",
        "null",
        &[("no1@x", " NOTIFY=FAILURE"), ("a@x", " NOTIFY=SUCCESS")],
    );
    world.run(HOUR);
    assert_eq!((world.dsns().len(), world.view(0).messages.len()), (0, 0));
}

#[test]
fn d009_a_dsn_that_cannot_be_delivered_ends_there() {
    let mut world = world(false);
    world.sinks[0].rule("RCPT TO:<no", "550 5.1.1 unknown\r\n");
    world.sinks[0].rule("RCPT TO:<s@", "550 5.1.1 unknown\r\n");
    world.submit(0, "m1", "", &[("no1@x", "")]);
    world.run(HOUR);
    assert_eq!((world.dsns().len(), world.view(0).messages.len()), (0, 0));
    assert_eq!(world.view(0).counters.dsns, 1);
}

#[test]
fn d010_one_dsn_reports_all_that_failed_together() {
    let mut world = world(false);
    world.sinks[0].rule("RCPT TO:<no", "550 5.1.1 unknown\r\n");
    let rcpts: Vec<String> = (0..20).map(|n| format!("no{n}@x")).collect();
    let rcpts: Vec<(&str, &str)> = rcpts.iter().map(|r| (r.as_str(), "")).collect();
    world.submit(0, "m1", "", &rcpts);
    world.until("the report", SHORT, |w| w.dsns().len() == 1);
    world.run(HOUR);
    let dsn = world.dsns();
    assert_eq!(dsn.len(), 1);
    assert_eq!(dsn[0].matches("Final-Recipient: ").count(), 20);
}

#[test]
fn d011_the_fields_of_the_report() {
    let mut world = world(false);
    world.sinks[0].rule("RCPT TO:<no", "550 5.1.1 unknown\r\n");
    world.submit(
        0,
        "m1",
        " ENVID=a+2Bb",
        &[("no1@x", " ORCPT=rfc822;Old@x"), ("no2@x", "")],
    );
    world.until("the report", SHORT, |w| w.dsns().len() == 1);
    let dsn = world.dsns()[0].to_owned();
    let (_, report) = dsn.split_once("message/delivery-status\r\n\r\n").unwrap();
    let (report, _) = report.split_once("\r\n--").unwrap();
    let blocks: Vec<&str> = report.trim_end().split("\r\n\r\n").collect();
    assert_eq!(blocks.len(), 3, "{report}");
    assert!(
        blocks[0]
            .starts_with("Reporting-MTA: dns; n1\r\nOriginal-Envelope-Id: a+b\r\nArrival-Date: ")
    );
    let fields = "Action: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; 127.0.2.1:25\r\n\
                  Diagnostic-Code: smtp; 550 5.1.1 unknown";
    assert_eq!(
        blocks[1],
        format!("Original-Recipient: rfc822; Old@x\r\nFinal-Recipient: rfc822; no1@x\r\n{fields}")
    );
    assert_eq!(
        blocks[2],
        format!("Final-Recipient: rfc822; no2@x\r\n{fields}")
    );
}

#[test]
fn d011_without_a_remote_reply_none_is_claimed() {
    let mut world = world(false);
    world.sinks[0].offers.retain(|offer| *offer != "8BITMIME");
    let client = world.greeted(0);
    let codes = world.codes(client, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n");
    assert_eq!(codes, [250, 250, 354]);
    world.codes(client, "A: b\r\n\r\nä\r\n.\r\n");
    world.until("the report", SHORT, |w| w.dsns().len() == 1);
    let dsn = world.dsns()[0].to_owned();
    assert!(
        dsn.contains("Status: 5.6.3\r\nDiagnostic-Code: x-mailproof; 554"),
        "{dsn}"
    );
    assert!(
        !dsn.contains("Remote-MTA") && !dsn.contains("Original-Envelope-Id"),
        "{dsn}"
    );
}

#[test]
fn d012_the_report_is_a_multipart_of_three() {
    for (mail, media, body) in [
        ("", "text/rfc822-headers", false),
        (" RET=HDRS", "text/rfc822-headers", false),
        (" RET=FULL", "message/rfc822", true),
    ] {
        let mut world = world(false);
        world.sinks[0].rule("RCPT TO:<no", "550 5.1.1 unknown\r\n");
        world.submit(0, "m1", mail, &[("no1@x", "")]);
        world.until("the report", SHORT, |w| w.dsns().len() == 1);
        let dsn = world.dsns()[0].to_owned();
        let (head, rest) = dsn.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Type: multipart/report; report-type=delivery-status;\r\n"));
        let boundary = head.split_once("boundary=\"").unwrap().1;
        let boundary = format!("--{}", boundary.split_once('"').unwrap().0);
        let parts: Vec<&str> = rest.split(boundary.as_str()).collect();
        assert_eq!(parts.len(), 5, "{dsn}");
        assert_eq!(parts[4], "--\r\n");
        let types = ["text/plain", "message/delivery-status", media];
        for (part, media) in parts[1..4].iter().zip(types) {
            assert!(
                part.starts_with(&format!("\r\nContent-Type: {media}")),
                "{part}"
            );
        }
        assert!(parts[3].contains("X-Mailproof: m1\r\n"), "{dsn}");
        assert_eq!(parts[3].contains("\r\nHello\r\n"), body, "{dsn}");
    }
}

#[test]
fn d013_a_restart_at_any_step_makes_no_second_report() {
    let mut accepted_at_some_step = false;
    for step in 0..80 {
        let mut world = world(false);
        world.sinks[0].rule("RCPT TO:<no", "550 5.1.1 unknown\r\n");
        let client = world.greeted(0);
        let group = "MAIL FROM:<s@x>\r\nRCPT TO:<no1@x>\r\n\
                     RCPT TO:<a@x> NOTIFY=SUCCESS,FAILURE\r\nDATA\r\n";
        assert_eq!(world.codes(client, group), [250, 250, 250, 354]);
        world.send(client, &world::content("m1"));
        let begun = world.steps;
        let end = world.now + SHORT.as_nanos() as u64;
        while world.steps < begun + step && world.step(end) {}
        let accepted = world.answer(client) == Some(250);
        world.kill(0, Crash::DropAll);
        world.start(0);
        world.run(HOUR);
        // A report whose own reply was lost arrives again under its name.
        let count = |action: &str| {
            let field = |dsn: &&str| dsn.contains(action);
            let name = |dsn: &str| {
                dsn.lines()
                    .find(|l| l.starts_with("Message-ID"))
                    .map(str::to_owned)
            };
            let names: std::collections::BTreeSet<_> =
                world.dsns().into_iter().filter(field).map(name).collect();
            names.len()
        };
        let counts = (count("Action: relayed"), count("Action: failed"));
        assert!(
            counts == (1, 1) || (!accepted && counts == (0, 0)),
            "step {step}: {counts:?}"
        );
        accepted_at_some_step |= accepted;
        assert_eq!(world.view(0).messages.len(), 0, "step {step}");
    }
    assert!(accepted_at_some_step);
}

#[test]
fn a_copy_carries_the_request_and_a_takeover_keeps_it() {
    let mut world = World::cluster(2);
    world.sinks[0].rule("RCPT TO:<no", "550 5.1.1 unknown\r\n");
    world.sinks[0].listening = false;
    world.submit(
        0,
        "m1",
        " RET=FULL ENVID=QQ+3D1",
        &[
            ("no1@x", " NOTIFY=NEVER"),
            ("no2@x", " ORCPT=rfc822;Old@x"),
            ("a@x", " NOTIFY=SUCCESS"),
        ],
    );
    assert_eq!(world.view(1).shadows.len(), 1);
    world.kill(0, Crash::DropAll);
    // The request outlives a restart of the holder too.
    world.kill(1, Crash::DropAll);
    world.start(1);
    world.sinks[0].listening = true;
    world.until("both reports", 4 * HOUR, |w| w.dsns().len() == 2);
    let all = world.dsns().concat();
    assert!(
        !all.contains("no1@x;") && !all.contains("rfc822; no1@x"),
        "{all}"
    );
    assert!(
        all.contains("Original-Recipient: rfc822; Old@x\r\n"),
        "{all}"
    );
    assert!(
        all.contains("Final-Recipient: rfc822; a@x\r\nAction: relayed\r\n"),
        "{all}"
    );
    assert_eq!(all.matches("Original-Envelope-Id: QQ=1\r\n").count(), 2);
    assert!(all.contains("message/rfc822"), "{all}");
    world.run(HOUR);
    assert_eq!(world.dsns().len(), 2);
}

#[test]
fn a_mailbox_reports_success_as_delivered() {
    let mut config = config(0, 1);
    config.role = mailproof_node::config::Role::Mailbox;
    config.local_domains = vec!["here".to_owned()];
    let mut world = World::new(vec![config]);
    // All recipients local, and some.
    world.submit(0, "m1", "", &[("a@here", " NOTIFY=SUCCESS")]);
    world.until("the report", SHORT, |w| w.dsns().len() == 1);
    world.submit(0, "m2", "", &[("a@here", " NOTIFY=SUCCESS"), ("b@x", "")]);
    world.until("the report", SHORT, |w| w.dsns().len() == 2);
    for dsn in world.dsns() {
        let due = "Final-Recipient: rfc822; a@here\r\nAction: delivered\r\nStatus: 2.0.0\r\n";
        assert!(dsn.contains(due), "{dsn}");
    }
    world.run(HOUR);
    assert_eq!(world.dsns().len(), 2);
    assert_eq!(world.view(0).messages.len(), 0);
}

#[test]
fn a_report_on_smtputf8_mail_has_the_global_form() {
    let mut world = world(true);
    world.sinks[0].rule("RCPT TO:<rä", "550 5.1.1 unknown\r\n");
    let client = world.greeted(0);
    let codes = world.codes(
        client,
        "MAIL FROM:<sö@x> SMTPUTF8\r\nRCPT TO:<rä@x> ORCPT=utf-8;rö@x\r\nDATA\r\n",
    );
    assert_eq!(codes, [250, 250, 354]);
    world.codes(client, "Subject: ä\r\n\r\nö\r\n.\r\n");
    world.until("the report", 2 * HOUR, |w| w.dsns().len() == 1);
    let dsn = world.dsns()[0].to_owned();
    assert!(
        dsn.contains("Content-Type: message/global-delivery-status\r\n"),
        "{dsn}"
    );
    assert!(dsn.contains("Original-Recipient: utf-8; rö@x\r\n"), "{dsn}");
    assert!(dsn.contains("Final-Recipient: utf-8; rä@x\r\n"), "{dsn}");
    assert!(
        dsn.contains("Content-Type: message/global-headers\r\n"),
        "{dsn}"
    );
    let mail = world.sinks[0]
        .lines
        .iter()
        .find(|l| l.starts_with("MAIL FROM:<>"));
    assert!(mail.unwrap().contains(" SMTPUTF8"), "{mail:?}");
}

#[test]
fn a_cut_of_the_client_leaves_no_trace() {
    let mut world = world(false);
    let client = world.greeted(0);
    world.codes(
        client,
        "MAIL FROM:<s@x> ENVID=a\r\nRCPT TO:<a@x> NOTIFY=SUCCESS\r\n",
    );
    world.cut(Party::Client(client), Party::Node(0));
    world.run(HOUR);
    assert_eq!((world.dsns().len(), world.view(0).messages.len()), (0, 0));
}

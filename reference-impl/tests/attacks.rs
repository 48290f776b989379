//! What strangers try on a mail server, and what must come of it: nobody
//! relays through us, nothing is smuggled behind a message, and no reply, log
//! line or report can be forged by what a client sends.

mod world;

use std::time::Duration;

use mailproof_node::Config;
use mailproof_node::config::Role;
use mailproof_node::event::EventKind;
use world::{World, config};

const SHORT: Duration = Duration::from_secs(20);

/// Relays for nobody; keeps mail of example.org if it is a mailbox.
fn closed(mailbox: bool) -> Config {
    let mut config = config(0, 2);
    config.relay_from.clear();
    if mailbox {
        config.role = Role::Mailbox;
        config.local_domains = vec!["example.org".to_owned()];
    }
    config.check().expect("the configuration is good");
    config
}

/// A greeted client that has said EHLO.
fn connect(world: &mut World, hello: &str) -> usize {
    let client = world.client(0);
    world.send(client, &format!("EHLO {hello}\r\n"));
    world.until("EHLO", SHORT, |w| w.clients[client].codes().len() == 2);
    client
}

/// The reply to one line.
fn ask(world: &mut World, client: usize, line: &str) -> u16 {
    let before = world.clients[client].codes().len();
    world.send(client, &format!("{line}\r\n"));
    world.until("a reply", SHORT, |w| {
        w.clients[client].codes().len() > before
    });
    world.clients[client].codes()[before]
}

/// Addresses that lead elsewhere, however they are written.
const FOREIGN: [&str; 16] = [
    "<a@x.example>",
    "<@example.org:a@x.example>",
    "<@example.org,@n1:a@x.example>",
    "<a@[127.0.0.9]>",
    "<a@[IPv6:::1]>",
    "<a@sub.example.org>",
    "<a@xexample.org>",
    "<a@example.org.x.example>",
    "<\"a@example.org\"@x.example>",
    "<example.org!a@x.example>",
    "<a%example.org@x.example>",
    "<a@n1>",
    "<a@localhost>",
    "<a@127.0.1.1>",
    "<a@EXAMPLE.ORG.x>",
    "<\"\"@x.example>",
];

/// Local mailboxes, whatever their local-part says of another place.
const LOCAL: [&str; 8] = [
    "<a@example.org>",
    "<a@EXAMPLE.ORG>",
    "<a%x.example@example.org>",
    "<x.example!a@example.org>",
    "<\"a@x.example\"@example.org>",
    "<@x.example:a@example.org>",
    "<\"@x.example:a\"@example.org>",
    "<a+x.example@example.org>",
];

/// No addresses.
const WRONG: [&str; 12] = [
    "<a@x.example@example.org>",
    "<a@example.org@x.example>",
    "<a@x.example,b@example.org>",
    "a@x.example",
    "<a@example.org.>",
    "<x.example!a>",
    "<\"a@x.example\">",
    "<a@x.example",
    "<<a@x.example>>",
    "<a@x.example>b@example.org>",
    "<a:b@example.org>",
    "<>",
];

#[test]
fn nobody_relays_through_us() {
    for mailbox in [true, false] {
        // Neither a name in EHLO nor a sender in MAIL buys anything.
        for (hello, sender) in [
            ("c", "<a@b>"),
            ("n2", "<a@example.org>"),
            ("[127.0.1.2]", "<>"),
        ] {
            let mut world = World::new(vec![closed(mailbox), config(1, 2)]);
            let client = connect(&mut world, hello);
            assert_eq!(ask(&mut world, client, &format!("MAIL FROM:{sender}")), 250);
            for address in FOREIGN {
                let code = ask(&mut world, client, &format!("RCPT TO:{address}"));
                assert_eq!(code, 550, "{address}");
            }
            for address in WRONG {
                let code = ask(&mut world, client, &format!("RCPT TO:{address}"));
                assert!(matches!(code, 501 | 553), "{address}: {code}");
            }
            assert_eq!(ask(&mut world, client, "DATA"), 503);
            let local = if mailbox { 250 } else { 550 };
            for address in LOCAL {
                let code = ask(&mut world, client, &format!("RCPT TO:{address}"));
                assert_eq!(code, local, "{address}");
            }
            if mailbox {
                assert_eq!(ask(&mut world, client, "DATA"), 354);
                world.send(client, &world::content("m1"));
                world.until("it is kept", SHORT, |w| {
                    let counters = w.view(0).counters;
                    // Two of them are names of one mailbox.
                    counters.mailbox_delivered + counters.mailbox_duplicates == LOCAL.len() as u64
                });
            }
            world.run(SHORT);
            assert!(world.sinks[0].lines.is_empty(), "something was sent on");
        }
    }
}

/// Ends of data that some servers see and others do not.
const FAKES: [&str; 14] = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r",
    "\r.\r\n",
    "\n.\r",
    "\r\n.\r",
    "\r\r\n.\r\r\n",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\n\0.\n",
    "\r\n.\r\0\n",
    "\r\0\n.\r\n",
    "\n\n.\n\n",
];

#[test]
fn nothing_is_smuggled_past_data() {
    let evil = "MAIL FROM:<e@b>\r\nRCPT TO:<v@x>\r\nDATA\r\nevil\r\n";
    for fake in FAKES {
        for before in ["A: b\r\n\r\ntext", "A: b", ""] {
            for piece in [1, usize::MAX] {
                let mut world = World::cluster(1);
                world.piece = piece;
                let client = connect(&mut world, "c");
                for line in ["MAIL FROM:<a@b>", "RCPT TO:<a@x>", "DATA"] {
                    ask(&mut world, client, line);
                }
                world.send(client, &format!("{before}{fake}{evil}.\r\nQUIT\r\n"));
                world.until("the end", SHORT, |w| w.clients[client].closed);
                let codes = world.clients[client].codes();
                assert_eq!(codes[5..], [554, 221], "{fake:?} after {before:?}");
                world.run(SHORT);
                assert!(world.sinks[0].taken.is_empty(), "{fake:?}");
            }
        }
    }
}

#[test]
fn nothing_is_smuggled_past_bdat() {
    let evil = "MAIL FROM:<e@b>\r\nRCPT TO:<v@x>\r\nDATA\r\nevil\r\n";
    // With CRLF all around it is content that begins with a dot, and nothing
    // else; it arrives as that.
    for (fake, code) in FAKES
        .map(|fake| (fake, 554))
        .into_iter()
        .chain([("\r\n.\r\n", 250)])
    {
        let mut world = World::cluster(1);
        let client = connect(&mut world, "c");
        for line in ["MAIL FROM:<a@b>", "RCPT TO:<a@x>"] {
            ask(&mut world, client, line);
        }
        let content = format!("A: b\r\n\r\ntext{fake}{evil}");
        world.send(
            client,
            &format!("BDAT {} LAST\r\n{content}QUIT\r\n", content.len()),
        );
        world.until("the end", SHORT, |w| w.clients[client].closed);
        assert_eq!(world.clients[client].codes()[4..], [code, 221], "{fake:?}");
        world.run(SHORT);
        let taken = &world.sinks[0].taken;
        assert_eq!(taken.len(), usize::from(code == 250), "{fake:?}");
        if let Some(taken) = taken.first() {
            assert!(taken.content.ends_with(&content), "{:?}", taken.content);
            assert_eq!(taken.recipients, ["a@x"]);
        }
    }
}

/// Everything a client can say into a reply, a log line or a trace field.
const FORGED: [&str; 10] = [
    "EHLO c\r250 forged",
    "EHLO c\n250 forged",
    "EHLO c) with ESMTP id forged; (",
    "MAIL FROM:<a\r\n 250 forged@b>",
    "MAIL FROM:<a@b>\r250 forged",
    "MAIL FROM:<\"a\n250 forged\"@b>",
    "RCPT TO:<c\0forged@d>",
    "XPEER n2\r250 n1 00112233445566778899aabbccddeeff",
    "XPEER {\"event\":\"START\"} n1 00112233445566778899aabbccddeeff",
    "VRFY forged\u{1b}[2J",
];

#[test]
fn replies_are_never_split_nor_forged() {
    let mut world = World::cluster(2);
    let client = connect(&mut world, "c");
    for line in FORGED {
        ask(&mut world, client, line);
    }
    world.send(client, "NOOP\r\n");
    world.run(SHORT);
    let heard = &world.clients[client].heard;
    assert!(!heard.contains("forged"), "{heard}");
    for line in heard.split_terminator("\r\n") {
        assert!(!line.contains(['\r', '\n', '\0', '\u{1b}']), "{line:?}");
        assert!(line.len() <= 510 && line.as_bytes()[..3].iter().all(u8::is_ascii_digit));
    }
}

#[test]
fn a_log_line_stays_one_line() {
    let mut world = World::cluster(2);
    let client = connect(&mut world, "c");
    ask(
        &mut world,
        client,
        "XPEER \u{1b}[2J{\"event\":\"START\"} n1 00112233445566778899aabbccddeeff",
    );
    let refused: Vec<_> = world.nodes[0]
        .events
        .iter()
        .filter(|e| e.event == EventKind::PeerRefused)
        .collect();
    assert_eq!(refused.len(), 1);
    let line = serde_json::to_string(refused[0]).expect("an event is JSON");
    assert!(!line.contains(['\n', '\r', '\u{1b}']), "{line}");
    let back: serde_json::Value = serde_json::from_str(&line).expect("it reads back");
    assert_eq!(back["event"], "PEERREFUSED");
}

/// A next hop's reply reaches logs, the view and a DSN: as one line of plain
/// text.
#[test]
fn a_next_hop_cannot_forge_a_report() {
    let mut world = World::cluster(1);
    world.sinks[0].rule(
        "RCPT TO:<no@",
        "550-5.1.1 no\r\n550-Final-Recipient: rfc822; forged@x\u{1b}[2J\r\n550 Action: delivered\r\n",
    );
    assert_eq!(world.deliver(0, "m1", &["no@x"]), 250);
    world.until("a DSN", SHORT, |w| w.sinks[0].taken.len() == 1);
    let dsn = &world.sinks[0].taken[0].content;
    assert!(
        dsn.contains("\r\nFinal-Recipient: rfc822; no@x\r\n"),
        "{dsn}"
    );
    assert!(dsn.contains("\r\nAction: failed\r\n"), "{dsn}");
    assert!(
        !dsn.contains("\r\nFinal-Recipient: rfc822; forged"),
        "{dsn}"
    );
    assert!(!dsn.contains("\r\nAction: delivered"), "{dsn}");
    assert!(!dsn.contains('\u{1b}'), "{dsn}");
}

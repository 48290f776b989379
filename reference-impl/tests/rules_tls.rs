//! STARTTLS (RFC 3207) and AUTH PLAIN (RFC 4954, 4616). The world takes the
//! driver's place here: it says when TLS is up.

mod world;

use std::time::Duration;

use mailproof_node::Abilities;
use mailproof_node::config::TlsPolicy;
use mailproof_node::disk::Crash;
use mailproof_node::mark::Mark;
use world::World;

const SHORT: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

const ALL: Abilities = Abilities {
    tls_server: true,
    tls_client: true,
    passwords: true,
};

fn able(mut world: World) -> World {
    for n in 0..world.nodes.len() {
        world.nodes[n].abilities = ALL;
        world.kill(n, Crash::DropAll);
        world.start(n);
    }
    world
}

/// One node that only users may relay through.
fn submission() -> World {
    let mut world = able(World::cluster_with(1, |config| config.relay_from.clear()));
    world.users.insert("ann".to_owned(), "secret".to_owned());
    world
}

fn secured(world: &mut World) -> usize {
    let client = world.greeted(0);
    assert_eq!(world.codes(client, "STARTTLS\r\n"), [220]);
    assert_eq!(world.codes(client, "EHLO client.example\r\n"), [250]);
    client
}

/// `AUTH PLAIN` with `\0user\0password` in base64.
const ANN: &str = "AUTH PLAIN AGFubgBzZWNyZXQ=\r\n";
const WRONG: &str = "AUTH PLAIN AGFubgBndWVzcw==\r\n";

#[test]
fn x17_after_starttls_both_sides_begin_anew() {
    let mut world = able(World::cluster(1));
    let client = world.client(0);
    let before = world.ask(client, "EHLO c\r\n")[1].clone();
    assert!(before.contains("\r\n250-STARTTLS\r\n"), "{before}");
    assert!(!before.contains("AUTH"), "{before}");
    let open = "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nSTARTTLS\r\n";
    assert_eq!(world.codes(client, open), [250, 250, 220]);
    // The transaction and the EHLO are forgotten.
    let codes = world.codes(client, "DATA\r\nMAIL FROM:<s@x>\r\n");
    assert_eq!(codes, [503, 503]);
    let after = world.ask(client, "EHLO c\r\n")[0].clone();
    assert!(!after.contains("STARTTLS"), "{after}");
    assert!(after.contains("\r\n250-AUTH PLAIN\r\n"), "{after}");
    assert_eq!(world.codes(client, "STARTTLS\r\n"), [503]);
    world.codes(client, "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n");
    assert_eq!(world.codes(client, &world::content("m1")), [250]);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    let content = &world.sinks[0].taken[0].content;
    assert!(content.contains("\r\n\tby n1 with ESMTPS id "), "{content}");
}

#[test]
fn x18_what_is_sent_behind_starttls_in_the_clear_is_dropped() {
    for piece in [1, 5, usize::MAX] {
        let mut world = able(World::cluster(1));
        world.piece = piece;
        let client = world.greeted(0);
        let injected = "STARTTLS\r\nEHLO evil\r\nMAIL FROM:<e@x>\r\nRCPT TO:<v@x>\r\n";
        // In pieces some of it would come after the handshake here, and count
        // as said inside; so only what comes with the command is sent then.
        let text = if piece == usize::MAX {
            injected
        } else {
            "STARTTLS\r\n"
        };
        assert_eq!(world.codes(client, text), [220]);
        assert_eq!(world.codes(client, "RCPT TO:<v@x>\r\n"), [503]);
        let dropped = world.marked(Mark::TlsInjection);
        assert_eq!(dropped, u64::from(piece == usize::MAX));
    }
}

#[test]
fn x18_a_server_that_talks_behind_its_220_is_left() {
    let mut world = able(World::cluster(1));
    world.sinks[0].offers.push("STARTTLS");
    world.sinks[0].rule("STARTTLS", "220 begin\r\n250 forged\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.run(HOUR);
    assert_eq!(world.taken("m1", "a@x"), 0);
    assert_eq!(world.view(0).messages.len(), 1);
}

#[test]
fn x19_without_a_certificate_it_is_neither_offered_nor_taken() {
    let mut world = World::cluster(1);
    let client = world.client(0);
    let ehlo = world.ask(client, "EHLO c\r\n")[1].clone();
    assert!(
        !ehlo.contains("STARTTLS") && !ehlo.contains("AUTH"),
        "{ehlo}"
    );
    assert_eq!(world.codes(client, "STARTTLS\r\n"), [502]);
    assert_eq!(world.codes(client, ANN), [502]);
}

#[test]
fn x20_mail_in_the_clear_is_still_taken() {
    let mut world = able(World::cluster(1));
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
}

#[test]
fn starttls_takes_no_argument_and_needs_ehlo() {
    let mut world = able(World::cluster(1));
    let client = world.client(0);
    let codes = world.codes(client, "STARTTLS\r\nEHLO c\r\nSTARTTLS now\r\nNOOP\r\n");
    assert_eq!(codes, [220, 503, 250, 501, 250]);
}

#[test]
fn a_next_hop_that_offers_tls_gets_it() {
    let mut world = able(World::cluster(1));
    world.sinks[0].offers.push("STARTTLS");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    let verbs: Vec<&str> = world.sinks[0]
        .lines
        .iter()
        .map(|l| l.get(..4).unwrap_or(l))
        .collect();
    assert_eq!(verbs[..4], ["EHLO", "STAR", "EHLO", "MAIL"]);
}

fn with_policy(policy: TlsPolicy) -> World {
    let world = World::cluster_with(1, |config| {
        config.routes[0].tls = policy;
        config.routes[0].tls_name = "mx.test".to_owned();
        config.tls_roots = Some("roots.pem".into());
    });
    able(world)
}

#[test]
fn where_tls_is_optional_a_failed_handshake_costs_nothing() {
    let mut world = with_policy(TlsPolicy::Opportunistic);
    world.sinks[0].offers.push("STARTTLS");
    world.sinks[0].breaks_tls = true;
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    assert_eq!(world.marked(Mark::TlsFailed), 1);
    // It is used again after an hour.
    world.sinks[0].breaks_tls = false;
    world.run(2 * HOUR);
    world.sinks[0].lines.clear();
    assert_eq!(world.deliver(0, "m2", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m2", "a@x") == 1);
    assert!(world.sinks[0].lines.iter().any(|l| l == "STARTTLS"));
}

#[test]
fn where_starttls_is_refused_optional_tls_does_without() {
    let mut world = with_policy(TlsPolicy::Opportunistic);
    world.sinks[0].offers.push("STARTTLS");
    world.sinks[0].rule("STARTTLS", "454 not now\r\n");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
}

#[test]
fn where_tls_is_required_mail_waits_for_it() {
    for policy in [TlsPolicy::Required, TlsPolicy::Verified] {
        for fault in ["not offered", "refused", "broken"] {
            let mut world = with_policy(policy);
            match fault {
                "refused" => {
                    world.sinks[0].offers.push("STARTTLS");
                    world.sinks[0].rule("STARTTLS", "454 not now\r\n");
                }
                "broken" => {
                    world.sinks[0].offers.push("STARTTLS");
                    world.sinks[0].breaks_tls = true;
                }
                _ => {}
            }
            assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
            world.run(HOUR);
            assert!(world.sinks[0].taken.is_empty(), "{policy:?}, {fault}");
            let mail = world.sinks[0].lines.iter().any(|l| l.starts_with("MAIL"));
            assert!(!mail, "{policy:?}, {fault}");
            // It goes as soon as it can.
            world.sinks[0].offers.push("STARTTLS");
            world.sinks[0].breaks_tls = false;
            world.sinks[0].rules.clear();
            world.until("delivery", HOUR, |w| w.taken("m1", "a@x") == 1);
        }
    }
}

#[test]
fn where_tls_is_not_wanted_it_is_not_used() {
    let mut world = with_policy(TlsPolicy::Never);
    world.sinks[0].offers.push("STARTTLS");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    assert!(world.sinks[0].lines.iter().all(|l| l != "STARTTLS"));
}

#[test]
fn peers_authenticate_and_copy_inside_tls() {
    for policy in [TlsPolicy::Opportunistic, TlsPolicy::Required] {
        let mut world = able(World::cluster_with(2, |config| {
            for peer in &mut config.peers {
                peer.tls = policy;
            }
        }));
        world.sinks[0].listening = false;
        assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
        assert_eq!(world.view(1).shadows.len(), 1);
        // What authenticated in the clear would be forgotten; the copy shows
        // that it happened inside.
        world.sinks[0].listening = true;
        world.until("discarded", HOUR, |w| w.view(1).shadows.is_empty());
    }
}

#[test]
fn x21_users_may_relay_after_auth_under_tls() {
    let mut world = submission();
    let client = world.greeted(0);
    assert_eq!(world.codes(client, ANN), [538], "not in the clear");
    let client = secured(&mut world);
    let relay = "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRSET\r\n";
    assert_eq!(world.codes(client, relay), [250, 550, 250]);
    assert_eq!(world.codes(client, ANN), [235]);
    assert_eq!(world.codes(client, ANN), [503], "twice");
    let mail = "MAIL FROM:<s@x> AUTH=<>\r\nRCPT TO:<a@x>\r\nAUTH PLAIN\r\nDATA\r\n";
    assert_eq!(world.codes(client, mail), [250, 250, 503, 354]);
    assert_eq!(world.codes(client, &world::content("m1")), [250]);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    let content = &world.sinks[0].taken[0].content;
    assert!(
        content.contains("\r\n\tby n1 with ESMTPSA id "),
        "{content}"
    );
}

#[test]
fn x21_the_dialogue_of_auth() {
    let mut world = submission();
    let client = secured(&mut world);
    for (line, code) in [
        ("AUTH LOGIN\r\n", 504),
        ("AUTH\r\n", 504),
        ("AUTH PLAIN !!!\r\n", 501),
        ("AUTH PLAIN =\r\n", 501),
        ("AUTH PLAIN AGFubg==\r\n", 501),
    ] {
        assert_eq!(world.codes(client, line), [code], "{line}");
    }
    assert_eq!(world.codes(client, "AUTH PLAIN\r\n"), [334]);
    assert_eq!(world.codes(client, "*\r\n"), [501]);
    assert_eq!(world.codes(client, "AUTH PLAIN\r\n"), [334]);
    assert_eq!(world.codes(client, "AGFubgBzZWNyZXQ=\r\n"), [235]);
    // A transaction may follow, AUTH inside it not.
    let client = secured(&mut world);
    assert_eq!(world.codes(client, "MAIL FROM:<s@x>\r\n"), [250]);
    assert_eq!(world.codes(client, ANN), [503]);
}

#[test]
fn x21_a_line_of_the_dialogue_may_be_long_and_not_endless() {
    let mut world = submission();
    let client = secured(&mut world);
    assert_eq!(world.codes(client, "AUTH PLAIN\r\n"), [334]);
    let long = format!("{}\r\n", "A".repeat(12_000));
    assert_eq!(
        world.codes(client, &long),
        [501],
        "no response of PLAIN, but read"
    );
    assert_eq!(world.codes(client, "AUTH PLAIN\r\n"), [334]);
    let endless = format!("{}\r\nNOOP\r\n", "A".repeat(20_000));
    assert_eq!(world.codes(client, &endless), [500, 250]);
}

#[test]
fn wrong_passwords_end_the_session_and_tell_nothing() {
    let mut world = submission();
    let client = secured(&mut world);
    let nobody = "AUTH PLAIN AGJvYgBzZWNyZXQ=\r\n";
    let for_another = "AUTH PLAIN Ym9iAGFubgBzZWNyZXQ=\r\n";
    let replies: Vec<String> = [WRONG, nobody]
        .iter()
        .flat_map(|line| world.ask(client, line))
        .collect();
    assert_eq!(replies[0], replies[1]);
    assert_eq!(world.codes(client, for_another), [535, 421]);
    assert!(world.clients[client].closed);
    assert_eq!(world.marked(Mark::LoginDenied), 3);
    let client = secured(&mut world);
    world.codes(client, WRONG);
    let relay = "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\n";
    assert_eq!(world.codes(client, relay), [250, 550]);
}

#[test]
fn a_user_is_forgotten_with_the_session_and_never_before_tls() {
    let mut world = submission();
    let client = secured(&mut world);
    assert_eq!(world.codes(client, ANN), [235]);
    // What is pipelined behind AUTH waits for its answer.
    let other = secured(&mut world);
    let group = format!("{ANN}MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\n");
    assert_eq!(world.codes(other, &group), [235, 250, 250]);
    let group = format!("{WRONG}MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\n");
    let third = secured(&mut world);
    assert_eq!(world.codes(third, &group), [535, 250, 550]);
}

#[test]
fn a_drain_in_the_handshake_ends_it() {
    let mut world = able(World::cluster(1));
    let client = world.greeted(0);
    world.send(client, "STARTTLS\r\n");
    let end = world.now + 10_000_000_000;
    while !world.clients[client].heard.contains("\r\n220 2.0.0") {
        assert!(world.step(end));
        if world.clients[client].closed {
            break;
        }
    }
    world.drain(0);
    world.run(SHORT);
    assert!(world.clients[client].closed);
}

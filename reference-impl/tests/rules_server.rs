//! What a server owes its clients (RFC 5321, 2920, 1870, 2034, 6531), rule by
//! rule.

mod world;

use std::time::Duration;

use mailproof_node::config::Role;
use mailproof_node::disk::Crash;
use world::{Party, World, config};

const SHORT: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

const GROUP: &str = "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\n";

/// Codes of the replies to `text` after EHLO.
fn after_ehlo(text: &str) -> Vec<u16> {
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    world.codes(client, text)
}

fn connected() -> (World, usize) {
    let mut world = World::cluster(1);
    let client = world.client(0);
    world.run(Duration::from_secs(1));
    (world, client)
}

/// What sink 0 takes of a message with this content.
fn passed(content: &str) -> String {
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    assert_eq!(
        world.codes(client, &format!("{GROUP}DATA\r\n")),
        [250, 250, 354]
    );
    assert_eq!(world.codes(client, content), [250]);
    world.until("delivery", SHORT, |w| w.sinks[0].taken.len() == 1);
    world.sinks[0].taken[0].content.clone()
}

#[test]
fn r001_the_greeting_names_the_server() {
    let (world, client) = connected();
    assert!(world.clients[client].heard.starts_with("220 n1 "));
}

#[test]
fn r003_r004_helo_works_and_lists_nothing() {
    let (mut world, client) = connected();
    assert_eq!(world.ask(client, "HELO c\r\n"), ["250 n1"]);
    assert_eq!(
        world.codes(client, &format!("{GROUP}DATA\r\n")),
        [250, 250, 354]
    );
}

#[test]
fn r005_verbs_and_keywords_in_any_case() {
    let codes = after_ehlo(
        "mAiL fRoM:<s@x> sIzE=1 bOdY=8bItMiMe rEt=FuLl\r\nrcpt to:<a@x> nOtIfY=nEvEr\r\n",
    );
    assert_eq!(codes, [250, 250]);
}

#[test]
fn r006_another_ehlo_resets() {
    assert_eq!(
        after_ehlo(&format!("{GROUP}EHLO d\r\nDATA\r\n")),
        [250, 250, 250, 503]
    );
}

#[test]
fn r007_an_ehlo_that_cannot_be_changes_nothing() {
    assert_eq!(
        after_ehlo(&format!("{GROUP}EHLO\r\nDATA\r\n")),
        [250, 250, 501, 354]
    );
}

#[test]
fn r008_r009_before_ehlo() {
    let (mut world, client) = connected();
    let codes = world.codes(
        client,
        "NOOP\r\nHELP\r\nVRFY a\r\nRSET\r\nMAIL FROM:<s@x>\r\n",
    );
    assert_eq!(codes, [250, 214, 252, 250, 503]);
}

#[test]
fn r010_r011_r012_out_of_order() {
    assert_eq!(after_ehlo("RCPT TO:<a@x>\r\nDATA\r\n"), [503, 503]);
    assert_eq!(after_ehlo("MAIL FROM:<s@x>\r\nDATA\r\n"), [250, 503]);
    // The first transaction stands.
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    let nested = "MAIL FROM:<s@x>\r\nMAIL FROM:<t@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n";
    assert_eq!(world.codes(client, nested), [250, 503, 250, 354]);
    world.codes(client, &world::content("m1"));
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    assert_eq!(world.sinks[0].taken[0].sender, "s@x");
}

#[test]
fn r013_r014_rset_clears_and_stays() {
    assert_eq!(
        after_ehlo(&format!("{GROUP}RSET\r\nDATA\r\nNOOP\r\n")),
        [250, 250, 250, 503, 250]
    );
}

#[test]
fn r015_r022_arguments() {
    assert_eq!(
        after_ehlo("NOOP what\r\nRSET x\r\nDATA x\r\nQUIT x\r\n"),
        [250, 501, 501, 501]
    );
}

#[test]
fn r016_r017_quit_answers_closes_and_drops() {
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    assert_eq!(
        world.codes(client, &format!("{GROUP}QUIT\r\n")),
        [250, 250, 221]
    );
    assert!(world.clients[client].closed);
    world.run(HOUR);
    assert!(world.sinks[0].taken.is_empty());
}

#[test]
fn r018_r019_vrfy_promises_nothing() {
    assert_eq!(after_ehlo("VRFY a@x\r\n"), [252]);
}

#[test]
fn r020_r021_unknown_commands_and_known_ones_that_are_not_there() {
    assert_eq!(
        after_ehlo("WHAT\r\nEVER\r\nNEXT\r\nNOOP\r\nEXPN l\r\n"),
        [500, 500, 500, 250, 502]
    );
    // What EHLO lists is there.
    assert_eq!(after_ehlo("BDAT 0\r\nBDAT 3 LAST\r\nabc"), [503, 503]);
}

#[test]
fn r023_r024_x16_every_reply_is_well_formed() {
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    let group = format!(
        "{GROUP}RCPT TO:<>\r\nWHAT\r\nVRFY a\r\nHELP\r\nEXPN a\r\nRSET\r\nMAIL FROM:<a b>\r\nDATA\r\n"
    );
    world.ask(client, &group);
    world.ask(client, "QUIT\r\n");
    let heard = world.clients[client].heard.clone();
    let mut coded = 0;
    for line in heard.lines() {
        assert!(line.len() <= 510, "{line}");
        let (code, rest) = line.split_at(3);
        assert!(code.bytes().all(|b| b.is_ascii_digit()), "{line}");
        assert!(rest.starts_with(['-', ' ']) && line.is_ascii(), "{line}");
        // All but greeting and EHLO carry an enhanced code of their class.
        let greeting = line.starts_with("220 ")
            || rest.starts_with('-')
            || rest == " XSHADOWREQUEST"
            || rest == " ENHANCEDSTATUSCODES";
        if matches!(&code[..1], "2" | "4" | "5") && !greeting {
            let status = rest[1..].split(' ').next().unwrap();
            assert_eq!(status.matches('.').count(), 2, "{line}");
            assert_eq!(status[..1], code[..1], "{line}");
            coded += 1;
        }
    }
    assert!(coded > 8, "{heard}");
    assert!(heard.split("\r\n").all(|line| !line.contains('\n')));
}

#[test]
fn r025_long_command_lines() {
    for (length, code) in [
        (512, 250),
        (513, 250),
        (2_000, 250),
        (2_100, 500),
        (10_000, 500),
    ] {
        let line = format!("NOOP {}\r\n", "x".repeat(length - 7));
        let codes = after_ehlo(&format!("{line}NOOP\r\n"));
        assert_eq!(codes, [code, 250], "{length}");
    }
}

#[test]
fn r026_long_addresses() {
    let local = "l".repeat(64);
    let domain = vec!["d".repeat(60); 4].join(".");
    let codes = after_ehlo(&format!(
        "MAIL FROM:<{local}@x>\r\nRCPT TO:<r@{domain}>\r\nRCPT TO:<{local}@{domain}>\r\n"
    ));
    assert_eq!(codes, [250, 250, 250]);
}

#[test]
fn r027_r028_recipients_over_the_limit_are_put_off_and_the_others_served() {
    let mut world = World::cluster_with(1, |config| config.max_recipients = 100);
    let client = world.greeted(0);
    let mut text = "MAIL FROM:<s@x>\r\n".to_owned();
    for n in 0..102 {
        text += &format!("RCPT TO:<r{n}@x>\r\n");
    }
    let codes = world.codes(client, &format!("{text}DATA\r\n"));
    assert!(codes[..101].iter().all(|code| *code == 250));
    assert_eq!(codes[101..], [452, 452, 354]);
    assert_eq!(world.codes(client, &world::content("m1")), [250]);
    world.until("delivery", SHORT, |w| {
        (0..100).all(|n| w.taken("m1", &format!("r{n}@x")) == 1)
    });
    assert_eq!(world.taken("m1", "r100@x"), 0);
}

#[test]
fn r029_r042_r043_lines_and_dots_come_through_as_they_are() {
    let body = format!(
        "A: b\r\n\r\n.\r\n..\r\n.x\r\n{}\r\nno newline of ours\r\n",
        "y".repeat(998)
    );
    let stuffed = body.replace("\r\n.", "\r\n..");
    assert!(passed(&format!("{stuffed}.\r\n")).ends_with(&body));
}

#[test]
fn r030_large_messages() {
    let body = format!(
        "A: b\r\n\r\n{}",
        format!("{}\r\n", "z".repeat(98)).repeat(1_000)
    );
    assert!(passed(&format!("{body}.\r\n")).ends_with(&body));
}

#[test]
fn r031_an_idle_client_has_five_minutes() {
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    world.run(Duration::from_secs(299));
    assert!(!world.clients[client].closed);
    world.run(Duration::from_secs(10));
    assert!(world.clients[client].closed);
    assert_eq!(world.clients[client].codes().last(), Some(&421));
}

#[test]
fn r032_a_shutdown_is_said_in_any_state() {
    for text in ["", "MAIL FROM:<s@x>\r\n", GROUP] {
        let mut world = World::cluster(1);
        let client = world.greeted(0);
        world.ask(client, text);
        world.drain(0);
        world.run(Duration::from_secs(1));
        assert_eq!(world.clients[client].codes().last(), Some(&421), "{text}");
        assert!(world.clients[client].closed);
    }
    // One in the middle of a message gets its answer first.
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    world.ask(client, &format!("{GROUP}DATA\r\n"));
    world.drain(0);
    assert_eq!(world.codes(client, &world::content("m1")), [250, 421]);
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
}

#[test]
fn r033_unknown_parameters() {
    assert_eq!(after_ehlo("MAIL FROM:<s@x> BY=1;R\r\n"), [555]);
    assert_eq!(
        after_ehlo("MAIL FROM:<s@x>\r\nRCPT TO:<a@x> X=1\r\n"),
        [250, 555]
    );
}

#[test]
fn r034_r036_r037_r038_addresses_arrive_as_they_were_written() {
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    let group = "MAIL FROM:<>\r\nRCPT TO:<@one,@two:MixedCase@X.example>\r\nRCPT TO:<\"a b\\\"c\"@x>\r\nDATA\r\n";
    assert_eq!(world.codes(client, group), [250, 250, 250, 354]);
    world.codes(client, &world::content("m1"));
    world.until("delivery", SHORT, |w| w.sinks[0].taken.len() == 1);
    let taken = &world.sinks[0].taken[0];
    assert_eq!(taken.sender, "");
    assert_eq!(taken.recipients, ["MixedCase@X.example", "\"a b\\\"c\"@x"]);
}

#[test]
fn r035_postmaster_needs_no_domain() {
    let mut here = config(0, 1);
    here.role = Role::Mailbox;
    here.local_domains = vec!["here".to_owned()];
    here.relay_from.clear();
    let mut world = World::new(vec![here]);
    let client = world.greeted(0);
    let group =
        "MAIL FROM:<s@x>\r\nRCPT TO:<Postmaster>\r\nRCPT TO:<pOSTMASTER>\r\nRCPT TO:<root>\r\n";
    assert_eq!(world.codes(client, group), [250, 250, 250, 553]);
}

#[test]
fn r039_r040_r041_nothing_but_crlf_dot_crlf_ends_a_message() {
    for fake in [
        "\n.\n",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r",
        "\r.\r\n",
        "\n.\r",
        "\r\n.\r",
        "\0\n.\n",
        "\r\n\0.\r\n",
        "\r\n.\0\r\n",
    ] {
        let mut world = World::cluster(1);
        let client = world.greeted(0);
        assert_eq!(
            world.codes(client, &format!("{GROUP}DATA\r\n")),
            [250, 250, 354]
        );
        let smuggled = format!(
            "A: b\r\n\r\ntext{fake}MAIL FROM:<e@x>\r\nRCPT TO:<v@x>\r\nDATA\r\nevil\r\n.\r\n"
        );
        let codes = world.codes(client, &smuggled);
        assert_eq!(codes.len(), 1, "{fake:?}");
        world.run(SHORT);
        // Either refused, or passed on as one message for one recipient and
        // without a bare CR or LF.
        for taken in &world.sinks[0].taken {
            assert_eq!(taken.recipients, ["a@x"], "{fake:?}");
            let rest = taken.content.replace("\r\n", "");
            assert!(!rest.contains(['\r', '\n']), "{fake:?}");
        }
        assert_eq!(codes[0] == 250, world.sinks[0].taken.len() == 1, "{fake:?}");
    }
}

#[test]
fn r044_r059_one_answer_a_message_and_what_follows_counts_once() {
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    world.ask(
        client,
        "MAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n",
    );
    let text = format!("{}NOOP\r\nQUIT\r\n", world::content("m1"));
    assert_eq!(world.codes(client, &text), [250, 250, 221]);
    world.until("delivery", SHORT, |w| w.taken("m1", "b@x") == 1);
    assert_eq!(world.sinks[0].taken.len(), 1);
}

#[test]
fn r045_r046_r047_one_trace_field_on_top_and_nothing_else() {
    let older = "Received: from far by near; Sat, 21 Nov 2026 20:00:00 +0000\r\nSubject: x\r\n\r\nno date, no id\r\n";
    let content = passed(&format!("{older}.\r\n"));
    let (ours, rest) = content.split_once("\r\nReceived: from far").unwrap();
    assert_eq!(format!("Received: from far{rest}"), older);
    assert!(
        ours.starts_with("Received: from client.example ([127.0.3.1])\r\n\tby n1 with ESMTP id ")
    );
    let (_, date) = ours.rsplit_once(";\r\n\t").unwrap();
    assert!(
        date.contains(" 2026 ") && date.ends_with(" +0000"),
        "{date}"
    );
    assert!(!ours.contains(" for "));
}

#[test]
fn r048_loops_end_after_a_hundred_hops() {
    for (hops, code) in [(98, 250), (99, 250), (100, 554), (200, 554)] {
        let mut world = World::cluster(1);
        let client = world.greeted(0);
        world.codes(client, &format!("{GROUP}DATA\r\n"));
        let content = format!("{}\r\nbody\r\n.\r\n", "Received: x\r\n".repeat(hops));
        assert_eq!(world.codes(client, &content), [code], "{hops}");
    }
}

#[test]
fn r049_a_connection_lost_before_the_dot_delivers_nothing() {
    let content = world::content("m2");
    for cut in [
        0,
        1,
        30,
        content.len() - 3,
        content.len() - 2,
        content.len() - 1,
    ] {
        let mut world = World::cluster(1);
        let client = world.greeted(0);
        world.ask(client, &format!("{GROUP}DATA\r\n"));
        assert_eq!(world.codes(client, &world::content("m1")), [250]);
        world.ask(client, &format!("{GROUP}DATA\r\n"));
        world.ask(client, &content[..cut]);
        world.hang_up(client);
        world.run(HOUR);
        let taken = (world.taken("m1", "a@x"), world.taken("m2", "a@x"));
        assert_eq!(taken, (1, 0), "cut at {cut}");
        assert_eq!(world.view(0).body_bytes, 0);
    }
}

#[test]
fn r050_a_connection_lost_before_the_reply_delivers_once_or_not_at_all() {
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    world.ask(client, &format!("{GROUP}DATA\r\n"));
    world.send(client, &world::content("m1"));
    world.hang_up(client);
    world.run(HOUR);
    assert!(world.taken("m1", "a@x") <= 1);
    assert_eq!(world.view(0).messages.len(), 0);
}

#[test]
fn r051_what_was_refused_after_its_content_is_never_delivered() {
    let mut world = World::cluster_with(2, |config| {
        config.reject_message_on_shadow_failure = true;
    });
    world.cut(Party::Node(0), Party::Node(1));
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 451);
    world.kill(0, Crash::DropAll);
    world.start(0);
    world.heal(Party::Node(0), Party::Node(1));
    world.run(50 * HOUR);
    assert_eq!(world.taken("m1", "a@x"), 0);
}

#[test]
fn r054_several_sessions_at_once() {
    let mut world = World::cluster(1);
    let clients: Vec<usize> = (0..50).map(|_| world.greeted(0)).collect();
    for (n, client) in clients.iter().enumerate() {
        world.ask(*client, &format!("{GROUP}DATA\r\n"));
        assert_eq!(
            world.codes(*client, &world::content(&format!("m{n}"))),
            [250]
        );
    }
}

#[test]
fn r055_what_policy_refuses_is_said_first() {
    let mut world = World::cluster_with(1, |config| config.max_connections = 1);
    let first = world.greeted(0);
    let second = world.client(0);
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[second].codes(), [421]);
    assert!(world.clients[second].closed);
    assert_eq!(world.codes(first, "NOOP\r\n"), [250]);
}

#[test]
fn r056_the_answer_does_not_wait_for_the_next_hop() {
    let mut world = World::cluster(1);
    world.sinks[0].rule("EHLO", "");
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
    assert!(world.sinks[0].taken.is_empty());
}

#[test]
fn r057_resets_leave_nothing_behind() {
    let mut world = World::cluster(1);
    for n in 0..200 {
        let client = world.client(0);
        let text = format!("EHLO c\r\n{GROUP}DATA\r\nA: b\r\n");
        world.send(client, &text[..n % text.len()]);
        if n % 3 == 0 {
            world.run(Duration::from_millis(1));
        }
        world.hang_up(client);
    }
    world.run(SHORT);
    assert_eq!(world.view(0).body_bytes, 0);
    assert_eq!(world.deliver(0, "m1", &["a@x"]), 250);
}

#[test]
fn r058_a_client_that_talks_before_the_greeting() {
    let mut world = World::cluster(1);
    let client = world.client(0);
    world.send(client, &format!("EHLO c\r\n{GROUP}DATA\r\n"));
    world.run(Duration::from_secs(1));
    assert_eq!(world.clients[client].codes(), [220, 250, 250, 250, 354]);
}

#[test]
fn x01_x03_x04_pipelined_replies_keep_their_order() {
    let text = format!("RSET\r\n{GROUP}NOOP\r\nVRFY a\r\nRCPT TO:<b@x>\r\nDATA\r\n");
    assert_eq!(after_ehlo(&text), [250, 250, 250, 250, 252, 250, 354]);
}

#[test]
fn x02_data_without_a_recipient_gets_no_354() {
    let codes = after_ehlo("MAIL FROM:<s@x>\r\nRCPT TO:<bad>\r\nDATA\r\nRSET\r\n");
    assert_eq!(codes, [250, 553, 503, 250]);
}

#[test]
fn x05_what_is_pipelined_behind_a_message_waits() {
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    world.ask(client, &format!("{GROUP}DATA\r\n"));
    let next = format!("{}{GROUP}DATA\r\n", world::content("m1"));
    assert_eq!(world.codes(client, &next), [250, 250, 250, 354]);
    assert_eq!(world.codes(client, &world::content("m2")), [250]);
    world.until("delivery", SHORT, |w| {
        w.taken("m1", "a@x") + w.taken("m2", "a@x") == 2
    });
}

#[test]
fn x15_size() {
    let mut world = World::cluster_with(1, |config| {
        config.max_message_bytes = 64 << 10;
        config.body_budget_bytes = 100 << 10;
    });
    let client = world.client(0);
    let ehlo = world.ask(client, "EHLO c\r\n")[1].clone();
    assert!(ehlo.contains("\r\n250-SIZE 65536\r\n"), "{ehlo}");
    assert_eq!(world.codes(client, "MAIL FROM:<s@x> SIZE=65537\r\n"), [552]);
    assert_eq!(
        world.codes(client, "MAIL FROM:<s@x> SIZE=99999999999999999999999\r\n"),
        [501]
    );
    // Declared small, and large; the declaration ends nothing.
    let small = "MAIL FROM:<s@x> SIZE=10\r\nRCPT TO:<a@x>\r\nDATA\r\n";
    assert_eq!(world.codes(client, small), [250, 250, 354]);
    let line = format!("{}\r\n", "x".repeat(98));
    let content = format!("X-Mailproof: m1\r\n\r\n{}.\r\n", line.repeat(100));
    assert_eq!(world.codes(client, &content), [250]);
    assert_eq!(world.codes(client, small), [250, 250, 354]);
    assert_eq!(
        world.codes(client, &format!("A: b\r\n\r\n{}.\r\n", line.repeat(700))),
        [552]
    );
    // No room now is no refusal for good.
    world.sinks[0].rule("MAIL", "451 4.3.2 later\r\n");
    let other = world.greeted(0);
    world.codes(other, &format!("{GROUP}DATA\r\n"));
    assert_eq!(
        world.codes(other, &format!("A: b\r\n\r\n{}.\r\n", line.repeat(500))),
        [250]
    );
    assert_eq!(world.codes(other, "MAIL FROM:<s@x> SIZE=60000\r\n"), [452]);
    world.sinks[0].rules.clear();
    world.until("room", HOUR, |w| w.view(0).messages.is_empty());
    let other = world.greeted(0);
    assert_eq!(world.codes(other, "MAIL FROM:<s@x> SIZE=60000\r\n"), [250]);
}

#[test]
fn x22_smtputf8() {
    assert_eq!(after_ehlo("MAIL FROM:<ö@x>\r\n"), [553]);
    assert_eq!(after_ehlo("MAIL FROM:<ö@x> SMTPUTF8=1\r\n"), [501]);
    assert_eq!(
        after_ehlo("MAIL FROM:<s@x>\r\nRCPT TO:<ö@x>\r\n"),
        [250, 553]
    );
    let mut world = World::cluster(1);
    let client = world.client(0);
    let ehlo = world.ask(client, "EHLO c\r\n")[1].clone();
    assert!(
        ehlo.contains("SMTPUTF8") && ehlo.contains("8BITMIME"),
        "{ehlo}"
    );
    let group = "MAIL FROM:<ö@x> SMTPUTF8\r\nRCPT TO:<ä@ü.example>\r\nDATA\r\n";
    assert_eq!(world.codes(client, group), [250, 250, 354]);
    assert_eq!(
        world.codes(client, "X-Mailproof: m1\r\nSubject: ß\r\n\r\nö\r\n.\r\n"),
        [250]
    );
    assert!(
        world.clients[client].heard.is_ascii(),
        "no UTF-8 in replies"
    );
    world.until("delivery", SHORT, |w| w.taken("m1", "ä@ü.example") == 1);
    let mail = world.sinks[0]
        .lines
        .iter()
        .find(|l| l.starts_with("MAIL"))
        .unwrap();
    assert!(mail.contains(" SMTPUTF8"), "{mail}");
    assert!(world.sinks[0].taken[0].content.contains("with UTF8SMTP id"));
}

#[test]
fn r050_a_client_that_closes_its_half_still_gets_its_answer() {
    for (behind, codes) in [("", &[250][..]), ("QUIT\r\n", &[250, 221][..])] {
        let mut world = World::cluster(1);
        let client = world.greeted(0);
        world.ask(client, &format!("{GROUP}DATA\r\n"));
        let before = world.clients[client].codes().len();
        world.send(client, &format!("{}{behind}", world::content("m1")));
        // The content is there, its record is not durable yet.
        world.run(Duration::from_micros(210));
        assert_eq!(world.clients[client].codes().len(), before);
        world.half_close(client);
        world.run(Duration::from_secs(1));
        assert_eq!(&world.clients[client].codes()[before..], codes, "{behind}");
        assert!(world.clients[client].closed);
        world.until("delivery", SHORT, |w| w.taken("m1", "a@x") == 1);
    }
    // Without anything to answer the session ends.
    let mut world = World::cluster(1);
    let client = world.greeted(0);
    world.ask(client, &format!("{GROUP}DATA\r\nA: b\r\n"));
    world.half_close(client);
    world.run(Duration::from_secs(1));
    assert!(world.clients[client].closed);
    assert_eq!(world.view(0).body_bytes, 0);
}

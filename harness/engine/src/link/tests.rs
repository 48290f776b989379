use mailproof_model::event::Event;
use mailproof_model::scenario::Span;
use mailproof_wire::MessageSpec;

use super::*;

const RUN: &str = "link-test";

/// A link with both ends written down: what reached whom, and what was seen,
/// in one order.
struct Bench {
    core: LinkCore,
    out: Vec<LinkOutput>,
    /// Everything in its order, as text.
    log: Vec<String>,
    client: Vec<u8>,
    server: Vec<u8>,
}

impl Bench {
    fn new(link: &str) -> Self {
        let context = LinkContext::new(RUN, Times::new());
        Self {
            core: LinkCore::new(link.parse().unwrap(), Arc::new(context)),
            out: Vec::new(),
            log: Vec::new(),
            client: Vec::new(),
            server: Vec::new(),
        }
    }

    fn settle(&mut self) {
        for output in std::mem::take(&mut self.out) {
            let line = match output {
                LinkOutput::Record { by, what } => {
                    assert!(what.admissible(by), "{by}: {what:?}");
                    let event = Event {
                        id: 0,
                        at: 0,
                        by,
                        ev: what,
                    };
                    let json = serde_json::to_value(&event.ev).unwrap();
                    let (name, fields) = json.as_object().unwrap().iter().next().unwrap();
                    let mut line = name.clone();
                    for key in [
                        "stage", "to", "msg", "rcpts", "code", "how", "from", "verb", "phase",
                    ] {
                        if let Some(value) = fields.get(key) {
                            line += &format!(" {key}={}", value.to_string().replace('"', ""));
                        }
                    }
                    line
                }
                LinkOutput::Pass {
                    to, bytes, delay, ..
                } => {
                    let end = match to {
                        Side::Client => &mut self.client,
                        Side::Server => &mut self.server,
                    };
                    end.extend_from_slice(&bytes);
                    match delay {
                        0 => format!("pass to {to:?}"),
                        _ => format!("pass to {to:?} after {delay}"),
                    }
                }
                LinkOutput::Finish { to, .. } => format!("finish {to:?}"),
                LinkOutput::Reset { to, .. } => format!("reset {to:?}"),
                other => format!("{other:?}").split(' ').next().unwrap().to_owned(),
            };
            self.log.push(line);
        }
    }

    fn open(&mut self) {
        self.core.dialled(1, &mut self.out);
        self.core.opened(1, &mut self.out);
        self.settle();
    }

    fn client(&mut self, text: &str) {
        self.send(Side::Client, text.as_bytes());
    }

    fn server(&mut self, text: &str) {
        self.send(Side::Server, text.as_bytes());
    }

    fn send(&mut self, from: Side, bytes: &[u8]) {
        let data = Bytes::copy_from_slice(bytes);
        self.core.bytes(1, from, data, &mut self.out);
        self.settle();
    }

    fn close(&mut self, from: Side, how: Shut) {
        self.core.closed(1, from, how, &mut self.out);
        self.settle();
    }

    fn arm(&mut self, phase: &str, nth: u32, act: LinkAct) {
        self.arm_with(phase, nth, act, false);
    }

    fn arm_with(&mut self, phase: &str, nth: u32, act: LinkAct, disarmed: bool) {
        let point = Point {
            link: self.core.link(),
            phase: phase.to_owned(),
            nth,
        };
        self.core
            .arm(7, &point, &act, disarmed, &mut self.out)
            .unwrap();
        self.settle();
    }

    fn release(&mut self) {
        self.core.release(7, &mut self.out);
        self.settle();
    }

    /// Up to where the content may follow.
    fn envelope(&mut self) {
        self.server("220 n1\r\n");
        self.client("EHLO client\r\n");
        self.server("250-n1\r\n250 PIPELINING\r\n");
        self.client("MAIL FROM:<s5@client.test>\r\nRCPT TO:<m5r0@mail.test>\r\nRCPT TO:<m5r1@mail.test>\r\nDATA\r\n");
        self.server("250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go on\r\n");
    }

    /// What was seen since the last call, without the passing of bytes.
    fn seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
            .into_iter()
            .filter(|l| !l.starts_with("pass") && l != "Dial")
            .collect()
    }
}

fn content() -> Vec<u8> {
    let spec = MessageSpec {
        run: RUN,
        number: 5,
        size: 1500,
        seed: 3,
        from: "s5@client.test",
        to: &["m5r0@mail.test", "m5r1@mail.test"],
        unix_seconds: 0,
    };
    let mut wire = Vec::new();
    mailproof_wire::body::stuff(&spec.content(2), &mut wire);
    wire
}

#[test]
fn a_transaction_is_written_down_before_it_passes() {
    let mut b = Bench::new("client->n1");
    b.open();
    b.envelope();
    b.send(Side::Client, &content());
    b.server("250 2.0.0 ok\r\n");
    b.client("QUIT\r\n");
    b.server("221 bye\r\n");
    b.close(Side::Server, Shut::Fin);
    b.close(Side::Client, Shut::Fin);
    let log = b.log.clone();
    let at = |text: &str| log.iter().position(|l| l.starts_with(text)).unwrap();
    assert_eq!(log[at("dot") + 1], "pass to Server");
    assert_eq!(log[at("reply to=dot") + 1], "pass to Client");
    assert_eq!(
        b.seen(),
        [
            "open",
            "reply to=rcpt msg=5 rcpts=[1] code=550",
            "dot msg=5 rcpts=[0]",
            "reply to=dot msg=5 code=250",
            "finish Client",
            "finish Server",
            "shut how=fin from=n1",
            "Forget",
        ]
    );
    assert!(b.server.ends_with(b"\r\n.\r\nQUIT\r\n"));
}

#[test]
fn every_cut_of_the_stream_gives_the_same_events_and_bytes() {
    let script = |b: &mut Bench, step: usize| {
        let send = |b: &mut Bench, side, bytes: &[u8]| {
            for piece in bytes.chunks(step) {
                b.send(side, piece);
            }
        };
        b.open();
        send(b, Side::Server, b"220 n1\r\n");
        send(b, Side::Client, b"EHLO client\r\n");
        send(b, Side::Server, b"250-n1\r\n250 PIPELINING\r\n");
        send(b, Side::Client, b"MAIL FROM:<s5@client.test>\r\nRCPT TO:<m5r0@mail.test>\r\nRCPT TO:<m5r1@mail.test>\r\nDATA\r\n");
        send(
            b,
            Side::Server,
            b"250 ok\r\n250 ok\r\n250 ok\r\n354 go on\r\n",
        );
        send(b, Side::Client, &content());
        send(b, Side::Server, b"250 2.0.0 ok\r\n");
        (b.seen(), b.client.clone(), b.server.clone())
    };
    let whole = script(&mut Bench::new("client->n1"), usize::MAX);
    for step in [1, 2, 7, 100] {
        assert_eq!(script(&mut Bench::new("client->n1"), step), whole, "{step}");
    }
    // The slow way, with something armed that never comes, is the same.
    for step in [1, 3, usize::MAX] {
        for act in [LinkAct::Hold, LinkAct::Answer("250 x".to_owned())] {
            let mut b = Bench::new("client->n1");
            b.arm("mail", 99, act);
            b.seen();
            assert_eq!(script(&mut b, step), whole, "{step}");
        }
    }
}

#[test]
fn a_hold_at_the_dot_keeps_the_dot_and_all_after_it() {
    let mut b = Bench::new("client->n1");
    b.arm("dot", 1, LinkAct::Hold);
    b.open();
    b.envelope();
    let whole = content();
    b.send(Side::Client, &whole);
    assert!(
        b.server
            .ends_with(&whole[whole.len() - 30..whole.len() - 3])
    );
    b.client("QUIT\r\n");
    b.server("421 closing\r\n");
    b.close(Side::Client, Shut::Fin);
    assert!(!b.server.ends_with(b".\r\n"));
    assert!(!b.client.ends_with(b"421 closing\r\n"));
    assert_eq!(b.seen().last().unwrap(), "held phase=dot");
    b.release();
    assert!(b.server.ends_with(b"\r\n.\r\nQUIT\r\n"));
    assert!(b.client.ends_with(b"421 closing\r\n"));
    assert_eq!(
        b.seen(),
        ["released", "reply to=dot msg=5 code=421", "finish Server"]
    );
}

#[test]
fn phases_that_only_the_link_can_tell() {
    for (phase, dot_passed, reply_passed) in [
        ("after-dot", true, false),
        ("end-reply", true, false),
        ("after-end-reply", true, true),
    ] {
        let mut b = Bench::new("client->n1");
        b.arm(phase, 1, LinkAct::Hold);
        b.open();
        b.envelope();
        b.send(Side::Client, &content());
        b.server("250 2.0.0 ok\r\n");
        b.client("QUIT\r\n");
        assert_eq!(b.server.ends_with(b"\r\n.\r\n"), dot_passed, "{phase}");
        assert_eq!(b.client.ends_with(b"2.0.0 ok\r\n"), reply_passed, "{phase}");
        b.release();
        assert!(b.server.ends_with(b"QUIT\r\n"), "{phase}");
        assert!(b.client.ends_with(b"2.0.0 ok\r\n"), "{phase}");
        let seen = b.seen();
        assert!(seen.contains(&format!("held phase={phase}")), "{seen:?}");
    }
    let mut b = Bench::new("client->n1");
    b.arm("connect", 1, LinkAct::Hold);
    b.open();
    b.server("220 n1\r\n");
    assert!(b.client.is_empty());
    b.release();
    assert_eq!(b.client, b"220 n1\r\n");
}

#[test]
fn a_lost_reply_is_seen_by_the_link_alone() {
    let mut b = Bench::new("client->n1");
    b.arm("end-reply", 1, LinkAct::LoseReply);
    b.open();
    b.envelope();
    b.send(Side::Client, &content());
    b.seen();
    b.server("250 2.0.0 ok\r\n");
    assert!(!b.client.ends_with(b"2.0.0 ok\r\n"));
    b.close(Side::Server, Shut::Fin);
    assert_eq!(
        b.seen(),
        [
            "reply to=dot msg=5 code=250",
            "fault stage=fired",
            "reset Client",
            "finish Server",
            "shut how=reset",
            "Forget",
        ]
    );
}

#[test]
fn cuts_resets_and_half_closes_stand_at_their_byte() {
    let run = |phase: &str, act: LinkAct| {
        let mut b = Bench::new("client->n1");
        b.arm(phase, 1, act);
        b.open();
        b.envelope();
        b.send(Side::Client, &content());
        b.server("250 2.0.0 ok\r\n");
        let seen = b.seen();
        (seen, b.client, b.server)
    };
    let (seen, client, _) = run("end-reply", LinkAct::CutAt(4));
    assert!(client.ends_with(b"354 go on\r\n250 "));
    assert_eq!(
        seen[seen.len() - 4..],
        ["reset Client", "reset Server", "shut how=reset", "Forget"]
    );
    let (_, _, server) = run("dot", LinkAct::Reset);
    assert!(!server.ends_with(b".\r\n"));
    let (seen, client, server) = run("dot", LinkAct::HalfClose);
    assert!(server.ends_with(b"\r\n.\r\n"));
    assert!(client.ends_with(b"354 go on\r\n"));
    // The link still reads what the client will never see.
    assert!(seen.contains(&"reply to=dot msg=5 code=250".to_owned()));
    assert!(seen.contains(&"finish Client".to_owned()));
}

#[test]
fn an_answer_stands_in_for_the_server() {
    // For one of several pipelined commands: in its place, and the server
    // never sees the command.
    for step in [1, 5, usize::MAX] {
        let mut b = Bench::new("client->n1");
        b.arm("rcpt", 2, LinkAct::Answer("451 4.3.2 later".to_owned()));
        b.open();
        b.server("220 n1\r\n");
        b.client("EHLO client\r\n");
        b.server("250 n1\r\n");
        let lines = b"MAIL FROM:<s5@client.test>\r\nRCPT TO:<m5r0@mail.test>\r\nRCPT TO:<m5r1@mail.test>\r\nDATA\r\n";
        for piece in lines.chunks(step) {
            b.send(Side::Client, piece);
        }
        assert!(b.server.ends_with(b"RCPT TO:<m5r0@mail.test>\r\nDATA\r\n"));
        b.server("250 sender\r\n250 first\r\n354 go on\r\n");
        assert!(
            b.client
                .ends_with(b"250 sender\r\n250 first\r\n451 4.3.2 later\r\n354 go on\r\n")
        );
        b.send(Side::Client, &content());
        let seen = b.seen();
        assert!(
            seen.contains(&"reply to=rcpt msg=5 rcpts=[1] code=451".to_owned()),
            "{seen:?}"
        );
        assert!(seen.contains(&"dot msg=5 rcpts=[0]".to_owned()), "{seen:?}");
    }
    // For a reply: the link saw the true one.
    let mut b = Bench::new("client->n1");
    b.arm("end-reply", 1, LinkAct::Answer("452 4.3.1 full".to_owned()));
    b.open();
    b.envelope();
    b.send(Side::Client, &content());
    b.server("250 2.0.0 ok\r\n");
    assert!(b.client.ends_with(b"452 4.3.1 full\r\n"));
    assert!(b.seen().contains(&"reply to=dot msg=5 code=250".to_owned()));
    // For the dot: the server never gets it and is cut off.
    let mut b = Bench::new("client->n1");
    b.arm("dot", 1, LinkAct::Answer("451 4.3.0 no".to_owned()));
    b.open();
    b.envelope();
    b.send(Side::Client, &content());
    assert!(b.client.ends_with(b"451 4.3.0 no\r\n"));
    assert!(!b.server.ends_with(b".\r\n"));
    let seen = b.seen();
    assert!(seen.contains(&"reset Server".to_owned()));
    assert!(
        seen.contains(&"reply to=dot msg=5 code=451".to_owned()),
        "{seen:?}"
    );
}

#[test]
fn the_nth_passage_counts_over_all_connections() {
    let mut b = Bench::new("client->n1");
    b.arm("greeting", 2, LinkAct::Reset);
    b.open();
    b.server("220 n1\r\n");
    assert!(!b.client.is_empty());
    b.core.dialled(2, &mut b.out);
    b.core.opened(2, &mut b.out);
    b.core.bytes(
        2,
        Side::Server,
        Bytes::from_static(b"220 n1\r\n"),
        &mut b.out,
    );
    b.settle();
    assert_eq!(b.seen().last().unwrap(), "Forget");
}

#[test]
fn a_point_that_is_given_up_does_nothing() {
    for act in [LinkAct::Hold, LinkAct::Reset] {
        let mut b = Bench::new("client->n1");
        b.arm("greeting", 1, act);
        b.release();
        b.open();
        b.server("220 n1\r\n");
        assert_eq!(b.client, b"220 n1\r\n");
    }
}

#[test]
fn a_disarmed_act_leaves_a_receipt_and_nothing_else() {
    let mut b = Bench::new("client->n1");
    b.arm_with("end-reply", 1, LinkAct::LoseReply, true);
    b.open();
    b.envelope();
    b.send(Side::Client, &content());
    b.server("250 2.0.0 ok\r\n");
    assert!(b.client.ends_with(b"2.0.0 ok\r\n"));
    assert!(b.seen().contains(&"fault stage=fired".to_owned()));
}

#[test]
fn a_blackhole_carries_nothing_until_it_is_mended() {
    let mut b = Bench::new("n1->n2");
    b.open();
    b.core
        .break_now(7, &LinkAct::Blackhole, false, &mut b.out)
        .unwrap();
    b.server("220 n2\r\n");
    b.close(Side::Server, Shut::Fin);
    b.core.dialled(2, &mut b.out);
    b.core.dialled(3, &mut b.out);
    b.core.closed(3, Side::Client, Shut::Reset, &mut b.out);
    b.settle();
    assert!(b.client.is_empty());
    assert_eq!(
        b.seen(),
        [
            "open",
            "fault stage=fired",
            "stalled from=n2",
            "stalled from=n1",
            "stalled from=n1",
            "refused",
            "Forget"
        ]
    );
    b.core.mend(7, &LinkAct::Blackhole, false, &mut b.out);
    b.settle();
    assert_eq!(b.client, b"220 n2\r\n");
    assert_eq!(
        b.log,
        [
            "fault stage=removed",
            "pass to Client",
            "finish Client",
            "Dial"
        ]
    );
    // Armed, it stops the very bytes at its point.
    let mut b = Bench::new("n1->n2");
    b.arm("greeting", 1, LinkAct::Blackhole);
    b.open();
    b.server("220 n2\r\n");
    assert!(b.client.is_empty());
    b.core.mend(7, &LinkAct::Blackhole, false, &mut b.out);
    b.settle();
    assert_eq!(b.client, b"220 n2\r\n");
}

#[test]
fn a_silenced_end_is_gone_without_a_word() {
    let mut b = Bench::new("n1->n2");
    b.open();
    b.core.silence("n2".parse().unwrap(), &mut b.out);
    b.server("220 n2\r\n");
    b.close(Side::Server, Shut::Reset);
    b.core.dialled(2, &mut b.out);
    b.settle();
    assert!(b.client.is_empty());
    assert_eq!(b.seen(), ["open", "shut how=silent from=n2", "Forget"]);
    b.core.unsilence("n2".parse().unwrap(), &mut b.out);
    b.settle();
    assert_eq!(b.log, ["Dial"]);
}

#[test]
fn refusals_delays_and_private_verbs() {
    let mut b = Bench::new("n1->n2");
    b.core
        .break_now(7, &LinkAct::Refuse, false, &mut b.out)
        .unwrap();
    b.core.dialled(9, &mut b.out);
    b.core.mend(7, &LinkAct::Refuse, false, &mut b.out);
    b.settle();
    assert_eq!(
        b.seen(),
        [
            "fault stage=fired",
            "refused",
            "Refuse",
            "fault stage=removed"
        ]
    );
    let delay = LinkAct::Delay(Span::nanoseconds(5_000));
    b.core.break_now(7, &delay, false, &mut b.out).unwrap();
    b.open();
    b.server("220 n2\r\n");
    assert_eq!(b.log.last().unwrap(), "pass to Client after 5000");
    b.client("EHLO n1\r\n");
    b.server("250 n2\r\n");
    b.client("XPOLL 7\r\n");
    b.server("250 2.0.0 nothing\r\n");
    b.client("NOOP\r\n");
    b.server("250 ok\r\n");
    assert_eq!(b.seen().last().unwrap(), "verb code=250 verb=XPOLL");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let point = |phase: &str| Point {
        link: "client->n1".parse().unwrap(),
        phase: phase.to_owned(),
        nth: 1,
    };
    for (phase, act) in [
        ("dots", LinkAct::Hold),
        ("dot", LinkAct::LoseReply),
        ("after-dot", LinkAct::Answer("250 ok".to_owned())),
        ("mail", LinkAct::Answer("no".to_owned())),
        ("mail", LinkAct::Answer("250 ok\r\n250 two".to_owned())),
        ("connect", LinkAct::CutAt(3)),
    ] {
        assert!(
            offers_point(&point(phase), &act).is_err(),
            "{phase} {act:?}"
        );
    }
    assert!(offers_act(&LinkAct::CutAt(3)).is_err());
    assert!(offers_act(&LinkAct::Hold).is_err());
    assert!(offers_act(&LinkAct::Reset).is_ok());
}

#[test]
fn a_mute_direction_stands_and_the_other_goes_on() {
    let mut b = Bench::new("n1->n2");
    b.open();
    let act = LinkAct::Mute(Toward::Client);
    b.core.break_now(7, &act, false, &mut b.out).unwrap();
    b.server("220 n2\r\n");
    b.server("more");
    b.client("EHLO n1\r\n");
    b.client("MAIL FROM:<a@x>\r\n");
    assert!(b.client.is_empty());
    assert_eq!(b.server, b"EHLO n1\r\nMAIL FROM:<a@x>\r\n");
    // A dial needs its answer.
    b.core.dialled(2, &mut b.out);
    b.settle();
    let seen = b.seen();
    let stalled: Vec<&String> = seen.iter().filter(|l| l.starts_with("stalled")).collect();
    assert_eq!(stalled, ["stalled from=n2", "stalled from=n2"]);
    assert!(!seen.contains(&"Dial".to_owned()));
    b.core.mend(7, &act, false, &mut b.out);
    b.settle();
    assert_eq!(b.client, b"220 n2\r\nmore");
    assert_eq!(b.log.iter().filter(|l| *l == "Dial").count(), 1);
}

#[test]
fn what_was_dialled_before_a_cut_is_answered_after_it() {
    let mut b = Bench::new("n1->n2");
    b.core.dialled(1, &mut b.out);
    let act = LinkAct::Mute(Toward::Server);
    b.core.break_now(7, &act, false, &mut b.out).unwrap();
    b.core.opened(1, &mut b.out);
    b.core.dialled(2, &mut b.out);
    b.core.unreachable(2, "nobody listens", &mut b.out);
    b.settle();
    let seen = b.seen();
    assert!(
        !seen.iter().any(|l| l == "open" || l == "refused"),
        "{seen:?}"
    );
    b.core.mend(7, &act, false, &mut b.out);
    b.settle();
    assert_eq!(b.log, ["fault stage=removed", "Dial", "Dial"]);
    b.core.opened(1, &mut b.out);
    // An answer that comes twice opens nothing again.
    b.core.opened(1, &mut b.out);
    b.settle();
    assert_eq!(b.log.iter().filter(|l| *l == "open").count(), 1);
}

#[test]
fn two_cuts_on_one_link_heal_when_both_are_healed() {
    let mut b = Bench::new("n1->n2");
    b.open();
    let (one, two) = (LinkAct::Blackhole, LinkAct::Mute(Toward::Client));
    b.core.break_now(1, &one, false, &mut b.out).unwrap();
    b.core.break_now(2, &two, false, &mut b.out).unwrap();
    b.server("220 n2\r\n");
    b.client("EHLO n1\r\n");
    b.core.mend(1, &one, false, &mut b.out);
    b.settle();
    assert_eq!(b.server, b"EHLO n1\r\n");
    assert!(b.client.is_empty());
    b.core.mend(2, &two, false, &mut b.out);
    b.settle();
    assert_eq!(b.client, b"220 n2\r\n");
    // A party that fell silent behind a cut stays silent when it heals.
    b.core.break_now(3, &one, false, &mut b.out).unwrap();
    b.core.silence("n2".parse().unwrap(), &mut b.out);
    b.core.dialled(2, &mut b.out);
    b.settle();
    b.seen();
    b.core.mend(3, &one, false, &mut b.out);
    b.settle();
    assert!(!b.log.contains(&"Dial".to_owned()), "{:?}", b.log);
    b.core.unsilence("n2".parse().unwrap(), &mut b.out);
    b.settle();
    assert!(b.log.contains(&"Dial".to_owned()), "{:?}", b.log);
}

#[test]
fn a_hold_inside_a_cut_stands_until_both_are_over() {
    let mut b = Bench::new("n1->n2");
    b.arm("greeting", 1, LinkAct::Hold);
    b.open();
    b.server("220 n2\r\n");
    let cut = LinkAct::Mute(Toward::Client);
    b.core.break_now(8, &cut, false, &mut b.out).unwrap();
    b.core.release(7, &mut b.out);
    b.client("EHLO n1\r\n");
    assert!(b.client.is_empty());
    assert_eq!(b.server, b"EHLO n1\r\n");
    b.core.mend(8, &cut, false, &mut b.out);
    b.settle();
    assert_eq!(b.client, b"220 n2\r\n");
}

#[test]
fn a_throttled_link_says_how_fast_it_is() {
    let mut b = Bench::new("n1->n2");
    b.open();
    let act = LinkAct::Throttle("1000 B/s".parse().unwrap());
    b.core.break_now(7, &act, false, &mut b.out).unwrap();
    let data = Bytes::from(vec![b'x'; 120]);
    b.core.bytes(1, Side::Server, data, &mut b.out);
    let pieces: Vec<(usize, u64)> = b
        .out
        .iter()
        .filter_map(|out| match out {
            LinkOutput::Pass { bytes, rate, .. } => Some((bytes.len(), *rate)),
            _ => None,
        })
        .collect();
    assert_eq!(pieces, [(50, 1000), (50, 1000), (20, 1000)]);
    b.settle();
    b.core.mend(7, &act, false, &mut b.out);
    b.out.clear();
    let data = Bytes::from(vec![b'x'; 120]);
    b.core.bytes(1, Side::Server, data, &mut b.out);
    assert!(
        b.out
            .iter()
            .any(|o| matches!(o, LinkOutput::Pass { bytes, rate: 0, .. } if bytes.len() == 120))
    );
}

//! The client against scripted servers.

use mailproof_wire::client::ProtocolError;
use mailproof_wire::{
    Client, ClientEvent, ClientOptions, Outcome, RcptOutcome, Reply, Stage, Transaction,
};

fn transaction(rcpts: &[&str]) -> Transaction {
    Transaction {
        from: "a@x".into(),
        params: String::new(),
        rcpts: rcpts.iter().map(|rcpt| (*rcpt).into()).collect(),
        content: b"Subject: x\r\n\r\n.\r\n".as_slice().into(),
    }
}

const WIRE: &str = "Subject: x\r\n\r\n..\r\n.\r\n";

/// A client that talks to what the test says.
struct Talk {
    client: Client,
    events: Vec<ClientEvent>,
}

impl Talk {
    fn new(options: ClientOptions) -> Self {
        Self {
            client: Client::new(options),
            events: Vec::new(),
        }
    }

    /// A client that has been greeted.
    fn open(options: ClientOptions, offer: &str) -> Self {
        let mut talk = Self::new(options);
        talk.hears("220 mx\r\n");
        let hello = if talk.says().starts_with("LHLO") {
            "LHLO"
        } else {
            "EHLO"
        };
        talk.hears(&format!("250-mx {hello}\r\n250 {offer}\r\n"));
        talk.events.clear();
        talk
    }

    fn says(&mut self) -> String {
        let mut out = Vec::new();
        self.client.transmit(&mut out);
        String::from_utf8(out).expect("the client sends ASCII")
    }

    fn hears(&mut self, bytes: &str) {
        self.client.received(bytes.as_bytes(), &mut self.events);
    }

    fn outcomes(&self) -> Vec<&Outcome> {
        self.events
            .iter()
            .filter_map(|event| match event {
                ClientEvent::Done(outcome) => Some(outcome),
                _ => None,
            })
            .collect()
    }

    fn close(&mut self) {
        self.client.closed(&mut self.events);
        assert_eq!(self.events.last(), Some(&ClientEvent::Closed));
        let count = self.events.len();
        self.client.closed(&mut self.events);
        assert_eq!(self.events.len(), count, "said once");
    }
}

fn plain() -> ClientOptions {
    ClientOptions {
        name: "c".into(),
        pipelining: false,
        ..ClientOptions::default()
    }
}

fn piped() -> ClientOptions {
    ClientOptions {
        pipelining: true,
        ..plain()
    }
}

fn refused(stage: Stage, reply: &str) -> RcptOutcome {
    RcptOutcome::Refused {
        stage,
        reply: reply_of(reply),
    }
}

fn reply_of(text: &str) -> Reply {
    Reply::parse(text.as_bytes()).expect("the test writes replies")
}

#[test]
fn one_command_at_a_time_without_pipelining() {
    let mut talk = Talk::new(plain());
    talk.client.start(transaction(&["b@y", "c@y"]));
    talk.client.quit();
    assert_eq!(talk.says(), "", "the server speaks first");
    for (hears, says) in [
        ("220 mx\r\n", "EHLO c\r\n"),
        (
            "250-mx\r\n250-PIPELINING\r\n250 SIZE 5\r\n",
            "MAIL FROM:<a@x>\r\n",
        ),
        ("250 ok\r\n", "RCPT TO:<b@y>\r\n"),
        ("251 ok\r\n", "RCPT TO:<c@y>\r\n"),
        ("550 no\r\n", "DATA\r\n"),
        ("354 go\r\n", WIRE),
        ("250 taken\r\n", "QUIT\r\n"),
        ("221 bye\r\n", ""),
    ] {
        talk.hears(hears);
        assert_eq!(talk.says(), says, "after {hears:?}");
    }
    assert!(talk.client.offers("size") && !talk.client.offers("SIZ"));
    let outcome = talk.outcomes()[0];
    assert_eq!(outcome.mail, Some(reply_of("250 ok")));
    assert_eq!(
        outcome.rcpt_replies,
        [Some(reply_of("251 ok")), Some(reply_of("550 no"))]
    );
    assert_eq!(outcome.data, Some(reply_of("354 go")));
    assert_eq!(
        outcome.rcpts,
        [
            RcptOutcome::Accepted(reply_of("250 taken")),
            refused(Stage::Rcpt, "550 no")
        ]
    );
    talk.close();
    assert_eq!(talk.outcomes().len(), 1);
}

#[test]
fn parameters_are_sent_as_given() {
    let mut talk = Talk::open(piped(), "PIPELINING");
    let mut transaction = transaction(&["b@y"]);
    transaction.from = String::new();
    transaction.params = "SIZE=9 BODY=8BITMIME".into();
    transaction.rcpts[0].params = "NOTIFY=NEVER".into();
    talk.client.start(transaction);
    assert_eq!(
        talk.says(),
        "MAIL FROM:<> SIZE=9 BODY=8BITMIME\r\nRCPT TO:<b@y> NOTIFY=NEVER\r\nDATA\r\n"
    );
}

#[test]
fn transactions_follow_each_other() {
    let mut talk = Talk::open(piped(), "PIPELINING");
    talk.client.start(transaction(&["b@y"]));
    talk.client.start(transaction(&["c@y"]));
    let first = "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n";
    assert_eq!(talk.says(), first);
    // Refused: RSET, and the next one behind it.
    talk.hears("250 ok\r\n452 full\r\n503 no\r\n");
    assert_eq!(
        talk.says(),
        "RSET\r\nMAIL FROM:<a@x>\r\nRCPT TO:<c@y>\r\nDATA\r\n"
    );
    talk.hears("250 reset\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(talk.says(), WIRE);
    assert!(!talk.events.contains(&ClientEvent::Idle));
    talk.hears("451 later\r\n");
    assert_eq!(talk.outcomes()[0].rcpts, [refused(Stage::Rcpt, "452 full")]);
    assert_eq!(talk.outcomes()[1].rcpts, [refused(Stage::End, "451 later")]);
    assert_eq!(talk.events.last(), Some(&ClientEvent::Idle));
    talk.client.start(transaction(&["d@y"]));
    assert_eq!(talk.says(), "MAIL FROM:<a@x>\r\nRCPT TO:<d@y>\r\nDATA\r\n");
}

#[test]
fn rset_is_awaited_without_pipelining() {
    let mut talk = Talk::open(plain(), "SIZE");
    talk.client.start(transaction(&["b@y"]));
    talk.client.start(transaction(&["c@y"]));
    talk.says();
    talk.hears("250 ok\r\n");
    talk.says();
    talk.hears("550 no\r\n");
    assert_eq!(talk.says(), "RSET\r\n");
    assert_eq!(talk.outcomes().len(), 1, "what is known is told");
    talk.hears("250 reset\r\n");
    assert_eq!(talk.says(), "MAIL FROM:<a@x>\r\n");
}

#[test]
fn refusals_at_each_stage() {
    for (hears, stage, text, says) in [
        (
            "550 no\r\n503 a\r\n503 b\r\n503 c\r\n",
            Stage::Mail,
            "550 no",
            "",
        ),
        (
            "250 ok\r\n550 no\r\n550 no\r\n503 c\r\n",
            Stage::Rcpt,
            "550 no",
            "RSET\r\n",
        ),
        (
            "250 ok\r\n250 ok\r\n250 ok\r\n451 no\r\n",
            Stage::Data,
            "451 no",
            "RSET\r\n",
        ),
    ] {
        let mut talk = Talk::open(piped(), "PIPELINING");
        talk.client.start(transaction(&["b@y", "c@y"]));
        talk.says();
        talk.hears(hears);
        assert_eq!(talk.says(), says);
        let expected = refused(stage, text);
        assert_eq!(talk.outcomes()[0].rcpts, [expected.clone(), expected]);
    }
}

#[test]
fn no_content_goes_out_when_nobody_wants_it() {
    let mut talk = Talk::open(piped(), "PIPELINING");
    talk.client.start(transaction(&["b@y"]));
    talk.says();
    talk.hears("250 ok\r\n550 no\r\n354 go\r\n");
    assert_eq!(talk.says(), ".\r\n");
    // Whatever is said to the empty message, the recipient was refused.
    talk.hears("250 taken\r\n");
    assert_eq!(talk.outcomes()[0].rcpts, [refused(Stage::Rcpt, "550 no")]);
}

#[test]
fn refused_connections() {
    for (greeting, stage) in [
        ("554 go away\r\n", Stage::Greeting),
        ("421 busy\r\n", Stage::Greeting),
    ] {
        let mut talk = Talk::new(plain());
        talk.client.start(transaction(&["b@y"]));
        talk.hears(greeting);
        assert_eq!(talk.says(), "");
        assert_eq!(talk.outcomes()[0].rcpts, [refused(stage, greeting)]);
        assert!(!talk.client.is_usable());
        talk.client.quit();
        let says = talk.says();
        assert_eq!(
            says,
            if greeting.starts_with("554") {
                "QUIT\r\n"
            } else {
                ""
            }
        );
    }
    // EHLO refused: HELO.
    let mut talk = Talk::new(plain());
    talk.client.start(transaction(&["b@y"]));
    talk.hears("220 old\r\n");
    talk.says();
    talk.hears("502 what\r\n");
    assert_eq!(talk.says(), "HELO c\r\n");
    talk.hears("250-old\r\n250 PIPELINING\r\n");
    assert!(!talk.client.offers("PIPELINING"), "HELO offers nothing");
    assert_eq!(talk.says(), "MAIL FROM:<a@x>\r\n");
    // HELO refused too.
    let mut talk = Talk::new(plain());
    talk.client.start(transaction(&["b@y"]));
    talk.hears("220 old\r\n502 what\r\n550 no\r\n");
    assert_eq!(talk.outcomes()[0].rcpts, [refused(Stage::Hello, "550 no")]);
}

#[test]
fn the_server_may_close_at_any_point() {
    for (hears, stage) in [
        ("421 x\r\n", Stage::Mail),
        ("250 ok\r\n421 x\r\n", Stage::Rcpt),
        ("250 ok\r\n250 ok\r\n421 x\r\n", Stage::Rcpt),
        ("250 ok\r\n250 ok\r\n250 ok\r\n421 x\r\n", Stage::Data),
        (
            "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n421 x\r\n",
            Stage::End,
        ),
    ] {
        let mut talk = Talk::open(piped(), "PIPELINING");
        talk.client.start(transaction(&["b@y", "c@y"]));
        talk.client.start(transaction(&["d@y"]));
        talk.says();
        for reply in hears.split_inclusive('\n') {
            talk.hears(reply);
            talk.says();
        }
        let expected = refused(stage, "421 x");
        assert_eq!(
            talk.outcomes()[0].rcpts,
            [expected.clone(), expected],
            "{hears}"
        );
        assert_eq!(talk.outcomes().len(), 1);
        assert_eq!(talk.says(), "", "nothing is sent any more");
        // Some servers go on answering what was pipelined.
        talk.hears("250 ok\r\n");
        assert_eq!(
            talk.events.last(),
            Some(&ClientEvent::Closing(reply_of("250 ok")))
        );
        talk.close();
        assert_eq!(talk.outcomes()[1].rcpts, [RcptOutcome::NotSent]);
    }
    // A recipient that was refused before stays refused by its own reply.
    let mut talk = Talk::open(piped(), "PIPELINING");
    talk.client.start(transaction(&["b@y", "c@y"]));
    talk.says();
    talk.hears("250 ok\r\n550 no\r\n421 x\r\n");
    assert_eq!(
        talk.outcomes()[0].rcpts,
        [
            refused(Stage::Rcpt, "550 no"),
            refused(Stage::Rcpt, "421 x")
        ]
    );
    // While idle.
    let mut talk = Talk::open(piped(), "PIPELINING");
    talk.hears("421 idle\r\n");
    assert_eq!(talk.events, [ClientEvent::Closing(reply_of("421 idle"))]);
    assert!(!talk.client.is_usable());
}

#[test]
fn a_lost_connection_tells_what_is_known() {
    let replies = ["250 ok\r\n", "250 ok\r\n", "550 no\r\n", "354 go\r\n"];
    for (heard, first) in [
        (0, RcptOutcome::NotSent),
        (1, RcptOutcome::NotSent),
        (3, RcptOutcome::NotSent),
        (4, RcptOutcome::NoReply),
    ] {
        let mut talk = Talk::open(piped(), "PIPELINING");
        talk.client.start(transaction(&["b@y", "c@y"]));
        talk.says();
        for reply in &replies[..heard] {
            talk.hears(reply);
            talk.says();
        }
        talk.close();
        let outcome = talk.outcomes()[0];
        assert_eq!(outcome.rcpts[0], first, "after {heard} replies");
        let second = if heard >= 3 {
            refused(Stage::Rcpt, "550 no")
        } else {
            RcptOutcome::NotSent
        };
        assert_eq!(outcome.rcpts[1], second);
    }
    // 354 was heard, but the content was never handed over.
    let mut talk = Talk::open(piped(), "PIPELINING");
    talk.client.start(transaction(&["b@y"]));
    talk.says();
    talk.hears("250 ok\r\n250 ok\r\n354 go\r\n");
    talk.close();
    assert_eq!(talk.outcomes()[0].rcpts, [RcptOutcome::NotSent]);
    // Half a reply is no reply.
    let mut talk = Talk::open(piped(), "PIPELINING");
    talk.client.start(transaction(&["b@y"]));
    talk.says();
    talk.hears("250 ok\r\n250 ok\r\n354 go\r\n");
    talk.says();
    talk.hears("250 tak");
    talk.close();
    assert_eq!(talk.outcomes()[0].rcpts, [RcptOutcome::NoReply]);
}

#[test]
fn lmtp() {
    let mut talk = Talk::open(
        ClientOptions {
            lmtp: true,
            ..piped()
        },
        "PIPELINING",
    );
    talk.client
        .start(transaction(&["b@y", "c@y", "d@y", "e@y"]));
    talk.says();
    talk.hears("250 ok\r\n550 no\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n");
    assert_eq!(talk.says(), WIRE);
    talk.hears("250 c\r\n452 d\r\n");
    assert_eq!(talk.outcomes().len(), 0);
    talk.close();
    assert_eq!(
        talk.outcomes()[0].rcpts,
        [
            refused(Stage::Rcpt, "550 no"),
            RcptOutcome::Accepted(reply_of("250 c")),
            refused(Stage::End, "452 d"),
            RcptOutcome::NoReply,
        ]
    );
    let rcpts: Vec<_> = talk
        .events
        .iter()
        .filter_map(|event| match event {
            ClientEvent::EndReply { rcpt, .. } => Some(*rcpt),
            _ => None,
        })
        .collect();
    assert_eq!(rcpts, [Some(1), Some(2)]);
}

#[test]
fn a_server_that_breaks_the_protocol_is_not_read_on() {
    for (hears, says) in [
        (
            "250 ok\r\n250 ok\r\n250 what\r\n",
            "DATA was answered with 250 what",
        ),
        ("354 go\r\n", "MAIL was answered with 354 go"),
        (
            "250 ok\n",
            "a reply line ends in LF without CR (RFC 5321 2.3.8)",
        ),
    ] {
        let mut talk = Talk::open(piped(), "PIPELINING");
        talk.client.start(transaction(&["b@y"]));
        talk.says();
        talk.hears(hears);
        let Some(ClientEvent::ProtocolError(error)) = talk.events.last() else {
            panic!("{:?}", talk.events);
        };
        assert_eq!(error.to_string(), says);
        talk.hears("250 ok\r\n");
        talk.close();
        assert_eq!(talk.outcomes()[0].rcpts, [RcptOutcome::NotSent]);
    }
    let mut talk = Talk::open(piped(), "PIPELINING");
    talk.hears("250 ok\r\n");
    let error = ProtocolError::Unexpected(reply_of("250 ok"));
    assert_eq!(talk.events, [ClientEvent::ProtocolError(error)]);
}

#[test]
fn raw_bytes_and_their_replies() {
    let mut talk = Talk::new(ClientOptions {
        raw: true,
        ..plain()
    });
    talk.client.send_raw(b"NOOP\n", 1);
    assert_eq!(talk.says(), "NOOP\n", "even before the greeting");
    talk.hears("220 mx\r\n250 ok\r\n421-a\r\n421 b\r\n500 c\r\n");
    let raw = |text: &str| ClientEvent::Raw(reply_of(text));
    assert_eq!(
        talk.events,
        [
            ClientEvent::Greeting(reply_of("220 mx")),
            raw("250 ok"),
            raw("421-a\r\n421 b"),
            raw("500 c"),
        ]
    );
    // Between transactions of an ordinary client.
    let mut talk = Talk::open(piped(), "PIPELINING");
    talk.client.send_raw(b"VRFY a\r\nHELP\r\n", 2);
    talk.client.start(transaction(&["b@y"]));
    assert_eq!(talk.says(), "VRFY a\r\nHELP\r\n");
    talk.hears("252 ok\r\n");
    assert_eq!(talk.says(), "");
    talk.hears("214 help\r\n");
    assert_eq!(talk.says(), "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n");
    assert_eq!(talk.events, [raw("252 ok"), raw("214 help")]);
    // A 421 means the same whatever it answers.
    let mut talk = Talk::open(piped(), "PIPELINING");
    talk.client.send_raw(b"HELP\r\n", 1);
    talk.hears("421 stop\r\n");
    assert_eq!(talk.events, [raw("421 stop")]);
    assert!(!talk.client.is_usable());
}

#[test]
fn hello_again_forgets_what_was_offered() {
    let mut talk = Talk::open(piped(), "PIPELINING");
    talk.client.send_raw(b"STARTTLS\r\n", 1);
    talk.says();
    talk.hears("220 go\r\n");
    talk.client.hello_again();
    talk.client.start(transaction(&["b@y"]));
    assert_eq!(talk.says(), "EHLO c\r\n");
    talk.hears("250 mx\r\n");
    assert_eq!(
        talk.says(),
        "MAIL FROM:<a@x>\r\n",
        "no PIPELINING is offered now"
    );
}

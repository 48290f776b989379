//! The mailbox against scripted clients.

use mailproof_wire::server::AnswerError;
use mailproof_wire::{Injection, Mailbox, MailboxEvent, MailboxOptions, Phase, Policy, Reply};

struct Talk {
    mailbox: Mailbox,
    events: Vec<MailboxEvent>,
}

impl Talk {
    fn new(options: MailboxOptions, injections: Vec<Injection>) -> Self {
        let mut talk = Self {
            mailbox: Mailbox::new(options, injections.into_iter().collect::<Policy>()),
            events: Vec::new(),
        };
        assert_eq!(talk.says(), "");
        talk.mailbox.greet(&mut talk.events);
        talk
    }

    /// A session that has been greeted and greeted back.
    fn open(injections: Vec<Injection>) -> Self {
        let mut talk = Self::new(MailboxOptions::default(), injections);
        talk.hears("EHLO c\r\n");
        talk.says();
        talk.events.clear();
        talk
    }

    fn hears(&mut self, bytes: &str) {
        self.mailbox.received(bytes.as_bytes(), &mut self.events);
    }

    fn says(&mut self) -> String {
        let mut out = Vec::new();
        self.mailbox.transmit(&mut out);
        String::from_utf8(out).expect("the mailbox sends ASCII")
    }

    /// The codes of what it says.
    fn codes(&mut self) -> Vec<u16> {
        let says = self.says();
        let last = |line: &&str| line.as_bytes()[3] != b'-';
        says.lines()
            .filter(last)
            .map(|line| line[..3].parse().expect("a code begins each line"))
            .collect()
    }

    /// Says something and hears the codes.
    fn asks(&mut self, bytes: &str) -> Vec<u16> {
        self.hears(bytes);
        self.codes()
    }

    fn answer(&mut self, text: &str) -> Result<(), AnswerError> {
        let reply = Reply::parse(text.as_bytes()).expect("the test writes replies");
        self.mailbox.answer(&reply, &mut self.events)
    }
}

const ENVELOPE: &str = "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nDATA\r\n";

#[test]
fn the_reply_waits_for_the_host() {
    let mut talk = Talk::new(MailboxOptions::default(), Vec::new());
    assert!(talk.says().starts_with("220 mailbox.mailproof.test "));
    talk.hears("EHLO c\r\n");
    let hello = talk.says();
    for extension in [
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "SIZE 67108864",
    ] {
        assert!(hello.contains(&format!("{extension}\r\n")), "{hello}");
    }
    assert_eq!(talk.asks(ENVELOPE), [250, 250, 354]);
    assert_eq!(talk.answer("250 early"), Err(AnswerError::NothingWaits));
    // Pipelined past the end of data: kept, and not carried out.
    talk.hears("x\r\n..\r\n.\r\nMAIL FROM:<c@x>\r\nRCPT TO:<d@y>\r\nDATA\r\ny\r\n");
    talk.hears(".\r\nQUIT\r\n");
    assert_eq!(talk.says(), "");
    assert!(talk.mailbox.is_waiting());
    let Some(MailboxEvent::Message(message)) = talk.events.last() else {
        panic!("{:?}", talk.events);
    };
    assert_eq!(message.content, b"x\r\n.\r\n");
    assert_eq!(
        (&message.from[..], &message.rcpts[0].address[..]),
        (&b"a@x"[..], &b"b@y"[..])
    );
    talk.answer("250 2.0.0 taken").unwrap();
    assert_eq!(
        talk.says(),
        "250 2.0.0 taken\r\n250 2.1.0 Sender ok\r\n250 2.1.5 Recipient ok\r\n354 Go on, end with a dot\r\n"
    );
    let Some(MailboxEvent::Message(message)) = talk.events.last() else {
        panic!("{:?}", talk.events);
    };
    assert_eq!(message.content, b"y\r\n");
    talk.answer("451 4.0.0 later").unwrap();
    assert_eq!(talk.codes(), [451, 221]);
    assert_eq!(talk.events.last(), Some(&MailboxEvent::Close));
    assert!(!talk.mailbox.wants_input());
    talk.hears("NOOP\r\n");
    assert_eq!(talk.says(), "");
}

#[test]
fn sequence_and_grammar() {
    let mut talk = Talk::new(MailboxOptions::default(), Vec::new());
    talk.says();
    assert_eq!(talk.asks("MAIL FROM:<a>\r\n"), [503]);
    assert_eq!(talk.asks("HELO c\r\n"), [250]);
    assert_eq!(talk.asks("RCPT TO:<a>\r\nDATA\r\n"), [503, 503]);
    assert_eq!(
        talk.asks("mail from:<a>\r\nMAIL FROM:<b>\r\nDATA\r\n"),
        [250, 503, 503]
    );
    assert_eq!(
        talk.asks("rcpt to:<c>\r\nRSET\r\nDATA\r\n"),
        [250, 250, 503]
    );
    assert_eq!(
        talk.asks("MAIL FROM:<a>\r\nEHLO c\r\nRCPT TO:<b>\r\n"),
        [250, 250, 503]
    );
    assert_eq!(
        talk.asks("NOOP x\r\nVRFY a\r\nHELP\r\nSTARTTLS\r\nLHLO c\r\n"),
        [250, 252, 500, 502, 500]
    );
    assert!(
        talk.events
            .iter()
            .all(|event| !matches!(event, MailboxEvent::Violation { .. }))
    );
    assert_eq!(
        talk.asks("MAIL FROM:a b\r\nRCPT\r\n\r\nNOOP\n"),
        [250, 501, 500, 500]
    );
    let violations = talk
        .events
        .iter()
        .filter(|event| matches!(event, MailboxEvent::Violation { .. }));
    assert_eq!(violations.count(), 3);
    assert_eq!(talk.asks(&("x".repeat(20_000) + "\r\nNOOP\r\n"))[0], 500);
}

#[test]
fn tls_begins_a_new_session() {
    let options = MailboxOptions {
        starttls: true,
        ..MailboxOptions::default()
    };
    let mut talk = Talk::new(options, Vec::new());
    talk.hears("EHLO c\r\n");
    assert!(talk.says().contains("STARTTLS\r\n"));
    // RFC 3207 4.2, and the injection it is about.
    assert_eq!(
        talk.asks("MAIL FROM:<a>\r\nSTARTTLS\r\nRCPT TO:<b>\r\n"),
        [250, 220]
    );
    assert_eq!(talk.events.last(), Some(&MailboxEvent::StartTls));
    talk.hears("NOOP\r\n");
    talk.mailbox.secured();
    assert_eq!(talk.asks("RCPT TO:<b>\r\nMAIL FROM:<a>\r\n"), [503, 503]);
    talk.hears("EHLO c\r\n");
    assert!(!talk.says().contains("STARTTLS"));
    assert_eq!(talk.asks("STARTTLS\r\nMAIL FROM:<a>\r\n"), [502, 250]);
}

#[test]
fn octets_of_an_unwanted_bdat_are_no_commands() {
    let mut talk = Talk::open(Vec::new());
    assert_eq!(
        talk.asks("MAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"),
        [250, 250, 502, 250]
    );
    assert_eq!(talk.asks("BDAT 3\r\n"), [502]);
    assert_eq!(talk.asks("a"), []);
    assert_eq!(talk.asks("bcNOOP\r\n"), [250]);
}

#[test]
fn injected_replies() {
    let reply = |code| Reply::new(code, "injected");
    let mut talk = Talk::open(vec![
        Injection::nth(Phase::Rcpt, 2, reply(452)),
        Injection::nth(Phase::Mail, 2, reply(451)),
        Injection::nth(Phase::Rcpt, 4, reply(251)),
        Injection::nth(Phase::Dot, 2, reply(554)),
        Injection::always("verb(HELP)".parse().unwrap(), reply(214)),
    ]);
    let rcpts = "RCPT TO:<b>\r\nRCPT TO:<c>\r\nRCPT TO:<d>\r\n";
    assert_eq!(
        talk.asks(&format!("MAIL FROM:<a>\r\n{rcpts}DATA\r\n")),
        [250, 250, 452, 250, 354]
    );
    talk.hears("x\r\n.\r\n");
    let Some(MailboxEvent::Message(message)) = talk.events.last() else {
        panic!("{:?}", talk.events);
    };
    let rcpts: Vec<_> = message
        .rcpts
        .iter()
        .map(|rcpt| rcpt.address.to_vec())
        .collect();
    assert_eq!(rcpts, [b"b", b"d"]);
    talk.answer("250 ok").unwrap();
    assert_eq!(talk.codes(), [250]);
    assert_eq!(talk.asks("MAIL FROM:<a>\r\n"), [451]);
    assert_eq!(talk.asks(ENVELOPE), [250, 251, 354]);
    talk.events.clear();
    // Refused at the dot: no message, and the transaction is over.
    assert_eq!(talk.asks("x\r\n.\r\nDATA\r\n"), [554, 503]);
    let MailboxEvent::Refused { phase, reply, .. } = &talk.events[0] else {
        panic!("{:?}", talk.events);
    };
    assert_eq!(*phase, Some(Phase::Dot));
    assert_eq!(reply.as_ref().map(Reply::code), Some(554));
    assert_eq!(talk.asks("HELP\r\n"), [214]);
    // Nothing of the refused message is left in the next. What is injected at
    // the dot cannot accept in the host's place.
    talk.mailbox
        .inject(Injection::always(Phase::Dot, Reply::new(250, "injected")));
    assert_eq!(talk.asks(ENVELOPE), [250, 250, 354]);
    assert_eq!(talk.asks("y\r\n.\r\n"), []);
    let Some(MailboxEvent::Message(message)) = talk.events.last() else {
        panic!("{:?}", talk.events);
    };
    assert_eq!(message.content, b"y\r\n");
    talk.answer("250 ok").unwrap();
    assert_eq!(talk.codes(), [250]);
    // Silence, and a close.
    talk.mailbox.inject(Injection {
        reply: None,
        close: true,
        ..Injection::always(Phase::Mail, Reply::new(250, ""))
    });
    assert_eq!(talk.asks("MAIL FROM:<a>\r\nNOOP\r\n"), []);
    assert_eq!(talk.events.last(), Some(&MailboxEvent::Close));
    // At the greeting.
    let mut talk = Talk::new(
        MailboxOptions::default(),
        vec![Injection::always(Phase::Greeting, Reply::new(554, "no"))],
    );
    assert_eq!(talk.says(), "554 no\r\n");
}

#[test]
fn sizes_and_counts_are_bounded() {
    let options = MailboxOptions {
        size_limit: 10,
        rcpt_limit: 2,
        backlog_limit: 20,
        ..MailboxOptions::default()
    };
    let mut talk = Talk::new(options, Vec::new());
    talk.hears("EHLO c\r\n");
    talk.says();
    assert_eq!(talk.asks("MAIL FROM:<a> SIZE=11\r\n"), [552]);
    assert_eq!(
        talk.asks("MAIL FROM:<a> SIZE=10\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nRCPT TO:<d>\r\nDATA\r\n"),
        [250, 250, 250, 452, 354]
    );
    talk.events.clear();
    assert_eq!(talk.asks("123456789\r\n.\r\n"), [552]);
    assert!(
        !talk
            .events
            .iter()
            .any(|event| matches!(event, MailboxEvent::Message(_)))
    );
    // The next message is not harmed.
    assert_eq!(talk.asks(ENVELOPE), [250, 250, 354]);
    talk.hears("12345678\r\n.\r\n");
    assert!(talk.mailbox.is_waiting() && talk.mailbox.wants_input());
    talk.hears("NOOP\r\nNOOP\r\nNOOP\r\n");
    assert!(talk.mailbox.wants_input());
    talk.hears("NOOP\r\n");
    assert!(!talk.mailbox.wants_input());
    talk.answer("250 ok").unwrap();
    assert_eq!(talk.codes(), [250, 250, 250, 250, 421]);
    assert_eq!(talk.events.last(), Some(&MailboxEvent::Close));
}

#[test]
fn lmtp_answers_each_recipient() {
    let options = MailboxOptions {
        lmtp: true,
        size_limit: 100,
        ..MailboxOptions::default()
    };
    let mut talk = Talk::new(
        options,
        vec![Injection::nth(Phase::Dot, 2, Reply::new(452, "no"))],
    );
    assert!(talk.says().contains("LMTP"));
    assert_eq!(talk.asks("EHLO c\r\nLHLO c\r\n"), [500, 250]);
    let envelope = "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nDATA\r\n";
    assert_eq!(talk.asks(envelope), [250, 250, 250, 354]);
    talk.hears("x\r\n.\r\n");
    let ok = Reply::new(250, "ok");
    let no = Reply::new(550, "no");
    let wrong = talk
        .mailbox
        .answer_each(std::slice::from_ref(&ok), &mut talk.events);
    assert_eq!(
        wrong,
        Err(AnswerError::Count {
            needed: 2,
            given: 1
        })
    );
    talk.mailbox
        .answer_each(&[ok, no], &mut talk.events)
        .unwrap();
    assert_eq!(talk.codes(), [250, 550]);
    // An injected refusal, and content too large, are said to each as well.
    assert_eq!(talk.asks(envelope), [250, 250, 250, 354]);
    assert_eq!(talk.asks("x\r\n.\r\n"), [452, 452]);
    assert_eq!(talk.asks(envelope), [250, 250, 250, 354]);
    assert_eq!(
        talk.asks(&format!("{}\r\n.\r\n", "x".repeat(100))),
        [552, 552]
    );
    assert_eq!(talk.asks(envelope), [250, 250, 250, 354]);
    talk.hears("x\r\n.\r\n");
    talk.answer("250 all").unwrap();
    assert_eq!(talk.codes(), [250, 250]);
}

//! Any bytes in any order: nothing panics, offsets hold, and where the stream
//! is cut changes nothing.

use mailproof_wire::{
    Client, ClientEvent, ClientOptions, Mailbox, MailboxOptions, Observer, Policy, Recipient,
    Reply, Seen, Transaction,
};
use proptest::prelude::*;

const CLIENT: [&[u8]; 21] = [
    b"EHLO c\r\n",
    b"LHLO c\r\n",
    b"MAIL FROM:<a@x>\r\n",
    b"RCPT TO:<b@y>\r\n",
    b"RCPT TO:<c@y>\r\n",
    b"DATA\r\n",
    b"BDAT 3\r\nabc",
    b"BDAT 0 LAST\r\n",
    b"BDAT 5 LAST\r\nab\r\n.",
    b"BDAT 99999999999999\r\n",
    b"RSET\r\n",
    b"QUIT\r\n",
    b"AUTH LOGIN\r\n",
    b"XSHADOW\r\n",
    b"STARTTLS\r\n",
    b"NOOP\r\n",
    b".\r\n",
    b"text\r\n..\r\n",
    b"\r",
    b"\n",
    b"\xff\0",
];

const SERVER: [&[u8]; 12] = [
    b"220 mx\r\n",
    b"250 ok\r\n",
    b"250 ok\r\n250 ok\r\n250 ok\r\n",
    b"250-a\r\n250 PIPELINING\r\n",
    b"354 go\r\n",
    b"354 go\r\n",
    b"334 \r\n",
    b"421 bye\r\n",
    b"452 full\r\n",
    b"550 no\r\n",
    b"503 no\r\n503 no\r\n",
    b"2",
];

/// Who says what; the first 21 numbers are the client's.
fn soup() -> impl Strategy<Value = Vec<usize>> {
    // Mostly a dialogue that makes sense, so that the deep states are reached.
    let sense = prop_oneof![
        Just(vec![2, 22]),
        Just(vec![3, 22]),
        Just(vec![2, 3, 4, 23]),
        Just(vec![5, 25, 17, 16, 22]),
        Just(vec![5, 25, 17]),
        Just(vec![8, 22]),
        Just(vec![12, 27, 15, 22]),
        Just(vec![13, 22]),
        Just(vec![10, 22]),
    ];
    let any_one = (0..CLIENT.len() + SERVER.len()).prop_map(|one| vec![one]);
    let step = prop_oneof![9 => sense, 2 => any_one];
    (
        prop_oneof![9 => Just(vec![21, 0, 24]), 1 => Just(Vec::new())],
        proptest::collection::vec(step, 0..14),
    )
        .prop_map(|(mut open, steps)| {
            open.extend(steps.concat());
            open
        })
}

fn said(one: usize) -> (bool, &'static [u8]) {
    match one.checked_sub(CLIENT.len()) {
        None => (true, CLIENT[one]),
        Some(server) => (false, SERVER[server]),
    }
}

/// What is seen, each with how far into its direction it ends.
fn observe(soup: &[usize], size: usize) -> Vec<(usize, String)> {
    let mut observer = Observer::default();
    let mut sent = [0, 0];
    let mut all = Vec::new();
    for (from_client, bytes) in soup.iter().map(|one| said(*one)) {
        for chunk in bytes.chunks(size) {
            let mut points = Vec::new();
            if from_client {
                observer.client_bytes(chunk, &mut points);
            } else {
                observer.server_bytes(chunk, &mut points);
            }
            for point in points {
                assert!(point.start <= point.end && point.end <= chunk.len());
                // How much of the chunk could not be followed depends on the chunk.
                let end = match point.seen {
                    Seen::Lost(_) => 0,
                    _ => sent[usize::from(from_client)] + point.end,
                };
                all.push((end, format!("{:?} {:?}", point.phase(), point.seen)));
            }
            sent[usize::from(from_client)] += chunk.len();
        }
    }
    all
}

fn client_events(soup: &[usize], size: usize, lmtp: bool) -> Vec<ClientEvent> {
    let mut client = Client::new(ClientOptions {
        lmtp,
        ..ClientOptions::default()
    });
    for _ in 0..2 {
        client.start(Transaction {
            from: "a@x".into(),
            params: String::new(),
            rcpts: vec![Recipient::from("b@y"), Recipient::from("c@y")],
            content: b"x".as_slice().into(),
        });
    }
    client.quit();
    let mut events = Vec::new();
    let mut out = Vec::new();
    for (from_client, bytes) in soup.iter().map(|one| said(*one)) {
        if !from_client {
            for chunk in bytes.chunks(size) {
                client.received(chunk, &mut events);
            }
            client.transmit(&mut out);
        }
    }
    client.closed(&mut events);
    events
}

fn mailbox_output(soup: &[usize], size: usize, lmtp: bool) -> (String, Vec<u8>) {
    let options = MailboxOptions {
        lmtp,
        starttls: true,
        ..MailboxOptions::default()
    };
    let mut mailbox = Mailbox::new(options, Policy::default());
    let mut events = Vec::new();
    mailbox.greet(&mut events);
    for (from_client, bytes) in soup.iter().map(|one| said(*one)) {
        if from_client {
            for chunk in bytes.chunks(size) {
                mailbox.received(chunk, &mut events);
            }
            while mailbox.is_waiting() {
                let reply = Reply::new(250, "taken");
                mailbox
                    .answer(&reply, &mut events)
                    .expect("a message waits");
            }
        }
    }
    let mut out = Vec::new();
    mailbox.transmit(&mut out);
    // The beginning of a line that breaks a rule is quoted as far as it has come.
    events.retain(|event| !matches!(event, mailproof_wire::MailboxEvent::Violation { .. }));
    (format!("{events:?}"), out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_observer(soup in soup(), size in 1usize..20) {
        let whole = observe(&soup, usize::MAX);
        prop_assert_eq!(observe(&soup, size), whole);
    }

    #[test]
    fn the_client(soup in soup(), size in 1usize..20, lmtp in any::<bool>()) {
        let events = client_events(&soup, usize::MAX, lmtp);
        let done = events.iter().filter(|event| matches!(event, ClientEvent::Done(_))).count();
        prop_assert_eq!(done, 2, "every transaction gets exactly one outcome");
        let idle = |events: Vec<ClientEvent>| -> Vec<ClientEvent> {
            events.into_iter().filter(|event| *event != ClientEvent::Idle).collect()
        };
        prop_assert_eq!(idle(client_events(&soup, size, lmtp)), idle(events));
    }

    #[test]
    fn the_mailbox(soup in soup(), size in 1usize..20, lmtp in any::<bool>()) {
        prop_assert_eq!(mailbox_output(&soup, size, lmtp), mailbox_output(&soup, usize::MAX, lmtp));
    }

    #[test]
    fn random_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300), server in any::<bool>()) {
        let mut observer = Observer::default();
        let mut points = Vec::new();
        if server {
            observer.server_bytes(&bytes, &mut points);
        } else {
            observer.client_bytes(&bytes, &mut points);
        }
        let mut client = Client::new(ClientOptions::default());
        client.received(&bytes, &mut Vec::new());
        let mut mailbox = Mailbox::new(MailboxOptions::default(), Policy::default());
        mailbox.received(&bytes, &mut Vec::new());
        let _ = mailproof_wire::identify(&bytes);
        let _ = mailproof_wire::body_digest(&bytes);
    }
}

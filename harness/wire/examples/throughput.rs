//! Transactions per second through client, observer and mailbox on one core:
//! one kept connection, 1 KiB messages with a body of their own, the message
//! digested once at each end. Run with `--release`.

use std::time::Instant;

use mailproof_wire::{
    Client, ClientOptions, Mailbox, MailboxEvent, MailboxOptions, MessageSpec, Observer,
    ObserverOptions, Policy, Reply, Transaction, body_digest, observer::Digests,
};

const MESSAGES: u64 = 300_000;

fn main() {
    for (name, observed, digests) in [
        ("no observer", false, false),
        ("observer", true, false),
        ("observer with digests", true, true),
    ] {
        let begun = Instant::now();
        let bytes = run(observed, digests);
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{name:24} {:>9.0} transactions/s  {:>6.0} MiB/s",
            MESSAGES as f64 / seconds,
            bytes as f64 / seconds / 1_048_576.0
        );
    }
}

fn run(observed: bool, digests: bool) -> u64 {
    let mut client = Client::new(ClientOptions::default());
    let mut mailbox = Mailbox::new(MailboxOptions::default(), Policy::default());
    let mut observer = Observer::new(ObserverOptions {
        head_limit: 1024,
        content_digest: false,
        body_digest: if digests { Digests::All } else { Digests::None },
    });
    let reply = Reply::new(250, "2.0.0 taken");
    let mut to_server = Vec::new();
    let mut to_client = Vec::new();
    let mut client_events = Vec::new();
    let mut mailbox_events = Vec::new();
    let mut points = Vec::new();
    let mut taken = 0;
    let mut bytes = 0;
    mailbox.greet(&mut mailbox_events);
    for number in 0..MESSAGES {
        let content = MessageSpec {
            run: "bench",
            number,
            size: 1024,
            seed: 1,
            from: "sender@client.mailproof.test",
            to: &["a@mailbox.mailproof.test"],
            unix_seconds: 1_763_755_560,
        }
        .content(1);
        client.start(Transaction {
            from: "sender@client.mailproof.test".into(),
            params: String::new(),
            rcpts: vec!["a@mailbox.mailproof.test".into()],
            content: content.into(),
        });
        loop {
            client.transmit(&mut to_server);
            mailbox.transmit(&mut to_client);
            if to_server.is_empty() && to_client.is_empty() {
                break;
            }
            if observed {
                observer.client_bytes(&to_server, &mut points);
                observer.server_bytes(&to_client, &mut points);
                points.clear();
            }
            mailbox.received(&to_server, &mut mailbox_events);
            client.received(&to_client, &mut client_events);
            bytes += to_server.len() as u64;
            to_server.clear();
            to_client.clear();
            client_events.clear();
            let mut answers = Vec::new();
            for event in mailbox_events.drain(..) {
                if let MailboxEvent::Message(message) = event {
                    taken += 1;
                    std::hint::black_box(body_digest(&message.content));
                    answers.push(&reply);
                }
            }
            for reply in answers {
                mailbox
                    .answer(reply, &mut mailbox_events)
                    .expect("a message waits");
            }
        }
    }
    assert_eq!(taken, MESSAGES, "every message arrives");
    bytes
}

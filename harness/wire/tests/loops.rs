//! Client and mailbox through the observer, every stream cut at any byte: the
//! content arrives byte for byte, and what the observer tells is the truth.

mod support;

use mailproof_wire::observer::{Answers, Progress, View};
use mailproof_wire::{
    ClientEvent, ClientOptions, Injection, MailboxEvent, MailboxOptions, MessageSpec, Outcome,
    Phase, Policy, RcptOutcome, Recipient, Reply, Seen, Stage, Transaction, body_digest, identify,
};
use proptest::prelude::*;
use support::Loop;

#[derive(Debug, Clone)]
struct Plan {
    lmtp: bool,
    pipelining: bool,
    cuts: Vec<usize>,
    /// For each message: content, recipients, and what the mailbox says to each.
    messages: Vec<(Vec<u8>, Vec<Fate>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    RefusedAtRcpt,
    RefusedAtEnd,
    Accepted,
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"\r\n.".to_vec()),
        Just(b"\n.\n".to_vec()),
        Just(b".\r".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..30),
        (any::<u64>(), 0usize..3000).prop_map(|(seed, size)| {
            MessageSpec {
                run: "p",
                number: seed % 10,
                size,
                seed,
                from: "a@x",
                to: &["b@y"],
                unix_seconds: 0,
            }
            .content(1)
        }),
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn plan() -> impl Strategy<Value = Plan> {
    let fate = prop_oneof![
        1 => Just(Fate::RefusedAtRcpt),
        1 => Just(Fate::RefusedAtEnd),
        3 => Just(Fate::Accepted)
    ];
    let message = (content(), proptest::collection::vec(fate, 1..5));
    (
        any::<bool>(),
        any::<bool>(),
        proptest::collection::vec(prop_oneof![1usize..4, 1usize..100, 1usize..5000], 0..10),
        proptest::collection::vec(message, 1..5),
    )
        .prop_map(|(lmtp, pipelining, cuts, mut messages)| {
            if !lmtp {
                // One reply for all: the first accepted recipient's.
                for (_, fates) in &mut messages {
                    let all = fates
                        .iter()
                        .copied()
                        .find(|fate| *fate != Fate::RefusedAtRcpt);
                    for fate in fates
                        .iter_mut()
                        .filter(|fate| **fate != Fate::RefusedAtRcpt)
                    {
                        *fate = all.unwrap_or(Fate::Accepted);
                    }
                }
            }
            Plan {
                lmtp,
                pipelining,
                cuts,
                messages,
            }
        })
}

/// What the content is once it has been through DATA.
fn sent(content: &[u8]) -> Vec<u8> {
    let mut sent = content.to_vec();
    if !sent.is_empty() && !sent.ends_with(b"\r\n") {
        sent.extend_from_slice(b"\r\n");
    }
    sent
}

fn address(message: usize, rcpt: usize) -> String {
    format!("m{message}.r{rcpt}@mailbox.test")
}

fn check(plan: &Plan) {
    let taken = Reply::new(250, "2.0.0 taken");
    let full = Reply::new(452, "4.3.1 full");
    let gone = Reply::new(550, "5.1.1 gone\nreally gone");
    let mut policy = Policy::default();
    let mut transactions = Vec::new();
    // The replies to give to each message that reaches its end of data.
    let mut answers: Vec<Vec<Reply>> = Vec::new();
    for (number, (content, fates)) in plan.messages.iter().enumerate() {
        let mut replies = Vec::new();
        for (rcpt, fate) in fates.iter().enumerate() {
            match fate {
                Fate::RefusedAtRcpt => policy.add(Injection {
                    holding: Some(format!("<{}>", address(number, rcpt)).into_bytes()),
                    ..Injection::always(Phase::Rcpt, gone.clone())
                }),
                Fate::RefusedAtEnd => replies.push(full.clone()),
                Fate::Accepted => replies.push(taken.clone()),
            }
        }
        if !plan.lmtp {
            replies.truncate(1);
        }
        if !replies.is_empty() {
            answers.push(replies);
        }
        transactions.push(Transaction {
            from: format!("m{number}@client.test"),
            params: if number % 2 == 0 {
                String::new()
            } else {
                format!("SIZE={}", content.len())
            },
            rcpts: (0..fates.len())
                .map(|rcpt| Recipient::from(address(number, rcpt)))
                .collect(),
            content: content.as_slice().into(),
        });
    }
    let mut world = Loop::new(
        ClientOptions {
            pipelining: plan.pipelining,
            lmtp: plan.lmtp,
            ..ClientOptions::default()
        },
        MailboxOptions {
            lmtp: plan.lmtp,
            ..MailboxOptions::default()
        },
        policy,
        &plan.cuts,
    );
    for transaction in &transactions {
        world.client.start(transaction.clone());
    }
    world.client.quit();
    world.run(|message| answers[message].clone());

    // The client's account.
    let outcomes: Vec<&Outcome> = world
        .client_events
        .iter()
        .filter_map(|event| match event {
            ClientEvent::Done(outcome) => Some(outcome),
            _ => None,
        })
        .collect();
    assert_eq!(
        outcomes.len(),
        plan.messages.len(),
        "{:?}",
        world.client_events
    );
    for ((_, fates), outcome) in plan.messages.iter().zip(&outcomes) {
        let expected: Vec<RcptOutcome> = fates
            .iter()
            .map(|fate| match fate {
                Fate::RefusedAtRcpt => RcptOutcome::Refused {
                    stage: Stage::Rcpt,
                    reply: gone.clone(),
                },
                Fate::RefusedAtEnd => RcptOutcome::Refused {
                    stage: Stage::End,
                    reply: full.clone(),
                },
                Fate::Accepted => RcptOutcome::Accepted(taken.clone()),
            })
            .collect();
        assert_eq!(outcome.rcpts, expected);
    }
    assert!(matches!(
        world.client_events.last(),
        Some(ClientEvent::QuitReply(_))
    ));

    // The mailbox's account.
    let reached: Vec<usize> = (0..plan.messages.len())
        .filter(|number| {
            plan.messages[*number]
                .1
                .iter()
                .any(|fate| *fate != Fate::RefusedAtRcpt)
        })
        .collect();
    let messages: Vec<_> = world
        .mailbox_events
        .iter()
        .filter_map(|event| match event {
            MailboxEvent::Message(message) => Some(message),
            _ => None,
        })
        .collect();
    assert_eq!(messages.len(), reached.len());
    for (number, message) in reached.iter().zip(&messages) {
        let (content, fates) = &plan.messages[*number];
        assert_eq!(message.content, sent(content));
        assert_eq!(
            &message.from[..],
            format!("m{number}@client.test").as_bytes()
        );
        let rcpts: Vec<Vec<u8>> = message
            .rcpts
            .iter()
            .map(|rcpt| rcpt.address.to_vec())
            .collect();
        let expected: Vec<Vec<u8>> = (0..fates.len())
            .filter(|rcpt| fates[*rcpt] != Fate::RefusedAtRcpt)
            .map(|rcpt| address(*number, rcpt).into_bytes())
            .collect();
        assert_eq!(rcpts, expected);
    }
    assert!(
        !world
            .mailbox_events
            .iter()
            .any(|event| matches!(event, MailboxEvent::Violation { .. }))
    );

    // The observer's account.
    assert_eq!(world.observer.view(), View::Following);
    let dots: Vec<_> = world
        .sightings
        .iter()
        .filter_map(|sighting| match &sighting.point.seen {
            Seen::Dot {
                transaction,
                size,
                content,
                body,
            } => Some((
                sighting.end,
                *transaction,
                *size,
                content.expect("it was asked for"),
                body.expect("it was asked for"),
            )),
            _ => None,
        })
        .collect();
    assert_eq!(dots.len(), reached.len());
    for (number, (end, transaction, size, digest, body)) in reached.iter().zip(dots) {
        let content = sent(&plan.messages[*number].0);
        assert_eq!(transaction as usize, number + 1);
        assert_eq!(size, content.len() as u64);
        assert_eq!(digest, *blake3::hash(&content).as_bytes());
        assert_eq!(body, body_digest(&content));
        let end = usize::try_from(end).expect("the offset fits");
        assert!(world.client_sent[..end].ends_with(b".\r\n"));
    }
    // Each recipient's replies, as the observer assigned them.
    let mut end_codes = vec![Vec::new(); plan.messages.len()];
    for sighting in &world.sightings {
        let Seen::Reply { reply, answers } = &sighting.point.seen else {
            continue;
        };
        match answers {
            Answers::Rcpt { transaction, rcpt } => {
                let number = transaction.expect("MAIL came first") as usize - 1;
                let refused = plan.messages[number].1[*rcpt] == Fate::RefusedAtRcpt;
                assert_eq!(reply.code(), if refused { 550 } else { 250 });
            }
            Answers::End { transaction, rcpt } => {
                assert_eq!(rcpt.is_some(), plan.lmtp);
                end_codes[*transaction as usize - 1].push((rcpt.unwrap_or(0), reply.code()));
            }
            _ => {}
        }
    }
    for (codes, (_, fates)) in end_codes.iter().zip(&plan.messages) {
        let mut expected: Vec<(usize, u16)> = fates
            .iter()
            .enumerate()
            .filter(|(_, fate)| **fate != Fate::RefusedAtRcpt)
            .map(|(rcpt, fate)| (rcpt, if *fate == Fate::Accepted { 250 } else { 452 }))
            .collect();
        if !plan.lmtp {
            expected.truncate(1);
            expected.iter_mut().for_each(|(rcpt, _)| *rcpt = 0);
        }
        assert_eq!(codes, &expected);
    }
    assert!(
        world
            .observer
            .transactions()
            .all(|kept| kept.progress >= Progress::Answered
                || kept.rcpts.iter().all(|rcpt| rcpt.code == Some(550)))
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn everybody_agrees(plan in plan()) {
        check(&plan);
    }

    #[test]
    fn the_cut_does_not_matter(plan in plan()) {
        // The same plan, uncut: the same events in the same order.
        let events = |cuts: &[usize]| {
            let mut world = Loop::new(
                ClientOptions { lmtp: plan.lmtp, ..ClientOptions::default() },
                MailboxOptions { lmtp: plan.lmtp, ..MailboxOptions::default() },
                Policy::default(),
                cuts,
            );
            for (number, (content, fates)) in plan.messages.iter().enumerate() {
                world.client.start(Transaction {
                    from: String::new(),
                    params: String::new(),
                    rcpts: (0..fates.len()).map(|rcpt| address(number, rcpt).into()).collect(),
                    content: content.as_slice().into(),
                });
            }
            let lmtp = plan.lmtp;
            world.run(|message| {
                let rcpts = if lmtp { plan.messages[message].1.len() } else { 1 };
                vec![Reply::new(250, "2.0.0 taken"); rcpts]
            });
            (world.client_events, world.mailbox_events, world.client_sent, world.server_sent)
        };
        prop_assert_eq!(events(&plan.cuts), events(&[]));
    }
}

#[test]
fn a_test_message_is_recognised_at_the_mailbox() {
    let spec = MessageSpec {
        run: "loop",
        number: 12,
        size: 70_000,
        seed: 5,
        from: "12.loop@client.test",
        to: &["b@mailbox.test"],
        unix_seconds: 1_763_755_560,
    };
    let content = spec.content(4);
    let mut world = Loop::new(
        ClientOptions::default(),
        MailboxOptions::default(),
        Policy::default(),
        &[1460, 7, 1],
    );
    world.client.start(Transaction {
        from: "12.loop@client.test".into(),
        params: "BODY=8BITMIME".into(),
        rcpts: vec!["b@mailbox.test".into()],
        content: content.as_slice().into(),
    });
    world.run(|_| vec![Reply::new(250, "2.0.0 taken")]);
    let message = world
        .mailbox_events
        .iter()
        .find_map(|event| match event {
            MailboxEvent::Message(message) => Some(message),
            _ => None,
        })
        .expect("the message arrives");
    assert_eq!(message.content, content);
    assert_eq!(&message.params[..], b"BODY=8BITMIME");
    let identity = identify(&message.content).expect("it is ours");
    assert_eq!(
        (identity.run, identity.message, identity.attempt),
        ("loop", 12, Some(4))
    );
    let head = &world.observer.transaction().expect("it is kept").head;
    assert_eq!(head.len(), 16 * 1024);
    assert_eq!(identify(head), Some(identity));
    assert!(world.client_events.contains(&ClientEvent::Idle));
}

//! What the observer says of dialogues, wherever their bytes are cut.

use mailproof_wire::observer::{Answers, Lost, Progress, View};
use mailproof_wire::{Observer, ObserverOptions, Point, Seen, body_digest};

/// A dialogue: `C` and `S` say who sends.
type Script<'a> = &'a [(char, &'a str)];

/// One line for each point: who, how far into their bytes, and what.
fn told(sent: usize, who: char, point: &Point) -> String {
    let at = sent + point.end;
    let what = match &point.seen {
        Seen::Command {
            verb,
            transaction,
            rcpt,
            ..
        } => {
            let mut text = verb.to_string();
            if let Some(number) = transaction {
                text += &format!(" t{number}");
            }
            if let Some(rcpt) = rcpt {
                text += &format!(" r{rcpt}");
            }
            text
        }
        Seen::Continuation { verb, .. } => format!("more {verb}"),
        Seen::Content { transaction } => format!("content t{transaction}"),
        Seen::Dot {
            transaction, size, ..
        } => format!("dot t{transaction} {size}"),
        Seen::Reply { reply, answers } => {
            let to = match answers {
                Answers::Greeting => "greeting".to_owned(),
                Answers::Mail { transaction } => format!("MAIL t{transaction}"),
                Answers::Rcpt { transaction, rcpt } => {
                    format!("RCPT t{} r{rcpt}", transaction.unwrap_or_default())
                }
                Answers::End { transaction, rcpt } => match rcpt {
                    Some(rcpt) => format!("end t{transaction} r{rcpt}"),
                    None => format!("end t{transaction}"),
                },
                Answers::Command(verb) => verb.to_string(),
                Answers::Nothing => "nothing".to_owned(),
            };
            format!("{} to {to}", reply.code())
        }
        Seen::Opaque => "opaque".to_owned(),
        Seen::Lost(lost) => format!("lost: {lost}"),
    };
    format!("{who}{at} {what}")
}

/// Plays a dialogue, each part in chunks of at most `size` bytes.
fn play(script: Script<'_>, size: usize) -> (Vec<String>, Observer) {
    let mut observer = Observer::new(ObserverOptions::default());
    let mut sent = [0, 0];
    let mut all = Vec::new();
    for (who, bytes) in script {
        let side = usize::from(*who == 'S');
        for chunk in bytes.as_bytes().chunks(size) {
            let mut points = Vec::new();
            if *who == 'C' {
                observer.client_bytes(chunk, &mut points);
            } else {
                observer.server_bytes(chunk, &mut points);
            }
            let mut last = 0;
            for point in &points {
                assert!(point.start <= point.end && point.end <= chunk.len());
                assert!(point.end >= last, "points come by offset");
                last = point.end;
                all.push(told(sent[side], *who, point));
            }
            sent[side] += chunk.len();
        }
    }
    (all, observer)
}

/// Plays a dialogue whole and in pieces, and compares what is told, offsets
/// left out of the expectation.
fn expect(script: Script<'_>, expected: &[&str]) -> Observer {
    let (whole, observer) = play(script, usize::MAX);
    let bare: Vec<&str> = whole
        .iter()
        .map(|line| line.split_once(' ').expect("who and what").1)
        .collect();
    assert_eq!(bare, expected);
    for size in 1..40 {
        assert_eq!(play(script, size).0, whole, "chunks of {size}");
    }
    observer
}

const OPEN: [(char, &str); 3] = [
    ('S', "220 mx\r\n"),
    ('C', "EHLO c\r\n"),
    ('S', "250-mx\r\n250 PIPELINING\r\n"),
];

fn opened<'a>(rest: &[(char, &'a str)]) -> Vec<(char, &'a str)> {
    OPEN.iter().chain(rest).copied().collect()
}

/// What is told of [`OPEN`] and then `rest`.
fn after_open<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    ["220 to greeting", "EHLO", "250 to EHLO"]
        .iter()
        .chain(rest)
        .copied()
        .collect()
}

#[test]
fn two_messages_on_one_connection() {
    let script = opened(&[
        (
            'C',
            "MAIL FROM:<a@x>\r\nRCPT TO:<b@y>\r\nRCPT TO:<c@y>\r\nDATA\r\n",
        ),
        ('S', "250 ok\r\n250 ok\r\n550 no\r\n354 go\r\n"),
        ('C', "Subject: x\r\n\r\n..\r\nbody\r\n.\r\nMAIL FROM:<>\r\n"),
        ('S', "250 taken\r\n250 ok\r\n"),
        ('C', "RCPT TO:<d@y>\r\n"),
        ('S', "250 ok\r\n"),
        ('C', "DATA\r\n"),
        ('S', "354 go\r\n"),
        ('C', ".\r\nQUIT\r\n"),
        ('S', "452 full\r\n221 bye\r\n"),
    ]);
    let observer = expect(
        &script,
        &after_open(&[
            "MAIL t1",
            "RCPT t1 r0",
            "RCPT t1 r1",
            "DATA t1",
            "250 to MAIL t1",
            "250 to RCPT t1 r0",
            "550 to RCPT t1 r1",
            "354 to DATA",
            "content t1",
            "dot t1 23",
            "MAIL t2",
            "250 to end t1",
            "250 to MAIL t2",
            "RCPT t2 r0",
            "250 to RCPT t2 r0",
            "DATA t2",
            "354 to DATA",
            "content t2",
            "dot t2 0",
            "QUIT",
            "452 to end t2",
            "221 to QUIT",
        ]),
    );
    let last = observer.transaction().unwrap();
    assert_eq!(last.progress, Progress::Answered);
    assert_eq!(last.end_code, Some(452));
    assert_eq!(last.rcpts[0].end_code, Some(452));
}

#[test]
fn a_dot_comes_with_its_envelope_and_content() {
    let content = "From: <a@x>\r\nSubject: x\r\n\r\n.\r\nbody\r\n";
    let mut observer = Observer::default();
    let mut points = Vec::new();
    for (who, bytes) in opened(&[
        (
            'C',
            "mail from:<A@x> SIZE=1\r\nrcpt to:<\"b c\"@y>\r\nrcpt to:<c@y>\r\ndata\r\n",
        ),
        ('S', "250 ok\r\n250 ok\r\n452 no\r\n354 go\r\n"),
    ]) {
        match who {
            'C' => observer.client_bytes(bytes.as_bytes(), &mut points),
            _ => observer.server_bytes(bytes.as_bytes(), &mut points),
        }
    }
    points.clear();
    let wire = "From: <a@x>\r\nSubject: x\r\n\r\n..\r\nbody\r\n.\r\n";
    observer.client_bytes(wire.as_bytes(), &mut points);
    assert_eq!((points[0].start, points[0].end), (0, 0));
    assert_eq!(
        points[1],
        Point {
            start: wire.len() - 3,
            end: wire.len(),
            seen: Seen::Dot {
                transaction: 1,
                size: content.len() as u64,
                content: Some(*blake3::hash(content.as_bytes()).as_bytes()),
                body: Some(body_digest(content.as_bytes())),
            },
        }
    );
    let seen = observer.transaction().unwrap();
    assert_eq!(seen.number, 1);
    assert_eq!(seen.progress, Progress::Ended);
    assert_eq!(seen.head, content.as_bytes());
    assert_eq!(&seen.from[..], b"A@x");
    let rcpts: Vec<_> = seen
        .rcpts
        .iter()
        .map(|rcpt| (rcpt.address.to_vec(), rcpt.code))
        .collect();
    assert_eq!(
        rcpts,
        [
            (b"\"b c\"@y".to_vec(), Some(250)),
            (b"c@y".to_vec(), Some(452))
        ]
    );
    assert_eq!(seen.accepted().count(), 1);
    // No reply: at the end of the connection it is still among the unanswered.
    assert_eq!(observer.transactions().next().unwrap().end_code, None);
}

#[test]
fn the_head_is_bounded_and_the_digest_is_not() {
    let mut observer = Observer::new(ObserverOptions {
        head_limit: 100,
        ..ObserverOptions::default()
    });
    let body = "x".repeat(500);
    let mut points = Vec::new();
    for (who, bytes) in opened(&[
        ('C', "MAIL FROM:<>\r\nRCPT TO:<b>\r\nDATA\r\n"),
        ('S', "250 ok\r\n250 ok\r\n354 go\r\n"),
        ('C', &body),
        ('C', "\r\n.\r\n"),
    ]) {
        match who {
            'C' => observer.client_bytes(bytes.as_bytes(), &mut points),
            _ => observer.server_bytes(bytes.as_bytes(), &mut points),
        }
    }
    let seen = observer.transaction().unwrap();
    assert_eq!(seen.head, body.as_bytes()[..100]);
    assert_eq!(seen.size, 502);
    let digest = *blake3::hash((body + "\r\n").as_bytes()).as_bytes();
    let Seen::Dot { content, .. } = points.last().unwrap().seen else {
        panic!("the last point is the dot");
    };
    assert_eq!(content, Some(digest));
}

#[test]
fn chunking() {
    let script = opened(&[
        (
            'C',
            "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 4\r\na\r\n.BDAT 5 LAST\r\n\r\n.\r\nMAIL FROM:<c>\r\nRCPT TO:<d>\r\nBDAT 0 LAST\r\nNOOP\r\n",
        ),
        (
            'S',
            "250 ok\r\n250 ok\r\n250 4\r\n250 taken\r\n250 ok\r\n250 ok\r\n554 no\r\n250 noop\r\n",
        ),
        ('C', "MAIL FROM:<e>\r\nBDAT 3\r\nabc"),
        ('S', "250 ok\r\n503 no rcpt\r\n"),
        ('C', "RSET\r\n"),
        ('S', "250 ok\r\n"),
    ]);
    let observer = expect(
        &script,
        &after_open(&[
            "MAIL t1",
            "RCPT t1 r0",
            "BDAT t1",
            "content t1",
            "BDAT t1",
            "dot t1 9",
            "MAIL t2",
            "RCPT t2 r0",
            "BDAT t2",
            "content t2",
            "dot t2 0",
            "NOOP",
            "250 to MAIL t1",
            "250 to RCPT t1 r0",
            "250 to BDAT",
            "250 to end t1",
            "250 to MAIL t2",
            "250 to RCPT t2 r0",
            "554 to end t2",
            "250 to NOOP",
            "MAIL t3",
            "BDAT t3",
            "content t3",
            "250 to MAIL t3",
            "503 to BDAT",
            "RSET",
            "250 to RSET",
        ]),
    );
    assert_eq!(observer.view(), View::Following);
}

#[test]
fn the_last_octet_of_the_last_chunk_is_its_dot() {
    let mut observer = Observer::default();
    let mut points = Vec::new();
    observer.server_bytes(b"220 x\r\n", &mut points);
    let wire = b"MAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 3 LAST\r\nabc";
    observer.client_bytes(wire, &mut points);
    let dot = points.last().unwrap();
    assert_eq!((dot.start, dot.end), (wire.len() - 1, wire.len()));
    // Its replies have not come, and that is what is told.
    assert_eq!(observer.transaction().unwrap().rcpts[0].code, None);
    assert_eq!(observer.transaction().unwrap().head, b"abc");
}

#[test]
fn lmtp_has_a_reply_for_each_accepted_recipient() {
    let script = [
        ('S', "220 mx\r\n"),
        ('C', "LHLO c\r\n"),
        ('S', "250 mx\r\n"),
        (
            'C',
            "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nRCPT TO:<c>\r\nRCPT TO:<d>\r\nDATA\r\n",
        ),
        ('S', "250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n"),
        ('C', "x\r\n.\r\nRSET\r\n"),
        ('S', "250 taken\r\n452 full\r\n250 reset\r\n"),
    ];
    let observer = expect(
        &script,
        &[
            "220 to greeting",
            "LHLO",
            "250 to LHLO",
            "MAIL t1",
            "RCPT t1 r0",
            "RCPT t1 r1",
            "RCPT t1 r2",
            "DATA t1",
            "250 to MAIL t1",
            "250 to RCPT t1 r0",
            "550 to RCPT t1 r1",
            "250 to RCPT t1 r2",
            "354 to DATA",
            "content t1",
            "dot t1 3",
            "RSET",
            "250 to end t1 r0",
            "452 to end t1 r2",
            "250 to RSET",
        ],
    );
    let codes: Vec<_> = observer
        .transaction()
        .unwrap()
        .rcpts
        .iter()
        .map(|rcpt| rcpt.end_code)
        .collect();
    assert_eq!(codes, [Some(250), None, Some(452)]);
    let progress = observer.transaction().map(|kept| kept.progress);
    assert_eq!(progress, Some(Progress::Answered), "RSET comes too late");
}

#[test]
fn dialogues_and_private_verbs() {
    let script = opened(&[
        ('C', "AUTH LOGIN\r\n"),
        ('S', "334 VXNlcm5hbWU6\r\n"),
        ('C', "MAIL\r\n"),
        ('S', "334 UGFzc3dvcmQ6\r\n"),
        ('C', "*\r\n"),
        ('S', "501 no\r\n"),
        ('C', "XSHADOW id=1\r\nXDISCARD a\r\nNOOP\r\n"),
        ('S', "250 ok\r\n550 no\r\n250 ok\r\n"),
        ('C', "XPROOF\r\n"),
        ('S', "354 challenge\r\n"),
        ('C', "DATA\r\n"),
        ('S', "235 yes\r\n"),
        ('C', "\u{7f}x\r\n"),
        ('S', "500 what\r\n"),
    ]);
    expect(
        &script,
        &after_open(&[
            "AUTH",
            "334 to AUTH",
            "more AUTH",
            "334 to AUTH",
            "more AUTH",
            "501 to AUTH",
            "XSHADOW",
            "XDISCARD",
            "NOOP",
            "250 to XSHADOW",
            "550 to XDISCARD",
            "250 to NOOP",
            "XPROOF",
            "354 to XPROOF",
            "more XPROOF",
            "235 to XPROOF",
            "?",
            "500 to ?",
        ]),
    );
}

#[test]
fn refusals_and_resets_keep_the_transaction_straight() {
    // MAIL refused; RCPT without MAIL; DATA refused; nested MAIL; RSET.
    let script = opened(&[
        (
            'C',
            "RCPT TO:<b>\r\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n",
        ),
        ('S', "503 no\r\n451 no\r\n503 no\r\n503 no\r\n"),
        ('C', "MAIL FROM:<c>\r\nRCPT TO:<d>\r\n"),
        ('S', "250 ok\r\n250 ok\r\n"),
        ('C', "MAIL FROM:<e>\r\nRCPT TO:<f>\r\nDATA\r\n"),
        ('S', "503 nested\r\n250 ok\r\n354 go\r\n"),
        ('C', "x\r\n.\r\n"),
        ('S', "250 taken\r\n"),
        (
            'C',
            "MAIL FROM:<g>\r\nRSET\r\nMAIL FROM:<h>\r\nEHLO again\r\n",
        ),
        ('S', "250 ok\r\n250 ok\r\n250 ok\r\n550 no\r\n"),
        ('C', "RCPT TO:<i>\r\n"),
        ('S', "250 ok\r\n"),
    ]);
    let observer = expect(
        &script,
        &after_open(&[
            "RCPT r0",
            "MAIL t1",
            "RCPT t1 r0",
            "DATA t1",
            "503 to RCPT t0 r0",
            "451 to MAIL t1",
            "503 to RCPT t1 r0",
            "503 to DATA",
            "MAIL t2",
            "RCPT t2 r0",
            "250 to MAIL t2",
            "250 to RCPT t2 r0",
            "MAIL t3",
            "RCPT t3 r0",
            "DATA t3",
            "503 to MAIL t3",
            "250 to RCPT t2 r1",
            "354 to DATA",
            "content t2",
            "dot t2 3",
            "250 to end t2",
            "MAIL t4",
            "RSET",
            "MAIL t5",
            "EHLO",
            "250 to MAIL t4",
            "250 to RSET",
            "250 to MAIL t5",
            "550 to EHLO",
            "RCPT t5 r0",
            "250 to RCPT t5 r0",
        ]),
    );
    let last = observer.transaction().unwrap();
    assert_eq!(
        (last.number, last.progress, &last.from[..]),
        (5, Progress::Envelope, &b"h"[..])
    );
}

#[test]
fn a_refused_nested_mail_hands_its_recipients_on() {
    let (_, observer) = play(
        &opened(&[
            ('C', "MAIL FROM:<a>\r\nRCPT TO:<b>\r\n"),
            ('S', "250 ok\r\n250 ok\r\n"),
            ('C', "MAIL FROM:<c>\r\nRCPT TO:<d>\r\nRCPT TO:<e>\r\n"),
            ('S', "503 nested\r\n250 ok\r\n550 no\r\n"),
        ]),
        1000,
    );
    let progress = observer.numbered(1).map(|kept| kept.progress);
    assert_eq!(progress, Some(Progress::Envelope), "it goes on");
    let rcpts: Vec<_> = observer
        .numbered(1)
        .unwrap()
        .rcpts
        .iter()
        .map(|rcpt| (rcpt.address.to_vec(), rcpt.code))
        .collect();
    assert_eq!(
        rcpts,
        [
            (b"b".to_vec(), Some(250)),
            (b"d".to_vec(), Some(250)),
            (b"e".to_vec(), Some(550))
        ]
    );
}

#[test]
fn an_abandoned_message_leaves_nothing_behind() {
    let (told, observer) = play(
        &opened(&[
            ('C', "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nBDAT 3\r\nabcRSET\r\n"),
            ('S', "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n"),
            ('C', "MAIL FROM:<c>\r\nRCPT TO:<d>\r\nBDAT 2 LAST\r\nxy"),
            ('S', "250 ok\r\n250 ok\r\n250 ok\r\n"),
            ('C', "MAIL FROM:<e>\r\n"),
            ('S', "250 ok\r\n"),
        ]),
        1000,
    );
    assert!(told.contains(&"C96 dot t2 2".to_owned()), "{told:?}");
    assert_eq!(
        observer.transaction().unwrap().head,
        b"",
        "nothing of the one before"
    );
    let mut observer = Observer::default();
    let mut points = Vec::new();
    let wire = b"MAIL FROM:<a>\r\nBDAT 3\r\nabcRSET\r\nMAIL FROM:<c>\r\nBDAT 2 LAST\r\nxy";
    observer.client_bytes(wire, &mut points);
    let Seen::Dot { content, .. } = points.last().unwrap().seen else {
        panic!("the last point is the dot");
    };
    assert_eq!(content, Some(*blake3::hash(b"xy").as_bytes()));
    assert_eq!(observer.transaction().unwrap().head, b"xy");
}

#[test]
fn all_recipients_refused_and_an_empty_message() {
    // RFC 2920 3.1: the client answers an unwanted 354 with a lone dot.
    let script = opened(&[
        ('C', "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n"),
        ('S', "250 ok\r\n550 no\r\n354 go\r\n"),
        ('C', ".\r\n"),
        ('S', "554 no valid recipients\r\n"),
    ]);
    expect(
        &script,
        &after_open(&[
            "MAIL t1",
            "RCPT t1 r0",
            "DATA t1",
            "250 to MAIL t1",
            "550 to RCPT t1 r0",
            "354 to DATA",
            "content t1",
            "dot t1 0",
            "554 to end t1",
        ]),
    );
}

#[test]
fn closing_servers() {
    let open = ["220 to greeting", "EHLO", "250 to EHLO"];
    let told = |rest: &[&'static str]| [&open[..], rest].concat();
    expect(
        &opened(&[('S', "421 idle\r\n")]),
        &told(&["421 to nothing"]),
    );
    expect(
        &opened(&[('C', "MAIL FROM:<a>\r\n"), ('S', "421 stop\r\n")]),
        &told(&["MAIL t1", "421 to MAIL t1"]),
    );
    let observer = expect(
        &opened(&[
            ('C', "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n"),
            ('S', "250 ok\r\n250 ok\r\n354 go\r\n"),
            ('C', "x\r\n"),
            ('S', "421 stop\r\n"),
            ('C', "y\r\n.\r\n"),
        ]),
        &told(&[
            "MAIL t1",
            "RCPT t1 r0",
            "DATA t1",
            "250 to MAIL t1",
            "250 to RCPT t1 r0",
            "354 to DATA",
            "content t1",
            "421 to nothing",
            "dot t1 6",
        ]),
    );
    assert_eq!(observer.transaction().unwrap().end_code, None);
    expect(
        &[
            ('S', "554 go away\r\n"),
            ('C', "QUIT\r\n"),
            ('S', "221 bye\r\n"),
        ],
        &["554 to greeting", "QUIT", "221 to QUIT"],
    );
}

#[test]
fn tls_makes_it_opaque() {
    let observer = expect(
        &opened(&[
            ('C', "STARTTLS\r\n"),
            ('S', "454 not now\r\n"),
            // Plain text behind STARTTLS: an injection, but not our loss.
            ('C', "STARTTLS\r\nNOOP\r\n"),
            ('S', "220 go\r\n\u{16}\u{3}"),
            ('C', "\u{16}\u{3}\r\n"),
            ('S', "\u{16}\u{3}\r\n"),
        ]),
        &after_open(&[
            "STARTTLS",
            "454 to STARTTLS",
            "STARTTLS",
            "NOOP",
            "220 to STARTTLS",
            "opaque",
        ]),
    );
    assert_eq!(observer.view(), View::Opaque);
}

#[test]
fn inside_tls_no_greeting_comes() {
    let mut observer = Observer::inside_tls(ObserverOptions::default());
    let mut points = Vec::new();
    observer.client_bytes(b"EHLO c\r\n", &mut points);
    observer.server_bytes(b"250 mx\r\n", &mut points);
    assert_eq!(told(0, 'S', &points[1]), "S8 250 to EHLO");
}

#[test]
fn what_cannot_be_followed_is_said_once() {
    for (script, says) in [
        (vec![('C', "NOOP\n")], "LF without CR"),
        (vec![('C', "NOOP a\rb\r\n")], "CR without LF"),
        (vec![('C', "NOOP a\r\r\n")], "CR without LF"),
        (vec![('S', "250 ok\r\n")], "while none was due"),
        (vec![('S', "451 x\r\n")], "while none was due"),
        (vec![('C', "NOOP\r\n"), ('S', "250 ok\n")], "LF without CR"),
        (
            vec![('C', "NOOP\r\n"), ('S', "250-ok\r\n251 ok\r\n")],
            "same code",
        ),
        (
            vec![('C', "NOOP\r\n"), ('S', "HTTP/1.1 200 OK\r\n")],
            "must begin with a code",
        ),
        (
            vec![('C', "NOOP\r\n"), ('S', "354 go\r\n")],
            "NOOP was answered with 354",
        ),
        (vec![('C', "BDAT 3 LOST\r\nabc")], "BDAT without a size"),
        (vec![('C', "DATA\r\nx")], "bytes follow DATA"),
        (
            vec![('C', "DATA\r\n"), ('S', "250 ok\r\n")],
            "DATA was answered with 250",
        ),
        (
            vec![('C', "AUTH PLAIN\r\nNOOP\r\n"), ('S', "334 \r\n")],
            "already gone on",
        ),
        (
            vec![('C', "XPROOF\r\nNO"), ('S', "334 \r\n")],
            "already gone on",
        ),
        (
            vec![('C', "TURN\r\n"), ('S', "250 ok\r\n")],
            "exchange their roles",
        ),
        (
            // A server that takes LF.LF for the end of data answers early.
            vec![
                ('C', "MAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\n"),
                ('S', "250 ok\r\n250 ok\r\n354 go\r\n"),
                ('C', "x\n.\nMAIL FROM:<c>\r\n"),
                ('S', "250 taken\r\n"),
            ],
            "while none was due",
        ),
        (
            // A nested MAIL whose content is already on its way.
            vec![
                ('C', "MAIL FROM:<a>\r\n"),
                ('S', "250 ok\r\n"),
                ('C', "MAIL FROM:<b>\r\nRCPT TO:<c>\r\nBDAT 1 LAST\r\nx"),
                ('S', "503 nested\r\n"),
            ],
            "after content had passed",
        ),
    ] {
        let mut script = opened(&script);
        script.push(('C', "QUIT\r\n"));
        script.push(('S', "221 bye\r\n"));
        for size in [1, 2, 3, 7, 1000] {
            let (told, observer) = play(&script, size);
            let lost: Vec<_> = told.iter().filter(|line| line.contains("lost: ")).collect();
            assert_eq!(lost.len(), 1, "{told:?}");
            assert!(lost[0].contains(says), "{}", lost[0]);
            assert_eq!(told.last(), Some(lost[0]), "nothing is told afterwards");
            assert_eq!(observer.view(), View::Lost);
        }
    }
}

#[test]
fn what_a_peer_can_pile_up_is_bounded() {
    let lost = |client: &str| {
        let (told, observer) = play(&[('S', "220 x\r\n"), ('C', client)], 1000);
        assert_eq!(observer.view(), View::Lost);
        told.last().cloned().unwrap()
    };
    assert!(lost(&"NOOP\r\n".repeat(30_000)).contains("unanswered"));
    assert!(lost(&"MAIL FROM:<a>\r\n".repeat(2_000)).contains("unanswered"));
    let rcpts = format!("MAIL FROM:<a>\r\n{}", "RCPT TO:<b>\r\n".repeat(11_000));
    assert!(lost(&rcpts).contains("recipients"));
    assert!(lost(&"x".repeat(20_000)).contains("longer than"));
    let mut observer = Observer::default();
    let mut points = Vec::new();
    for _ in 0..10_000 {
        observer.server_bytes(b"220-x", &mut points);
    }
    assert!(matches!(
        points[..],
        [Point {
            seen: Seen::Lost(Lost::Reply(_)),
            ..
        }]
    ));
}

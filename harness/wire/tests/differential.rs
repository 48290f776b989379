//! Our codec against `smtp-proto`, written by others: where both read
//! something, they must read the same.
//!
//! Known differences, kept out of the generated input: `smtp-proto` 0.2.5 takes
//! `CRLF . CR CR LF` for the end of data (RFC 5321 4.1.1.4 does not), does not see the end
//! of empty data (`. CRLF` at the very start), and drops CR anywhere in a
//! command line.

use mailproof_wire::body::Scanner;
use mailproof_wire::command::{Argument, Command, Envelope};
use mailproof_wire::{Observer, ReplyParser, Seen};
use proptest::prelude::*;
use smtp_proto::request::receiver::{DataReceiver, RequestReceiver};
use smtp_proto::response::parser::ResponseReceiver;
use smtp_proto::{
    Error, MAIL_BODY_8BITMIME, MAIL_BODY_BINARYMIME, MAIL_SMTPUTF8, RCPT_NOTIFY_NEVER, Request,
};

/// Cuts `bytes` at the given places.
fn pieces<'a>(bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| &bytes[pair[0]..pair[1]])
        .collect()
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(any::<usize>(), 0..6)
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => Just(b"\r\n".to_vec()),
        3 => Just(b"\r\n.".to_vec()),
        1 => Just(b"\r\n.\r\n".to_vec()),
        2 => Just(b".".to_vec()),
        1 => Just(b"\r".to_vec()),
        2 => Just(b"\n".to_vec()),
        3 => proptest::collection::vec(any::<u8>(), 0..5),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| {
        let mut data = [b"x".to_vec(), pieces.concat()].concat();
        while let Some(at) = memchr::memmem::find(&data, b"\r\n.\r\r") {
            data.remove(at + 4);
        }
        data
    })
}

/// Paths of the grammar of RFC 5321 4.1.2 that both read, mailboxes quoted and
/// routed among them. What lies outside the grammar each reads as it likes.
fn address() -> impl Strategy<Value = String> {
    let local = prop_oneof![
        3 => "[a-zA-Z0-9+_=!#-]{1,8}(\\.[a-z]{1,4}){0,2}",
        1 => "é[a-z]{1,3}",
        2 => "\"[a-z <>@,:]{1,6}\"",
        2 => "\"[a-z >]{0,2}\\\\[\"\\\\ >@][a-z <]{0,3}\"",
    ];
    let domain = prop_oneof![
        4 => "[a-z][a-z0-9-]{0,6}(\\.[a-z]{1,4}){0,2}",
        1 => Just("é.test".to_owned()),
    ];
    let route = prop_oneof![4 => Just(""), 1 => Just("@a:"), 1 => Just("@a.b,@c:")];
    prop_oneof![
        1 => Just(String::new()),
        8 => (route, local, domain).prop_map(|(route, local, domain)| format!("{route}{local}@{domain}")),
    ]
}

fn params(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    let word = proptest::sample::select(words).prop_map(str::to_owned);
    let size = any::<u32>().prop_map(|size| format!("SIZE={size}"));
    let any_word = prop_oneof![4 => word, 1 => size];
    proptest::collection::vec(any_word, 0..4)
        .prop_map(|words| words.iter().map(|word| format!(" {word}")).collect())
}

/// A path as `smtp-proto` gives it: quotes and escapes removed, and nothing for
/// the postmaster without a domain.
fn unquoted(address: &[u8]) -> String {
    if address.eq_ignore_ascii_case(b"postmaster") {
        return String::new();
    }
    let mut plain = Vec::new();
    let mut bytes = address.iter();
    let mut quoted = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => plain.extend(bytes.next()),
            other => plain.push(*other),
        }
    }
    String::from_utf8(plain).expect("the generator makes UTF-8")
}

/// The path and parameters we read in `line`, if any.
fn ours(line: &str) -> Option<Envelope<'_>> {
    match Command::parse(line.as_bytes()).argument {
        Argument::Envelope(envelope) => Some(envelope),
        _ => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_end_of_data(data in data(), cuts in cuts()) {
        let mut scanner = Scanner::default();
        let mut content = Vec::new();
        let mut end = None;
        let mut before = 0;
        for piece in pieces(&data, &cuts) {
            end = scanner.scan(piece, |slice| content.extend_from_slice(slice)).map(|end| before + end.end);
            if end.is_some() {
                break;
            }
            before += piece.len();
        }
        let mut receiver = DataReceiver::new();
        let mut theirs = Vec::new();
        let mut bytes = data.iter();
        let their_end = receiver.ingest(&mut bytes, &mut theirs).then(|| data.len() - bytes.len());
        prop_assert_eq!(end, their_end);
        if end.is_some() {
            prop_assert_eq!(content, theirs);
        }
    }

    #[test]
    fn mail(
        address in address(),
        params in params(&["BODY=8BITMIME", "BODY=BINARYMIME", "SMTPUTF8", "RET=HDRS", "ENVID=a+2Bb", "body=8bitmime", "X=y"]),
    ) {
        let line = format!("MAIL FROM:<{address}>{params}\r\n");
        match Request::parse(&mut line.as_bytes().iter()) {
            Ok(Request::Mail { from }) => {
                let ours = ours(&line);
                prop_assert!(ours.is_some(), "we cannot read {line}");
                let ours = ours.expect("asserted");
                prop_assert_eq!(unquoted(ours.address), from.address.as_ref());
                // They keep the last of several, we the first.
                let words = ours.params.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"SIZE"));
                if words.count() <= 1 {
                    prop_assert_eq!(ours.params.size().unwrap_or(0), from.size as u64);
                }
                let bodies: Vec<_> = ours.params.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"BODY")).collect();
                if bodies.len() == 1 {
                    let body = ours.params.body().expect("it is there");
                    let is = |name: &[u8]| body.eq_ignore_ascii_case(name);
                    prop_assert_eq!(is(b"8BITMIME"), from.flags & MAIL_BODY_8BITMIME != 0);
                    prop_assert_eq!(is(b"BINARYMIME"), from.flags & MAIL_BODY_BINARYMIME != 0);
                }
                prop_assert_eq!(ours.params.get("SMTPUTF8").is_some(), from.flags & MAIL_SMTPUTF8 != 0);
            }
            Ok(other) => prop_assert!(false, "{other:?}"),
            // They read only what they know; we read more.
            Err(_) => {}
        }
    }

    #[test]
    fn rcpt(address in prop_oneof![8 => address(), 1 => Just("PostMaster".to_owned())], params in params(&["NOTIFY=NEVER", "NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;a+2Bb"])) {
        let line = format!("rcpt to:<{address}>{params}\r\n");
        if let Ok(Request::Rcpt { to }) = Request::parse(&mut line.as_bytes().iter()) {
            let ours = ours(&line);
            prop_assert!(ours.is_some(), "we cannot read {line}");
            let ours = ours.expect("asserted");
            prop_assert_eq!(unquoted(ours.address), to.address.as_ref());
            let notify: Vec<_> = ours.params.iter().filter(|(name, _)| *name == b"NOTIFY").collect();
            if notify.len() == 1 {
                prop_assert_eq!(notify[0].1 == Some(b"NEVER"), to.flags & RCPT_NOTIFY_NEVER != 0);
            }
        }
    }

    #[test]
    fn what_we_cannot_read_they_cannot_either(line in "(MAIL FROM|RCPT TO|mail from)[ :]?[ <]?[a-z@\"\\\\<>. =0-9]{0,20}>?( [A-Z=0-9]{0,8})?") {
        if matches!(Command::parse(line.as_bytes()).argument, Argument::Malformed(_)) {
            let line = line + "\r\n";
            let theirs = Request::parse(&mut line.as_bytes().iter());
            prop_assert!(theirs.is_err(), "{line}: {theirs:?}");
        }
    }

    #[test]
    fn framing(verbs in proptest::collection::vec(0usize..7, 0..20), cuts in cuts()) {
        const LINES: [(&str, &str); 7] = [
            ("NOOP", "NOOP\r\n"), ("RSET", "rset\r\n"), ("VRFY", "VRFY a\r\n"), ("EHLO", "EHLO c\r\n"),
            ("MAIL", "MAIL FROM:<a@b> SIZE=1\r\n"), ("RCPT", "RCPT TO:<c@d>\r\n"), ("QUIT", "QUIT\r\n"),
        ];
        let stream: String = verbs.iter().map(|index| LINES[*index].1).collect();
        let mut observer = Observer::default();
        let mut points = Vec::new();
        let mut receiver = RequestReceiver::default();
        let mut theirs = Vec::new();
        for piece in pieces(stream.as_bytes(), &cuts) {
            observer.client_bytes(piece, &mut points);
            let mut bytes = piece.iter();
            loop {
                match receiver.ingest(&mut bytes) {
                    Ok(request) => theirs.push(request.name()),
                    Err(Error::NeedsMoreData { .. }) => break,
                    Err(other) => prop_assert!(false, "{other:?}"),
                }
            }
        }
        let ours: Vec<&str> = points
            .iter()
            .map(|point| match &point.seen {
                Seen::Command { verb, .. } => verb.as_str(),
                _ => "?",
            })
            .collect();
        prop_assert_eq!(&ours, &theirs);
        let expected: Vec<&str> = verbs.iter().map(|index| LINES[*index].0).collect();
        prop_assert_eq!(ours, expected);
    }

    #[test]
    fn replies(
        replies in proptest::collection::vec((200u16..=559, proptest::collection::vec("[a-zA-Z ,:]{1,20}", 1..4)), 0..6),
        cuts in cuts(),
    ) {
        let mut stream = String::new();
        let mut expected = Vec::new();
        for (code, lines) in &replies {
            let code = code / 100 * 100 + code % 60;
            for (index, line) in lines.iter().enumerate() {
                let gap = if index + 1 == lines.len() { ' ' } else { '-' };
                stream.push_str(&format!("{code}{gap}{line}\r\n"));
            }
            expected.push(code);
        }
        let mut parser = ReplyParser::default();
        let mut ours = Vec::new();
        let mut receiver = ResponseReceiver::default();
        let mut theirs = Vec::new();
        for piece in pieces(stream.as_bytes(), &cuts) {
            let mut at = 0;
            while at < piece.len() {
                let (used, reply) = parser.read(&piece[at..]).expect("it is well formed");
                at += used;
                ours.extend(reply.map(|reply| reply.code()));
            }
            let mut bytes = piece.iter();
            loop {
                match receiver.parse(&mut bytes) {
                    Ok(response) => {
                        theirs.push(response.code);
                        receiver.reset();
                    }
                    Err(Error::NeedsMoreData { .. }) => break,
                    Err(other) => prop_assert!(false, "{other:?}"),
                }
            }
        }
        prop_assert_eq!(&ours, &expected);
        prop_assert_eq!(ours, theirs);
    }
}

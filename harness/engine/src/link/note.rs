//! What a link writes down of what it sees.

use mailproof_model::event::{Attempt, Conn, Msg, Rcpt, What};
use mailproof_model::party::{Link, Party, Witness};
use mailproof_model::workload;
use mailproof_wire::observer::{Answers, ObservedRcpt, ObservedTransaction, Point, Seen};
use mailproof_wire::{Verb, identify};

use super::connection::Connection;
use super::{LinkContext, LinkOutput};

/// The digest as histories carry it: hex of its first 16 bytes.
#[must_use]
pub fn digest_text(digest: &mailproof_wire::Digest) -> String {
    let hex = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
        pair[0] = hex(byte >> 4);
        pair[1] = hex(byte & 15);
    }
    // Hexadecimal digits only, so nothing is ever replaced.
    String::from_utf8_lossy(&text).into_owned()
}

/// Writes down what a point is, where that is worth an event.
pub(super) fn point(
    link: Link,
    context: &LinkContext,
    conn: Conn,
    c: &mut Connection,
    point: &Point,
    out: &mut Vec<LinkOutput>,
) {
    let what = match &point.seen {
        Seen::Dot {
            transaction, body, ..
        } => Some(dot(context, conn, c, *transaction, body.as_ref())),
        Seen::Reply { reply, answers } => reply_event(link, conn, c, reply.code(), *answers),
        Seen::Opaque => Some(What::Opaque {
            conn,
            note: "TLS began".to_owned(),
        }),
        Seen::Lost(lost) => Some(What::Opaque {
            conn,
            note: lost.to_string(),
        }),
        Seen::Command { .. } | Seen::Continuation { .. } | Seen::Content { .. } => None,
    };
    if let Some(what) = what {
        let by = Witness::Link(link);
        out.push(LinkOutput::Record { by, what });
    }
}

fn dot(
    context: &LinkContext,
    conn: Conn,
    c: &mut Connection,
    number: u32,
    body: Option<&mailproof_wire::Digest>,
) -> What {
    let mut msg = None;
    let mut attempt = None;
    let mut rcpts = Vec::new();
    let mut strangers = Vec::new();
    let mut reverse = None;
    let mut digest = body.map(digest_text).unwrap_or_default();
    if let Some(transaction) = c.observer().numbered(number) {
        let head = &transaction.head;
        let message = if body.is_none() && transaction.size == head.len() as u64 {
            // The head holds all of it.
            let found = context.known.recognise(head);
            digest = digest_text(&found.digest);
            found.message.map(|m| (m.message, m.attempt))
        } else {
            identify(head)
                .filter(|identity| identity.run == context.known.run())
                .map(|identity| (identity.message, identity.attempt))
        };
        if let Some((number, tried)) = message {
            msg = Msg::try_from(number).ok();
            attempt = tried.and_then(|a| Attempt::try_from(a).ok());
        }
        if let Some(msg) = msg {
            // A reply that is still on its way may turn out to accept.
            let may = |rcpt: &&ObservedRcpt| rcpt.code.is_none_or(|code| code / 100 == 2);
            for rcpt in transaction.rcpts.iter().filter(may) {
                match of(msg, rcpt) {
                    Some(rcpt) => rcpts.push(rcpt),
                    None => strangers.push(words(&rcpt.address)),
                }
            }
            if workload::read_sender(&transaction.from) != Some(msg) {
                reverse = Some(words(&transaction.from));
            }
        }
    }
    // Only the latest are asked for: a reply to the end of data comes before
    // the next one is begun, or soon after.
    if c.dots.len() >= 32 {
        c.dots.remove(0);
    }
    c.dots.push((number, msg, attempt));
    What::Dot {
        conn,
        msg,
        attempt,
        rcpts,
        strangers,
        reverse,
        digest,
    }
}

/// An address of an envelope as text for people: short and printable.
fn words(address: &[u8]) -> String {
    let shown = &address[..address.len().min(200)];
    shown.escape_ascii().to_string()
}

/// The recipient, if it is one of this message's.
fn of(msg: Msg, rcpt: &ObservedRcpt) -> Option<Rcpt> {
    workload::read_address(&rcpt.address)
        .filter(|(of, _)| *of == msg)
        .map(|(_, rcpt)| rcpt)
}

/// The message of a transaction that has no content yet, from its envelope.
fn guess(transaction: &ObservedTransaction) -> Option<Msg> {
    workload::read_sender(&transaction.from).or_else(|| {
        let (msg, _) = workload::read_address(&transaction.rcpts.first()?.address)?;
        Some(msg)
    })
}

fn reply_event(
    link: Link,
    conn: Conn,
    c: &mut Connection,
    code: u16,
    answers: Answers,
) -> Option<What> {
    let refuses = code >= 400;
    let transaction = |c: &Connection, number| c.observer().numbered(number).and_then(guess);
    let mut rcpts = None;
    let mut attempt = None;
    let (to, msg) = match answers {
        Answers::End {
            transaction: number,
            rcpt,
        } => {
            let at = c.dots.iter().position(|(n, ..)| *n == number);
            let dot = at.map(|at| c.dots[at]);
            let (msg, tried) = dot.map_or((None, None), |(_, msg, tried)| (msg, tried));
            attempt = tried;
            if let (Some(index), Some(msg)) = (rcpt, msg) {
                let observed = c
                    .observer()
                    .numbered(number)
                    .and_then(|t| t.rcpts.get(index));
                rcpts = Some(observed.and_then(|r| of(msg, r)).into_iter().collect());
            } else if let Some(at) = at {
                c.dots.remove(at);
            }
            ("dot".to_owned(), msg)
        }
        _ if !refuses => {
            return match answers {
                Answers::Command(verb) => verb_event(link, conn, verb, code),
                _ => None,
            };
        }
        Answers::Greeting => ("greeting".to_owned(), None),
        Answers::Mail {
            transaction: number,
        } => ("mail".to_owned(), transaction(c, number)),
        Answers::Rcpt {
            transaction: number,
            rcpt,
        } => {
            let observed = number
                .and_then(|n| c.observer().numbered(n))
                .and_then(|t| t.rcpts.get(rcpt));
            let named = observed.and_then(|r| workload::read_address(&r.address));
            rcpts = named.map(|(_, rcpt)| vec![rcpt]);
            ("rcpt".to_owned(), named.map(|(msg, _)| msg))
        }
        Answers::Command(verb) => {
            if let Some(event) = verb_event(link, conn, verb, code) {
                return Some(event);
            }
            let msg = match verb {
                Verb::Data | Verb::Bdat => c.observer().transaction().and_then(guess),
                _ => None,
            };
            (verb.as_str().to_ascii_lowercase(), msg)
        }
        Answers::Nothing => ("closing".to_owned(), None),
    };
    Some(What::Reply {
        conn,
        to,
        msg,
        attempt,
        rcpts,
        code,
    })
}

/// A complete exchange of a private verb between nodes.
fn verb_event(link: Link, conn: Conn, verb: Verb, code: u16) -> Option<What> {
    let Verb::Other(name) = verb else { return None };
    let between = Party::is_node(link.from) && Party::is_node(link.to);
    // 3yz: the dialogue goes on.
    (between && code / 100 != 3).then(|| What::Verb {
        conn,
        verb: name.as_str().to_owned(),
        code,
    })
}

//! Events as JSON lines, fast: the variants that a busy run consists of are
//! written by hand, the rest by `serde_json`. The bytes are the same either
//! way (tested for every variant); only the speed differs.

use crate::event::{Event, Shut, What};
use crate::party::{Link, Party, Witness};

/// Appends the event as one JSON object, without a newline.
///
/// # Errors
/// What `serde_json` returns; for these types, nothing.
pub(super) fn event(out: &mut Vec<u8>, event: &Event) -> serde_json::Result<()> {
    out.extend_from_slice(b"{\"id\":");
    number(out, event.id);
    out.extend_from_slice(b",\"at\":");
    number(out, event.at);
    out.extend_from_slice(b",\"by\":\"");
    witness(out, event.by);
    out.extend_from_slice(b"\",\"ev\":");
    what(out, &event.ev)?;
    out.push(b'}');
    Ok(())
}

/// Every field is named, so that a new one cannot be forgotten here.
fn what(out: &mut Vec<u8>, what: &What) -> serde_json::Result<()> {
    match what {
        What::Attempt {
            msg,
            attempt,
            session,
            node,
            rcpts,
            silent,
        } => {
            out.extend_from_slice(b"{\"attempt\":{\"msg\":");
            number(out, (*msg).into());
            out.extend_from_slice(b",\"attempt\":");
            number(out, (*attempt).into());
            out.extend_from_slice(b",\"session\":");
            number(out, (*session).into());
            out.extend_from_slice(b",\"node\":\"");
            party(out, *node);
            out.extend_from_slice(b"\",\"rcpts\":");
            numbers(out, rcpts);
            if *silent {
                out.extend_from_slice(b",\"silent\":true");
            }
        }
        What::Outcome {
            msg,
            attempt,
            rcpts,
            end,
            note,
        } => {
            out.extend_from_slice(b"{\"outcome\":{\"msg\":");
            number(out, (*msg).into());
            out.extend_from_slice(b",\"attempt\":");
            number(out, (*attempt).into());
            out.extend_from_slice(b",\"rcpts\":");
            numbers(out, rcpts);
            out.extend_from_slice(b",\"end\":");
            numbers(out, end);
            if let Some(note) = note {
                out.extend_from_slice(b",\"note\":");
                string(out, note)?;
            }
        }
        What::Open { conn } => {
            out.extend_from_slice(b"{\"open\":{\"conn\":");
            number(out, (*conn).into());
        }
        What::Shut { conn, how, from } => {
            out.extend_from_slice(b"{\"shut\":{\"conn\":");
            number(out, (*conn).into());
            out.extend_from_slice(match how {
                Shut::Fin => b",\"how\":\"fin\"".as_slice(),
                Shut::Reset => b",\"how\":\"reset\"",
                Shut::Silent => b",\"how\":\"silent\"",
            });
            if let Some(from) = from {
                out.extend_from_slice(b",\"from\":\"");
                party(out, *from);
                out.push(b'"');
            }
        }
        What::Dot {
            conn,
            msg,
            attempt,
            rcpts,
            strangers,
            reverse,
            digest,
        } => {
            out.extend_from_slice(b"{\"dot\":{\"conn\":");
            number(out, (*conn).into());
            transaction(out, *msg, *attempt);
            out.extend_from_slice(b",\"rcpts\":");
            numbers(out, rcpts);
            if !strangers.is_empty() {
                out.extend_from_slice(b",\"strangers\":");
                serde_json::to_writer(&mut *out, strangers)?;
            }
            if let Some(reverse) = reverse {
                out.extend_from_slice(b",\"reverse\":");
                string(out, reverse)?;
            }
            out.extend_from_slice(b",\"digest\":");
            string(out, digest)?;
        }
        What::Reply {
            conn,
            to,
            msg,
            attempt,
            rcpts,
            code,
        } => {
            out.extend_from_slice(b"{\"reply\":{\"conn\":");
            number(out, (*conn).into());
            out.extend_from_slice(b",\"to\":");
            string(out, to)?;
            transaction(out, *msg, *attempt);
            if let Some(rcpts) = rcpts {
                out.extend_from_slice(b",\"rcpts\":");
                numbers(out, rcpts);
            }
            out.extend_from_slice(b",\"code\":");
            number(out, (*code).into());
        }
        What::Verb { conn, verb, code } => {
            out.extend_from_slice(b"{\"verb\":{\"conn\":");
            number(out, (*conn).into());
            out.extend_from_slice(b",\"verb\":");
            string(out, verb)?;
            out.extend_from_slice(b",\"code\":");
            number(out, (*code).into());
        }
        What::Taken {
            conn,
            from,
            msg,
            attempt,
            rcpts,
            strangers,
            digest,
        } => {
            out.extend_from_slice(b"{\"taken\":{\"conn\":");
            number(out, (*conn).into());
            out.extend_from_slice(b",\"from\":\"");
            party(out, *from);
            out.extend_from_slice(b"\",\"msg\":");
            number(out, (*msg).into());
            out.extend_from_slice(b",\"attempt\":");
            number(out, (*attempt).into());
            out.extend_from_slice(b",\"rcpts\":");
            numbers(out, rcpts);
            if !strangers.is_empty() {
                out.extend_from_slice(b",\"strangers\":");
                serde_json::to_writer(&mut *out, strangers)?;
            }
            out.extend_from_slice(b",\"digest\":");
            string(out, digest)?;
        }
        _ => return serde_json::to_writer(out, what),
    }
    out.extend_from_slice(b"}}");
    Ok(())
}

fn transaction(out: &mut Vec<u8>, msg: Option<u32>, attempt: Option<u16>) {
    if let Some(msg) = msg {
        out.extend_from_slice(b",\"msg\":");
        number(out, msg.into());
    }
    if let Some(attempt) = attempt {
        out.extend_from_slice(b",\"attempt\":");
        number(out, attempt.into());
    }
}

fn numbers(out: &mut Vec<u8>, values: &[u16]) {
    out.push(b'[');
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        number(out, (*value).into());
    }
    out.push(b']');
}

fn number(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
        return;
    }
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A JSON string. Text without anything to escape, which is nearly all, is
/// copied.
fn string(out: &mut Vec<u8>, text: &str) -> serde_json::Result<()> {
    // Every byte is looked at, whatever was found before: many at once.
    let escapes = |b: u8| (b < 0x20) | (b == b'"') | (b == b'\\');
    if !text.bytes().fold(false, |found, b| found | escapes(b)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        Ok(())
    } else {
        serde_json::to_writer(out, text)
    }
}

fn party(out: &mut Vec<u8>, party: Party) {
    match party {
        Party::Client => out.extend_from_slice(b"client"),
        Party::Node(n) => {
            out.push(b'n');
            number(out, n.into());
        }
        Party::Store(n) => {
            out.push(b'm');
            number(out, n.into());
        }
        Party::Mailbox => out.extend_from_slice(b"mb"),
    }
}

fn link(out: &mut Vec<u8>, link: Link) {
    party(out, link.from);
    out.extend_from_slice(b"->");
    party(out, link.to);
}

fn witness(out: &mut Vec<u8>, by: Witness) {
    match by {
        Witness::Client => out.extend_from_slice(b"client"),
        Witness::Link(l) => {
            out.extend_from_slice(b"link:");
            link(out, l);
        }
        Witness::Mailbox => out.extend_from_slice(b"mailbox"),
        Witness::Disk(node) => {
            out.extend_from_slice(b"disk:");
            party(out, node);
        }
        Witness::Kernel => out.extend_from_slice(b"kernel"),
        Witness::Director => out.extend_from_slice(b"director"),
        Witness::Injector => out.extend_from_slice(b"injector"),
        Witness::Node(node) => {
            out.extend_from_slice(b"node:");
            party(out, node);
        }
    }
}

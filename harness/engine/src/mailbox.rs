//! The harness's mailbox `mb`: takes everything, suppresses nothing, and says
//! what it took before its 250 leaves.
//!
//! Sans-IO, one [`MailboxCore`] a connection; the host carries out the
//! [`MailboxOutput`]s in their order.

use std::sync::Arc;

use mailproof_model::event::{Attempt, Conn, Msg, Rcpt, What};
use mailproof_model::party::Party;
use mailproof_model::workload;
use mailproof_wire::policy::Policy;
use mailproof_wire::server::Message;
use mailproof_wire::{Mailbox, MailboxEvent, MailboxOptions, Reply};

use crate::link::{LinkContext, digest_text};

/// Longest list of recipients that is read from one report.
const MAX_REPORTED: usize = 10_000;

/// What the host of a mailbox has to do, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailboxOutput {
    /// Write this down (mailbox) before anything that follows.
    Record(What),
    /// Send these bytes.
    Send(Vec<u8>),
    /// Close in order once everything was sent.
    Close,
}

/// One connection to the mailbox.
#[derive(Debug)]
pub struct MailboxCore {
    conn: Conn,
    from: Party,
    context: Arc<LinkContext>,
    server: Mailbox,
    events: Vec<MailboxEvent>,
    taken: Reply,
}

impl MailboxCore {
    /// The connection `conn`, opened by `from`.
    #[must_use]
    pub fn new(conn: Conn, from: Party, context: Arc<LinkContext>) -> Self {
        Self {
            conn,
            from,
            context,
            server: Mailbox::new(MailboxOptions::default(), Policy::default()),
            events: Vec::new(),
            taken: Reply::new(250, "2.0.0 taken"),
        }
    }

    /// Says the greeting.
    pub fn greet(&mut self, out: &mut Vec<MailboxOutput>) {
        let mut events = std::mem::take(&mut self.events);
        self.server.greet(&mut events);
        self.work(events, out);
    }

    /// Reads bytes from the connection.
    pub fn bytes(&mut self, data: &[u8], out: &mut Vec<MailboxOutput>) {
        let mut events = std::mem::take(&mut self.events);
        self.server.received(data, &mut events);
        self.work(events, out);
    }

    fn work(&mut self, mut events: Vec<MailboxEvent>, out: &mut Vec<MailboxOutput>) {
        let mut more = Vec::new();
        while !events.is_empty() {
            for event in events.drain(..) {
                match event {
                    MailboxEvent::Message(message) => {
                        self.send(out);
                        self.take(&message, out);
                        // It waits for an answer: it has just said so.
                        let _ = self.server.answer(&self.taken, &mut more);
                    }
                    MailboxEvent::Close => {
                        self.send(out);
                        out.push(MailboxOutput::Close);
                    }
                    // STARTTLS is never offered here, so never accepted.
                    MailboxEvent::Hello(_)
                    | MailboxEvent::StartTls
                    | MailboxEvent::Refused { .. }
                    | MailboxEvent::Violation { .. } => {}
                }
            }
            std::mem::swap(&mut events, &mut more);
        }
        self.events = events;
        self.send(out);
    }

    fn send(&mut self, out: &mut Vec<MailboxOutput>) {
        let mut bytes = Vec::new();
        self.server.transmit(&mut bytes);
        if !bytes.is_empty() {
            out.push(MailboxOutput::Send(bytes));
        }
    }

    /// Says what a message is.
    fn take(&self, message: &Message, out: &mut Vec<MailboxOutput>) {
        let (conn, from) = (self.conn, self.from);
        if message.from.is_empty()
            && let Some(msg) = reported_on(message)
        {
            let reports = reports(&message.content, msg);
            out.extend(reports.into_iter().map(|(action, rcpts)| {
                MailboxOutput::Record(What::Dsn {
                    conn,
                    from,
                    msg,
                    action,
                    rcpts,
                })
            }));
            return;
        }
        let found = self.context.known.recognise(&message.content);
        let ours = found.message;
        let what = match ours.and_then(|i| Some((i, Msg::try_from(i.message).ok()?))) {
            Some((identity, msg)) => {
                let mut rcpts: Vec<Rcpt> = Vec::with_capacity(message.rcpts.len());
                let mut strangers = Vec::new();
                for rcpt in &message.rcpts {
                    match workload::read_address(&rcpt.address) {
                        Some((of, rcpt)) if of == msg && u32::from(rcpt) < identity.rcpts => {
                            rcpts.push(rcpt);
                        }
                        _ => strangers.push(words(&rcpt.address)),
                    }
                }
                What::Taken {
                    conn,
                    from,
                    msg,
                    attempt: identity
                        .attempt
                        .and_then(|a| Attempt::try_from(a).ok())
                        .unwrap_or(0),
                    rcpts,
                    strangers,
                    digest: digest_text(&found.digest),
                }
            }
            None => What::Phantom {
                conn,
                from,
                note: format!(
                    "{} bytes from <{}> to <{}> without a header of this run",
                    message.content.len(),
                    words(&message.from),
                    message
                        .rcpts
                        .first()
                        .map(|r| words(&r.address))
                        .unwrap_or_default(),
                ),
            },
        };
        out.push(MailboxOutput::Record(what));
    }
}

/// Bytes from a peer as text for people: short and printable.
fn words(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(200)];
    shown.escape_ascii().to_string()
}

/// The message that a notification is about, by the reverse path it was sent
/// to.
fn reported_on(message: &Message) -> Option<Msg> {
    message
        .rcpts
        .iter()
        .find_map(|rcpt| workload::read_sender(&rcpt.address))
}

/// What a notification says of which recipients, by action (RFC 3464 2.3).
/// One without a readable report is a failure of every recipient it names.
fn reports(content: &[u8], msg: Msg) -> Vec<(String, Vec<Rcpt>)> {
    let mut found: Vec<(String, Vec<Rcpt>)> = Vec::new();
    let mut part = Part::Other;
    let mut action = None;
    let mut rcpt = [None, None];
    let mut count = 0;
    for line in content.split(|b| *b == b'\n').chain([&b""[..]]) {
        let line = line.trim_ascii_end();
        let value = |name: &str| {
            let (head, rest) = line.split_at_checked(name.len())?;
            head.eq_ignore_ascii_case(name.as_bytes())
                .then(|| rest.trim_ascii())
        };
        let ends_block = line.is_empty() || line.starts_with(b"--");
        match part {
            Part::Other => {
                if value("Content-Type:").is_some_and(is_report) {
                    part = Part::Header;
                }
            }
            Part::Header => {
                if line.is_empty() {
                    part = Part::Report;
                }
            }
            Part::Report if ends_block => {
                if let (Some(action), Some(rcpt)) =
                    (action.take(), rcpt[0].take().or(rcpt[1].take()))
                    && count < MAX_REPORTED
                {
                    count += 1;
                    match found.iter_mut().find(|(a, _)| *a == action) {
                        Some((_, rcpts)) => rcpts.push(rcpt),
                        None => found.push((action, vec![rcpt])),
                    }
                }
                rcpt = [None, None];
                if line.starts_with(b"--") {
                    part = Part::Other;
                }
            }
            Part::Report => {
                if let Some(value) = value("Action:") {
                    action = Some(words(&value.to_ascii_lowercase()));
                } else if let Some(value) = value("Original-Recipient:") {
                    rcpt[0] = typed_address(value, msg);
                } else if let Some(value) = value("Final-Recipient:") {
                    rcpt[1] = typed_address(value, msg);
                }
            }
        }
    }
    if found.is_empty() {
        found.push(("failed".to_owned(), named(content, msg)));
    }
    found
}

#[derive(Clone, Copy)]
enum Part {
    Other,
    Header,
    Report,
}

fn is_report(value: &[u8]) -> bool {
    let name = b"message/delivery-status";
    value.len() >= name.len() && value[..name.len()].eq_ignore_ascii_case(name)
}

/// `rfc822; m3r0@mail.test`
fn typed_address(value: &[u8], msg: Msg) -> Option<Rcpt> {
    let at = value.iter().position(|b| *b == b';').map_or(0, |at| at + 1);
    let address = value[at..].trim_ascii();
    let address = address.strip_prefix(b"<").unwrap_or(address);
    let address = address.strip_suffix(b">").unwrap_or(address);
    let (of, rcpt) = workload::read_address(address)?;
    (of == msg).then_some(rcpt)
}

/// Every recipient of a message that a text names.
fn named(content: &[u8], msg: Msg) -> Vec<Rcpt> {
    let separates = |b: &u8| !(b.is_ascii_alphanumeric() || matches!(b, b'@' | b'.' | b'-'));
    let mut rcpts: Vec<Rcpt> = content
        .split(separates)
        .filter_map(|word| workload::read_address(word.strip_suffix(b".").unwrap_or(word)))
        .filter(|(of, _)| *of == msg)
        .map(|(_, rcpt)| rcpt)
        .take(MAX_REPORTED)
        .collect();
    rcpts.sort_unstable();
    rcpts.dedup();
    rcpts
}

#[cfg(test)]
mod tests {
    use mailproof_model::scenario::Times;
    use mailproof_wire::{MessageSpec, body, body_digest};

    use super::*;

    fn deliver(from: &str, rcpts: &[&str], content: &[u8]) -> Vec<MailboxOutput> {
        let context = LinkContext::new("box", Times::new());
        let mut core = MailboxCore::new(4, Party::Node(2), Arc::new(context));
        let mut out = Vec::new();
        core.greet(&mut out);
        let mut wire = format!("EHLO n2\r\nMAIL FROM:<{from}>\r\n");
        for rcpt in rcpts {
            wire += &format!("RCPT TO:<{rcpt}>\r\n");
        }
        core.bytes((wire + "DATA\r\n").as_bytes(), &mut out);
        let mut stuffed = Vec::new();
        body::stuff(content, &mut stuffed);
        out.clear();
        core.bytes(&stuffed, &mut out);
        core.bytes(b"QUIT\r\n", &mut out);
        out
    }

    fn seen(out: &[MailboxOutput]) -> Vec<&What> {
        out.iter()
            .filter_map(|o| match o {
                MailboxOutput::Record(what) => Some(what),
                _ => None,
            })
            .collect()
    }

    fn ours() -> Vec<u8> {
        let spec = MessageSpec {
            run: "box",
            number: 5,
            size: 900,
            seed: 1,
            from: "s5@client.test",
            to: &["m5r0@mail.test", "m5r1@mail.test"],
            unix_seconds: 0,
        };
        spec.content(3)
    }

    #[test]
    fn what_it_took_is_said_before_the_250() {
        let content = [b"Received: from n1 by n2\r\n".to_vec(), ours()].concat();
        let rcpts = ["m5r1@mail.test", "m5r2@mail.test", "m6r0@mail.test"];
        let out = deliver("s5@client.test", &rcpts, &content);
        assert!(matches!(&out[1], MailboxOutput::Send(b) if b.starts_with(b"250 ")));
        assert!(matches!(out.last(), Some(MailboxOutput::Close)));
        let expected = What::Taken {
            conn: 4,
            from: Party::Node(2),
            msg: 5,
            attempt: 3,
            rcpts: vec![1],
            strangers: vec!["m5r2@mail.test".to_owned(), "m6r0@mail.test".to_owned()],
            digest: digest_text(&body_digest(&ours())),
        };
        assert_eq!(seen(&out), [&expected]);
    }

    #[test]
    fn strange_mail_is_a_phantom() {
        let other = String::from_utf8(ours())
            .unwrap()
            .replace("run=box", "run=other");
        for content in [&b"Subject: x\r\n\r\nhello\r\n"[..], other.as_bytes()] {
            let out = deliver("a@b.test", &["m5r0@mail.test"], content);
            assert!(matches!(seen(&out)[..], [What::Phantom { .. }]));
        }
    }

    #[test]
    fn a_report_is_read_by_recipient_and_action() {
        let report = "Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\
            Content-Type: text/plain\r\n\r\nm5r7@mail.test failed\r\n--b\r\n\
            Content-Type: message/delivery-status\r\n\r\n\
            Reporting-MTA: dns; n1\r\n\r\n\
            Final-Recipient: rfc822; m5r0@mail.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n\
            Original-Recipient: rfc822;m5r2@mail.test\r\nFinal-Recipient: rfc822; x@y\r\nAction: Delayed\r\n\r\n\
            Final-Recipient: rfc822; m5r1@mail.test\r\nAction: failed\r\n--b\r\n\
            Content-Type: text/rfc822-headers\r\n\r\nTo: m5r9@mail.test\r\n--b--\r\n";
        let out = deliver("", &["s5@client.test"], report.as_bytes());
        let found: Vec<_> = seen(&out)
            .into_iter()
            .map(|w| match w {
                What::Dsn {
                    msg: 5,
                    action,
                    rcpts,
                    ..
                } => (action.as_str(), rcpts.as_slice()),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(found, [("failed", &[0, 1][..]), ("delayed", &[2][..])]);
    }

    #[test]
    fn a_bounce_without_a_report_fails_whom_it_names() {
        let text = b"Subject: failed\r\n\r\n<m5r1@mail.test>: no such user. m5r3@mail.test.\r\n";
        let out = deliver("", &["s5@client.test"], text);
        assert!(matches!(
            seen(&out)[..],
            [What::Dsn { action, rcpts, .. }] if action == "failed" && rcpts == &[1, 3]
        ));
    }
}

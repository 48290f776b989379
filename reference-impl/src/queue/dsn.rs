//! The text of a DSN (RFC 3464; with SMTPUTF8 in the forms of RFC 6533).

use std::fmt::Write as _;

use super::header;
use crate::config::Config;
use crate::date::Date;
use crate::record::{Envelope, RET_FULL, UTF8};
use crate::smtp::parameters::decode_xtext;
use crate::store::DatabaseId;

/// What a DSN says (RFC 3464 2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Failed,
    Delayed,
    /// It is in the recipient's mailbox.
    Delivered,
    /// It went on to a server that reports nothing of success.
    Relayed,
}

impl Kind {
    /// The value of Action.
    pub(crate) fn action(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
        }
    }

    /// The class of its status codes.
    fn class(self) -> &'static str {
        match self {
            Self::Failed => "5",
            Self::Delayed => "4",
            Self::Delivered | Self::Relayed => "2",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Failed => "Undelivered mail returned to sender",
            Self::Delayed => "Your message is delayed",
            Self::Delivered => "Your message was delivered",
            Self::Relayed => "Your message was passed on",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Failed => "Your message could not be delivered to:",
            Self::Delayed => {
                "Your message could not be delivered yet. You need do nothing: it is\r\n\
                 tried again. It still waits for:"
            }
            Self::Delivered => "Your message is in the mailbox of:",
            Self::Relayed => {
                "Your message was passed on to a server that sends no reports of\r\n\
                 success, for:"
            }
        }
    }
}

/// One recipient.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) recipient: Box<str>,
    /// ORCPT as it came; empty without one.
    pub(crate) orcpt: Box<str>,
    /// The last reply, or a sentence of our own that begins like one.
    pub(crate) why: Box<str>,
    /// Who gave the reply; empty when nobody else did.
    pub(crate) remote: Box<str>,
}

/// What a DSN is made from.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) kind: Kind,
    /// Unix milliseconds of the first acceptance.
    pub(crate) arrival: u64,
    /// Unix milliseconds; only of a delay.
    pub(crate) retried_until: Option<u64>,
    pub(crate) envelope: &'a Envelope,
    pub(crate) content: &'a [u8],
    pub(crate) rows: Vec<Row>,
}

impl Report<'_> {
    /// The whole message, at unix milliseconds `now`, under the name `id`.
    pub(crate) fn text(
        &self,
        config: &Config,
        database: DatabaseId,
        id: &str,
        now: u64,
    ) -> Vec<u8> {
        let (node, date) = (&config.name, Date(now));
        let utf8 = self.envelope.flags & UTF8 != 0;
        // The boundary cannot occur in the returned message: it carries the
        // database ID and a number that is used once.
        let boundary = format!("{id}-{database}");
        let mut text = String::with_capacity(2048);
        let _ = write!(
            text,
            "Received: by {node} id {id}; {date}\r\n\
             Date: {date}\r\n\
             From: Mail Delivery System <postmaster@{node}>\r\n\
             To: <{}>\r\n\
             Subject: {}\r\n\
             Message-ID: <{id}.{database}@{node}>\r\n\
             Auto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\
             \tboundary=\"{boundary}\"\r\n\
             \r\n\
             --{boundary}\r\n\
             Content-Type: text/plain; charset={}\r\n\
             {}\
             \r\n\
             This is the mail system at {node}.\r\n\
             {}\r\n\r\n",
            self.envelope.sender,
            self.kind.subject(),
            if utf8 { "utf-8" } else { "us-ascii" },
            if utf8 { EIGHT_BIT_PART } else { "" },
            self.kind.words(),
        );
        for row in &self.rows {
            let _ = write!(text, "<{}>: {}\r\n", row.recipient, row.why);
        }
        let media = if utf8 {
            "message/global-delivery-status"
        } else {
            "message/delivery-status"
        };
        let _ = write!(
            text,
            "\r\n--{boundary}\r\nContent-Type: {media}\r\n{}\r\nReporting-MTA: dns; {node}\r\n",
            if utf8 { EIGHT_BIT_PART } else { "" },
        );
        let envid = self.envelope.envid();
        if !envid.is_empty() {
            let _ = write!(text, "Original-Envelope-Id: {}\r\n", shown(envid, utf8));
        }
        let _ = write!(text, "Arrival-Date: {}\r\n", Date(self.arrival));
        for row in &self.rows {
            self.row(row, utf8, &mut text);
        }
        let _ = write!(text, "\r\n--{boundary}\r\n");
        let mut text = text.into_bytes();
        self.returned(config, &mut text);
        text.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
        text
    }

    fn row(&self, row: &Row, utf8: bool, text: &mut String) {
        text.push_str("\r\n");
        if let Some((kind, address)) = row.orcpt.split_once(';') {
            let address = shown(address, utf8);
            let _ = write!(text, "Original-Recipient: {kind}; {address}\r\n");
        }
        let kind = if row.recipient.is_ascii() {
            "rfc822"
        } else {
            "utf-8"
        };
        let _ = write!(
            text,
            "Final-Recipient: {kind}; {}\r\nAction: {}\r\nStatus: {}\r\n",
            row.recipient,
            self.kind.action(),
            status(&row.why, self.kind.class()),
        );
        if row.remote.is_empty() {
            let _ = write!(text, "Diagnostic-Code: x-mailproof; {}\r\n", row.why);
        } else {
            let _ = write!(
                text,
                "Remote-MTA: dns; {}\r\nDiagnostic-Code: smtp; {}\r\n",
                row.remote, row.why
            );
        }
        if let Some(until) = self.retried_until {
            let _ = write!(text, "Will-Retry-Until: {}\r\n", Date(until));
        }
    }

    /// What is returned of the message: all of it after a failure where the
    /// sender asked for it and it fits, else its header.
    fn returned(&self, config: &Config, text: &mut Vec<u8>) {
        let utf8 = self.envelope.flags & UTF8 != 0;
        let room = config.max_message_bytes.saturating_sub(64 << 10);
        let whole = self.kind == Kind::Failed
            && self.envelope.flags & RET_FULL != 0
            && self.content.len() as u64 <= room;
        let header = &self.content[..header::length(self.content)];
        let (media, part) = match (whole, utf8) {
            (true, false) => ("message/rfc822", self.content),
            (true, true) => ("message/global", self.content),
            (false, false) => ("text/rfc822-headers", header),
            (false, true) => ("message/global-headers", header),
        };
        let eight_bit = !part.is_ascii() && (whole || utf8);
        let encoding = if eight_bit { EIGHT_BIT_PART } else { "" };
        text.extend_from_slice(format!("Content-Type: {media}\r\n{encoding}\r\n").as_bytes());
        if eight_bit || part.is_ascii() {
            text.extend_from_slice(part);
        } else {
            // A header with raw bytes over 127 has no encoding that could be
            // named; the DSN stays one that every server takes.
            text.extend(part.iter().map(|b| if b.is_ascii() { *b } else { b'?' }));
        }
        if !text.ends_with(b"\r\n") {
            text.extend_from_slice(b"\r\n");
        }
    }
}

/// The field of a part with bytes over 127.
const EIGHT_BIT_PART: &str = "Content-Transfer-Encoding: 8bit\r\n";

/// A decoded xtext, fit for a field of the report.
fn shown(xtext: &str, utf8: bool) -> String {
    let text = decode_xtext(xtext);
    if utf8 || text.is_ascii() {
        text
    } else {
        text.chars()
            .map(|c| if c.is_ascii() { c } else { '?' })
            .collect()
    }
}

/// The enhanced status code in a reply; `X.0.0` when it has none of this class.
fn status<'a>(reply: &'a str, class: &str) -> std::borrow::Cow<'a, str> {
    let code = reply.split(' ').nth(1).unwrap_or("");
    let digits =
        |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = code.split('.').collect();
    if parts.len() == 3 && parts[0] == class && parts.iter().all(|p| digits(p)) {
        code.into()
    } else {
        format!("{class}.0.0").into()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn status_codes() {
        let status = |reply, class| super::status(reply, class).into_owned();
        assert_eq!(status("550 5.1.1 no such user", "5"), "5.1.1");
        assert_eq!(status("550 no such user", "5"), "5.0.0");
        assert_eq!(status("550 4.1.1 odd", "5"), "5.0.0");
        assert_eq!(status("550", "5"), "5.0.0");
        assert_eq!(status("connection refused", "4"), "4.0.0");
        assert_eq!(status("451 4.2.0 busy", "4"), "4.2.0");
    }
}

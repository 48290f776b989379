//! DSNs (RFC 3464): one for all recipients that failed together, from the
//! null sender, never about a message from the null sender.
//!
//! The record of the DSN also settles the recipients it is about, so that a
//! crash can neither lose the DSN nor make a second one. The message that
//! failed stays open, and its copies stay where they are, until the DSN is as
//! well protected as any accepted message.

use std::fmt::Write as _;

use bytes::Bytes;

use super::message::{Message, RecipientState};
use super::{Queue, header, name_of};
use crate::date::Date;
use crate::event::EventKind;
use crate::mark::Mark;
use crate::record::Envelope;

impl Queue {
    /// Closes the failed recipients of a message: with a DSN, or silently
    /// when its sender is null; true in the silent case.
    pub(crate) fn bounce(&mut self, sequence: u64, failed: &[u32]) -> bool {
        let Some(message) = self.messages.get_mut(&sequence) else {
            return true;
        };
        let mut rows = Vec::with_capacity(failed.len());
        for at in failed {
            let recipient = &mut message.recipients[*at as usize];
            recipient.state = RecipientState::Closed;
            let why = recipient
                .last_error
                .as_deref()
                .unwrap_or("550 5.0.0 Failed");
            rows.push((
                message.envelope.recipients[*at as usize].clone(),
                why.to_owned(),
            ));
        }
        let taken = message.taken_from.is_some();
        if taken {
            self.mark(Mark::BounceAfterTakeover);
        }
        self.counters.failed += failed.len() as u64;
        for (recipient, why) in &rows {
            self.log(EventKind::Fail, Some(sequence), recipient, "", why.clone());
        }
        let Some(message) = self.messages.get_mut(&sequence) else {
            return true;
        };
        if message.envelope.sender.is_empty() {
            return true;
        }
        message.children += 1;
        let envelope = Envelope {
            flags: message.envelope.flags,
            sender: "".into(),
            recipients: vec![message.envelope.sender.clone()],
        };
        let (content, arrival) = (message.body.clone(), message.arrival);
        let dsn = self.sequence();
        let body = self.dsn_text(dsn, &envelope, arrival, &rows, &content);
        // A DSN may exceed the budget: not sending it would lose mail.
        self.body_bytes += body.len() as u64;
        self.counters.dsns += 1;
        let about = name_of(sequence);
        let to = envelope.recipients[0].to_string();
        self.log(EventKind::Dsn, Some(dsn), &to, "", format!("about {about}"));
        let expires = self.expiry();
        let body = Bytes::from(body);
        let mut message = Box::new(Message::new(self.now.wall, expires, envelope, body));
        message.parent = Some(sequence);
        self.protect(dsn, message, Some((sequence, failed.to_vec())));
        false
    }

    /// A DSN about `parent` is protected.
    pub(crate) fn child_protected(&mut self, parent: u64) {
        if let Some(message) = self.messages.get_mut(&parent) {
            message.children = message.children.saturating_sub(1);
            self.check_complete(parent);
        }
    }

    fn dsn_text(
        &self,
        dsn: u64,
        envelope: &Envelope,
        arrival: u64,
        rows: &[(Box<str>, String)],
        content: &[u8],
    ) -> String {
        let node = &self.config.name;
        let date = Date(self.now.wall);
        let id = name_of(dsn);
        // The boundary cannot occur in the returned header: it carries the
        // database ID, which nobody outside the cluster knows beforehand.
        let boundary = format!("{id}-{}", self.database);
        let mut text = String::with_capacity(2048);
        let _ = write!(
            text,
            "Received: by {node} id {id}; {date}\r\n\
             Date: {date}\r\n\
             From: Mail Delivery System <postmaster@{node}>\r\n\
             To: <{}>\r\n\
             Subject: Undelivered mail returned to sender\r\n\
             Message-ID: <{id}.{}@{node}>\r\n\
             Auto-Submitted: auto-replied\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status;\r\n\
             \tboundary=\"{boundary}\"\r\n\
             \r\n\
             --{boundary}\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             \r\n\
             This is the mail system at {node}.\r\n\
             Your message could not be delivered to:\r\n\r\n",
            envelope.recipients[0], self.database,
        );
        for (recipient, why) in rows {
            let _ = write!(text, "<{recipient}>: {why}\r\n");
        }
        let _ = write!(
            text,
            "\r\n--{boundary}\r\n\
             Content-Type: message/delivery-status\r\n\
             \r\n\
             Reporting-MTA: dns; {node}\r\n\
             Arrival-Date: {}\r\n",
            Date(arrival)
        );
        for (recipient, why) in rows {
            let kind = if recipient.is_ascii() {
                "rfc822"
            } else {
                "utf-8"
            };
            let _ = write!(
                text,
                "\r\nFinal-Recipient: {kind}; {recipient}\r\n\
                 Action: failed\r\n\
                 Status: {}\r\n\
                 Diagnostic-Code: smtp; {why}\r\n",
                status(why)
            );
        }
        let header = &content[..header::length(content)];
        let header = String::from_utf8_lossy(header);
        let _ = write!(
            text,
            "\r\n--{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n{}\r\n\r\n--{boundary}--\r\n",
            header.trim_end_matches("\r\n")
        );
        text
    }
}

/// The enhanced status code in a reply; `5.0.0` when it has none.
fn status(reply: &str) -> &str {
    let code = reply.split(' ').nth(1).unwrap_or("");
    let digits =
        |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Vec<&str> = code.split('.').collect();
    if parts.len() == 3 && parts[0] == "5" && parts.iter().all(|p| digits(p)) {
        code
    } else {
        "5.0.0"
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn status_codes() {
        assert_eq!(super::status("550 5.1.1 no such user"), "5.1.1");
        assert_eq!(super::status("550 no such user"), "5.0.0");
        assert_eq!(super::status("550 4.1.1 odd"), "5.0.0");
        assert_eq!(super::status("550"), "5.0.0");
    }
}

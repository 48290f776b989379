//! The envelope of a message, as it is kept and passed on.

/// The content may hold bytes over 127.
pub(crate) const EIGHT_BIT: u8 = 1;
/// The envelope or the header may hold UTF-8.
pub(crate) const UTF8: u8 = 2;
/// A DSN about a failure returns the whole message (`RET=FULL`).
pub(crate) const RET_FULL: u8 = 4;
/// A DSN returns the header alone (`RET=HDRS`).
pub(crate) const RET_HDRS: u8 = 8;
/// In a record: what was asked about DSNs follows the recipients.
pub(super) const WITH_DSN: u8 = 16;

/// `NOTIFY` names SUCCESS.
pub(crate) const NOTIFY_SUCCESS: u8 = 1;
/// `NOTIFY` names FAILURE.
pub(crate) const NOTIFY_FAILURE: u8 = 2;
/// `NOTIFY` names DELAY.
pub(crate) const NOTIFY_DELAY: u8 = 4;
/// `NOTIFY=NEVER`.
pub(crate) const NOTIFY_NEVER: u8 = 8;

/// An envelope as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Envelope {
    /// [`EIGHT_BIT`], [`UTF8`], [`RET_FULL`], [`RET_HDRS`].
    pub(crate) flags: u8,
    /// Empty for the null sender.
    pub(crate) sender: Box<str>,
    pub(crate) recipients: Vec<Box<str>>,
    /// `None` for the many messages whose sender asked nothing about DSNs.
    pub(crate) dsn: Option<Box<DsnRequest>>,
}

/// What the sender asked about DSNs (RFC 3461), beside RET.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DsnRequest {
    /// ENVID as it came, in xtext; empty without one.
    pub(crate) envid: Box<str>,
    /// One for each recipient, in their order.
    pub(crate) recipients: Vec<DsnRecipient>,
}

/// What was asked about one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct DsnRecipient {
    /// The bits of NOTIFY; 0 without one.
    pub(crate) notify: u8,
    /// ORCPT as it came, `type;xtext`; empty without one.
    pub(crate) orcpt: Box<str>,
}

impl Envelope {
    /// An envelope without recipients yet.
    pub(crate) fn new(flags: u8, sender: &str, envid: &str) -> Self {
        Self {
            flags,
            sender: sender.into(),
            recipients: Vec::new(),
            dsn: (!envid.is_empty()).then(|| {
                Box::new(DsnRequest {
                    envid: envid.into(),
                    recipients: Vec::new(),
                })
            }),
        }
    }

    /// The same for some of its recipients (by index) alone.
    pub(crate) fn part(&self, recipients: &[u32]) -> Self {
        let envid = self.dsn.as_ref().map_or("", |dsn| &dsn.envid);
        let mut part = Self::new(self.flags, &self.sender, envid);
        for at in recipients {
            let at = *at as usize;
            let asked = self.dsn.as_ref().and_then(|dsn| dsn.recipients.get(at));
            let (notify, orcpt) = asked.map_or((0, ""), |a| (a.notify, &a.orcpt));
            part.push(&self.recipients[at], notify, orcpt);
        }
        part
    }

    /// Adds a recipient and what was asked about it.
    pub(crate) fn push(&mut self, address: &str, notify: u8, orcpt: &str) {
        if self.dsn.is_none() && (notify != 0 || !orcpt.is_empty()) {
            self.dsn = Some(Box::default());
        }
        if let Some(dsn) = &mut self.dsn {
            dsn.recipients
                .resize(self.recipients.len(), DsnRecipient::default());
            dsn.recipients.push(DsnRecipient {
                notify,
                orcpt: orcpt.into(),
            });
        }
        self.recipients.push(address.into());
    }

    /// ENVID in xtext; empty without one.
    pub(crate) fn envid(&self) -> &str {
        self.dsn.as_ref().map_or("", |dsn| &dsn.envid)
    }

    /// The bits of NOTIFY of a recipient (by index); 0 without any.
    pub(crate) fn notify(&self, at: u32) -> u8 {
        self.asked(at).map_or(0, |asked| asked.notify)
    }

    /// ORCPT of a recipient (by index); empty without one.
    pub(crate) fn orcpt(&self, at: u32) -> &str {
        self.asked(at).map_or("", |asked| &asked.orcpt)
    }

    fn asked(&self, at: u32) -> Option<&DsnRecipient> {
        self.dsn.as_ref()?.recipients.get(at as usize)
    }

    /// Whether the sender wants to hear of one of `events`, bits of NOTIFY,
    /// about a recipient (by index). Who says nothing hears of failures and
    /// delays (RFC 3461 4.1); the null sender hears nothing (RFC 5321 4.5.5).
    pub(crate) fn wants(&self, at: u32, events: u8) -> bool {
        let notify = match self.notify(at) {
            0 => NOTIFY_FAILURE | NOTIFY_DELAY,
            asked => asked,
        };
        !self.sender.is_empty() && notify & events != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_stays_with_its_recipient() {
        let mut envelope = Envelope::new(0, "s@x", "");
        envelope.push("a@x", 0, "");
        assert_eq!(envelope.dsn, None);
        envelope.push("b@x", NOTIFY_SUCCESS, "rfc822;o@x");
        envelope.push("c@x", NOTIFY_NEVER, "");
        assert_eq!([0, 1, 2].map(|at| envelope.notify(at)), [0, 1, 8]);
        assert_eq!(
            [0, 1, 2].map(|at| envelope.orcpt(at)),
            ["", "rfc822;o@x", ""]
        );
        let failure = [0, 1, 2].map(|at| envelope.wants(at, NOTIFY_FAILURE));
        assert_eq!(failure, [true, false, false]);
        assert!(envelope.wants(1, NOTIFY_SUCCESS) && !envelope.wants(0, NOTIFY_SUCCESS));
        envelope.sender = "".into();
        assert!(!envelope.wants(0, NOTIFY_FAILURE));
    }
}

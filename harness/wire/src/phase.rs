//! The named points of an SMTP connection at which a fault can be triggered.

use std::fmt;
use std::str::FromStr;

use crate::verb::{Name, Verb};

/// A point of an SMTP connection, as scenarios name it.
///
/// Two kinds: those that an [`Observer`](crate::observer::Observer) sees in the
/// bytes (see [`Point::phase`](crate::observer::Point::phase)), and those that
/// only the holder of the bytes can tell, because they say that bytes have been
/// passed on: `connect`, `after-dot`, `after-end-reply`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The connection is open and nothing has passed. Told by the link.
    Connect,
    /// The server's greeting.
    Greeting,
    /// EHLO, HELO or LHLO.
    Ehlo,
    /// The reply to EHLO, HELO or LHLO.
    EhloReply,
    /// MAIL.
    Mail,
    /// The reply to MAIL.
    MailReply,
    /// RCPT.
    Rcpt,
    /// The reply to RCPT.
    RcptReply,
    /// DATA.
    Data,
    /// The reply to DATA, usually 354.
    DataReply,
    /// The first byte of message content.
    Content,
    /// The terminating dot has arrived at the link and is not yet forwarded.
    /// With BDAT: the last octet of the last chunk.
    Dot,
    /// The dot has been forwarded; its reply has not passed. Told by the link.
    AfterDot,
    /// The reply to the end of data has arrived and is not yet passed back.
    EndReply,
    /// The reply to the end of data has been passed back. Told by the link.
    AfterEndReply,
    /// QUIT.
    Quit,
    /// The reply to QUIT.
    QuitReply,
    /// Any other verb, or a continuation line of its dialogue.
    Verb(Name),
    /// A reply to any other verb.
    VerbReply(Name),
}

/// Every phase that does not name a verb, with its name.
const NAMED: [(Phase, &str); 17] = [
    (Phase::Connect, "connect"),
    (Phase::Greeting, "greeting"),
    (Phase::Ehlo, "ehlo"),
    (Phase::EhloReply, "ehlo-reply"),
    (Phase::Mail, "mail"),
    (Phase::MailReply, "mail-reply"),
    (Phase::Rcpt, "rcpt"),
    (Phase::RcptReply, "rcpt-reply"),
    (Phase::Data, "data"),
    (Phase::DataReply, "data-reply"),
    (Phase::Content, "content"),
    (Phase::Dot, "dot"),
    (Phase::AfterDot, "after-dot"),
    (Phase::EndReply, "end-reply"),
    (Phase::AfterEndReply, "after-end-reply"),
    (Phase::Quit, "quit"),
    (Phase::QuitReply, "quit-reply"),
];

impl Phase {
    /// Every phase but those that name a verb, in the order of a connection.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMED.iter().map(|(phase, _)| *phase)
    }

    /// The phase of a command line with this verb; `None` for a line without.
    #[must_use]
    pub fn of_command(verb: Verb) -> Option<Self> {
        Some(match verb {
            Verb::Helo | Verb::Ehlo | Verb::Lhlo => Self::Ehlo,
            Verb::Mail => Self::Mail,
            Verb::Rcpt => Self::Rcpt,
            Verb::Data => Self::Data,
            Verb::Quit => Self::Quit,
            _ => Self::Verb(verb.name()?),
        })
    }

    /// The phase of the reply to a command line with this verb.
    #[must_use]
    pub fn of_reply(verb: Verb) -> Option<Self> {
        Some(match Self::of_command(verb)? {
            Self::Ehlo => Self::EhloReply,
            Self::Mail => Self::MailReply,
            Self::Rcpt => Self::RcptReply,
            Self::Data => Self::DataReply,
            Self::Quit => Self::QuitReply,
            Self::Verb(name) => Self::VerbReply(name),
            other => other,
        })
    }

    /// The phase that begins when the bytes of this one have been passed on,
    /// where that has a name.
    #[must_use]
    pub fn passed(self) -> Option<Self> {
        match self {
            Self::Dot => Some(Self::AfterDot),
            Self::EndReply => Some(Self::AfterEndReply),
            _ => None,
        }
    }

    /// Whether the bytes of this phase come from the server.
    #[must_use]
    pub fn from_server(self) -> bool {
        matches!(
            self,
            Self::Greeting
                | Self::EhloReply
                | Self::MailReply
                | Self::RcptReply
                | Self::DataReply
                | Self::EndReply
                | Self::AfterEndReply
                | Self::QuitReply
                | Self::VerbReply(_)
        )
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verb(name) => write!(f, "verb({name})"),
            Self::VerbReply(name) => write!(f, "verb-reply({name})"),
            named => {
                let name = NAMED
                    .iter()
                    .find_map(|(phase, name)| (phase == named).then_some(*name));
                f.pad(name.unwrap_or_default())
            }
        }
    }
}

/// A phase name that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no SMTP phase is called `{0}`; expected one of connect, greeting, ehlo, ehlo-reply, mail, mail-reply, rcpt, \
     rcpt-reply, data, data-reply, content, dot, after-dot, end-reply, after-end-reply, quit, quit-reply, verb(NAME), \
     verb-reply(NAME)"
)]
pub struct UnknownPhase(pub String);

/// Reads the kebab-case name. `verb(MAIL)` and the like give the phase that has
/// a name of its own.
impl FromStr for Phase {
    type Err = UnknownPhase;

    fn from_str(text: &str) -> Result<Self, UnknownPhase> {
        if let Some((phase, _)) = NAMED.iter().find(|(_, name)| *name == text) {
            return Ok(*phase);
        }
        let word = |prefix: &str| text.strip_prefix(prefix)?.strip_suffix(')');
        word("verb(")
            .and_then(|word| Self::of_command(Verb::from_word(word.as_bytes())))
            .or_else(|| {
                word("verb-reply(")
                    .and_then(|word| Self::of_reply(Verb::from_word(word.as_bytes())))
            })
            .ok_or_else(|| UnknownPhase(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        let shadow = Name::new(b"XSHADOW").unwrap();
        for phase in Phase::all().chain([Phase::Verb(shadow), Phase::VerbReply(shadow)]) {
            assert_eq!(phase.to_string().parse(), Ok(phase));
        }
        assert_eq!("verb(xshadow)".parse(), Ok(Phase::Verb(shadow)));
        assert_eq!("verb(MAIL)".parse(), Ok(Phase::Mail));
        assert_eq!("verb-reply(lhlo)".parse(), Ok(Phase::EhloReply));
        for wrong in ["", "Mail", "verb()", "verb(A B)", "verb(X", "dots"] {
            assert!(wrong.parse::<Phase>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_reply_phase_comes_from_the_server() {
        for phase in Phase::all() {
            let name = phase.to_string();
            assert_eq!(
                phase.from_server(),
                name.ends_with("-reply") || name == "greeting",
                "{name}"
            );
        }
    }
}

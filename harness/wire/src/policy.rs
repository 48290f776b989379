//! Replies that a mailbox gives in place of its own, as data.

use crate::phase::Phase;
use crate::reply::Reply;

/// One answer out of the ordinary.
///
/// A refusal (or silence) takes the place of what the command would have done;
/// any other reply goes out in place of the mailbox's own, and the command
/// still does what it does. At `dot` only refusals and silence apply: what is
/// taken is for the host to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// Where: `greeting`, `ehlo`, `mail`, `rcpt`, `data`, `dot`, `quit` or
    /// `verb(NAME)`.
    pub phase: Phase,
    /// Only the nth time that the phase occurs in the session (and that
    /// `holding` matches), counted from 1; `None` for every time.
    pub nth: Option<u32>,
    /// Only where the command line holds these bytes.
    pub holding: Option<Vec<u8>>,
    /// The reply; `None` to say nothing.
    pub reply: Option<Reply>,
    /// Close the connection afterwards.
    pub close: bool,
}

impl Injection {
    /// `reply` every time that `phase` occurs.
    #[must_use]
    pub fn always(phase: Phase, reply: Reply) -> Self {
        Self {
            phase,
            nth: None,
            holding: None,
            reply: Some(reply),
            close: false,
        }
    }

    /// `reply` the nth time that `phase` occurs, counted from 1.
    #[must_use]
    pub fn nth(phase: Phase, nth: u32, reply: Reply) -> Self {
        Self {
            nth: Some(nth),
            ..Self::always(phase, reply)
        }
    }
}

/// The injections of one session, with their counts.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    rules: Vec<(Injection, u32)>,
}

impl Policy {
    /// Adds an injection. Where several apply, the one added first wins.
    pub fn add(&mut self, injection: Injection) {
        self.rules.push((injection, 0));
    }

    /// The injection that applies to this command line, if there is one. Every
    /// call counts the line.
    pub fn decide(&mut self, phase: Phase, line: &[u8]) -> Option<&Injection> {
        let mut winner = None;
        for (index, (rule, count)) in self.rules.iter_mut().enumerate() {
            let held = match &rule.holding {
                Some(bytes) => memchr::memmem::find(line, bytes).is_some(),
                None => true,
            };
            if rule.phase != phase || !held {
                continue;
            }
            *count = count.saturating_add(1);
            if winner.is_none() && rule.nth.is_none_or(|nth| nth == *count) {
                winner = Some(index);
            }
        }
        winner.map(|index| &self.rules[index].0)
    }

    /// Whether nothing is injected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }
}

impl FromIterator<Injection> for Policy {
    fn from_iter<I: IntoIterator<Item = Injection>>(injections: I) -> Self {
        Self {
            rules: injections.into_iter().map(|rule| (rule, 0)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_and_the_named_are_found() {
        let full = Reply::new(452, "4.3.1 full");
        let gone = Reply::new(550, "5.1.1 gone");
        let mut policy: Policy = [
            Injection::nth(Phase::Rcpt, 2, full.clone()),
            Injection {
                holding: Some(b"<c@".to_vec()),
                ..Injection::always(Phase::Rcpt, gone.clone())
            },
        ]
        .into_iter()
        .collect();
        let mut decide = |phase, line: &str| {
            policy
                .decide(phase, line.as_bytes())
                .and_then(|rule| rule.reply.clone())
        };
        assert_eq!(decide(Phase::Mail, "MAIL FROM:<c@d>"), None);
        assert_eq!(decide(Phase::Rcpt, "RCPT TO:<a@d>"), None);
        assert_eq!(decide(Phase::Rcpt, "RCPT TO:<c@d>"), Some(full));
        assert_eq!(decide(Phase::Rcpt, "RCPT TO:<c@d>"), Some(gone));
        assert_eq!(decide(Phase::Rcpt, "RCPT TO:<a@d>"), None);
    }
}

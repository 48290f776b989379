//! Replies that a mailbox gives in place of its own, as data.

use crate::phase::Phase;
use crate::reply::Reply;

/// One answer out of the ordinary.
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

/// The injections of one session, with their counts.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    rules: Vec<(Injection, u32)>,
}

impl Policy {
    /// Adds an injection. Earlier ones win.
    pub fn add(&mut self, injection: Injection) {
        self.rules.push((injection, 0));
    }

    /// The injection for this command line, if there is one. Counts it.
    pub fn decide(&mut self, phase: Phase, line: &[u8]) -> Option<&Injection> {
        let _ = (phase, line);
        None
    }
}

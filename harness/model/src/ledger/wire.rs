//! A link: what it saw besides mail.

use super::Mark;
use crate::event::{Conn, Shut};
use crate::party::Party;

/// Verbs that begin a session, and say nothing of mail.
pub(super) const OPENING: [&str; 6] = [
    "AUTH",
    "STARTTLS",
    "X-ANONYMOUSTLS",
    "XEXPS",
    "XPEER",
    "XPROVE",
];

/// Verbs that hand a copy over or take it back, and ask for nothing.
pub(super) const GIVING: [&str; 3] = ["XSHADOW", "XSHADOWREQUEST", "XSHADOWABORT"];

/// The end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// When.
    pub mark: Mark,
    /// Which connection.
    pub conn: Conn,
    /// How.
    pub how: Shut,
    /// Who ended it.
    pub from: Option<Party>,
}

/// A link that stood still at a point.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Which fault held it.
    pub fault: u32,
    /// Which connection.
    pub conn: Conn,
    /// Since when.
    pub since: Mark,
    /// Until when; `None`: to the end.
    pub until: Option<Mark>,
}

/// What one link saw besides mail.
#[derive(Clone, Debug, Default)]
pub struct Wire {
    /// Connections that were opened.
    pub opened: Vec<(Mark, Conn)>,
    /// Dials that failed.
    pub refused: Vec<Mark>,
    /// Those of them whose connection is named.
    pub failed: Vec<(Mark, Conn)>,
    /// What a cut kept: when, on which connection, who had sent it.
    pub stalled: Vec<(Mark, Conn, Party)>,
    /// Connections that ended.
    pub ended: Vec<End>,
    /// Completed exchanges: a reply stood at the link.
    pub exchanges: Vec<Mark>,
    /// Those of them that did more than begin a session.
    pub told: Vec<Mark>,
    /// Those of these that carried no mail and gave none: the dialling side asked
    /// something and was answered; and on which connection.
    pub asked: Vec<(Mark, Conn)>,
    /// It stood held.
    pub held: Vec<Held>,
    /// At some time it could not be read.
    pub opaque: bool,
}

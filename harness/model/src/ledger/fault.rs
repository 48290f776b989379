//! A fault: what its injector says that it did.

use super::Mark;
use crate::event::Conn;
use crate::party::{Link, Party};

/// One receipt trail of a fault.
#[derive(Clone, Debug, Default)]
pub struct Receipts {
    /// The scenario asked for it.
    pub requested: Option<Mark>,
    /// The injector waited.
    pub armed: Option<Mark>,
    /// The injector acted, each time.
    pub fired: Vec<Fired>,
    /// The injector took it back.
    pub removed: Option<Mark>,
}

/// One firing of a fault.
#[derive(Clone, Copy, Debug)]
pub struct Fired {
    /// When.
    pub mark: Mark,
    /// On which node.
    pub node: Option<Party>,
    /// On which link.
    pub link: Option<Link>,
    /// On which connection.
    pub conn: Option<Conn>,
}

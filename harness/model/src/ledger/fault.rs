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
    /// The injector took it back, last.
    pub removed: Option<Mark>,
    /// The injector took it back, each time, and on which link.
    pub removals: Vec<(Mark, Option<Link>)>,
}

impl Receipts {
    /// When a firing was taken back: at the next removal on its link.
    #[must_use]
    pub fn until(&self, fired: &Fired) -> Option<Mark> {
        let later =
            |(mark, link): &&(Mark, Option<Link>)| mark.id > fired.mark.id && *link == fired.link;
        self.removals.iter().find(later).map(|(mark, _)| *mark)
    }
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

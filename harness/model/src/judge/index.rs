//! What judging looks up again and again, gathered once, so that the time it
//! takes grows with the history and not with its square.

use std::collections::{BTreeMap, HashMap};

use crate::event::{At, Conn, Msg, Rcpt, Row};
use crate::ledger::{Digest, Ledger, Listing, Mark, Outage};
use crate::party::{Link, Party};
use crate::plan::Plan;
use crate::scenario::{LinkAct, Step};

/// Look-up tables over a ledger.
#[derive(Debug)]
pub(super) struct Index<'a> {
    outages: BTreeMap<Party, Vec<Outage>>,
    fired: HashMap<Conn, Vec<Mark>>,
    held: HashMap<Conn, Vec<Stretch>>,
    slow: HashMap<Link, Vec<Stretch>>,
    stored: HashMap<(Msg, Rcpt), Vec<(u32, Digest)>>,
    stores: BTreeMap<Party, Rows<'a>>,
    listings: BTreeMap<Party, Rows<'a>>,
}

/// Some time, from and to; `None`: to the end.
type Stretch = (At, Option<At>);

/// A listing by message.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    pub(super) listing: &'a Listing,
    by_msg: HashMap<Msg, Vec<&'a Row>>,
    /// Some entries do not say which message they are.
    pub(super) nameless: bool,
}

impl<'a> Rows<'a> {
    fn of(listing: &'a Listing) -> Self {
        let mut by_msg: HashMap<Msg, Vec<&Row>> = HashMap::new();
        let mut nameless = listing.others > 0;
        for row in &listing.rows {
            match row.msg {
                Some(msg) => by_msg.entry(msg).or_default().push(row),
                None => nameless = true,
            }
        }
        Self {
            listing,
            by_msg,
            nameless,
        }
    }

    pub(super) fn of_message(&self, msg: Msg) -> &[&'a Row] {
        self.by_msg.get(&msg).map_or(&[], Vec::as_slice)
    }
}

impl<'a> Index<'a> {
    pub(super) fn of(plan: &Plan, ledger: &'a Ledger) -> Self {
        let mut fired: HashMap<Conn, Vec<Mark>> = HashMap::new();
        for f in ledger.faults.values().flat_map(|f| &f.fired) {
            if let Some(conn) = f.conn {
                fired.entry(conn).or_default().push(f.mark);
            }
        }
        let mut held: HashMap<Conn, Vec<Stretch>> = HashMap::new();
        for h in ledger.wires.values().flat_map(|w| &w.held) {
            let until = h.until.map(|m| m.at);
            held.entry(h.conn).or_default().push((h.since.at, until));
        }
        let mut slow: HashMap<Link, Vec<Stretch>> = HashMap::new();
        for (fault, f) in &ledger.faults {
            let act = match plan.scenario.steps.get(*fault as usize) {
                Some(Step::Link(step)) => &step.act,
                _ => continue,
            };
            if matches!(
                act,
                LinkAct::Blackhole | LinkAct::Delay(_) | LinkAct::Throttle(_)
            ) {
                for x in &f.fired {
                    let until = f.removed.map(|m| m.at);
                    if let Some(link) = x.link {
                        slow.entry(link).or_default().push((x.mark.at, until));
                    }
                }
            }
        }
        let mut stored: HashMap<(Msg, Rcpt), Vec<(u32, Digest)>> = HashMap::new();
        for (node, listing) in &ledger.stores {
            if !matches!(node, Party::Store(_)) {
                continue;
            }
            for s in &listing.stored {
                stored
                    .entry((s.msg, s.rcpt))
                    .or_default()
                    .push((s.copies, Digest::of(&s.digest)));
            }
        }
        let rows = |all: &'a BTreeMap<Party, Listing>| {
            all.iter()
                .map(|(node, listing)| (*node, Rows::of(listing)))
                .collect()
        };
        Self {
            outages: ledger
                .lives
                .keys()
                .map(|node| (*node, ledger.outages(*node)))
                .collect(),
            fired,
            held,
            slow,
            stored,
            stores: rows(&ledger.stores),
            listings: rows(&ledger.listings),
        }
    }

    /// As [`Ledger::outages`].
    pub(super) fn outages(&self, node: Party) -> &[Outage] {
        self.outages.get(&node).map_or(&[], Vec::as_slice)
    }

    /// The firings of faults that name a connection.
    pub(super) fn fired(&self, conn: Conn) -> &[Mark] {
        self.fired.get(&conn).map_or(&[], Vec::as_slice)
    }

    /// Whether a connection stood held, or its link carried nothing or late,
    /// at some time from one moment to another (nanoseconds).
    pub(super) fn kept(&self, link: Link, conn: Conn, from: At, to: At) -> bool {
        let on = self.held.get(&conn).into_iter().flatten();
        on.chain(self.slow.get(&link).into_iter().flatten())
            .any(|(since, until)| *since <= to && until.is_none_or(|u| u >= from))
    }

    /// Copies in the target's mailboxes, with their content.
    pub(super) fn stored(&self, msg: Msg, rcpt: Rcpt) -> &[(u32, Digest)] {
        self.stored.get(&(msg, rcpt)).map_or(&[], Vec::as_slice)
    }

    /// The last reading of a node's store.
    pub(super) fn store(&self, node: Party) -> Option<&Rows<'a>> {
        self.stores.get(&node)
    }

    /// The last listing of a node's queues.
    pub(super) fn listing(&self, node: Party) -> Option<&Rows<'a>> {
        self.listings.get(&node)
    }
}

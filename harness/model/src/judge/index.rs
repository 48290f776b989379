//! What judging looks up again and again, gathered once, so that the time it
//! takes grows with the history and not with its square.

use std::collections::{BTreeMap, HashMap};

use super::joined;
use crate::event::{At, Conn, Msg, Rcpt, Row};
use crate::ledger::{Digest, Ledger, Listing, Mark, Outage};
use crate::party::{Link, Party};
use crate::plan::Plan;
use crate::scenario::{LinkAct, Step};

/// Look-up tables over a ledger.
#[derive(Debug)]
pub(super) struct Index<'a> {
    outages: BTreeMap<Party, Vec<Outage>>,
    /// Stretches in which a fault lay on a link between two parties.
    cuts: BTreeMap<(Party, Party), Vec<Outage>>,
    /// Outages that were one to another node: seen, by whom.
    joined: BTreeMap<(Party, Party), Vec<Outage>>,
    fired: HashMap<Conn, Vec<(Mark, Option<Mark>)>>,
    troubled: BTreeMap<Link, Vec<Trouble>>,
    /// Some link between nodes could not be read.
    pub(super) opaque_inside: bool,
    opened: HashMap<Conn, Mark>,
    held: HashMap<Conn, Vec<Stretch>>,
    slow: HashMap<Link, Vec<Stretch>>,
    stored: HashMap<(Msg, Rcpt), Vec<(u32, Digest)>>,
    stores: BTreeMap<Party, Rows<'a>>,
    listings: BTreeMap<Party, Rows<'a>>,
}

/// Some time, from and to; `None`: to the end.
type Stretch = (At, Option<At>);

/// A fault on a whole link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) fired: Mark,
    /// Taken back; `None`: never. What does not last is over at once.
    pub(super) until: Option<Mark>,
}

impl Trouble {
    /// Whether it lay there for a time.
    pub(super) fn lasts(&self) -> bool {
        self.until != Some(self.fired)
    }
}

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

pub(super) fn pair(a: Party, b: Party) -> (Party, Party) {
    (a.min(b), a.max(b))
}

impl<'a> Index<'a> {
    pub(super) fn of(plan: &Plan, ledger: &'a Ledger) -> Self {
        let stills = |fault: u32| {
            let step = plan.scenario.steps.get(fault as usize);
            matches!(
                step,
                Some(
                    Step::Crash(_)
                        | Step::PowerCut(_)
                        | Step::NodeLost(_)
                        | Step::Restart(_)
                        | Step::Pause(_)
                        | Step::Corrupt(_)
                )
            )
        };
        let mut cuts: BTreeMap<(Party, Party), Vec<Outage>> = BTreeMap::new();
        let mut troubled: BTreeMap<Link, Vec<Trouble>> = BTreeMap::new();
        let mut fired: HashMap<Conn, Vec<(Mark, Option<Mark>)>> = HashMap::new();
        for (fault, receipts) in &ledger.faults {
            let step = plan.scenario.steps.get(*fault as usize);
            let act = match step {
                Some(Step::Link(f)) => Some(&f.act),
                _ => None,
            };
            let lasts = act.is_none_or(LinkAct::lasts);
            for one in &receipts.fired {
                if let Some(conn) = one.conn {
                    let until = match act {
                        // The dialling side never hears of the rest.
                        Some(LinkAct::HalfClose) => None,
                        _ if lasts => receipts.until(one),
                        _ => Some(one.mark),
                    };
                    fired.entry(conn).or_default().push((one.mark, until));
                }
                let (Some(link), None) = (one.link, one.node) else {
                    continue;
                };
                if lasts {
                    cuts.entry(pair(link.from, link.to))
                        .or_default()
                        .push(Outage {
                            start: one.mark.at,
                            seen: one.mark.at,
                            end: receipts.until(one).map(|m| m.at),
                            emptied: false,
                            died: false,
                            node: false,
                        });
                }
                // One on a connection counts there; no dial harms a reply;
                // what only keeps it waiting stands under `slow`.
                let kept = matches!(
                    act,
                    Some(
                        LinkAct::Refuse
                            | LinkAct::Blackhole
                            | LinkAct::Delay(_)
                            | LinkAct::Throttle(_)
                    )
                );
                if one.conn.is_none() && !kept {
                    troubled.entry(link).or_default().push(Trouble {
                        fired: one.mark,
                        until: if lasts {
                            receipts.until(one)
                        } else {
                            Some(one.mark)
                        },
                    });
                }
            }
        }
        let mut held: HashMap<Conn, Vec<Stretch>> = HashMap::new();
        for (link, h) in ledger
            .wires
            .iter()
            .flat_map(|(l, w)| w.held.iter().map(move |h| (*l, h)))
        {
            let until = h.until.map(|m| m.at);
            held.entry(h.conn).or_default().push((h.since.at, until));
            // A hold may have no other receipt.
            let step = plan.scenario.steps.get(h.fault as usize);
            if matches!(step, Some(Step::Link(f)) if f.act == LinkAct::Hold) {
                let cut = Outage {
                    start: h.since.at,
                    seen: h.since.at,
                    end: until,
                    emptied: false,
                    died: false,
                    node: false,
                };
                cuts.entry(pair(link.from, link.to)).or_default().push(cut);
            }
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
        let outages: BTreeMap<Party, Vec<Outage>> = ledger
            .lives
            .keys()
            .map(|node| (*node, ledger.outages(*node, stills)))
            .collect();
        let joined = joined::all(plan, ledger, &outages, &cuts);
        Self {
            outages,
            cuts,
            joined,
            troubled,
            opaque_inside: ledger
                .wires
                .iter()
                .any(|(l, w)| w.opaque && l.to.is_node() && l.from.is_node()),
            fired,
            opened: ledger
                .wires
                .values()
                .flat_map(|w| &w.opened)
                .map(|(mark, conn)| (*conn, *mark))
                .collect(),
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

    /// Outages of a node as another sees them: its own, faults that last on
    /// the links between the two, and several of these that were one.
    pub(super) fn outages_seen(&self, seen: Party, by: Party) -> impl Iterator<Item = &Outage> {
        let cuts = self.cuts.get(&pair(seen, by)).into_iter().flatten();
        let joined = self.joined.get(&(seen, by)).into_iter().flatten();
        self.outages(seen).iter().chain(cuts).chain(joined)
    }

    /// Faults on a whole link.
    pub(super) fn troubled(&self, link: Link) -> &[Trouble] {
        self.troubled.get(&link).map_or(&[], Vec::as_slice)
    }

    /// The firings of faults that name a connection, and when each was over;
    /// `None`: not while the connection lasted.
    pub(super) fn fired(&self, conn: Conn) -> &[(Mark, Option<Mark>)] {
        self.fired.get(&conn).map_or(&[], Vec::as_slice)
    }

    /// When a connection was open.
    pub(super) fn opened(&self, conn: Conn) -> Option<Mark> {
        self.opened.get(&conn).copied()
    }

    /// Whether a connection stood held, or its link carried nothing or late,
    /// at some time from one moment to another (nanoseconds).
    pub(super) fn kept(&self, link: Link, conn: Conn, from: At, to: At) -> bool {
        let on = self.held.get(&conn).into_iter().flatten();
        on.chain(self.slow.get(&link).into_iter().flatten())
            .any(|(since, until)| *since <= to && until.is_none_or(|u| u >= from))
    }

    /// Whether a fault that lasts lay on the whole link then and kept or lost
    /// what it carried.
    pub(super) fn late(&self, link: Link, from: At, to: At) -> bool {
        let mut slow = self.slow.get(&link).into_iter().flatten();
        slow.any(|(since, until)| *since <= to && until.is_none_or(|u| u >= from))
            || self
                .troubled(link)
                .iter()
                .any(|t| t.lasts() && t.fired.at <= to && t.until.is_none_or(|u| u.at >= from))
    }

    /// Whether what was said on a connection at a time may not have been heard:
    /// a fault hit it, it stood held then or soon after, or something lay on
    /// the whole link.
    pub(super) fn unheard(&self, link: Link, conn: Conn, at: At, soon: u64) -> bool {
        let mut held = self.held.get(&conn).into_iter().flatten();
        !self.fired(conn).is_empty()
            || held.any(|(since, until)| {
                *since <= at.saturating_add(soon) && until.is_none_or(|u| u >= at)
            })
            || self.late(link, at, at)
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

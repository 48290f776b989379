//! Proof of absence: that a message is nowhere.
//!
//! A message that has not arrived is *lost* only when every node that ever
//! received it is shown to hold it no more. Otherwise it is *queued* (a
//! holder still owes it) or *missing* (nobody can tell).

use std::collections::BTreeSet;

use super::index::{Index, Rows};
use crate::event::{Rcpt, Row, RowState};
use crate::ledger::{Ledger, Mail, Mark};
use crate::party::{Link, Party};
use crate::plan::Plan;

/// Where an undelivered message may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// A holder says or shows that it still owes it.
    Held {
        by: Party,
        state: RowState,
        mark: Mark,
    },
    /// No holder has it; the marks are those of the readings that show it.
    Nowhere { proof: Vec<Mark> },
    /// It cannot be told; why.
    Unknown(String),
}

/// Looks for a message that did not arrive, by every node that received it.
pub(super) fn whereabouts(
    plan: &Plan,
    ledger: &Ledger,
    index: &Index<'_>,
    mail: &Mail,
    msg: u32,
    rcpt: Rcpt,
) -> Whereabouts {
    let mut holders: BTreeSet<(Party, Mark)> = BTreeSet::new();
    for t in &mail.tries {
        match &t.hop {
            Some(hop) => {
                holders.insert((t.node, hop.dot));
            }
            None => {
                if ledger
                    .wires
                    .get(&Link::new(Party::Client, t.node))
                    .is_some_and(|w| w.opaque)
                {
                    holders.insert((t.node, t.begun));
                }
            }
        }
    }
    for hop in &mail.hops {
        if hop.link.to.is_node() {
            holders.insert((hop.link.to, hop.dot));
        }
    }
    let opaque = ledger
        .wires
        .iter()
        .find(|(l, w)| w.opaque && l.to.is_node() && l.from.is_node());
    let mut nodes: Vec<(Party, Mark)> = Vec::new();
    for (node, mark) in holders {
        match nodes.iter_mut().find(|n| n.0 == node) {
            Some(n) => n.1 = n.1.max(mark),
            None => nodes.push((node, mark)),
        }
    }
    let mut proof = Vec::new();
    let mut unknown = None;
    for (node, received) in nodes {
        match holding(plan, ledger, index, node, received, msg, rcpt) {
            Whereabouts::Held { by, state, mark } => {
                return Whereabouts::Held { by, state, mark };
            }
            Whereabouts::Nowhere { proof: p } => proof.extend(p),
            Whereabouts::Unknown(why) => {
                unknown.get_or_insert(why);
            }
        }
    }
    if let Some((link, _)) = opaque {
        unknown.get_or_insert(format!(
            "{link} could not be read, so other holders are possible"
        ));
    }
    match unknown {
        Some(why) => Whereabouts::Unknown(why),
        None => Whereabouts::Nowhere { proof },
    }
}

fn holding(
    plan: &Plan,
    ledger: &Ledger,
    index: &Index<'_>,
    node: Party,
    received: Mark,
    msg: u32,
    rcpt: Rcpt,
) -> Whereabouts {
    let destroyed = ledger.gone.get(&node).filter(|m| m.id > received.id);
    let store = index
        .store(node)
        .filter(|l| l.listing.mark.id > received.id);
    // A listing counts only when it was made after the last mail had moved.
    let listing = index
        .listing(node)
        .filter(|l| ledger.moved.is_none_or(|m| l.listing.mark.id > m.id));
    let counting = || [store, listing].into_iter().flatten();
    for found in counting() {
        if let Some(row) = row(found, msg, rcpt) {
            return Whereabouts::Held {
                by: node,
                state: row.state,
                mark: found.listing.mark,
            };
        }
    }
    if counting().any(|found| found.nameless) {
        return Whereabouts::Unknown(format!(
            "{node} holds entries that do not say which message they are"
        ));
    }
    if let Some(read) = store
        && read.listing.damage.is_none()
    {
        return Whereabouts::Nowhere {
            proof: vec![read.listing.mark],
        };
    }
    if let Some(gone) = destroyed {
        return Whereabouts::Nowhere { proof: vec![*gone] };
    }
    if let Some(damage) = store.and_then(|s| s.listing.damage.as_ref()) {
        return Whereabouts::Unknown(format!("the store of {node} could not be read: {damage}"));
    }
    // A target whose store the harness cannot read is judged by what it
    // lists; one whose store it can read is not.
    let readable = plan
        .target
        .capabilities
        .iter()
        .any(|c| c == "store-readable");
    match listing {
        Some(l) if !readable => Whereabouts::Nowhere {
            proof: vec![l.listing.mark],
        },
        Some(_) => Whereabouts::Unknown(format!("the store of {node} was not read")),
        None => Whereabouts::Unknown(format!(
            "{node} received it and could neither be listed nor read after mail had come to rest"
        )),
    }
}

fn row<'a>(rows: &Rows<'a>, msg: u32, rcpt: Rcpt) -> Option<&'a Row> {
    rows.of_message(msg)
        .iter()
        .copied()
        .filter(|r| r.rcpts.is_empty() || r.rcpts.contains(&rcpt))
        .filter(|r| r.state != RowState::Done)
        .min_by_key(|r| r.state)
}

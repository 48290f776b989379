//! Outages that follow each other so closely that they are one to a peer.
//!
//! A peer counts from when it last heard of a node. Where the node is back
//! for a moment and gone again before the peer can have asked, or a link is
//! cut while the node itself is down, that goes on without a break.

use std::collections::BTreeMap;

use super::index::pair;
use crate::event::At;
use crate::ledger::{Ledger, Mark, Outage};
use crate::party::{Link, Party};
use crate::plan::Plan;

/// For each node and each peer, the runs of two and more outages of the node
/// that were one to that peer: each begins no later than one `poll` after
/// those before it are over, and the node was not heard in between. A run
/// begins when the node was last heard, and ends when it is heard again.
pub(super) fn all(
    plan: &Plan,
    ledger: &Ledger,
    outages: &BTreeMap<Party, Vec<Outage>>,
    cuts: &BTreeMap<(Party, Party), Vec<Outage>>,
) -> BTreeMap<(Party, Party), Vec<Outage>> {
    let mut joined = BTreeMap::new();
    let nodes = || (1..=plan.scenario.cluster.nodes).map(Party::Node);
    for seen in nodes() {
        let own = outages.get(&seen).map_or(&[][..], Vec::as_slice);
        for by in nodes().filter(|by| *by != seen) {
            let cut = cuts.get(&pair(seen, by)).map_or(&[][..], Vec::as_slice);
            // What the peer itself stood still for counts too, if it found the
            // node gone when it went on.
            let still = outages.get(&by).map_or(&[][..], Vec::as_slice);
            let still = still.iter().filter(|o| !o.died);
            if own.len() + cut.len() + still.clone().count() < 2 {
                continue;
            }
            let Some(heard) = exchanges(ledger, own, seen, by) else {
                continue;
            };
            let real = own.iter().chain(cut).map(|o| (*o, true));
            let still = still.map(|o| (Outage { node: false, ..*o }, false));
            let mut all: Vec<(Outage, bool)> = real.chain(still).collect();
            all.sort_by_key(|(o, real)| (o.start, *real));
            let runs = runs(&all, plan.time("poll"), &heard);
            if !runs.is_empty() {
                joined.insert((seen, by), runs);
            }
        }
    }
    joined
}

/// When a node can have been heard by another, in order: it answered the
/// other, or, while it lived, was answered itself. A mere beginning of a session
/// is no contact. `None`: not all of it could be read.
fn exchanges(ledger: &Ledger, own: &[Outage], seen: Party, by: Party) -> Option<Vec<At>> {
    let mut heard = Vec::new();
    for link in [Link::new(by, seen), Link::new(seen, by)] {
        let Some(wire) = ledger.wires.get(&link) else {
            continue;
        };
        if wire.opaque {
            return None;
        }
        let out = |at: At| {
            let within = |o: &Outage| o.start <= at && o.end.is_none_or(|end| at <= end);
            link.from == seen && own.iter().any(within)
        };
        let told = wire.told.iter().map(|mark: &Mark| mark.at);
        heard.extend(told.filter(|at| !out(*at)));
    }
    heard.sort_unstable();
    Some(heard)
}

/// `all`: outages by their start, and whether each is one of the node.
fn runs(all: &[(Outage, bool)], poll: u64, heard: &[At]) -> Vec<Outage> {
    let after = |at: At| heard.get(heard.partition_point(|h| *h <= at)).copied();
    let before = |at: At| {
        let n = heard.partition_point(|h| *h <= at);
        n.checked_sub(1).and_then(|n| heard.get(n)).copied()
    };
    let mut found = Vec::new();
    for (n, (first, _)) in all.iter().enumerate() {
        let mut run = *first;
        for (next, real) in &all[n + 1..] {
            let Some(over) = run.end else { break };
            // Before it was out for good it may have been heard once more.
            let last = before(next.start).filter(|at| *at > run.start);
            if last.is_some_and(|at| at > over) || next.start > over.saturating_add(poll) {
                break;
            }
            let end = match (next.end.map(|end| end.max(over)), after(next.start)) {
                (None, at) | (at, None) => at,
                (Some(end), Some(at)) => Some(end.min(at)),
            };
            run = Outage {
                start: last.unwrap_or(run.start),
                end,
                emptied: run.emptied || next.emptied,
                died: run.died || next.died,
                node: run.node || next.node,
                ..run
            };
            if *real {
                found.push(run);
            }
        }
    }
    found
}

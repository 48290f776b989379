//! Incidents: faults that acted, from when to when.
//!
//! That a fault was requested, or that its injector says it fired, makes no
//! incident of a node: the kernel must have seen the node end or stand still.
//! A fault that was disarmed makes none at all.

use crate::ledger::{Fired, Ledger, Mark};
use crate::party::{Link, Party};
use crate::plan::{Failure, Plan};
use crate::scenario::{Back, LinkAct, Step};

/// What an incident hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Node(Party),
    Link(Link),
}

/// A fault that acted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incident {
    /// Which fault.
    pub(super) fault: u32,
    /// What claims call it.
    pub(super) failure: Failure,
    pub(super) place: Place,
    /// Its injector's receipt. A node is silenced before it is killed, so that
    /// it counts as out from here on.
    pub(super) begun: Mark,
    /// Who saw it: the kernel for a node; the receipt itself for a link.
    pub(super) seen: Mark,
    /// The node served again, the link was whole again; `None`: never. What
    /// only ends a connection is over when it has begun.
    pub(super) back: Option<Mark>,
}

impl Incident {
    /// Whether it lasted at some time from one moment to another.
    pub(super) fn overlaps(&self, from: u64, to: u64) -> bool {
        self.begun.at <= to && self.back.is_none_or(|b| b.at >= from)
    }

    /// Whether it hit this party, or a link of it.
    pub(super) fn touches(&self, party: Party) -> bool {
        match self.place {
            Place::Node(node) => node == party,
            Place::Link(link) => link.touches(party),
        }
    }
}

/// Every incident of a run, in order.
pub(super) fn all(plan: &Plan, ledger: &Ledger) -> Vec<Incident> {
    let mut found = Vec::new();
    for (fault, step) in (0u32..).zip(&plan.scenario.steps) {
        let Some(failure) = step.failure() else {
            continue;
        };
        if plan.disarmed.contains(&fault) {
            continue;
        }
        let receipts = ledger.faults.get(&fault);
        let removed = receipts.and_then(|r| r.removed);
        for fired in receipts.map_or(&[][..], |r| &r.fired) {
            let of = |(place, seen, back)| Incident {
                fault,
                failure,
                place,
                begun: fired.mark,
                seen,
                back,
            };
            let what = match (failure, fired.node, fired.link) {
                (
                    Failure::ProcessCrash
                    | Failure::PowerLoss
                    | Failure::NodeLost
                    | Failure::DiskError
                    | Failure::Corruption,
                    Some(node),
                    _,
                ) => ended(ledger, step, node, *fired),
                (Failure::Pause, Some(node), _) => stopped(ledger, node, *fired),
                (_, Some(node), _) => Some((Place::Node(node), fired.mark, removed)),
                (_, None, Some(link)) => {
                    let back = if lasts(step) {
                        receipts.and_then(|r| r.until(fired))
                    } else {
                        Some(fired.mark)
                    };
                    Some((Place::Link(link), fired.mark, back))
                }
                (_, None, None) => None,
            };
            found.extend(what.map(of));
        }
        // A hold shows itself.
        let silent = receipts.is_none_or(|r| r.fired.is_empty());
        if matches!(step, Step::Link(l) if l.act == LinkAct::Hold) && silent {
            for (link, wire) in &ledger.wires {
                found.extend(
                    wire.held
                        .iter()
                        .filter(|h| h.fault == fault)
                        .map(|h| Incident {
                            fault,
                            failure,
                            place: Place::Link(*link),
                            begun: h.since,
                            seen: h.since,
                            back: h.until,
                        }),
                );
            }
        }
    }
    found.sort_by_key(|i| i.begun);
    found
}

/// Whether a step goes on until it is taken back.
fn lasts(step: &Step) -> bool {
    match step {
        Step::Link(f) => f.act.lasts(),
        _ => true,
    }
}

/// The end of the life in which a fault fired, and when a later one served.
fn ended(
    ledger: &Ledger,
    step: &Step,
    node: Party,
    fired: Fired,
) -> Option<(Place, Mark, Option<Mark>)> {
    let lives = ledger.lives.get(&node)?;
    let at = lives.iter().rposition(|l| l.started.id < fired.mark.id)?;
    let exit = lives[at].exit.filter(|e| e.id > fired.mark.id)?;
    // When the run is taken down every node is killed.
    if ledger.end.as_ref().is_some_and(|(end, _)| end.id < exit.id) {
        return None;
    }
    let never = matches!(
        step,
        Step::Crash(f) | Step::PowerCut(f) | Step::NodeLost(f) | Step::Restart(f)
            if f.back == Back::Never
    ) || matches!(step, Step::Disk(f) if f.back == Back::Never);
    // A life that ends before it answers is part of the outage.
    let back = lives[at + 1..].iter().find_map(|l| l.ready);
    Some((Place::Node(node), exit, back.filter(|_| !never)))
}

/// The first standstill of a node after a fault, and when it went on.
fn stopped(ledger: &Ledger, node: Party, fired: Fired) -> Option<(Place, Mark, Option<Mark>)> {
    let (since, until) = ledger
        .pauses
        .get(&node)?
        .iter()
        .find(|p| p.0.id > fired.mark.id)?;
    Some((Place::Node(node), *since, *until))
}

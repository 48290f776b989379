//! What the target's claims say about what really happened.
//!
//! [`crate::claims::covers`] goes by the plan, before a run. Here the
//! incidents of the history count, with the times that they really took: a
//! fault that never acted is none, and one that lasted longer than planned
//! lasted longer.

use super::deadline::{self, disturbances};
use super::incident::{self, Incident, Place};
use crate::claims::{self, Promise};
use crate::event::At;
use crate::ledger::{Ledger, Mail, Mark};
use crate::plan::{Failure, Plan};

/// The incidents of a run, and what is promised about each.
pub(super) struct Claims {
    pub(super) incidents: Vec<Incident>,
    /// Parallel to the incidents.
    pub(super) promises: Vec<Promise>,
    /// Why they lie beyond every row.
    pub(super) outside: Option<String>,
}

impl Claims {
    /// Goes through the incidents of a run in order. Each needs a row for as
    /// many as last together, and so does each that it came on top of.
    pub(super) fn of(plan: &Plan, ledger: &Ledger) -> Self {
        let incidents = incident::all(plan, ledger);
        let mut promises = vec![Promise::FULL; incidents.len()];
        let mut outside = None;
        let mut open: Vec<usize> = Vec::new();
        let mut repaired: Option<At> = None;
        for (n, new) in incidents.iter().enumerate() {
            open.retain(|o| match repair(plan, ledger, &incidents[*o], new.begun) {
                Some(at) => {
                    repaired = Some(repaired.map_or(at, |r| r.max(at)));
                    false
                }
                None => true,
            });
            let since = repaired.map(|r| new.begun.at.saturating_sub(r));
            let mut hold = |of: usize, at_once: usize| {
                let at_once = u16::try_from(at_once).unwrap_or(u16::MAX);
                let promise = claims::promise(plan, incidents[of].failure, at_once, since);
                promises[of] = promises[of].and(promise);
                promise.covered
            };
            let covered = match new.place {
                Place::Link(_) => hold(n, 1),
                Place::Node(node) => {
                    let same = open
                        .iter()
                        .position(|o| incidents[*o].place == Place::Node(node));
                    match same {
                        // The worse of two that hit one node.
                        Some(at) if incidents[open[at]].failure == Failure::NodeLost => {}
                        Some(at) => open[at] = n,
                        None => open.push(n),
                    }
                    let at_once = open.len();
                    // Each is asked: what it is promised becomes less.
                    let mut covered = hold(n, at_once);
                    for o in open.iter().filter(|o| **o != n) {
                        covered &= hold(*o, at_once);
                    }
                    covered
                }
            };
            if !covered && outside.is_none() {
                let others: Vec<&Incident> = open
                    .iter()
                    .filter(|o| **o != n)
                    .map(|o| &incidents[*o])
                    .collect();
                outside = Some(beyond(plan, new, &others));
            }
        }
        Self {
            incidents,
            promises,
            outside,
        }
    }
}

impl Claims {
    /// Why a second copy of a message lies outside the claims: before it, one
    /// of the nodes that had the message, or a link of one, was hit by
    /// something after which the target does not promise that there is none.
    pub(super) fn may_double(&self, mail: &Mail, copy: Option<Mark>) -> Option<String> {
        let begun = mail.tries.first()?.begun;
        let had = |i: &Incident| {
            mail.tries.iter().any(|t| i.touches(t.node))
                || mail
                    .hops
                    .iter()
                    .any(|h| [h.link.from, h.link.to].iter().any(|p| i.touches(*p)))
        };
        self.incidents
            .iter()
            .zip(&self.promises)
            .filter(|(i, p)| !p.no_duplicates && i.back.is_none_or(|b| b.id > begun.id))
            .map(|(i, _)| i)
            .filter(|i| copy.is_none_or(|c| i.begun.id < c.id))
            .find(|i| had(i))
            .map(|i| {
                format!(
                    "after {} (event {}) the target promises no more than that nothing is lost",
                    claims::in_words(i.failure),
                    i.begun.id
                )
            })
    }
}

/// When an incident was repaired, if it was by a moment. A node that came back
/// with its store is repaired when it serves; one that came back with nothing
/// when, besides, all mail that had been accepted by then is delivered, so that
/// none is left with one copy, or the target had all the time for that.
fn repair(plan: &Plan, ledger: &Ledger, incident: &Incident, by: Mark) -> Option<At> {
    let back = incident.back.filter(|b| b.id < by.id)?;
    if incident.failure != Failure::NodeLost {
        return Some(back.at);
    }
    let waited = ledger
        .waits
        .iter()
        .find(|(_, mark, until, came)| {
            *came && until == "drained" && mark.id > back.id && mark.id < by.id
        })
        .map(|w| w.1.at);
    let drained = settled(ledger, back).filter(|m| m.id < by.id);
    // What was lost for good is never delivered; it must not excuse the
    // target from everything that comes after.
    let last = disturbances(ledger)
        .filter(|m| m.id < by.id)
        .map(|m| m.at)
        .max()
        .unwrap_or(back.at);
    let firsts = ledger
        .mails
        .iter()
        .filter(|m| accepted_before(m, back))
        .filter_map(deadline::first_delivery)
        .filter(|at| *at < by.at);
    let had_time = deadline::extended(plan, last, firsts);
    let had_time = (had_time <= by.at).then_some(had_time);
    [waited, drained.map(|m| m.at), had_time]
        .into_iter()
        .flatten()
        .min()
        .map(|at| at.max(back.at))
}

fn accepted_before(mail: &Mail, moment: Mark) -> bool {
    mail.tries
        .iter()
        .filter_map(|t| t.hop.as_ref())
        .flat_map(|h| &h.answers)
        .any(|a| a.code / 100 == 2 && a.mark.id < moment.id)
}

/// When the last recipient of the mail accepted before a moment was delivered
/// or reported as failed; not before that moment; `None`: never.
fn settled(ledger: &Ledger, moment: Mark) -> Option<Mark> {
    let mut last = moment;
    for mail in ledger.mails.iter().filter(|m| accepted_before(m, moment)) {
        for rcpt in &mail.rcpts {
            let owed = mail.tries.iter().filter_map(|t| t.hop.as_ref()).any(|h| {
                h.answer(*rcpt)
                    .is_some_and(|a| a.code / 100 == 2 && a.mark.id < moment.id)
            });
            if owed {
                last = last.max(mail.settled(*rcpt)?);
            }
        }
    }
    Some(last)
}

fn beyond(plan: &Plan, new: &Incident, others: &[&Incident]) -> String {
    let what = |i: &Incident| match i.place {
        Place::Node(node) => format!("{} ({node})", claims::in_words(i.failure)),
        Place::Link(link) => format!("{} ({link})", claims::in_words(i.failure)),
    };
    let target = &plan.target.name;
    let first = format!(
        "step {} (event {}) was {}",
        new.fault,
        new.begun.id,
        what(new)
    );
    if others.is_empty() {
        return format!(
            "{first}; {target} makes no claim about that, or not so soon after the last repair"
        );
    }
    let lasted: Vec<String> = others
        .iter()
        .map(|o| format!("{}, event {}", what(o), o.begun.id))
        .collect();
    format!(
        "{first} while there lasted {}; {target} makes no claim about {} at once",
        lasted.join(" and "),
        others.len() + 1
    )
}

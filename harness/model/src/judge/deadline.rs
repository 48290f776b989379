//! The deadline: when mail that was accepted must have arrived, and whether
//! what has not arrived can be held against the target.

use crate::event::At;
use crate::ledger::{Ledger, Mail, Mark, Receipts};
use crate::party::Party;
use crate::plan::Plan;
use crate::scenario::{Back, Step};

/// When accepted mail must have arrived: so long after the last thing that
/// could hold it up.
pub(super) fn deadline(plan: &Plan, ledger: &Ledger) -> At {
    let waits = ledger.waits.iter().map(|w| w.1);
    let outcomes = ledger
        .mails
        .iter()
        .flat_map(|m| &m.tries)
        .filter_map(|t| t.outcome.as_ref())
        .map(|o| o.mark);
    let last = disturbances(ledger)
        .chain(waits)
        .chain(outcomes)
        .map(|m| m.at)
        .max()
        .unwrap_or(0);
    // A target that keeps delivering is not late.
    extended(plan, last, ledger.mails.iter().filter_map(first_delivery))
}

/// What can hold mail up or end doing so: faults that fire and are taken back,
/// nodes that are back, links that go on.
pub(super) fn disturbances(ledger: &Ledger) -> impl Iterator<Item = Mark> + '_ {
    let receipts = ledger.faults.values().flat_map(|f| {
        f.fired
            .iter()
            .map(|x| x.mark)
            .chain(f.removals.iter().map(|r| r.0))
    });
    let ready = ledger
        .lives
        .values()
        .flatten()
        .filter(|l| l.life > 1)
        .filter_map(|l| l.ready);
    let resumed = ledger.pauses.values().flatten().filter_map(|p| p.1);
    let released = ledger
        .wires
        .values()
        .flat_map(|w| w.held.iter().filter_map(|h| h.until))
        .chain(ledger.disk_holds.iter().filter_map(|h| h.until));
    receipts.chain(ready).chain(resumed).chain(released)
}

/// The grace after a moment; each delivery that comes within it gives those
/// behind it as much time again.
pub(super) fn extended(plan: &Plan, from: At, deliveries: impl Iterator<Item = At>) -> At {
    let grace = plan.grace();
    let mut deadline = from.saturating_add(grace);
    let mut firsts: Vec<At> = deliveries.collect();
    firsts.sort_unstable();
    for at in firsts {
        if at > deadline {
            break;
        }
        deadline = deadline.max(at.saturating_add(grace));
    }
    deadline
}

/// When a message first reached the end of its way.
pub(super) fn first_delivery(mail: &Mail) -> Option<At> {
    let stored = mail
        .hops
        .iter()
        .filter(|h| matches!(h.link.to, Party::Store(_)))
        .filter(|h| h.answers.iter().any(|a| a.code / 100 == 2))
        .map(|h| h.dot.at);
    mail.copies.iter().map(|c| c.mark.at).chain(stored).min()
}

/// Why late mail cannot be held against the target yet: a node that should
/// serve does not, or a fault was not taken back.
pub(super) fn healed(plan: &Plan, ledger: &Ledger) -> Option<String> {
    // The nodes are stopped at the very end; what counts is the state at the
    // final silence.
    let moment = ledger.quiet.map(|q| q.mark).or(ledger.last)?;
    let mut gone = Vec::new();
    for (n, step) in (0u32..).zip(&plan.scenario.steps) {
        let receipts = ledger.faults.get(&n);
        let fired = receipts.is_some_and(|f| !f.fired.is_empty());
        match step {
            Step::Crash(f) | Step::PowerCut(f) | Step::NodeLost(f) | Step::Restart(f) => {
                if f.back == Back::Never {
                    gone.extend(
                        receipts
                            .iter()
                            .flat_map(|r| &r.fired)
                            .filter_map(|x| x.node),
                    );
                }
            }
            Step::Link(f) => {
                let lasting = f.lasts.is_some() || f.act.lasts();
                if fired && lasting && receipts.is_some_and(|r| r.removed.is_none()) {
                    return Some(format!("fault {n} on a link was not taken back"));
                }
            }
            Step::Partition(_) => {
                let open = |r: &Receipts| r.fired.iter().any(|f| r.until(f).is_none());
                if receipts.is_some_and(open) {
                    return Some(format!("fault {n}, a partition, was not healed"));
                }
            }
            Step::Disk(f) => {
                if f.back == Back::Never {
                    gone.extend(
                        receipts
                            .iter()
                            .flat_map(|r| &r.fired)
                            .filter_map(|x| x.node),
                    );
                }
                if fired && f.lasts.is_some() && receipts.is_some_and(|r| r.removed.is_none()) {
                    return Some(format!("fault {n} on a disk was not taken back"));
                }
            }
            // A node that refuses to serve from a damaged store is gone.
            Step::Corrupt(_) => gone.extend(
                receipts
                    .iter()
                    .flat_map(|r| &r.fired)
                    .filter_map(|x| x.node),
            ),
            Step::Pause(_) | Step::Clock(_) | Step::Wait(_) => {}
        }
    }
    plan.nodes()
        .find(|node| !gone.contains(node) && !ledger.up_at(*node, moment))
        .map(|node| format!("{node} was not up at the end"))
}

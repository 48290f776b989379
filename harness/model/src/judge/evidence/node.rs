//! Faults that take a node away: that its process ended, that a link noticed,
//! that mail was under way at it.

use super::{Proof, in_run, under_way};
use crate::event::Shut;
use crate::ledger::{Fired, Ledger, Mark};
use crate::party::{Link, Party, Witness};
use crate::scenario::Step;
use crate::verdict::EvidenceKind;

/// A node's life ended: its wait status, and a link on which that was felt.
pub(super) fn ended(
    proof: &mut Proof,
    ledger: &Ledger,
    label: &str,
    step: &Step,
    node: Party,
    fired: Fired,
) {
    gone(
        proof,
        ledger,
        label,
        matches!(step, Step::Restart(_)),
        node,
        fired,
    );
    if let Step::PowerCut(_) = step {
        dropped(proof, ledger, label, node, fired);
    }
}

/// A process ended, and a link felt it; `graceful`: it may have ended itself.
pub(super) fn gone(
    proof: &mut Proof,
    ledger: &Ledger,
    label: &str,
    graceful: bool,
    node: Party,
    fired: Fired,
) {
    // The first end of a life after the fault: when the run is taken down
    // every node is killed, and that is no effect of any fault.
    let next = next(ledger, node, fired);
    let exit = ledger.lives.get(&node).and_then(|lives| {
        lives
            .iter()
            .filter_map(|l| l.exit.map(|e| (e, l.killed)))
            .find(|(e, _)| e.id > fired.mark.id && in_run(ledger, *e))
            .filter(|(e, killed)| (graceful || *killed) && e.id < next)
            .map(|(e, _)| e)
    });
    match exit {
        Some(mark) => proof.add(
            EvidenceKind::FaultEffect,
            Witness::Kernel,
            mark,
            format!("{label}: the process of {node} is gone"),
        ),
        None => proof.lack(format!("{label}: {node} was not seen to end")),
    }
    let felt = felt(ledger, node, fired.mark);
    match felt {
        Some((link, mark, how)) => proof.add(
            EvidenceKind::FaultEffect,
            Witness::Link(link),
            mark,
            format!("{label}: {link} {how}"),
        ),
        None => proof.lack(format!("{label}: no link noticed that {node} was gone")),
    }
}

/// The id from which on an end of a node is no effect of a fault: that of the
/// next other fault of the node, or of the last silence, after which the run
/// is taken down.
fn next(ledger: &Ledger, node: Party, fired: Fired) -> u64 {
    let others = ledger.faults.values().filter_map(|receipts| {
        let own = receipts.fired.iter().any(|f| f.mark == fired.mark);
        let of_node = receipts.fired.iter().filter(|f| f.node == Some(node));
        of_node
            .map(|f| f.mark.id)
            .filter(|id| !own && *id > fired.mark.id)
            .min()
    });
    let quiet = ledger.quiet.map(|quiet| quiet.mark.id);
    others.chain(quiet).min().unwrap_or(u64::MAX)
}

/// Un-synced work was lost.
fn dropped(proof: &mut Proof, ledger: &Ledger, label: &str, node: Party, fired: Fired) {
    let dropped = ledger
        .dropped
        .iter()
        .find(|(n, mark, count)| *n == node && mark.id > fired.mark.id && *count > 0);
    match dropped {
        Some((_, mark, count)) => proof.add(
            EvidenceKind::FaultEffect,
            Witness::Disk(node),
            *mark,
            format!("{label}: {count} operations that were not synced are gone"),
        ),
        None => proof.lack(format!(
            "{label}: nothing un-synced was lost, so the cut proves no more than a crash"
        )),
    }
}

/// A link that noticed a node's end: a connection ended or a dial failed, on
/// a link that touches it, before it served again.
fn felt(ledger: &Ledger, node: Party, after: Mark) -> Option<(Link, Mark, &'static str)> {
    let again = ledger.lives.get(&node).and_then(|lives| {
        lives
            .iter()
            .filter_map(|l| l.ready)
            .find(|r| r.id > after.id)
    });
    let within =
        |m: &Mark| m.id > after.id && again.is_none_or(|a| m.id < a.id) && in_run(ledger, *m);
    let mut first: Option<(Link, Mark, &'static str)> = None;
    for (link, wire) in ledger.wires.iter().filter(|(l, _)| l.touches(node)) {
        let ends = wire.ended.iter().map(|e| {
            let how = match e.how {
                Shut::Fin => "was closed",
                Shut::Reset => "was reset",
                Shut::Silent => "fell silent",
            };
            (e.mark, how)
        });
        let refused = wire.refused.iter().map(|m| (*m, "was refused"));
        for (mark, how) in ends.chain(refused).filter(|(m, _)| within(m)) {
            if first.is_none_or(|f| mark < f.1) {
                first = Some((*link, mark, how));
            }
        }
    }
    first
}

/// Mail was under way at a node when a fault came: received by it, and not
/// delivered to all before.
pub(super) fn in_flight(proof: &mut Proof, ledger: &Ledger, label: &str, node: Party, at: Mark) {
    let found = (0u32..).zip(&ledger.mails).find_map(|(msg, mail)| {
        let tried = mail
            .tries
            .iter()
            .filter(|t| t.node == node)
            .filter_map(|t| t.hop.as_ref());
        let copied = mail.hops.iter().filter(|h| h.link.touches(node));
        tried
            .chain(copied)
            .find(|h| h.dot.id < at.id && under_way(mail, h, at))
            .map(|h| (h.link, h.dot, msg))
    });
    match found.or_else(|| stands_held(ledger, node, at)) {
        Some((link, mark, msg)) => proof.add(
            EvidenceKind::InFlight,
            Witness::Link(link),
            mark,
            format!("{label}: message {msg} had passed {link} and was not delivered yet"),
        ),
        None => proof.lack(format!("{label}: no mail was under way at {node}")),
    }
}

/// A transaction that stands held on a link of the node: even if its reply is
/// there already, one side does not know of it.
fn stands_held(ledger: &Ledger, node: Party, at: Mark) -> Option<(Link, Mark, u32)> {
    let (link, held) = ledger
        .wires
        .iter()
        .filter(|(l, _)| l.touches(node))
        .find_map(|(l, w)| {
            w.held
                .iter()
                .find(|h| h.since.id < at.id && h.until.is_none_or(|u| u.id > at.id))
                .map(|h| (*l, h))
        })?;
    (0u32..)
        .zip(&ledger.mails)
        .flat_map(|(msg, mail)| {
            let tried = mail.tries.iter().filter_map(|t| t.hop.as_ref());
            tried
                .chain(&mail.hops)
                .filter(|h| h.link == link && h.conn == held.conn && h.dot.id < held.since.id)
                .map(move |h| (link, h.dot, msg))
        })
        .max_by_key(|found| found.1)
}

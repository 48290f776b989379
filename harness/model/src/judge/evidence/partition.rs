//! Partitions: that what each side sent stood still, that somebody felt it,
//! that mail was under way, and that traffic crosses again afterwards.

use super::{Proof, delivered_before};
use crate::event::Conn;
use crate::ledger::{Fired, Hop, Ledger, Mark, Receipts};
use crate::party::{Link, Party, Witness};
use crate::plan::Plan;
use crate::scenario::Partition;
use crate::verdict::EvidenceKind;

/// One cut of one link, from an event to another (none: to the end).
#[derive(Clone, Copy)]
struct Cut {
    link: Link,
    since: Mark,
    until: Option<Mark>,
}

impl Cut {
    fn holds(&self, mark: Mark) -> bool {
        mark.id > self.since.id && self.until.is_none_or(|u| mark.id < u.id)
    }
}

type Seen = (Witness, Mark, String);

/// The evidence of a partition that fired.
pub(super) fn parted(
    proof: &mut Proof,
    plan: &Plan,
    ledger: &Ledger,
    label: &str,
    n: u32,
    partition: &Partition,
) {
    let empty = Receipts::default();
    let receipts = ledger.faults.get(&n).unwrap_or(&empty);
    let cuts: Vec<Cut> = receipts
        .fired
        .iter()
        .filter_map(|fired: &Fired| {
            let until = receipts.until(fired).or(ledger.end.as_ref().map(|e| e.0));
            Some(Cut {
                link: fired.link?,
                since: fired.mark,
                until,
            })
        })
        .collect();
    let effect = |proof: &mut Proof, seen: Option<Seen>, lack: String| match seen {
        Some((witness, mark, text)) => proof.add(
            EvidenceKind::FaultEffect,
            witness,
            mark,
            format!("{label}: {text}"),
        ),
        None => proof.lack(format!("{label}: {lack}")),
    };
    let cut_sides = if partition.one_way { 1 } else { 2 };
    for (side, parties) in partition.sides.iter().enumerate().take(cut_sides) {
        let names = names(parties);
        effect(
            proof,
            stood(ledger, &cuts, partition, side),
            format!("nothing that {names} sent was seen to stand still"),
        );
    }
    effect(
        proof,
        felt(ledger, &cuts),
        "no dial and no transaction across it failed or took longer".to_owned(),
    );
    if partition.lasts.is_some() {
        effect(
            proof,
            healed(ledger, receipts, &cuts),
            "nothing was seen to cross again after it".to_owned(),
        );
    }
    let first = receipts.fired.first().map(|f| f.mark);
    let flying = first.and_then(|at| in_flight(plan, ledger, partition, at));
    match flying {
        Some((witness, mark, text)) => proof.add(
            EvidenceKind::InFlight,
            witness,
            mark,
            format!("{label}: {text}"),
        ),
        None => proof.lack(format!("{label}: no mail was under way")),
    }
}

fn names(parties: &[Party]) -> String {
    let names: Vec<String> = parties.iter().map(ToString::to_string).collect();
    names.join(", ")
}

/// Something that one side sent stood at a cut.
fn stood(ledger: &Ledger, cuts: &[Cut], partition: &Partition, side: usize) -> Option<Seen> {
    cuts.iter()
        .flat_map(|cut| {
            let wire = ledger.wires.get(&cut.link);
            let stalled = wire.map_or(&[][..], |w| &w.stalled);
            stalled
                .iter()
                .filter(|(mark, _, from)| cut.holds(*mark) && partition.side(*from) == Some(side))
                .map(|(mark, _, from)| (*mark, cut.link, *from))
        })
        .min()
        .map(|(mark, link, from)| {
            let text = format!("what {from} sent stood still on {link}");
            (Witness::Link(link), mark, text)
        })
}

/// A dial or a transaction failed across a cut, or took longer than any
/// outside one.
fn felt(ledger: &Ledger, cuts: &[Cut]) -> Option<Seen> {
    let found = cuts.iter().filter_map(|cut| {
        let dial = given_up(ledger, cut);
        let attempt = unanswered(ledger, cut);
        let slow = outlasted(ledger, cut, cuts);
        [dial, attempt, slow]
            .into_iter()
            .flatten()
            .min_by_key(|s| s.1)
    });
    found.min_by_key(|s| s.1)
}

/// A dial that stood was given up before the cut was over.
fn given_up(ledger: &Ledger, cut: &Cut) -> Option<Seen> {
    let wire = ledger.wires.get(&cut.link)?;
    let stood = |conn: Conn, by: Mark| {
        let before = |(mark, of, _): &(Mark, Conn, Party)| *of == conn && mark.id < by.id;
        wire.stalled.iter().any(before)
    };
    wire.failed
        .iter()
        .find(|(mark, conn)| cut.holds(*mark) && stood(*conn, *mark))
        .map(|(mark, _)| {
            let text = format!("a dial on {} got no answer", cut.link);
            (Witness::Link(cut.link), *mark, text)
        })
}

/// The sender got no reply before the cut was over.
fn unanswered(ledger: &Ledger, cut: &Cut) -> Option<Seen> {
    if cut.link.from != Party::Client {
        return None;
    }
    (0u32..)
        .zip(&ledger.mails)
        .flat_map(|(msg, mail)| {
            let there = mail.tries.iter().filter(|t| t.node == cut.link.to);
            there.filter_map(move |t| {
                let o = t.outcome.as_ref().filter(|o| cut.holds(o.mark))?;
                let refused = o.rcpts.iter().all(|c| matches!(c / 100, 4 | 5));
                let got = refused || o.end.iter().any(|c| *c != 0);
                (!got).then_some((o.mark, msg, t.attempt))
            })
        })
        .min()
        .map(|(mark, msg, attempt)| {
            let text = format!("the sender got no reply to message {msg}, attempt {attempt}");
            (Witness::Client, mark, text)
        })
}

/// A transaction that was open during the whole cut, and took longer than any
/// on that link that met no cut.
fn outlasted(ledger: &Ledger, cut: &Cut, cuts: &[Cut]) -> Option<Seen> {
    let until = cut.until?;
    let hops = || {
        ledger.mails.iter().flat_map(|mail| {
            let tried = mail.tries.iter().filter_map(|t| t.hop.as_ref());
            tried.chain(&mail.hops).filter(|h| h.link == cut.link)
        })
    };
    let took = |h: &Hop| {
        let answer = h.answers.first()?;
        Some((answer.mark, answer.mark.at.saturating_sub(h.dot.at)))
    };
    let met = |h: &Hop, c: &Cut| {
        let answered = h.answers.first().map(|a| a.mark.id);
        c.link == h.link
            && c.until.is_none_or(|u| h.dot.id < u.id)
            && answered.is_none_or(|a| a > c.since.id)
    };
    let normal = hops()
        .filter(|h| !cuts.iter().any(|c| met(h, c)))
        .filter_map(took)
        .map(|(_, ns)| ns)
        .max()?;
    hops()
        .filter(|h| h.dot.id < cut.since.id)
        .filter_map(took)
        .filter(|(mark, ns)| mark.id > until.id && *ns > normal)
        .min()
        .map(|(mark, _)| {
            let text = format!(
                "a transaction on {} stood from before the cut until after it",
                cut.link
            );
            (Witness::Link(cut.link), mark, text)
        })
}

/// A round trip on a link that had been cut, after the last of it was healed.
fn healed(ledger: &Ledger, receipts: &Receipts, cuts: &[Cut]) -> Option<Seen> {
    if receipts.fired.iter().any(|f| receipts.until(f).is_none()) {
        return None;
    }
    let last = receipts.removed?;
    cuts.iter()
        .filter_map(|cut| {
            let wire = ledger.wires.get(&cut.link)?;
            let opened = wire.opened.iter().map(|(mark, _)| *mark);
            opened
                .chain(wire.exchanges.iter().copied())
                .filter(|mark| mark.id > last.id)
                .map(|mark| (mark, cut.link))
                .min()
        })
        .min()
        .map(|(mark, link)| {
            let text = format!("{link} carried both ways again");
            (Witness::Link(link), mark, text)
        })
}

/// Mail that had reached a node at the cut and was not delivered to all, or
/// that was being handed to such a node.
fn in_flight(plan: &Plan, ledger: &Ledger, partition: &Partition, at: Mark) -> Option<Seen> {
    let crossing = partition.crossing(&plan.links());
    let near = |party: Party| crossing.iter().any(|(link, _)| link.touches(party));
    let touched = |link: Link| {
        [link.from, link.to]
            .into_iter()
            .any(|p| p.is_node() && near(p))
    };
    (0u32..).zip(&ledger.mails).find_map(|(msg, mail)| {
        let tried = mail.tries.iter().filter_map(|t| t.hop.as_ref());
        let hop = tried
            .chain(&mail.hops)
            .find(|h| h.dot.id < at.id && touched(h.link));
        if let Some(hop) = hop
            && mail.rcpts.iter().any(|r| !delivered_before(mail, *r, at))
        {
            let text = format!(
                "message {msg} had passed {} and was not delivered yet",
                hop.link
            );
            return Some((Witness::Link(hop.link), hop.dot, text));
        }
        mail.tries
            .iter()
            .find(|t| {
                let open = t.outcome.as_ref().is_none_or(|o| o.mark.id > at.id);
                t.begun.id < at.id && open && near(t.node)
            })
            .map(|t| {
                let text = format!("message {msg} was being handed to {}", t.node);
                (Witness::Client, t.begun, text)
            })
    })
}

//! Evidence: what must have been seen before a PASS may be given.
//!
//! Each piece is an event of the history whose witness is not the injector.
//! What is not found is named in `missing`, and the run is INCONCLUSIVE.

mod clock;
mod disk;
mod link;
mod node;
mod partition;
mod window;

use super::index::Index;
use crate::event::{At, RowState};
use crate::ledger::{Ended, Hop, Ledger, Mail, Mark, Try};
use crate::party::{Link, Party, Witness};
use crate::plan::Plan;
use crate::scenario::{Back, Delivered, Faults, LinkAct, Step, Trigger};
use crate::verdict::{Evidence, EvidenceKind};

/// Evidence found and evidence missing.
#[derive(Debug, Default)]
pub(in crate::judge) struct Proof {
    pub(in crate::judge) found: Vec<Evidence>,
    pub(in crate::judge) missing: Vec<String>,
    /// What did not come and need not: no evidence, and nothing counts on it.
    pub(in crate::judge) remarks: Vec<String>,
    /// The faults that acted, by all that must be seen of them.
    pub(in crate::judge) acted: Vec<u32>,
}

impl Proof {
    fn add(&mut self, kind: EvidenceKind, witness: Witness, mark: Mark, text: String) {
        self.found.push(Evidence {
            kind,
            witness,
            event: mark.id,
            text,
        });
    }

    fn lack(&mut self, text: String) {
        self.missing.push(text);
    }
}

/// Collects the evidence of a run.
pub(in crate::judge) fn collect(plan: &Plan, ledger: &Ledger, index: &Index<'_>) -> Proof {
    let mut proof = Proof::default();
    let any = plan.scenario.expect.faults == Faults::Any;
    let mut faults = 0_u32;
    for (n, step) in (0u32..).zip(&plan.scenario.steps) {
        if matches!(step, Step::Wait(_)) {
            continue;
        }
        faults += 1;
        let mut of = Proof::default();
        fault(&mut of, plan, ledger, n, step);
        let complete = of.missing.is_empty();
        if complete {
            proof.acted.push(n);
        }
        if complete || !any {
            proof.found.append(&mut of.found);
            proof.missing.append(&mut of.missing);
        } else {
            // Half of a fault's evidence carries nothing.
            proof.remarks.append(&mut of.missing);
        }
    }
    if any && faults > 0 && proof.acted.is_empty() {
        let why = proof.remarks.first().cloned().unwrap_or_default();
        proof.lack(format!(
            "not one of the {faults} faults was seen to act: {why}"
        ));
    }
    if faults == 0 {
        match undisturbed(ledger) {
            Some((link, mark, msg)) => proof.add(
                EvidenceKind::InFlight,
                Witness::Link(link),
                mark,
                format!("message {msg} was handed over on {link} and delivered later"),
            ),
            None => proof.lack("no mail was seen under way".to_owned()),
        }
        if let Some((msg, t)) = unanswered_unasked(ledger) {
            proof.lack(format!(
                "message {msg}, attempt {}, got no answer although nothing was broken",
                t.attempt
            ));
        }
    }
    for (node, exit) in died_unasked(plan, ledger) {
        proof.lack(format!(
            "{node} ended at event {} and no fault had asked for that",
            exit.id
        ));
    }
    if plan.scenario.expect.delivered != Delivered::AtLeastOnce
        && let Some((node, msg)) = left_over(ledger)
    {
        proof.lack(format!(
            "{node} still holds message {msg} for a recipient that has it, and may deliver it again"
        ));
    }
    for window in plan.scenario.windows() {
        match window::reached(plan, ledger, index, window) {
            Some((witness, mark, text)) => proof.add(EvidenceKind::Window, witness, mark, text),
            None => {
                let text = format!("the window `{}` was never reached", window::name(window));
                // One that follows from a fault need not come if the fault
                // need not.
                if any && plan.scenario.expect.windows.is_none() {
                    proof.remarks.push(text);
                } else {
                    proof.lack(text);
                }
            }
        }
    }
    for (step, _, until, came) in &ledger.waits {
        if !came && until != "elapsed" {
            proof.lack(format!(
                "step {step} waited for `{until}`, which never came"
            ));
        }
    }
    quiescent(&mut proof, plan, ledger);
    proof
}

/// An attempt that did not learn how it ended.
fn unanswered_unasked(ledger: &Ledger) -> Option<(u32, &Try)> {
    (0u32..).zip(&ledger.mails).find_map(|(msg, mail)| {
        let t = mail
            .tries
            .iter()
            .filter(|t| t.outcome.is_some())
            .find(|t| t.rcpts.iter().any(|r| untold(mail, t, *r)))?;
        Some((msg, t))
    })
}

/// Nodes that ended before the final silence in a life in which no fault was
/// to end them: what such a run shows is not the doing of its faults alone.
fn died_unasked(plan: &Plan, ledger: &Ledger) -> Vec<(Party, Mark)> {
    let Some(quiet) = ledger.quiet else {
        return Vec::new();
    };
    let deadly = |fault: &u32| {
        let step = plan.scenario.steps.get(*fault as usize);
        matches!(
            step,
            Some(
                Step::Crash(_)
                    | Step::PowerCut(_)
                    | Step::NodeLost(_)
                    | Step::Restart(_)
                    | Step::Disk(_)
                    | Step::Corrupt(_)
            )
        )
    };
    let mut found = Vec::new();
    for (node, lives) in &ledger.lives {
        for life in lives {
            let Some(exit) = life.exit.filter(|e| e.id < quiet.mark.id) else {
                continue;
            };
            let asked = ledger
                .faults
                .iter()
                .filter(|(fault, _)| deadly(fault))
                .flat_map(|(_, f)| &f.fired)
                .any(|f| {
                    f.node == Some(*node) && f.mark.id > life.started.id && f.mark.id < exit.id
                });
            let damage = ledger.damages.iter().any(|d| {
                d.node == *node
                    && d.read
                        .is_some_and(|r| r.id > life.started.id && r.id < exit.id)
            });
            if !asked && !damage {
                found.push((*node, exit));
            }
        }
    }
    found
}

/// A node whose last listing or reading after the last mail had moved shows
/// an undone entry for a recipient that was delivered.
fn left_over(ledger: &Ledger) -> Option<(Party, u32)> {
    let after = |mark: Mark| ledger.moved.is_none_or(|m| mark.id > m.id);
    ledger
        .stores
        .iter()
        .chain(&ledger.listings)
        .filter(|(_, l)| after(l.mark))
        .find_map(|(node, l)| {
            l.rows
                .iter()
                .filter(|row| row.state != RowState::Done)
                .find_map(|row| {
                    let msg = row.msg?;
                    let mail = ledger.mails.get(msg as usize)?;
                    let end = Mark {
                        at: At::MAX,
                        id: u64::MAX,
                    };
                    let held = |r: &&u16| row.rcpts.is_empty() || row.rcpts.contains(r);
                    mail.rcpts
                        .iter()
                        .filter(held)
                        .any(|r| delivered_before(mail, *r, end))
                        .then_some((*node, msg))
                })
        })
}

fn undisturbed(ledger: &Ledger) -> Option<(Link, Mark, u32)> {
    (0u32..).zip(&ledger.mails).find_map(|(msg, mail)| {
        let hop = mail.tries.iter().find_map(|t| t.hop.as_ref())?;
        let later = last_delivery(mail).is_some_and(|m| m.id > hop.dot.id);
        later.then_some((hop.link, hop.dot, msg))
    })
}

/// When the last copy of a message reached the end.
fn last_delivery(mail: &Mail) -> Option<Mark> {
    let stores = mail
        .hops
        .iter()
        .filter(|h| matches!(h.link.to, Party::Store(_)))
        .filter(|h| h.answers.iter().any(|a| a.code / 100 == 2))
        .map(|h| h.dot);
    mail.copies.iter().map(|c| c.mark).chain(stores).max()
}

fn fault(proof: &mut Proof, plan: &Plan, ledger: &Ledger, n: u32, step: &Step) {
    let label = format!("fault {n} ({})", kind(step));
    let fired = ledger.faults.get(&n).map_or(&[][..], |f| &f.fired);
    let Some(first) = fired.first() else {
        // A hold shows itself: the link stands.
        if let Step::Link(link) = step
            && link.act == LinkAct::Hold
            && let Some((l, mark)) = link::held(ledger, n)
        {
            proof.add(
                EvidenceKind::FaultEffect,
                Witness::Link(l),
                mark,
                format!("{label}: {l} stood still"),
            );
            match link::passing(ledger, l, n, mark) {
                Some((witness, mark, msg)) => proof.add(
                    EvidenceKind::InFlight,
                    witness,
                    mark,
                    format!("{label}: message {msg} was passing {l}"),
                ),
                None => node::in_flight(proof, ledger, &label, l.from, mark),
            }
            return;
        }
        proof.lack(format!("{label} never fired"));
        return;
    };
    if let Some(Trigger::Event(number)) = step.trigger() {
        let came = ledger
            .happenings
            .get(&n)
            .filter(|(m, of)| of == number && m.id < first.mark.id && m.at == first.mark.at);
        match came {
            Some((mark, _)) => proof.add(
                EvidenceKind::Window,
                Witness::Kernel,
                *mark,
                format!("{label} came right after happening {number} of the simulation"),
            ),
            None => proof.lack(format!(
                "{label} did not come right after happening {number} of the simulation"
            )),
        }
    }
    match step {
        Step::Crash(f) | Step::NodeLost(f) | Step::PowerCut(f) | Step::Restart(f) => {
            let Some(node) = first.node else {
                proof.lack(format!("{label} names no node"));
                return;
            };
            node::ended(proof, ledger, &label, step, node, *first);
            if let Step::NodeLost(_) = step
                && f.back != Back::Same
            {
                match ledger.gone.get(&node).filter(|m| m.id > first.mark.id) {
                    Some(mark) => proof.add(
                        EvidenceKind::FaultEffect,
                        Witness::Disk(node),
                        *mark,
                        format!("{label}: the store of {node} is gone"),
                    ),
                    None => proof.lack(format!("{label}: the store of {node} was not seen gone")),
                }
            }
            node::in_flight(proof, ledger, &label, node, first.mark);
        }
        Step::Pause(_) => {
            let Some(node) = first.node else {
                proof.lack(format!("{label} names no node"));
                return;
            };
            let pause = ledger
                .pauses
                .get(&node)
                .and_then(|p| p.iter().find(|p| p.0.id > first.mark.id));
            match pause {
                Some((since, until)) => {
                    proof.add(
                        EvidenceKind::FaultEffect,
                        Witness::Kernel,
                        *since,
                        format!("{label}: every thread of {node} stood still"),
                    );
                    match until {
                        Some(mark) => proof.add(
                            EvidenceKind::FaultEffect,
                            Witness::Kernel,
                            *mark,
                            format!("{label}: {node} went on"),
                        ),
                        None => proof.lack(format!("{label}: {node} was not seen going on")),
                    }
                }
                None => proof.lack(format!("{label}: {node} was not seen standing still")),
            }
            node::in_flight(proof, ledger, &label, node, first.mark);
        }
        Step::Disk(f) => disk::on_disk(proof, ledger, &label, n, f, *first),
        Step::Corrupt(_) => disk::damaged(proof, ledger, &label, n, step, *first),
        Step::Link(f) => {
            let removed = ledger.faults.get(&n).and_then(|f| f.removed);
            link::on_link(proof, plan, ledger, &label, &f.act, (*first, removed));
        }
        Step::Clock(f) => clock::wrong(proof, plan, ledger, &label, n, f),
        Step::Partition(p) => partition::parted(proof, plan, ledger, &label, n, p),
        Step::Wait(_) => {}
    }
}

fn kind(step: &Step) -> &'static str {
    match step {
        Step::Crash(_) => "crash",
        Step::PowerCut(_) => "power cut",
        Step::NodeLost(_) => "node lost",
        Step::Pause(_) => "pause",
        Step::Restart(_) => "restart",
        Step::Link(_) => "link",
        Step::Partition(_) => "partition",
        Step::Disk(_) => "disk",
        Step::Corrupt(_) => "corrupt",
        Step::Clock(_) => "clock",
        Step::Wait(_) => "wait",
    }
}

/// Whether it happened before the run was taken down.
fn in_run(ledger: &Ledger, mark: Mark) -> bool {
    ledger.end.as_ref().is_none_or(|(end, _)| mark.id < end.id)
}

/// Whether mail that a transaction brought was under way at a moment: for some
/// recipient that it was not refused for, neither delivered nor reported as
/// failed by then.
fn under_way(mail: &Mail, hop: &Hop, at: Mark) -> bool {
    hop.rcpts.iter().any(|rcpt| {
        let refused = hop
            .answer(*rcpt)
            .is_some_and(|a| a.mark.id < at.id && a.code >= 400);
        let reported = mail
            .notices
            .iter()
            .any(|n| n.failed && n.mark.id < at.id && n.rcpts.contains(rcpt));
        !refused && !reported && !delivered_before(mail, *rcpt, at)
    })
}

fn delivered_before(mail: &Mail, rcpt: u16, at: Mark) -> bool {
    mail.copies
        .iter()
        .any(|c| c.mark.id < at.id && c.rcpts.contains(&rcpt))
        || mail
            .hops
            .iter()
            .filter(|h| matches!(h.link.to, Party::Store(_)) && h.accepted(rcpt))
            .any(|h| h.answer(rcpt).is_some_and(|a| a.mark.id < at.id))
}

/// The sender was told neither 2yz nor 4yz nor 5yz for this recipient.
fn untold(mail: &Mail, t: &Try, rcpt: u16) -> bool {
    t.rcpts.contains(&rcpt)
        && !matches!(
            mail.ended(t, rcpt, true),
            Ended::Accepted | Ended::Refused(_)
        )
}

/// Whether the final silence was long enough and nothing moved in it or
/// after it.
pub(in crate::judge) fn rested(plan: &Plan, ledger: &Ledger) -> Option<Mark> {
    let quiet = ledger.quiet?;
    let long = quiet.lasted >= crate::director::quiet(plan)
        && quiet.since.saturating_add(quiet.lasted) <= quiet.mark.at;
    let still = ledger.moved.is_none_or(|m| m.at <= quiet.since);
    (long && still).then_some(quiet.mark)
}

fn quiescent(proof: &mut Proof, plan: &Plan, ledger: &Ledger) {
    match rested(plan, ledger) {
        Some(mark) => proof.add(
            EvidenceKind::Quiescent,
            Witness::Director,
            mark,
            "no mail moved for longer than retry, takeover and poll together".to_owned(),
        ),
        None => proof
            .lack("it was never quiet for as long as retry, takeover and poll together".to_owned()),
    }
    for node in plan.nodes() {
        let store = ledger.stores.get(&node);
        let after = |mark: Mark| ledger.moved.is_none_or(|m| mark.id > m.id);
        if let Some(l) = ledger.listings.get(&node).filter(|l| after(l.mark)) {
            proof.add(
                EvidenceKind::Quiescent,
                Witness::Node(node),
                l.mark,
                format!(
                    "{node} lists {} entries (its own word)",
                    l.rows.len() + l.others as usize
                ),
            );
        }
        if let Some(l) = store.filter(|l| after(l.mark) && l.damage.is_none()) {
            proof.add(
                EvidenceKind::Quiescent,
                Witness::Disk(node),
                l.mark,
                format!(
                    "the harness read the store of {node}: {} entries",
                    l.rows.len()
                ),
            );
        }
    }
}

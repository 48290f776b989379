//! Evidence: what must have been seen before a PASS may be given.
//!
//! Each piece is an event of the history whose witness is not the injector.
//! What is not found is named in `missing`, and the run is INCONCLUSIVE.

use crate::event::{At, Conn, RowState, Shut};
use crate::ledger::{Ended, Fired, Ledger, Mail, Mark, Try};
use crate::party::{Link, Party, Witness};
use crate::plan::Plan;
use crate::scenario::{Back, Delivered, LinkAct, Step, Window};
use crate::verdict::{Evidence, EvidenceKind};

/// Evidence found and evidence missing.
#[derive(Debug, Default)]
pub(super) struct Proof {
    pub(super) found: Vec<Evidence>,
    pub(super) missing: Vec<String>,
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
pub(super) fn collect(plan: &Plan, ledger: &Ledger) -> Proof {
    let mut proof = Proof::default();
    let mut faults = 0;
    for (n, step) in (0u32..).zip(&plan.scenario.steps) {
        if matches!(step, Step::Wait(_)) {
            continue;
        }
        faults += 1;
        fault(&mut proof, plan, ledger, n, step);
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
        match reached(ledger, window) {
            Some((witness, mark, text)) => proof.add(EvidenceKind::Window, witness, mark, text),
            None => proof.lack(format!("the window `{}` was never reached", name(window))),
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

fn name(window: Window) -> &'static str {
    match window {
        Window::Takeover => "takeover",
        Window::Recovery => "recovery",
        Window::Retry => "retry",
        Window::ReplyLost => "reply-lost",
        Window::Resume => "resume",
        Window::Degraded => "degraded",
    }
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
            Some(Step::Crash(_) | Step::PowerCut(_) | Step::NodeLost(_) | Step::Restart(_))
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
            if !asked {
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
            && let Some((l, mark)) = held(ledger, n)
        {
            proof.add(
                EvidenceKind::FaultEffect,
                Witness::Link(l),
                mark,
                format!("{label}: {l} stood still"),
            );
            in_flight(proof, ledger, &label, l.from, mark);
            return;
        }
        proof.lack(format!("{label} never fired"));
        return;
    };
    match step {
        Step::Crash(f) | Step::NodeLost(f) | Step::PowerCut(f) | Step::Restart(f) => {
            let Some(node) = first.node else {
                proof.lack(format!("{label} names no node"));
                return;
            };
            ended(proof, ledger, &label, step, node, *first);
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
            in_flight(proof, ledger, &label, node, first.mark);
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
            in_flight(proof, ledger, &label, node, first.mark);
        }
        Step::Link(f) => on_link(proof, plan, ledger, &label, &f.act, *first),
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
        Step::Wait(_) => "wait",
    }
}

fn held(ledger: &Ledger, fault: u32) -> Option<(Link, Mark)> {
    ledger.wires.iter().find_map(|(l, w)| {
        w.held
            .iter()
            .find(|h| h.fault == fault)
            .map(|h| (*l, h.since))
    })
}

/// A node's life ended: its wait status, and a link on which that was felt.
fn ended(proof: &mut Proof, ledger: &Ledger, label: &str, step: &Step, node: Party, fired: Fired) {
    let graceful = matches!(step, Step::Restart(_));
    // The first end of a life after the fault: when the run is taken down
    // every node is killed, and that is no effect of any fault.
    let exit = ledger.lives.get(&node).and_then(|lives| {
        lives
            .iter()
            .filter_map(|l| l.exit.map(|e| (e, l.killed)))
            .find(|(e, _)| e.id > fired.mark.id && in_run(ledger, *e))
            .filter(|(_, killed)| graceful || *killed)
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
    if let Step::PowerCut(_) = step {
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
}

/// Whether it happened before the run was taken down.
fn in_run(ledger: &Ledger, mark: Mark) -> bool {
    ledger.end.as_ref().is_none_or(|(end, _)| mark.id < end.id)
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
fn in_flight(proof: &mut Proof, ledger: &Ledger, label: &str, node: Party, at: Mark) {
    let found = (0u32..).zip(&ledger.mails).find_map(|(msg, mail)| {
        let tried = mail
            .tries
            .iter()
            .filter(|t| t.node == node)
            .filter_map(|t| t.hop.as_ref());
        let copied = mail.hops.iter().filter(|h| h.link.touches(node));
        let hop = tried.chain(copied).find(|h| h.dot.id < at.id)?;
        let open = mail.rcpts.iter().any(|r| !delivered_before(mail, *r, at));
        open.then_some((hop.link, hop.dot, msg))
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

fn on_link(
    proof: &mut Proof,
    plan: &Plan,
    ledger: &Ledger,
    label: &str,
    act: &LinkAct,
    fired: Fired,
) {
    let Some(link) = fired.link else {
        proof.lack(format!("{label} names no link"));
        return;
    };
    let empty = crate::ledger::Wire::default();
    let wire = ledger.wires.get(&link).unwrap_or(&empty);
    let effect: Option<(Witness, Mark, String)> = match act {
        LinkAct::Refuse => wire
            .refused
            .iter()
            .find(|m| m.id > fired.mark.id)
            .map(|m| (Witness::Link(link), *m, format!("{link} refused a dial"))),
        LinkAct::Hold => wire
            .held
            .iter()
            .find(|h| h.since.id >= fired.mark.id)
            .map(|h| (Witness::Link(link), h.since, format!("{link} stood still"))),
        LinkAct::Delay(span) => span
            .resolve(&plan.times)
            .ok()
            .and_then(|ns| delayed(ledger, link, fired, ns)),
        LinkAct::LoseReply
        | LinkAct::Answer(_)
        | LinkAct::Reset
        | LinkAct::HalfClose
        | LinkAct::CutAt(_)
        | LinkAct::Blackhole => unanswered(ledger, link, act, fired)
            .or_else(|| resent(ledger, link, fired))
            .or_else(|| {
                let conn = fired.conn?;
                wire.ended
                    .iter()
                    .find(|e| e.conn == conn && e.mark.id > fired.mark.id && e.how != Shut::Fin)
                    .map(|e| {
                        (
                            Witness::Link(link),
                            e.mark,
                            format!("connection {conn} on {link} broke off"),
                        )
                    })
            }),
    };
    match effect {
        Some((witness, mark, text)) => proof.add(
            EvidenceKind::FaultEffect,
            witness,
            mark,
            format!("{label}: {text}"),
        ),
        None => proof.lack(format!("{label}: nothing but the injector noticed it")),
    }
    match transaction(ledger, link, fired) {
        Some((mark, msg)) => proof.add(
            EvidenceKind::InFlight,
            Witness::Link(link),
            mark,
            format!("{label}: message {msg} was passing {link}"),
        ),
        None => {
            if let Some((witness, mark, msg)) = attempt_open(ledger, link, fired.mark.at) {
                proof.add(
                    EvidenceKind::InFlight,
                    witness,
                    mark,
                    format!("{label}: message {msg} was being handed over on {link}"),
                );
            } else {
                proof.lack(format!("{label}: no mail was passing {link}"));
            }
        }
    }
}

/// A transaction after the fault took at least as long as the delay.
fn delayed(ledger: &Ledger, link: Link, fired: Fired, ns: u64) -> Option<(Witness, Mark, String)> {
    ledger.mails.iter().find_map(|mail| {
        let tried = mail.tries.iter().filter_map(|t| t.hop.as_ref());
        tried
            .chain(&mail.hops)
            .filter(|h| h.link == link && h.dot.id > fired.mark.id)
            .flat_map(|h| h.answers.iter().map(move |a| (h, a)))
            .find(|(h, a)| a.mark.at.saturating_sub(h.dot.at) >= ns)
            .map(|(_, a)| {
                (
                    Witness::Link(link),
                    a.mark,
                    format!("a reply on {link} took as long as the delay"),
                )
            })
    })
}

/// The transaction that a fault on a connection hit.
fn transaction(ledger: &Ledger, link: Link, fired: Fired) -> Option<(Mark, u32)> {
    let on = |h: &crate::ledger::Hop| {
        h.link == link && fired.conn.is_none_or(|c| c == h.conn) && h.dot.id < fired.mark.id
    };
    (0u32..)
        .zip(&ledger.mails)
        .flat_map(|(msg, mail)| {
            let tried = mail.tries.iter().filter_map(|t| t.hop.as_ref());
            tried
                .chain(&mail.hops)
                .filter(|h| on(h))
                .map(move |h| (h.dot, msg))
        })
        .max()
}

fn attempt_open(ledger: &Ledger, link: Link, at: At) -> Option<(Witness, Mark, u32)> {
    if link.from != Party::Client {
        return None;
    }
    (0u32..).zip(&ledger.mails).find_map(|(msg, mail)| {
        mail.tries
            .iter()
            .find(|t| {
                t.node == link.to
                    && t.begun.at <= at
                    && t.outcome.as_ref().is_none_or(|o| o.mark.at >= at)
            })
            .map(|t| (Witness::Client, t.begun, msg))
    })
}

/// The sender did not get the reply that it was waiting for.
fn unanswered(
    ledger: &Ledger,
    link: Link,
    act: &LinkAct,
    fired: Fired,
) -> Option<(Witness, Mark, String)> {
    if link.from != Party::Client {
        return None;
    }
    (0u32..).zip(&ledger.mails).find_map(|(msg, mail)| {
        let hit = |conn: Conn| fired.conn.is_none_or(|c| c == conn);
        mail.tries
            .iter()
            .filter(|t| t.node == link.to)
            .filter(|t| t.hop.as_ref().is_none_or(|h| hit(h.conn)))
            .filter(|t| t.begun.id < fired.mark.id)
            .find_map(|t| {
                let o = t.outcome.as_ref()?;
                // A refusal is an answer; only the link's own is an effect.
                let refused = o.rcpts.iter().all(|c| matches!(c / 100, 4 | 5));
                let got = if matches!(act, LinkAct::Answer(_)) {
                    o.end.iter().any(|c| c / 100 == 2)
                } else {
                    refused || o.end.iter().any(|c| *c != 0)
                };
                let short = o.mark.id > fired.mark.id && !got;
                short.then(|| {
                    (
                        Witness::Client,
                        o.mark,
                        format!(
                            "the sender got no 2yz to message {msg}, attempt {}",
                            t.attempt
                        ),
                    )
                })
            })
    })
}

/// A node handed the message over once more: it did not learn of the first
/// time.
fn resent(ledger: &Ledger, link: Link, fired: Fired) -> Option<(Witness, Mark, String)> {
    let conn = fired.conn?;
    (0u32..).zip(&ledger.mails).find_map(|(msg, mail)| {
        mail.hops
            .iter()
            .any(|h| h.link == link && h.conn == conn)
            .then(|| {
                mail.hops.iter().find(|h| {
                    h.link.from == link.from && h.conn != conn && h.dot.id > fired.mark.id
                })
            })
            .flatten()
            .map(|h| {
                (
                    Witness::Link(h.link),
                    h.dot,
                    format!("{} handed message {msg} over again", link.from),
                )
            })
    })
}

/// The first event that shows a window reached.
fn reached(ledger: &Ledger, window: Window) -> Option<(Witness, Mark, String)> {
    let mails = || (0u32..).zip(&ledger.mails);
    match window {
        Window::Takeover => {
            let fault = ledger
                .faults
                .values()
                .flat_map(|f| &f.fired)
                .filter_map(|f| f.node.map(|n| (n, f.mark)))
                .collect::<Vec<_>>();
            mails().find_map(|(msg, mail)| {
                let accepted = accepting(mail);
                handed(mail).into_iter().find_map(|(from, mark, witness)| {
                    let broken = fault
                        .iter()
                        .any(|(node, at)| accepted.contains(node) && at.id < mark.id);
                    (broken && !accepted.contains(&from)).then(|| {
                        (
                            witness,
                            mark,
                            format!("{from} delivered message {msg}, which another node had accepted"),
                        )
                    })
                })
            })
        }
        Window::Recovery => mails().find_map(|(msg, mail)| {
            mail.tries.iter().find_map(|t| {
                let taken = t.hop.as_ref()?.answers.iter().find(|a| a.code / 100 == 2)?;
                let born = ledger
                    .lives
                    .get(&t.node)?
                    .iter()
                    .find(|l| l.life > 1 && l.started.id > taken.mark.id)?;
                // What the earlier life had sent already can still arrive: only a
                // transaction that the new life began counts.
                let (from, mark, witness) = handed(mail)
                    .into_iter()
                    .filter(|(_, mark, _)| begun_after(ledger, mail, *mark, born.started))
                    .find(|(from, _, _)| *from == t.node)?;
                Some((
                    witness,
                    mark,
                    format!("{from} delivered message {msg}, which it had accepted in an earlier life"),
                ))
            })
        }),
        Window::Retry => mails().find_map(|(msg, mail)| {
            mail.tries
                .windows(2)
                .find(|pair| pair[1].rcpts.iter().any(|r| untold(mail, &pair[0], *r)))
                .map(|pair| {
                    (
                        Witness::Client,
                        pair[1].begun,
                        format!("the sender tried message {msg} again without knowing how attempt {} ended", pair[0].attempt),
                    )
                })
        }),
        Window::ReplyLost => mails().find_map(|(msg, mail)| {
            mail.tries.iter().find_map(|t| {
                let hop = t.hop.as_ref()?;
                let answer = hop.answers.iter().find(|a| a.code / 100 == 2)?;
                let told = t
                    .outcome
                    .as_ref()?
                    .end
                    .iter()
                    .any(|c| c / 100 == 2);
                (!told).then(|| {
                    (
                        Witness::Link(hop.link),
                        answer.mark,
                        format!("the node accepted message {msg}, attempt {}, and the sender never heard it", t.attempt),
                    )
                })
            })
        }),
        Window::Resume => ledger.pauses.iter().find_map(|(node, pauses)| {
            let until = pauses.iter().find_map(|p| p.1)?;
            let (link, mark) = ledger
                .wires
                .iter()
                .filter(|(l, _)| l.to == *node)
                .flat_map(|(l, w)| w.exchanges.iter().map(move |m| (*l, *m)))
                .chain(mails().flat_map(|(_, mail)| {
                    mail.hops
                        .iter()
                        .filter(|h| h.link.from == *node)
                        .map(|h| (h.link, h.dot))
                }))
                .filter(|(_, m)| m.id > until.id)
                .min_by_key(|(_, m)| m.id)?;
            Some((
                Witness::Link(link),
                mark,
                format!("{node} was heard again on {link}"),
            ))
        }),
        Window::Degraded => mails().find_map(|(msg, mail)| {
            mail.tries.iter().find_map(|t| {
                let hop = t.hop.as_ref()?;
                let answer = hop.answers.iter().find(|a| a.code / 100 == 2)?;
                let down = ledger.lives.keys().find(|n| {
                    **n != t.node
                        && ledger
                            .outages(**n)
                            .iter()
                            .any(|o| o.start <= answer.mark.at && o.end.is_none_or(|e| e > answer.mark.at))
                })?;
                Some((
                    Witness::Link(hop.link),
                    answer.mark,
                    format!("{} accepted message {msg} while {down} was out", t.node),
                ))
            })
        }),
    }
}

/// Whether the transaction that handed a message over (`mark` as in
/// [`handed`]) ended its data after a moment, on a connection that was not
/// open before it.
fn begun_after(ledger: &Ledger, mail: &Mail, mark: Mark, moment: Mark) -> bool {
    let copy = mail.copies.iter().find(|c| c.mark == mark);
    let hop = match copy {
        Some(c) => {
            let link = Link::new(c.from, Party::Mailbox);
            mail.hops
                .iter()
                .rev()
                .find(|h| h.link == link && h.conn == c.conn && h.dot.id < mark.id)
        }
        None => mail.hops.iter().find(|h| h.dot == mark),
    };
    hop.is_some_and(|h| {
        let opened = ledger.wires.get(&h.link).map_or(&[][..], |w| &w.opened);
        let before = |(at, conn): &(Mark, Conn)| *conn == h.conn && at.id < moment.id;
        h.dot.id > moment.id && !opened.iter().any(before)
    })
}

/// The sender was told neither 2yz nor 4yz nor 5yz for this recipient.
fn untold(mail: &Mail, t: &Try, rcpt: u16) -> bool {
    t.rcpts.contains(&rcpt)
        && !matches!(
            mail.ended(t, rcpt, true),
            Ended::Accepted | Ended::Refused(_)
        )
}

/// The nodes that accepted a message from the sender.
fn accepting(mail: &Mail) -> Vec<Party> {
    mail.tries
        .iter()
        .filter(|t| {
            t.hop
                .as_ref()
                .is_some_and(|h| h.answers.iter().any(|a| a.code / 100 == 2))
        })
        .map(|t| t.node)
        .collect()
}

/// Who handed the message over at the end of its way, and when.
fn handed(mail: &Mail) -> Vec<(Party, Mark, Witness)> {
    let stores = mail
        .hops
        .iter()
        .filter(|h| matches!(h.link.to, Party::Store(_)))
        .filter(|h| h.answers.iter().any(|a| a.code / 100 == 2))
        .map(|h| (h.link.from, h.dot, Witness::Link(h.link)));
    mail.copies
        .iter()
        .map(|c| (c.from, c.mark, Witness::Mailbox))
        .chain(stores)
        .collect()
}

/// Whether the final silence was long enough and nothing moved in it or
/// after it.
pub(super) fn rested(plan: &Plan, ledger: &Ledger) -> Option<Mark> {
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

//! Findings: what should not be, one sentence and one witness message each.

use std::collections::BTreeMap;

use super::absence::Whereabouts;
use super::account::{Books, Case, Frame};
use crate::event::{Msg, Rcpt, RowState};
use crate::ledger::{Ended, Ledger, Mail};
use crate::party::Party;
use crate::plan::Failure;
use crate::scenario::{Delivered, Level, Step};
use crate::verdict::{Class, Finding};
use crate::workload;

/// Everything that should not be, gravest first. `overdue`: mail that has
/// not arrived may be held against the target. Beside them, the first that
/// would fail if it did not lie outside the claims for its message.
pub(super) fn all(
    frame: &Frame<'_>,
    books: &Books,
    overdue: bool,
) -> (Vec<Finding>, Option<String>) {
    let expect = &frame.plan.scenario.expect;
    let must_arrive = expect.delivered != Delivered::AtMostOnce;
    let no_more = expect.delivered != Delivered::AtLeastOnce;
    let mut findings = Vec::new();
    let mut excused: Option<String> = None;
    let mut add = |class: &dyn Fn(&&Case) -> bool,
                   kind: &str,
                   rule: &str,
                   fails: bool,
                   text: &dyn Fn(&Case, u64) -> String| {
        let cases: Vec<&Case> = books.cases.iter().filter(class).collect();
        let (beyond, within): (Vec<&Case>, Vec<&Case>) = cases
            .into_iter()
            .partition(|c| fails && excuse(kind, c).is_some());
        for (cases, fails, outside) in [(within, fails, false), (beyond, false, true)] {
            let Some(first) = cases.first() else { continue };
            let count = cases.len() as u64;
            let mut text = text(first, count);
            if let Some(why) = excuse(kind, first).filter(|_| outside) {
                text = format!("{text}; outside the claim: {why}");
                excused.get_or_insert_with(|| text.clone());
            }
            findings.push(Finding {
                rule: rule.to_owned(),
                kind: kind.to_owned(),
                text,
                count,
                message: Some(first.msg),
                recipient: Some(first.rcpt),
                fails,
                timeline: timeline(frame.ledger, first),
            });
        }
    };
    let is = |wanted: Class| move |c: &&Case| c.class == wanted;
    let who = |c: &Case| format!("message {}, recipient {}", c.msg, c.rcpt);
    let others = |n: u64| match n {
        1 => String::new(),
        n => format!(" ({n} recipients in all)"),
    };

    add(&is(Class::Lost), "lost", "R052", must_arrive, &|c, n| {
        let accepted =
            accepted_by(frame.ledger, c).map_or_else(String::new, |node| format!(" by {node}"));
        format!(
            "{} was accepted{accepted} and is lost: it was never delivered, and no node holds it{}",
            who(c),
            others(n)
        )
    });
    let arrival = arrival_rule(frame);
    add(
        &is(Class::Queued),
        "queued-past-deadline",
        arrival,
        must_arrive && overdue,
        &|c, n| {
            let holder = match &c.whereabouts {
                Some(Whereabouts::Held { by, state, .. }) => format!(
                    "{by} still holds it{}",
                    if *state == RowState::Shadow {
                        " as a shadow"
                    } else {
                        " in its queue"
                    }
                ),
                _ => "a node still holds it".to_owned(),
            };
            format!(
                "{} was accepted and not delivered by the deadline: {holder}{}",
                who(c),
                others(n)
            )
        },
    );
    add(
        &is(Class::Missing),
        "queued-past-deadline",
        arrival,
        must_arrive && overdue,
        &|c, n| {
            let why = match &c.whereabouts {
                Some(Whereabouts::Unknown(why)) => format!(" ({why})"),
                _ => String::new(),
            };
            format!(
                "{} was accepted and not delivered by the deadline; whether it is lost cannot be told{why}{}",
                who(c),
                others(n)
            )
        },
    );
    add(&is(Class::Late), "late", arrival, must_arrive, &|c, n| {
        let at = c.first.map_or(0.0, |m| m.at as f64 / 1e9);
        format!(
            "{} was delivered only at {at:.3} s, after the deadline at {:.3} s{}",
            who(c),
            frame.deadline as f64 / 1e9,
            others(n)
        )
    });
    add(
        &|c| matches!(c.forbidden, Some((_, Ended::Refused(_)))),
        "refused-yet-delivered",
        "R051",
        true,
        &|c, n| {
            let (attempt, code) = match c.forbidden {
                Some((attempt, Ended::Refused(code))) => (attempt, code),
                _ => (0, 0),
            };
            format!(
                "{} was delivered although attempt {attempt} was refused with {code}{}",
                who(c),
                others(n)
            )
        },
    );
    add(
        &|c| matches!(c.forbidden, Some((_, Ended::NotSent))),
        "unsent-yet-delivered",
        "R049",
        true,
        &|c, n| {
            format!(
                "{} was delivered although the end of its data never reached the node{}",
                who(c),
                others(n)
            )
        },
    );
    add(&is(Class::Altered), "altered", "R047", true, &|c, n| {
        format!(
            "{} arrived with other content than was sent{}",
            who(c),
            others(n)
        )
    });
    add(&is(Class::Misrouted), "misrouted", "C018", true, &|c, n| {
        format!(
            "{} was delivered to a recipient that the message does not have, and not to this one{}",
            who(c),
            others(n)
        )
    });
    // With a licence each of them is a second copy like any other.
    for fails in [true, false] {
        add(
            &|c| c.class == Class::BouncedAndDelivered && c.settled_again.is_some() == fails,
            "bounced-and-delivered",
            "D013",
            fails,
            &|c, n| {
                format!(
                    "{} was delivered and reported as failed{}",
                    who(c),
                    others(n)
                )
            },
        );
    }
    add(
        &|c| matches!(c.class, Class::Bounced | Class::BouncedMany),
        "bounced",
        "D006",
        must_arrive && !expect.bounces,
        &|c, n| {
            format!(
                "{} was accepted and then returned to its sender{}",
                who(c),
                others(n)
            )
        },
    );
    for fails in [true, false] {
        add(
            &|c| c.class == Class::BouncedMany && c.settled_again.is_some() == fails,
            "bounced-many",
            "D013",
            fails,
            &|c, n| {
                format!(
                    "{} was reported as failed more than once{}",
                    who(c),
                    others(n)
                )
            },
        );
    }
    if expect.level == Level::Mailbox {
        add(
            &|c| c.copies > 1,
            "duplicate-in-mailbox",
            "DED-01",
            no_more,
            &|c, n| {
                format!(
                    "{} stands in the mailbox {} times{}",
                    who(c),
                    c.copies,
                    others(n)
                )
            },
        );
    } else {
        add(
            &|c| !c.unlicensed.is_empty(),
            "unlicensed-duplicate",
            "H05",
            no_more,
            &|c, n| {
                let by = c
                    .unlicensed
                    .first()
                    .map_or_else(String::new, |d| format!(" by {}", d.from));
                format!(
                    "{} was delivered again{by}, {} copies in all, and nothing in the history permits it{}",
                    who(c),
                    c.copies,
                    others(n)
                )
            },
        );
    }
    strangers(frame, &mut findings);
    elsewhere(frame, &mut findings);
    reversed(frame, &mut findings);
    phantoms(frame.ledger, &mut findings);
    findings.sort_by_key(|f| !f.fails);
    (findings, excused)
}

/// Why a finding about one recipient lies outside the target's claims.
fn excuse<'a>(kind: &str, case: &'a Case) -> Option<&'a str> {
    match kind {
        "lost" | "queued-past-deadline" => case.unshadowed.as_deref(),
        "unlicensed-duplicate" | "duplicate-in-mailbox" => case.may_double.as_deref(),
        "bounced-many" | "bounced-and-delivered" => case.may_settle_again.as_deref(),
        _ => None,
    }
}

/// The rule behind timely arrival: takeover where a node was taken away,
/// plain retrying otherwise.
fn arrival_rule(frame: &Frame<'_>) -> &'static str {
    let away = frame.plan.scenario.steps.iter().any(|s| match s {
        Step::NodeLost(_) | Step::Pause(_) | Step::Corrupt(_) => true,
        Step::Crash(f) | Step::PowerCut(f) => f.back != crate::scenario::Back::Same,
        _ => false,
    });
    let copies = frame
        .plan
        .target
        .claims
        .iter()
        .any(|c| c.failure == Failure::NodeLost);
    if away && copies { "H03" } else { "C001" }
}

fn accepted_by(ledger: &Ledger, case: &Case) -> Option<Party> {
    let mail = ledger.mails.get(case.msg as usize)?;
    mail.tries
        .iter()
        .find(|t| t.hop.as_ref().is_some_and(|h| h.accepted(case.rcpt)))
        .map(|t| t.node)
}

/// The events that tell a message's story, in order: its own, and the faults
/// and lives of the nodes that had it.
fn timeline(ledger: &Ledger, case: &Case) -> Vec<u64> {
    let Some(mail) = ledger.mails.get(case.msg as usize) else {
        return Vec::new();
    };
    let mut ids = own_events(mail);
    let mut nodes: Vec<Party> = mail.tries.iter().map(|t| t.node).collect();
    nodes.extend(mail.hops.iter().flat_map(|h| [h.link.from, h.link.to]));
    nodes.sort_unstable();
    nodes.dedup();
    let begun = mail.tries.first().map_or(0, |t| t.begun.id);
    for node in nodes.iter().filter(|n| n.is_node()) {
        for life in ledger.lives.get(node).map_or(&[][..], Vec::as_slice) {
            ids.extend(life.exit.map(|m| m.id));
            if life.life > 1 {
                ids.push(life.started.id);
                ids.extend(life.ready.map(|m| m.id));
            }
        }
        for (since, until) in ledger.pauses.get(node).map_or(&[][..], Vec::as_slice) {
            ids.push(since.id);
            ids.extend(until.map(|m| m.id));
        }
        ids.extend(ledger.gone.get(node).map(|m| m.id));
    }
    for f in ledger.faults.values() {
        ids.extend(f.fired.iter().map(|x| x.mark.id));
        ids.extend(f.removed.map(|m| m.id));
    }
    match &case.whereabouts {
        Some(Whereabouts::Held { mark, .. }) => ids.push(mark.id),
        Some(Whereabouts::Nowhere { proof }) => ids.extend(proof.iter().map(|m| m.id)),
        _ => {}
    }
    ids.retain(|id| *id >= begun);
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn own_events(mail: &Mail) -> Vec<u64> {
    let mut ids = Vec::new();
    for t in &mail.tries {
        ids.push(t.begun.id);
        ids.extend(t.outcome.as_ref().map(|o| o.mark.id));
    }
    for hop in mail
        .tries
        .iter()
        .filter_map(|t| t.hop.as_ref())
        .chain(&mail.hops)
    {
        ids.push(hop.dot.id);
        ids.extend(hop.answers.iter().map(|a| a.mark.id));
    }
    ids.extend(mail.copies.iter().map(|c| c.mark.id));
    ids.extend(mail.notices.iter().map(|n| n.mark.id));
    ids
}

fn strangers(frame: &Frame<'_>, findings: &mut Vec<Finding>) {
    let mut all = (0u32..)
        .zip(&frame.ledger.mails)
        .flat_map(|(msg, mail)| mail.strangers.iter().map(move |s| (msg, s)));
    if let Some((msg, (mark, to))) = all.next() {
        let count = 1 + all.count() as u64;
        findings.push(Finding {
            rule: "C018".to_owned(),
            kind: "misrouted".to_owned(),
            text: format!("message {msg} was delivered to <{to}>, which is none of its recipients"),
            count,
            message: Some(msg),
            recipient: None,
            fails: true,
            timeline: vec![mark.id],
        });
    }
}

/// Messages whose reverse path was another beyond the first node.
fn reversed(frame: &Frame<'_>, findings: &mut Vec<Finding>) {
    let mut all = (0u32..)
        .zip(&frame.ledger.mails)
        .filter_map(|(msg, mail)| mail.reversed.first().map(|first| (msg, first)));
    if let Some((msg, (mark, link, reverse))) = all.next() {
        let count = 1 + all.count() as u64;
        findings.push(Finding {
            rule: "D008".to_owned(),
            kind: "reverse-path-changed".to_owned(),
            text: format!(
                "message {msg} passed {link} with the reverse path <{reverse}>, which is not its own: no report would reach its sender"
            ),
            count,
            message: Some(msg),
            recipient: None,
            fails: true,
            timeline: vec![mark.id],
        });
    }
}

/// Recipients whose mail a node took or shows that does not own their mailbox.
fn elsewhere(frame: &Frame<'_>, findings: &mut Vec<Finding>) {
    if frame.plan.scenario.cluster.stores < 2 {
        return;
    }
    let at_home = |node: Party, msg, rcpt| workload::home(frame.plan, msg, rcpt) == Some(node);
    let mut found: BTreeMap<(Msg, Rcpt), (Party, u64)> = BTreeMap::new();
    for (msg, mail) in (0u32..).zip(&frame.ledger.mails) {
        for hop in &mail.hops {
            if !matches!(hop.link.to, Party::Store(_)) {
                continue;
            }
            for &rcpt in &mail.rcpts {
                if hop.accepted(rcpt) && !at_home(hop.link.to, msg, rcpt) {
                    found
                        .entry((msg, rcpt))
                        .or_insert((hop.link.to, hop.dot.id));
                }
            }
        }
    }
    for (node, listing) in &frame.ledger.stores {
        for s in &listing.stored {
            let known = frame
                .ledger
                .mails
                .get(s.msg as usize)
                .is_some_and(|m| m.rcpts.contains(&s.rcpt));
            if matches!(node, Party::Store(_))
                && known
                && s.copies > 0
                && !at_home(*node, s.msg, s.rcpt)
            {
                found
                    .entry((s.msg, s.rcpt))
                    .or_insert((*node, listing.mark.id));
            }
        }
    }
    if let Some((&(msg, rcpt), &(node, event))) = found.iter().next() {
        findings.push(Finding {
            rule: "C018".to_owned(),
            kind: "misrouted".to_owned(),
            text: format!(
                "message {msg} was delivered for recipient {rcpt} to {node}, which does not own that mailbox"
            ),
            count: found.len() as u64,
            message: Some(msg),
            recipient: Some(rcpt),
            fails: true,
            timeline: vec![event],
        });
    }
}

fn phantoms(ledger: &Ledger, findings: &mut Vec<Finding>) {
    if let Some((mark, from, note)) = ledger.phantoms.first() {
        findings.push(Finding {
            rule: "R040".to_owned(),
            kind: "phantom".to_owned(),
            text: format!("{from} delivered a message that this run never sent: {note}"),
            count: ledger.phantoms.len() as u64,
            message: None,
            recipient: None,
            fails: true,
            timeline: vec![mark.id],
        });
    }
}

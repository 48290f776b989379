//! Faults on links: that somebody but the injector noticed, and that mail was
//! passing.

use super::{Proof, under_way};
use crate::event::{Conn, Shut};
use crate::ledger::{Fired, Hop, Ledger, Mark, Wire};
use crate::party::{Link, Party, Witness};
use crate::plan::Plan;
use crate::scenario::{LinkAct, Rate, Step};
use crate::verdict::EvidenceKind;

pub(super) fn held(ledger: &Ledger, fault: u32) -> Option<(Link, Mark)> {
    ledger.wires.iter().find_map(|(l, w)| {
        w.held
            .iter()
            .find(|h| h.fault == fault)
            .map(|h| (*l, h.since))
    })
}

pub(super) fn on_link(
    proof: &mut Proof,
    plan: &Plan,
    ledger: &Ledger,
    label: &str,
    act: &LinkAct,
    (fired, removed): (Fired, Option<Mark>),
) {
    let Some(link) = fired.link else {
        proof.lack(format!("{label} names no link"));
        return;
    };
    let until = until(ledger, fired);
    let next = next(plan, ledger, link, fired);
    // What another fault can have done is no effect of this one.
    let within = |mark: Mark| mark.id > fired.mark.id && mark.id < next;
    let empty = Wire::default();
    let wire = ledger.wires.get(&link).unwrap_or(&empty);
    let effect: Option<(Witness, Mark, String)> = match act {
        LinkAct::Refuse => wire
            .refused
            .iter()
            .find(|m| m.id > fired.mark.id && until.is_none_or(|u| m.id < u.id))
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
        LinkAct::Throttle(rate) => throttled(plan, ledger, link, fired, *rate),
        LinkAct::LoseReply
        | LinkAct::Answer(_)
        | LinkAct::Reset
        | LinkAct::HalfClose
        | LinkAct::CutAt(_)
        | LinkAct::Mute(_)
        | LinkAct::Blackhole => unanswered(ledger, link, act, fired, next)
            .or_else(|| resent(ledger, link, fired, next))
            .or_else(|| {
                let conn = fired.conn?;
                wire.ended
                    .iter()
                    .find(|e| e.conn == conn && within(e.mark) && e.how != Shut::Fin)
                    .map(|e| {
                        (
                            Witness::Link(link),
                            e.mark,
                            format!("connection {conn} on {link} broke off"),
                        )
                    })
            })
            .or_else(|| whole(ledger, link, act, fired))
            .or_else(|| match act {
                LinkAct::Blackhole => stalled(ledger, link, fired, removed?),
                _ => None,
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
    let passing = transaction(ledger, link, fired)
        .map(|(mark, msg)| (Witness::Link(link), mark, msg, "was passing"))
        .or_else(|| {
            let open = attempt_open(ledger, link, fired, act.lasts(), until);
            open.map(|(w, mark, msg)| (w, mark, msg, "was being handed over on"))
        })
        .or_else(|| {
            let waiting = waiting(ledger, link, fired, act.lasts(), until);
            waiting.map(|(w, mark, msg)| (w, mark, msg, "had yet to pass"))
        });
    match passing {
        Some((witness, mark, msg, how)) => proof.add(
            EvidenceKind::InFlight,
            witness,
            mark,
            format!("{label}: message {msg} {how} {link}"),
        ),
        None => proof.lack(format!("{label}: no mail was passing {link}")),
    }
}

/// The id from which on another fault can have had the effect of one on a
/// link: the next that hits a node at its end, the same connection, or the
/// whole link, if it is not one that leaves connections alone.
fn next(plan: &Plan, ledger: &Ledger, link: Link, fired: Fired) -> u64 {
    let others = ledger.faults.iter().flat_map(|(fault, receipts)| {
        let spares = match plan.scenario.steps.get(*fault as usize) {
            Some(Step::Link(l)) => matches!(
                l.act,
                LinkAct::Refuse | LinkAct::Hold | LinkAct::Delay(_) | LinkAct::Throttle(_)
            ),
            _ => false,
        };
        let own = receipts.fired.iter().any(|f| f.mark == fired.mark);
        receipts.fired.iter().filter(move |f| {
            let hits = match f.node {
                Some(node) => link.touches(node),
                None => {
                    f.link == Some(link)
                        && (f.conn.is_none() || fired.conn.is_none() || f.conn == fired.conn)
                }
            };
            !own && !spares && hits
        })
    });
    others
        .map(|f| f.mark.id)
        .filter(|id| *id > fired.mark.id)
        .min()
        .unwrap_or(u64::MAX)
}

/// What a fault on a whole link did to one of its connections, or to a dial,
/// before any other fault came.
fn whole(
    ledger: &Ledger,
    link: Link,
    act: &LinkAct,
    fired: Fired,
) -> Option<(Witness, Mark, String)> {
    let dials = match (act, fired.conn) {
        (LinkAct::Reset, None) => false,
        (LinkAct::Blackhole, None) => true,
        _ => return None,
    };
    let next = ledger
        .faults
        .values()
        .flat_map(|f| &f.fired)
        .map(|f| f.mark.id)
        .filter(|id| *id > fired.mark.id)
        .min()
        .unwrap_or(u64::MAX);
    let within = |m: &Mark| m.id > fired.mark.id && m.id < next;
    let wire = ledger.wires.get(&link)?;
    let ended = wire
        .ended
        .iter()
        .find(|e| e.how != Shut::Fin && within(&e.mark))
        .map(|e| (e.mark, format!("connection {} on {link} broke off", e.conn)));
    let found = ended.or_else(|| {
        let refused = wire.refused.iter().find(|m| dials && within(m))?;
        Some((*refused, format!("a dial on {link} got no answer")))
    });
    found.map(|(mark, text)| (Witness::Link(link), mark, text))
}

/// A transaction that was under way when a link fell silent and went on when
/// it carried again.
fn stalled(
    ledger: &Ledger,
    link: Link,
    fired: Fired,
    removed: Mark,
) -> Option<(Witness, Mark, String)> {
    let hit = |h: &Hop| h.link == link && fired.conn.is_none_or(|c| c == h.conn);
    let hop = ledger.mails.iter().find_map(|mail| {
        let tried = mail.tries.iter().filter_map(|t| t.hop.as_ref());
        tried
            .chain(&mail.hops)
            .filter(|h| hit(h) && h.dot.id < fired.mark.id)
            .find_map(|h| h.answers.first().filter(|a| a.mark.id > removed.id))
            .map(|a| (Witness::Link(link), a.mark))
    });
    let attempt = || {
        ledger.mails.iter().find_map(|mail| {
            mail.tries
                .iter()
                .filter(|t| link.from == Party::Client && t.node == link.to)
                .filter(|t| t.begun.id < fired.mark.id && t.hop.as_ref().is_none_or(hit))
                .filter_map(|t| t.outcome.as_ref())
                .find(|o| o.mark.id > removed.id)
                .map(|o| (Witness::Client, o.mark))
        })
    };
    hop.or_else(attempt).map(|(witness, mark)| {
        let text = format!("a transaction on {link} stood until the link carried again");
        (witness, mark, text)
    })
}

/// When the fault of a receipt was taken back.
fn until(ledger: &Ledger, fired: Fired) -> Option<Mark> {
    ledger
        .faults
        .values()
        .find(|f| f.fired.iter().any(|x| x.mark == fired.mark))?
        .until(&fired)
}

/// A message at the dialling node of a link that it had yet to hand over: it
/// was there when the fault came, or came while one on the whole link lasted.
fn waiting(
    ledger: &Ledger,
    link: Link,
    fired: Fired,
    lasts: bool,
    until: Option<Mark>,
) -> Option<(Witness, Mark, u32)> {
    if !link.from.is_node() {
        return None;
    }
    let lasts = lasts && fired.conn.is_none();
    let within =
        |m: Mark| m.id < fired.mark.id || (lasts && until.is_none_or(|until| m.id < until.id));
    (0u32..).zip(&ledger.mails).find_map(|(msg, mail)| {
        let tried = mail.tries.iter().filter_map(|t| t.hop.as_ref());
        tried
            .chain(&mail.hops)
            .filter(|h| h.link.to == link.from && within(h.dot))
            .find(|h| under_way(mail, h, h.dot.max(fired.mark)))
            .map(|h| (Witness::Link(h.link), h.dot, msg))
    })
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

/// A transaction after the fault took at least half as long as the smallest
/// message of the workload takes at that rate, and twice as long as any before.
fn throttled(
    plan: &Plan,
    ledger: &Ledger,
    link: Link,
    fired: Fired,
    rate: Rate,
) -> Option<(Witness, Mark, String)> {
    let least = u128::from(plan.scenario.workload.size.least) * 500_000_000;
    let least = u64::try_from(least / u128::from(rate.bytes_per_second())).unwrap_or(u64::MAX);
    let hops = || {
        ledger.mails.iter().flat_map(move |mail| {
            let tried = mail.tries.iter().filter_map(|t| t.hop.as_ref());
            tried.chain(&mail.hops).filter(move |h| h.link == link)
        })
    };
    let took = |h: &Hop| {
        let answer = h.answers.first()?;
        Some((answer.mark, answer.mark.at.saturating_sub(h.dot.at)))
    };
    let before = hops()
        .filter_map(took)
        .filter(|(mark, _)| mark.id < fired.mark.id)
        .map(|(_, ns)| ns)
        .max()
        .unwrap_or(0);
    hops()
        .filter(|h| h.dot.id > fired.mark.id)
        .filter_map(took)
        .filter(|(_, ns)| *ns >= least && *ns >= before.saturating_mul(2))
        .min()
        .map(|(mark, _)| {
            (
                Witness::Link(link),
                mark,
                format!("a transaction on {link} took as long as the rate makes it"),
            )
        })
}

/// The transaction that a fault hit: the last on its connection; on a whole
/// link one whose reply was not there yet.
fn transaction(ledger: &Ledger, link: Link, fired: Fired) -> Option<(Mark, u32)> {
    let on = |h: &Hop| {
        h.link == link
            && h.dot.id < fired.mark.id
            && match fired.conn {
                Some(conn) => conn == h.conn,
                None => h.answers.iter().all(|a| a.mark.id > fired.mark.id),
            }
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

/// Mail that was passing a link and connection, for a hold that is its own
/// witness.
pub(super) fn passing(
    ledger: &Ledger,
    link: Link,
    fault: u32,
    at: Mark,
) -> Option<(Witness, Mark, u32)> {
    let held = ledger.wires.get(&link)?.held.iter();
    let conn = held.filter(|h| h.fault == fault).map(|h| h.conn).next()?;
    let fired = Fired {
        mark: at,
        node: None,
        link: Some(link),
        conn: Some(conn),
    };
    transaction(ledger, link, fired)
        .map(|(mark, msg)| (Witness::Link(link), mark, msg))
        .or_else(|| attempt_open(ledger, link, fired, false, None))
}

/// An attempt that was open when a fault on its link came, or began while that
/// lasted.
fn attempt_open(
    ledger: &Ledger,
    link: Link,
    fired: Fired,
    lasts: bool,
    until: Option<Mark>,
) -> Option<(Witness, Mark, u32)> {
    if link.from != Party::Client {
        return None;
    }
    let whole = fired.conn.is_none() && lasts;
    (0u32..).zip(&ledger.mails).find_map(|(msg, mail)| {
        mail.tries
            .iter()
            .filter(|t| t.node == link.to)
            .find(|t| {
                let open = t.begun.at <= fired.mark.at
                    && t.outcome
                        .as_ref()
                        .is_none_or(|o| o.mark.at >= fired.mark.at);
                let later = t.begun.id > fired.mark.id && until.is_none_or(|u| t.begun.id < u.id);
                open || (whole && later)
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
    next: u64,
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
                let short = o.mark.id > fired.mark.id && o.mark.id < next && !got;
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
fn resent(ledger: &Ledger, link: Link, fired: Fired, next: u64) -> Option<(Witness, Mark, String)> {
    let conn = fired.conn?;
    (0u32..).zip(&ledger.mails).find_map(|(msg, mail)| {
        mail.hops
            .iter()
            .any(|h| h.link == link && h.conn == conn)
            .then(|| {
                mail.hops.iter().find(|h| {
                    h.link.from == link.from
                        && h.conn != conn
                        && h.dot.id > fired.mark.id
                        && h.dot.id < next
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

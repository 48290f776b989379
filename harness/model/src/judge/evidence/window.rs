//! Windows: the stretches of a run that a scenario is about, each reached.

use super::untold;
use crate::event::Conn;
use crate::judge::index::Index;
use crate::ledger::{Ledger, Mail, Mark};
use crate::party::{Link, Party, Witness};
use crate::plan::Plan;
use crate::scenario::{Step, Window};

pub(super) fn name(window: Window) -> &'static str {
    match window {
        Window::Takeover => "takeover",
        Window::Recovery => "recovery",
        Window::Retry => "retry",
        Window::ReplyLost => "reply-lost",
        Window::Resume => "resume",
        Window::Degraded => "degraded",
    }
}

/// The first event that shows a window reached.
pub(super) fn reached(
    plan: &Plan,
    ledger: &Ledger,
    index: &Index<'_>,
    window: Window,
) -> Option<(Witness, Mark, String)> {
    let mails = || (0u32..).zip(&ledger.mails);
    match window {
        Window::Takeover => {
            let fault = ledger
                .faults
                .values()
                .flat_map(|f| &f.fired)
                .filter_map(|f| f.node.map(|n| (n, f.mark)))
                .collect::<Vec<_>>();
            let cuts = cuts(plan, ledger);
            mails().find_map(|(msg, mail)| {
                let accepted = accepting(mail);
                handed(mail).into_iter().find_map(|(from, mark, witness)| {
                    let broken = fault
                        .iter()
                        .any(|(node, at)| accepted.contains(node) && at.id < mark.id)
                        || cuts.iter().any(|(link, at)| {
                            let far = |n: &Party| link.touches(*n) && link.touches(from);
                            at.id < mark.id && accepted.iter().any(far)
                        });
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
                        && index
                            .outages(**n)
                            .iter()
                            .any(|o| o.seen <= answer.mark.at && o.end.is_none_or(|e| e > answer.mark.at))
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

/// Links that lasting faults hit, and when.
fn cuts(plan: &Plan, ledger: &Ledger) -> Vec<(Link, Mark)> {
    let lasting = |n: &u32| match plan.scenario.steps.get(*n as usize) {
        Some(Step::Link(f)) => f.act.lasts(),
        Some(Step::Partition(_)) => true,
        _ => false,
    };
    ledger
        .faults
        .iter()
        .filter(|(n, _)| lasting(n))
        .flat_map(|(_, f)| &f.fired)
        .filter_map(|f| Some((f.link?, f.mark)))
        .collect()
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
